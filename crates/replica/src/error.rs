//! The errors of a run's replicas.

use std::path::PathBuf;
use std::time::Duration;

use rekindle_engine::TakenOver;
use rekindle_journal::JournalError;
use rekindle_model::id::RunId;
use rekindle_model::run::IllegalHistory;
use rekindle_vault::TierError;

/// An operation on replicas failed. Messages are fragments that follow "cannot", but for [`ReplicaError::Unanswered`] and
/// [`ReplicaError::Tier`], which are sentences.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// Another workspace has the run.
    #[error(transparent)]
    TakenOver(#[from] TakenOver),
    /// This workspace was adopting the run and was cut off before a tier had the adoption.
    #[error(
        "continue run {}: this workspace was adopting it from host {} by tier {} and was cut off, and whether the \
         tier has that is not known", .0.run, .0.host, .0.tier
    )]
    HalfAdopted(TakenOver),
    /// The note of a fenced run cannot be read, so the run stays fenced.
    #[error(
        "continue run {run}: another workspace has taken it over, but {} cannot be read to name it: {source}",
        .path.display()
    )]
    FenceUnreadable {
        /// The run.
        run: RunId,
        /// The note.
        path: PathBuf,
        /// The fault.
        source: serde_json::Error,
    },
    /// The file that holds the workspace's id cannot be read. Removing it is safe: a new id is made.
    #[error("tell which workspace this is from {}: {source}", .path.display())]
    WorkspaceIdUnreadable {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: serde_json::Error,
    },
    /// A file of the workspace cannot be read, written or removed.
    #[error("{doing} {}: {source}", .path.display())]
    File {
        /// The call: "read", "write", "remove".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's message.
        source: std::io::Error,
    },
    /// A location has not answered in time. Nothing was changed.
    #[error("{location} has not answered within {waited:?}")]
    Unanswered {
        /// The location's URL; several if the tier has several.
        location: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A tier cannot be opened.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The journal here cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The run's history in the journal here contradicts itself.
    #[error("read the run's history: {0}")]
    History(#[from] IllegalHistory),
    /// The system that a run is pinned to cannot be read.
    #[error("read the system that the run is pinned to: {0}")]
    System(String),
}
