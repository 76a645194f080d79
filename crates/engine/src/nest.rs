//! Steps that run another workflow: `uses: workflow`.
//!
//! Such a step begins a run of its own. The driver of the step's run has that run driven beside it, by way of
//! [`SubRuns`]. The step only waits, so it takes no permit of the process and no room of its plan, like a question to a
//! person. However many such steps wait, the runs that they wait for can continue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::origin::{Parent, RunKind};
use rekindle_model::run::RunState;
use rekindle_plan::{Inputs, PlanStep};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What a step that runs another workflow `uses:`.
pub const WORKFLOW: &str = "workflow";

/// Drives runs beside the one that a step belongs to.
#[async_trait]
pub trait SubRuns: Send + Sync {
    /// Returns whether there is such a run.
    ///
    /// # Errors
    /// When it cannot find out.
    async fn exists(&self, run: RunId) -> Result<bool, Failure>;

    /// Returns the newest run that a step began, if it has not ended.
    ///
    /// # Errors
    /// When it cannot find out.
    async fn unfinished_of(&self, step: &Parent) -> Result<Option<RunId>, Failure>;

    /// Creates a run and begins to drive it. The run is durable on return.
    ///
    /// # Errors
    /// When the definition does not expand, or when something else prevents the run.
    async fn create(&self, new: SubRun) -> Result<(), Failure>;

    /// Waits for a run's end, for a step. If nobody drives the run, drives it. If the step is asked to stop, stops the
    /// run. If the step is given up, cancels the run.
    ///
    /// # Errors
    /// If the run was interrupted and can be resumed, the code [`INTERRUPTED`](crate::INTERRUPTED). Else the reason why
    /// it cannot be driven.
    async fn drive(&self, run: RunId, waiting: &WaitingStep) -> Result<SubEnd, Failure>;
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
    /// The inputs that expand the definition into the plan.
    pub inputs: Inputs,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person gave `disaster_at`.
    pub disaster_at_told: bool,
}

/// A step that waits for a run.
#[derive(Clone, Debug)]
pub struct WaitingStep {
    /// The step.
    pub step: Parent,
    /// Says when the step is asked to stop.
    pub stop: CancellationToken,
    /// Says that the step is given up.
    pub given_up: CancellationToken,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct SubEnd {
    /// Its state.
    pub state: RunState,
    /// The output of each step that succeeded.
    pub outputs: BTreeMap<StepId, Value>,
}

/// Returns whether a step only waits for another run.
pub(crate) fn nests(step: &PlanStep) -> bool {
    step.uses == WORKFLOW
}
