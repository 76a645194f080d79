//! `system-integrity`: judges the recovered system as a whole, by the checks under `integrity:` and by the results of
//! its components. Then it applies the rule `system_operational`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::System;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks;
use crate::params::{self, Field, Kind};
use crate::prober::{self, Prober};
use crate::rule::{self, Bounds};
use crate::site::Site;
use crate::views::{self, Fared};

/// See the module's documentation.
pub(crate) struct SystemIntegrity(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[Field::optional("root", Kind::Text)];

/// The default rule, if the system states none: the system is whole, and every component is back.
const DEFAULT_RULE: &str = "integrity.operational and recovery.success_rate == 1";

#[derive(Deserialize)]
struct Params {
    root: Option<PathBuf>,
}

#[async_trait]
impl Action for SystemIntegrity {
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
        let Params { root } = params::read(&cx.with)?;
        let system = self.0.system();
        let prober = Prober::new(&self.0, cx, root, None);
        let mut checks = Vec::new();
        let mut measures = Measures::new();
        let mut unmeasured = serde_json::Map::new();
        let fared = views::fared(&cx.steps, system.components.keys());
        for probe in &system.integrity {
            // Only a check of what is not there has no data. One that cannot measure what is there has failed.
            let measured = match prober.absent(system, probe, &fared)? {
                Some(component) => Err(Failure::permanent(
                    ABSENT,
                    format!("component {component} is not there, and this run does not recover it"),
                )),
                None if probe.probe == SET => Ok(of_set(cx)),
                None if self.0.sandbox().is_some() && !probe.follows_target() => Err(Failure::permanent(
                    ABSENT,
                    "it would look at the living system, and this run recovers into a sandbox",
                )),
                None => prober.measure(probe).await,
            };
            let numbers = match measured {
                Ok(numbers) => numbers,
                Err(failure) if failure.code == ABSENT => {
                    unmeasured.insert(checks::name(probe).to_owned(), json!(failure.message));
                    checks::Numbers::new()
                }
                Err(failure) if failure.code == "probe_failed" || failure.code == "timeout" => {
                    unmeasured.insert(checks::name(probe).to_owned(), json!(failure.message));
                    checks.extend(checks::failed(probe));
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            checks.extend(checks::judge(probe, &numbers, &checks::Numbers::new()));
            measures.extend(numbers);
        }
        let operational = checks::verdict(&checks);
        let success_rate = views::success_rate(&fared);
        let (least, most) = failed_by_level(system, &fared);
        let skew_ms = views::located(&cx.steps).map(|located| located.skew_ms);
        let inputs = json!({
            "integrity": { "operational": operational, "skew_ms": skew_ms },
            "recovery": {
                // A component without data is not proven: the rule must hold whether it is valid or not.
                "success_rate": success_rate.filter(|_| views::those(&fared, Fared::NoData).is_empty()),
                "failed": known(&least, &most),
            },
        });
        let (worst, best) = views::success_bounds(&fared);
        let bounds = Bounds {
            worst: json!({
                "integrity": { "operational": false, "skew_ms": u64::MAX },
                "recovery": { "success_rate": worst, "failed": most },
            }),
            best: json!({
                "integrity": { "operational": true, "skew_ms": 0 },
                "recovery": { "success_rate": best, "failed": least },
            }),
        };
        let ruled = rule::evaluate(system, "system_operational", DEFAULT_RULE, &inputs, &bounds)?;
        let mut value = json!({
            "operational": operational,
            "success_rate": success_rate,
            "system_operational": ruled.holds,
            "skew_ms": skew_ms,
            "rule": ruled.account,
            "checks": checks,
            "unmeasured": unmeasured,
            "failed": views::those(&fared, Fared::Badly),
            "no_data": views::those(&fared, Fared::NoData),
        });
        if operational == Some(false) {
            // A failure carries only a sentence, so the journal keeps the numbers behind it first.
            value["measures"] = json!(measures);
            cx.checkpoint(value).await?;
            return Err(prober::missed("the system as a whole", &checks));
        }
        measures.extend(success_rate.map(|rate| ("success_rate".to_owned(), rate)));
        Ok(Output { value, measures })
    }
}

/// The code of a check of something that is not there.
const ABSENT: &str = "component_absent";

/// The probe of the recovery set itself; only a check across components may be of this kind.
const SET: &str = "set";

/// Returns what is known of the recovered set: `skew_ms`, the time between its oldest and newest consistency point.
fn of_set(cx: &StepContext) -> checks::Numbers {
    let located = views::located(&cx.steps);
    let skew = located.map(|located| ("skew_ms".to_owned(), crate::measure::number(located.skew_ms)));
    skew.into_iter().collect()
}

type ByLevel = BTreeMap<String, usize>;

/// Returns how many components of each impact level failed: at least, and at most, if all without data did too.
fn failed_by_level(system: &System, fared: &BTreeMap<String, Fared>) -> (ByLevel, ByLevel) {
    let none: ByLevel = system
        .impact_levels
        .keys()
        .map(|level| (level.clone(), 0))
        .collect();
    let (mut least, mut most) = (none.clone(), none);
    for (name, how) in fared {
        let level = system
            .components
            .get(name)
            .and_then(|component| component.impact.as_ref());
        let Some(level) = level else {
            continue;
        };
        if let (Fared::Badly, Some(count)) = (how, least.get_mut(level)) {
            *count += 1;
        }
        if let (Fared::Badly | Fared::NoData, Some(count)) = (how, most.get_mut(level)) {
            *count += 1;
        }
    }
    (least, most)
}

/// Returns the counts that are certain; null for the others.
fn known(least: &ByLevel, most: &ByLevel) -> Value {
    let certain = |(level, count): (&String, &usize)| {
        let count = (most.get(level) == Some(count)).then_some(*count);
        (level.clone(), json!(count))
    };
    Value::Object(least.iter().map(certain).collect())
}
