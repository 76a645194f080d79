//! What a command asks of whoever drives the workspace's runs.

use async_trait::async_trait;
use rekindle_engine::Request;
use rekindle_model::id::RunId;
use rekindle_model::problem::Problem;
use tokio::sync::mpsc;

use crate::api::{RunUpdate, Submission};

/// The owner of a workspace, in this process or in another.
#[async_trait]
pub trait RunService: Send + Sync {
    /// Creates a run and begins to drive it. It is durable on return.
    ///
    /// # Errors
    /// A definition that does not expand, a key that does not open, a journal that takes nothing.
    async fn submit(&self, submission: Submission) -> Result<RunId, Problem>;

    /// Takes an interrupted run over and drives it on; one that is driven already is left as it is.
    ///
    /// # Errors
    /// A run that is over or unknown, and what [`RunService::submit`] fails of.
    async fn resume(&self, run: RunId) -> Result<(), Problem>;

    /// Asks something of a run, driven or not. It is journaled on return.
    ///
    /// # Errors
    /// A request that the run refuses, with the reason.
    async fn request(&self, run: RunId, request: Request) -> Result<(), Problem>;

    /// Follows a run: its records after number `after`, then everything that happens to it, to the end. The last
    /// message is [`RunUpdate::Ended`]; without one, the owner is gone.
    ///
    /// # Errors
    /// An unknown run, or an owner that does not answer.
    async fn follow(&self, run: RunId, after: u64) -> Result<mpsc::Receiver<RunUpdate>, Problem>;
}
