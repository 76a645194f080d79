//! What a step does: the trait that every action implements.

use async_trait::async_trait;
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::{GroupLocks, Problem};
use serde_json::Value;

use crate::context::StepContext;

/// Something that a step can `uses:`.
///
/// An action is told to begin at least once and may be cut off at any instant, by a kill or by a power cut. What it
/// did until then is found by [`Action::reconcile`]; what it promises is that `run` after a cut-off attempt ends as
/// an uninterrupted one would have.
///
/// An action is stopped by dropping its future. What it has handed to other threads it must end itself, when
/// [`StepContext::stop`] says so.
#[async_trait]
pub trait Action: Send + Sync {
    /// Returns what is wrong with `with`, when a workflow is read; it may hold unrendered `${{ }}`.
    fn check(&self, with: &Value) -> Vec<Problem>;

    /// Returns the turns of the workflow that such a step runs, where it runs one that can be read.
    fn turns(&self, with: &Value) -> Option<GroupLocks> {
        let _ = with;
        None
    }

    /// Looks at the world after an attempt was cut off, and says what became of it. `cx.attempt` is the attempt that
    /// was cut off, `checkpoint` the last that it recorded.
    ///
    /// Nothing may be changed that a second call would miss: it may itself be cut off and called again.
    ///
    /// # Errors
    /// When the world could not be looked at. A retryable failure is tried again by the step's retry policy.
    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure>;

    /// Returns whether what a succeeded step produced can be gone when its run is resumed. Where it cannot,
    /// [`Action::recheck`] is not asked, which spares a long run thousands of questions.
    fn can_be_gone(&self) -> bool {
        true
    }

    /// Looks, cheaply, whether what a succeeded step produced is still there: asked when a run is resumed and later
    /// steps are about to rely on it. Some sentence means that it is gone, and why; the step then runs again.
    ///
    /// # Errors
    /// When it could not be told; the step then counts as done, and whoever relies on it will see.
    async fn recheck(&self, cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        let (_, _) = (cx, output);
        Ok(None)
    }

    /// Does the work of one attempt. `checkpoint` is what an earlier attempt recorded as done and what still holds.
    ///
    /// # Errors
    /// Why the attempt failed. The code `interrupted` is for an attempt that ended because `cx.stop` said so.
    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure>;
}

/// What a step has produced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What later steps may refer to as `steps.<template>`.
    pub value: Value,
    /// What was measured, by name with the unit last.
    pub measures: Measures,
}

/// What an action found after an attempt was cut off.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// The work is done and whole.
    Adopt {
        /// What it would have returned.
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
