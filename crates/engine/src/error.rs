//! Why a run could not be created, adopted or driven, or does not do what it was asked.

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
    /// Somebody else goes on with the run, elsewhere; this process has stopped acting on it.
    #[error(transparent)]
    TakenOver(#[from] TakenOver),
    /// The journal failed; this process has stopped acting on the run. What was acknowledged is safe.
    #[error("journal a transition: {0}")]
    Journal(JournalError),
    /// The run's history does not fold: it was not written by this engine.
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
    /// The run was neither created nor adopted by this engine.
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
    /// A value that the history refers to cannot be read back.
    #[error("read what {step} of run {run} has recorded: {why}")]
    Value {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
        /// Why not.
        why: String,
    },
    /// What was asked of the run does not fit where it stands; nothing was journaled.
    #[error("do what was asked of run {run}: {why}")]
    Refused {
        /// The run.
        run: RunId,
        /// Why not.
        why: Refusal,
    },
    /// What a run is created with cannot be written down.
    #[error("write down the run's inputs: {0}")]
    Inputs(String),
}

impl EngineError {
    /// Returns what a person can do about it, where the error knows.
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
