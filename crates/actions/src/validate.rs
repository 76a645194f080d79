//! `validate`: runs a component's probes on the restored data, and judges the numbers.
//!
//! If a component has no probe, or a number was not measured, it is *no data*, never valid. In a sandbox only probes of
//! the target run: others would measure the living system.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::Probe;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks::{self, Check, Numbers};
use crate::params::{self, Field, Kind};
use crate::prober::{self, Prober};
use crate::rto_watch;
use crate::site::Site;
use crate::views;

/// See the module's documentation.
pub(crate) struct Validate(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("component", Kind::Text),
    Field::optional("root", Kind::Text),
];

#[derive(Deserialize)]
struct Params {
    component: Option<String>,
    root: Option<PathBuf>,
}

/// Journals that the component has missed its RTO, if it does so before it is dropped. A probe may take long, or hang.
async fn warn_when_late(site: &Site, cx: &StepContext, name: &str) -> Result<Infallible, Failure> {
    let Some((left, objective)) = rto_watch::deadline(site, cx, name) else {
        return std::future::pending().await;
    };
    tokio::time::sleep(left).await;
    cx.checkpoint(json!({ "objectives": [objective] })).await?;
    std::future::pending().await
}

#[async_trait]
impl Action for Validate {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("a measurement that was cut off proves nothing"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params { component, root } = params::read(&cx.with)?;
        let (name, component) = self.0.component(&views::looped(cx, "component", component)?)?;
        let baseline =
            views::restored(&cx.steps, name).map_or_else(Numbers::new, |restored| restored.baseline);
        let prober = Prober::new(&self.0, cx, root, Some(name)).with_baseline(&baseline);
        let sandbox = self.0.sandbox().is_some();
        let runs = |probe: &&Probe| probe.at.recovery() && (!sandbox || probe.follows_target());

        let mut checks: Vec<Check> = Vec::new();
        let mut measures = Measures::new();
        let system = self.0.system();
        let here = views::restored_components(&cx.steps);
        let mut unmeasured = serde_json::Map::new();
        let mut late = pin!(warn_when_late(&self.0, cx, name));
        for probe in component.validate.iter().filter(runs) {
            let numbers = match prober.absent(system, probe, &here)? {
                Some(absent) => {
                    let why = format!("component {absent} is not there, and this run does not recover it");
                    unmeasured.insert(checks::name(probe).to_owned(), json!(why));
                    Numbers::new()
                }
                None => {
                    let mut measured = pin!(prober.measure(probe));
                    tokio::select! {
                        numbers = &mut measured => numbers?,
                        Err(failure) = &mut late => return Err(failure),
                    }
                }
            };
            checks.extend(checks::judge(probe, &numbers, &baseline));
            measures.extend(numbers);
        }
        let valid = checks::verdict(&checks);
        let mut value = json!({ "component": name, "valid": valid, "checks": checks });
        if !baseline.is_empty() {
            value["baseline"] = json!(baseline);
        }
        if !unmeasured.is_empty() {
            value["unmeasured"] = json!(unmeasured);
        }
        if valid == Some(false) {
            // A failure carries only a sentence, so the journal keeps the numbers behind it first.
            value["measures"] = json!(measures);
            cx.checkpoint(value).await?;
            return Err(prober::missed(name, &checks));
        }
        Ok(Output { value, measures })
    }
}
