//! The faults of a history.

use crate::id::{RunId, StepId};
use crate::step::IllegalTransition;

/// A record does not fit the history before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {run}, record {seq}: {fault}")]
pub struct IllegalHistory {
    /// The run.
    pub run: RunId,
    /// The record's number.
    pub seq: u64,
    /// What does not fit.
    pub fault: HistoryFault,
}

/// A fault of a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFault {
    /// The history does not begin with `run_created`, or has it twice.
    #[error("{0} cannot be there: a history begins with run_created, once")]
    Creation(&'static str),
    /// A record is missing or doubled.
    #[error("expected record {expected}")]
    Gap {
        /// The number that should follow.
        expected: u64,
    },
    /// Something happened after the end.
    #[error("{0} after run_finished")]
    AfterEnd(&'static str),
    /// A run ended while a step or an undo in it had not.
    #[error("run_finished while step {step} is {state}")]
    Unfinished {
        /// The first such step.
        step: StepId,
        /// Its state.
        state: &'static str,
    },
    /// A run that is not over was reopened.
    #[error("{0} before run_finished")]
    BeforeEnd(&'static str),
    /// A paused run was paused, or a run that was not paused was unpaused.
    #[error("{event} in a run that is {}", if *.paused { "paused" } else { "not paused" })]
    Pause {
        /// The event.
        event: &'static str,
        /// Whether the run was paused before it.
        paused: bool,
    },
    /// A lock was taken that was not waited for, or waited for twice.
    #[error("{event} in a run that {}", if *.waits { "waits for its group lock" } else { "does not wait for its group lock" })]
    GroupLock {
        /// The event.
        event: &'static str,
        /// Whether the run waited before it.
        waits: bool,
    },
    /// A record of a fenced epoch, or an adoption that does not raise it by one.
    #[error("epoch {found}, expected {expected}")]
    Epoch {
        /// The epoch found.
        found: u64,
        /// The epoch that may append.
        expected: u64,
    },
    /// A record of another run.
    #[error("it belongs to run {0}")]
    OtherRun(RunId),
    /// A step's event does not fit the step's state.
    #[error("step {step}: {source}")]
    Step {
        /// The step.
        step: StepId,
        /// What does not fit.
        source: IllegalTransition,
    },
}
