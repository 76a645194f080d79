//! How a caller stops driving a run, and how driving can end. To end a run for good, request
//! [`Ask::Cancel`](crate::Ask::Cancel).

use rekindle_model::run::RunState;
use tokio_util::sync::CancellationToken;

/// How a caller stops driving a run.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Stops gracefully: running steps record a checkpoint and end, nothing counts as failed, and the run can be
    /// resumed. [`Ended::Interrupted`].
    pub stop: CancellationToken,
}

/// How driving a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The run is over; its outcome is in the state.
    Finished(RunState),
    /// It was stopped and can be resumed.
    Interrupted(RunState),
}

impl Ended {
    /// Returns the state of the run.
    pub fn state(&self) -> &RunState {
        match self {
            Self::Finished(state) | Self::Interrupted(state) => state,
        }
    }
}
