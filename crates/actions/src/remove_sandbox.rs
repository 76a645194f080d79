//! `remove-sandbox`: removes the sandbox of a run, with all that was recovered into it.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use rekindle_sources::{blocking, remove_tree};
use serde_json::{Value, json};

use crate::failures;
use crate::params;
use crate::site::Site;

/// The action's name.
pub const REMOVE_SANDBOX: &str = "remove-sandbox";

/// See the module's documentation.
pub(crate) struct RemoveSandbox(pub(crate) Arc<Site>);

#[async_trait]
impl Action for RemoveSandbox {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, &[])
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("what is left of the sandbox is removed again"))
    }

    async fn run(&self, _cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Some(sandbox) = self.0.sandbox().map(std::path::Path::to_path_buf) else {
            return Err(
                Failure::permanent("no_sandbox", "the run recovers into no sandbox")
                    .with_hint("start it with `rekindle verify --level restore`"),
            );
        };
        let folder = sandbox.clone();
        let removed = blocking(move || match remove_tree(&folder) {
            Ok(()) => Ok(true),
            // Nothing was restored.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failures::io(&folder.display().to_string(), &error)),
        });
        Ok(Output {
            value: json!({ "sandbox": sandbox, "removed": removed.await? }),
            measures: Measures::new(),
        })
    }
}
