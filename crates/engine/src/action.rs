//! The trait that every action implements. An action does the work of a step.

use async_trait::async_trait;
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::{GroupLocks, Problem};
use serde_json::{Value, json};

use crate::context::StepContext;

/// Something that a step can name under `uses:`.
///
/// The engine calls an action at least once. A kill or a power cut may cut it off at any instant.
/// [`Action::reconcile`] then finds out how far it came. The action promises that `run` after a cut-off attempt ends
/// as an uninterrupted one would have.
///
/// The engine stops an action by dropping its future. If the action gave work to other threads, it must end that work
/// itself when [`StepContext::stop`] says so.
#[async_trait]
pub trait Action: Send + Sync {
    /// Returns the problems of `with` when a workflow is read; `with` may hold unrendered `${{ }}`.
    fn check(&self, with: &Value) -> Vec<Problem>;

    /// Returns the group locks of the workflow that such a step runs, if it runs one that can be read.
    fn group_locks(&self, with: &Value) -> Option<GroupLocks> {
        let _ = with;
        None
    }

    /// Looks at the world after an attempt was cut off, and says what became of the attempt. `cx.attempt` is the
    /// attempt that was cut off, `checkpoint` the last checkpoint that it recorded.
    ///
    /// It may itself be cut off and called again. So it must change nothing that a second call would miss.
    ///
    /// # Errors
    /// When the action could not look at the world. If the failure is retryable, the step's retry policy applies.
    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure>;

    /// Returns whether the artefact of a succeeded step can be gone when its run is resumed. If it cannot, the engine
    /// does not call [`Action::recheck`], which saves a long run thousands of calls.
    fn can_be_gone(&self) -> bool {
        true
    }

    /// Checks, cheaply, whether the artefact of a succeeded step is still there. The engine calls it when a run is
    /// resumed and later steps rely on the artefact. If the artefact is gone, it returns a sentence that says why, and
    /// the step runs again.
    ///
    /// # Errors
    /// When the action could not find out. The step then counts as done, and a later step finds a missing artefact.
    async fn recheck(&self, cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        let (_, _) = (cx, output);
        Ok(None)
    }

    /// Does the work of one attempt. `checkpoint` is progress that an earlier attempt recorded and that still holds.
    ///
    /// # Errors
    /// Why the attempt failed. The code `interrupted` is for an attempt that ended because `cx.stop` said so.
    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure>;
}

/// What a step has produced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// The value that later steps may refer to as `steps.<template>`.
    pub value: Value,
    /// The measured numbers, by name with the unit last.
    pub measures: Measures,
}

/// The state of an attempt that was cut off, as the action found it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// The work is done and whole.
    Complete {
        /// The output that the attempt would have returned.
        output: Output,
        /// What was looked at.
        evidence: Value,
    },
    /// Part of it is done: the next attempt continues from the checkpoint.
    Continue {
        /// What was looked at.
        evidence: Value,
    },
    /// Nothing of it can be relied on: the next attempt starts afresh, without a checkpoint.
    Redo {
        /// What was looked at.
        evidence: Value,
    },
}

impl Reconciled {
    /// Returns a redo, with its reason as the evidence.
    pub fn redo(why: &str) -> Self {
        let evidence = json!({ "why": why });
        Self::Redo { evidence }
    }
}
