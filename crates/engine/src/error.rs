//! Why the engine could not create, adopt or drive a run, or refused a request.

use rekindle_journal::JournalError;
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::run::IllegalHistory;

use crate::replica::TakenOver;
use crate::request::Refusal;

/// An operation of the engine failed. Steps that fail are no errors: they are outcomes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Another process has adopted the run; this one has stopped acting on it.
    #[error("drive run {run}: another process has taken it over")]
    Fenced {
        /// The run.
        run: RunId,
    },
    /// Another host has taken the run over; this process has stopped acting on it.
    #[error(transparent)]
    TakenOver(#[from] TakenOver),
    /// The journal failed; this process has stopped acting on the run. Acknowledged records are safe.
    #[error("journal a transition: {0}")]
    Journal(JournalError),
    /// The run's history does not fold: this engine did not write it.
    #[error("read the run's history: {0}")]
    History(#[from] IllegalHistory),
    /// The run is over.
    #[error("take run {run} over: it is over")]
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: Outcome,
    },
    /// This engine has neither created nor adopted the run.
    #[error("drive run {run}: it was not adopted; adopt it first")]
    NotAdopted {
        /// The run.
        run: RunId,
    },
    /// This engine drives the run already.
    #[error("drive run {run}: this process drives it already")]
    AlreadyDriven {
        /// The run.
        run: RunId,
    },
    /// The history names a step that the plan lacks: the plan is not the one that the run began with.
    #[error("drive run {run}: its plan has no step {step}; expand the definition that the run is pinned to")]
    OtherPlan {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
    },
    /// The engine cannot read a value that the history refers to.
    #[error("read what {step} of run {run} has recorded: {why}")]
    Value {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
        /// Why not.
        why: String,
    },
    /// The request does not fit the run's state; nothing was journaled.
    #[error("do what was asked of run {run}: {why}")]
    Refused {
        /// The run.
        run: RunId,
        /// Why not.
        why: Refusal,
    },
    /// The inputs of a new run cannot be serialized.
    #[error("write down the run's inputs: {0}")]
    Inputs(String),
}

impl EngineError {
    /// Returns the actions that a person can take next, if the error knows any.
    pub fn next(&self) -> Vec<NextAction> {
        match self {
            Self::Fenced { run } => vec![NextAction::new(
                Action::Show { run: Some(*run) },
                "names the process that has it now",
            )],
            Self::Refused { run, why } => why.next(*run),
            _ => Vec::new(),
        }
    }
}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Conflict { run, .. } => Self::Fenced { run },
            other => Self::Journal(other),
        }
    }
}
