//! Copies of a run's journal, kept where another host can resume the run. This is what the driver asks of their keeper.
//!
//! The engine knows nothing of places or formats. It says when a copy must be there before it continues. Once it learns
//! that another host has taken the run over, it stops acting.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_model::id::RunId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Keeps copies of the journal of runs that an engine drives.
///
/// If a place cannot be reached, that is no error and delays nothing. The implementation copies the rest later, and
/// reports which copies are behind.
#[async_trait]
pub trait Replica: Send + Sync {
    /// Copies the run's records to every place that can be reached, and checks there that no other host has taken the
    /// run over. A check that is not older than `fresh` is enough.
    ///
    /// # Errors
    /// [`TakenOver`], from then on for every call.
    async fn barrier(&self, run: RunId, fresh: Duration) -> Result<(), TakenOver>;

    /// Copies new durable records, a little later, until it is dropped. It returns only if another host has taken the
    /// run over.
    async fn keep(&self, run: RunId) -> TakenOver;

    /// Copies the rest, when the run is not driven any more.
    ///
    /// # Errors
    /// [`TakenOver`].
    async fn end(&self, run: RunId) -> Result<(), TakenOver>;
}

/// Another host has taken a run over: a copy of its journal has records that this journal lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "continue run {run}: {} has taken it over, as tier {tier} tells since {}; nothing more is done here",
    by(host, *workspace),
    at.format("%Y-%m-%d %H:%M:%S UTC")
)]
pub struct TakenOver {
    /// The run.
    pub run: RunId,
    /// The host that has taken it over.
    pub host: Box<str>,
    /// The workspace of that host; nil if the copy cannot be read, so that its writer is unknown.
    pub workspace: Uuid,
    /// When that host wrote the copy that shows this. If the copy cannot be read, when it was found.
    pub at: DateTime<Utc>,
    /// The epoch that it holds; 0 if the copy cannot be read.
    pub epoch: u64,
    /// The tier that the copy is in.
    pub tier: Box<str>,
    /// Where the copy is.
    pub url: Box<str>,
}

impl TakenOver {
    /// Returns whether it is unknown who has taken the run over.
    pub fn is_by_unknown(&self) -> bool {
        self.workspace.is_nil()
    }
}

fn by(host: &str, workspace: Uuid) -> String {
    match workspace.is_nil() {
        true => "somebody whose copy of it cannot be read".to_owned(),
        false => format!("host {host} (workspace {workspace})"),
    }
}
