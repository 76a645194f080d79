//! `set-up`: restores a component into a drill's sandbox, before the drill damages it there. It is a `restore`, except that
//! it stays done: what is damaged later was meant to be.

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use serde_json::Value;

use crate::restore::Restore;

/// The action's name.
pub const SET_UP: &str = "set-up";

/// See the module's documentation.
pub(crate) struct SetUp(pub(crate) Restore);

#[async_trait]
impl Action for SetUp {
    fn check(&self, with: &Value) -> Vec<Problem> {
        self.0.check(with)
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        self.0.reconcile(cx, checkpoint).await
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        self.0.run(cx, checkpoint).await
    }
}
