//! Steps that run another workflow: `uses: workflow`.
//!
//! The run that such a step begins is a run of its own, which whoever drives the step's run drives beside it. The step
//! only waits for it, so it takes no permit of the process and no room of its plan, as a question to a person takes none:
//! however many of them wait, what they wait for can go on.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::origin::{Parent, RunKind};
use rekindle_model::run::RunState;
use rekindle_plan::{Inputs, PlanStep};
use serde_json::Value;

use crate::context::StepContext;

/// What a step that runs another workflow `uses:`.
pub const WORKFLOW: &str = "workflow";

/// Drives runs beside the one that a step belongs to.
#[async_trait]
pub trait SubRuns: Send + Sync {
    /// Returns whether there is such a run.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn exists(&self, run: RunId) -> Result<bool, Failure>;

    /// Creates a run and begins to drive it. It is durable on return.
    ///
    /// # Errors
    /// A definition that does not expand, or something that stands in its way.
    async fn create(&self, new: SubRun) -> Result<(), Failure>;

    /// Waits for a run's end, and drives it where nobody does. Where the step is told to stop, the run is stopped;
    /// where the step is given up, the run is cancelled.
    ///
    /// # Errors
    /// The code [`INTERRUPTED`](crate::INTERRUPTED) when the run was interrupted and can be resumed; else why it
    /// cannot be driven.
    async fn drive(&self, run: RunId, cx: &StepContext) -> Result<SubEnd, Failure>;
}

/// A run that a step begins.
#[derive(Clone, Debug, PartialEq)]
pub struct SubRun {
    /// Its id, which the step has recorded.
    pub run: RunId,
    /// The step.
    pub parent: Parent,
    /// The workflow's name.
    pub workflow: String,
    /// What the run is for.
    pub kind: RunKind,
    /// The workflow's YAML, which the run is pinned to.
    pub definition: String,
    /// What expands the definition into the plan.
    pub inputs: Inputs,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person told `disaster_at`.
    pub disaster_at_told: bool,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct SubEnd {
    /// Where it stands.
    pub state: RunState,
    /// What each step that succeeded has produced.
    pub outputs: BTreeMap<StepId, Value>,
}

/// Returns whether a step only waits for another run.
pub(crate) fn nests(step: &PlanStep) -> bool {
    step.uses == WORKFLOW
}
