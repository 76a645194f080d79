//! Copies of a run's journal, kept where others can go on with the run: what the driver asks of whoever keeps them.
//!
//! The engine knows nothing of places or formats. It says when a copy must be there before it goes on, and it stops
//! acting once it is told that somebody else goes on with the run.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_model::id::RunId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Keeps copies of the journal of runs that an engine drives.
///
/// A place that cannot be reached is no error and delays nobody: it is caught up later, and whoever keeps the copies
/// tells what is missing.
#[async_trait]
pub trait Replica: Send + Sync {
    /// Copies what the journal has of the run to every place that can be reached, and looks there that nobody else
    /// has gone on with it. A look that is not older than `fresh` is enough.
    ///
    /// # Errors
    /// [`TakenOver`], from then on for every call.
    async fn barrier(&self, run: RunId, fresh: Duration) -> Result<(), TakenOver>;

    /// Copies what becomes durable, a little later, until it is dropped; returns only where somebody else goes on
    /// with the run.
    async fn keep(&self, run: RunId) -> TakenOver;

    /// Copies the rest: the run is not driven any more.
    ///
    /// # Errors
    /// [`TakenOver`].
    async fn end(&self, run: RunId) -> Result<(), TakenOver>;
}

/// Somebody else goes on with a run: a copy of its journal has records that this journal has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "go on with run {run}: {} has taken it over, as tier {tier} tells since {}; nothing more is done here",
    by(host, *workspace),
    at.format("%Y-%m-%d %H:%M:%S UTC")
)]
pub struct TakenOver {
    /// The run.
    pub run: RunId,
    /// The host that goes on with it.
    pub host: Box<str>,
    /// Its workspace; nil where the copy cannot be read, so that nobody can tell whose it is.
    pub workspace: Uuid,
    /// When it wrote the copy that tells so, or that copy was found where it cannot be read.
    pub at: DateTime<Utc>,
    /// The epoch that it holds; 0 where the copy cannot be read.
    pub epoch: u64,
    /// The tier that the copy is in.
    pub tier: Box<str>,
    /// Where the copy is.
    pub url: Box<str>,
}

impl TakenOver {
    /// Returns whether nobody can tell who has taken the run over.
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
