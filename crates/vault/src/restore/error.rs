//! Why a restore stops.

use std::io;

use rekindle_model::failure::{Failure, code};
use rekindle_model::globs::BadGlob;

use crate::error::VaultError;

use super::request::RestoreCheckpoint;
use super::store::ContentError;

/// A restore that stopped. All that a checkpoint covers stays; the same request with that checkpoint resumes
/// there.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The caller asked it to stop.
    #[error("stopped on request; resume it to go on from its last checkpoint")]
    Interrupted {
        /// How far it got; none if no window was complete.
        checkpoint: Option<Box<RestoreCheckpoint>>,
    },
    /// The file system is full, or the quota is used up.
    #[error("no space left to write {path}; free some and resume")]
    DiskFull {
        /// The file that was being written.
        path: String,
    },
    /// The snapshot's entries do not form a tree: it is damaged, or made to write elsewhere.
    #[error("the snapshot is refused at {path}: {why}")]
    Hostile {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another entry is in the place, and replacing it would lose more than the entry.
    #[error("{path} is in the way: {why}; move it away and resume")]
    Obstructed {
        /// What is there.
        path: String,
        /// Why it is not replaced.
        why: &'static str,
    },
    /// A link is on the way to the root in place of a folder: the restore would write elsewhere.
    #[error(
        "{path} is a link to {leads_to}, and nothing is restored through a link below the target; \
         move it away, or restore to where it leads"
    )]
    Link {
        /// The link.
        path: String,
        /// Where it points.
        leads_to: String,
    },
    /// A glob of `include` cannot be read.
    #[error(transparent)]
    Glob(#[from] BadGlob),
    /// The snapshot cannot be opened.
    #[error(transparent)]
    Vault(Box<VaultError>),
    /// An entry cannot be read, or a chunk cannot be read for now.
    #[error("the snapshot cannot be read: {0}")]
    Content(#[from] ContentError),
    /// A checkpoint could not be recorded.
    #[error("a checkpoint could not be recorded: {0}")]
    Checkpoint(Failure),
    /// The file system refused a call.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// The call, as a verb.
        action: &'static str,
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A task of the restore panicked.
    #[error("a task of the restore broke: {0}; this is a defect of Rekindle")]
    Broken(String),
}

impl RestoreError {
    /// Returns the error of a system call; a full disk is an error of its own.
    pub(super) fn io(action: &'static str, path: &str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.to_owned(),
            },
            _ => Self::Io {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let message = error.to_string();
        match error {
            RestoreError::Interrupted { .. } => Self::transient("interrupted", message),
            RestoreError::DiskFull { .. } => Self::transient(code::DISK_FULL, message),
            RestoreError::Hostile { .. } => Self::permanent("hostile_snapshot", message),
            RestoreError::Obstructed { .. } | RestoreError::Link { .. } => {
                Self::permanent("obstructed", message)
            }
            RestoreError::Glob(bad) => bad.into(),
            RestoreError::Vault(error) => error.into_failure(),
            RestoreError::Content(ContentError::Lost(_)) => Self::permanent(code::DATA_LOST, message),
            RestoreError::Content(ContentError::Unavailable(_)) => {
                Self::transient(code::TIER_UNAVAILABLE, message)
            }
            RestoreError::Checkpoint(failure) => failure,
            RestoreError::Io { .. } => Self::transient("target_unwritable", message),
            RestoreError::Broken(_) => Self::permanent(code::INTERNAL, message),
        }
    }
}
