//! `load`: puts the system in a drill's sandbox under the load of its scenario, and measures how it answers. The run does so
//! once before the disaster; what is measured then is the baseline of the second time, beside the recovery.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use serde_json::{Value, json};

use crate::checks::{self, Numbers};
use crate::damage::scenario;
use crate::params;
use crate::prober::{self, Prober};
use crate::site::Site;
use crate::views;

/// The action's name.
pub const LOAD: &str = "load";

/// See the module's documentation.
pub(crate) struct PutUnderLoad(pub(crate) Arc<Site>);

#[async_trait]
impl Action for PutUnderLoad {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, &[])
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("a measurement that was cut off proves nothing"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Some(probe) = &scenario(&self.0)?.load else {
            return Err(
                Failure::permanent(params::BAD_PARAMETER, "the scenario puts nothing under load")
                    .with_hint("give it `load:` in the system's file"),
            );
        };
        let before = views::load(&cx.steps);
        let prober = Prober::new(&self.0, cx, None, None);
        let numbers: Numbers = prober.measure(probe).await?;
        let checks = match &before {
            Some(baseline) => checks::judge(probe, &numbers, baseline),
            None => checks::judge_living(probe, &numbers),
        };
        let mut value = json!({ "load": numbers, "checks": checks });
        if let Some(baseline) = &before {
            value["baseline"] = json!(baseline);
        }
        if checks::verdict(&checks) == Some(false) {
            // A failure carries only a sentence, so the journal keeps the numbers behind it first.
            cx.checkpoint(value).await?;
            return Err(prober::missed("the system under load", &checks));
        }
        Ok(Output {
            value,
            measures: Measures::new(),
        })
    }
}
