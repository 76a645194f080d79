//! How far running steps are, for progress bars. The engine sends this to every listener and never journals it.

use rekindle_model::id::{RunId, StepId};

/// How many messages a listener may lag behind before it misses some: it draws only the newest.
pub(crate) const BACKLOG: usize = 1024;

/// How far a running step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is to do, where it is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

/// What a progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files, chunks, checks and the like.
    Items,
}
