//! `noop`: succeeds at once. Use it to measure the cost of a step itself, or to try out a workflow's shape.

use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::Period;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::failures;
use crate::params::{self, Field, Kind};

/// See the module's documentation.
pub(crate) struct Noop;

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("output", Kind::Any),
    Field::optional("sleep", Kind::Period),
];

#[derive(Deserialize)]
struct Params {
    /// What the step gives back.
    #[serde(default)]
    output: Value,
    /// How long the step takes; a stop ends it early.
    sleep: Option<Period>,
}

#[async_trait]
impl Action for Noop {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let params: Params = params::read(&cx.with)?;
        let sleep = params.sleep.map_or(Duration::ZERO, |period| period.0);
        if !sleep.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = cx.stop.cancelled() => return Err(failures::interrupted()),
            }
        }
        Ok(Output {
            value: params.output,
            measures: Measures::new(),
        })
    }
}
