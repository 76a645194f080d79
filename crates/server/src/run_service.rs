//! The requests that a command sends to the owner of a workspace.

use async_trait::async_trait;
use rekindle_engine::Request;
use rekindle_model::id::RunId;
use rekindle_model::problem::Problem;
use tokio::sync::mpsc;

use crate::api::{RunUpdate, Submission};

/// The owner of a workspace, in this process or in another.
#[async_trait]
pub trait RunService: Send + Sync {
    /// Creates a run and starts to drive it. The run is durable on return.
    ///
    /// # Errors
    /// The definition does not expand, the key does not open, or the journal accepts no record.
    async fn submit(&self, submission: Submission) -> Result<RunId, Problem>;

    /// Takes over an interrupted run and drives it. If the owner drives the run already, nothing changes.
    ///
    /// # Errors
    /// The run has ended or is unknown, or it fails as [`RunService::submit`] does.
    async fn resume(&self, run: RunId) -> Result<(), Problem>;

    /// Sends a request to a run, driven or not. The request is journaled on return.
    ///
    /// # Errors
    /// The run refuses the request; the problem names the reason.
    async fn request(&self, run: RunId, request: Request) -> Result<(), Problem>;

    /// Follows a run: sends its records after number `after`, then every update until its end. The last message is
    /// [`RunUpdate::Ended`]. If that message does not come, the owner is gone.
    ///
    /// # Errors
    /// The run is unknown, or the owner does not answer.
    async fn follow(&self, run: RunId, after: u64) -> Result<mpsc::Receiver<RunUpdate>, Problem>;
}
