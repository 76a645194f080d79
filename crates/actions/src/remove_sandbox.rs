//! `remove-sandbox`: removes the sandbox of a run, with all that was recovered into it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use rekindle_sources::{blocking, remove_tree};
use serde_json::{Value, json};

use crate::displace;
use crate::failures;
use crate::isolation::{lacking, temporary};
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

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Some(sandbox) = self.0.sandbox().map(Path::to_path_buf) else {
            return Err(no_sandbox());
        };
        let folder = sandbox.clone();
        let lacking = lacking(&sandbox).await;
        let isolation = self.0.drill().map(|_| match &lacking {
            None => "full",
            Some(_) => "partial",
        });
        let mut beside = displace::aside_places(&sandbox, cx.run);
        beside.push(temporary(&sandbox));
        let removed = blocking(move || {
            for folder in beside {
                remove(&folder)?;
            }
            remove(&folder)
        });
        Ok(Output {
            value: json!({
                "sandbox": sandbox, "removed": removed.await?,
                "isolation": isolation, "isolation_lacks": lacking,
            }),
            measures: Measures::new(),
        })
    }
}

/// Removes a folder. Returns whether it was there.
fn remove(folder: &Path) -> Result<bool, Failure> {
    match remove_tree(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failures::io(&folder.display().to_string(), &error)),
    }
}

/// A step of a drill in a run that is none.
pub(crate) fn no_sandbox() -> Failure {
    Failure::permanent("no_sandbox", "the run recovers into no sandbox")
        .with_hint("start it with `rekindle drill`, or `rekindle verify --level restore`")
}
