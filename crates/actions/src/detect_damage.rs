//! `detect-damage`: runs the validations of a drill's damaged components before their recovery. They must fail: a validation
//! that calls damaged data valid would call it valid in a backup too.
//!
//! What it finds is about the sandbox, and says nothing about a stored copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::system::{Component, Probe};
use rekindle_plan::Problem;
use serde::Serialize;
use serde_json::{Value, json};

use crate::checks::{self, Check, Numbers};
use crate::damage::scenario;
use crate::failures;
use crate::params;
use crate::prober::Prober;
use crate::site::Site;
use crate::views;

/// The action's name.
pub const DETECT_DAMAGE: &str = "detect-damage";

/// The code of a damage that no validation noticed.
const UNDETECTED: &str = "undetected";

/// The codes of probes that say nothing about the data: not started, not over in time, or wrong themselves.
const COULD_NOT_WORK: [&str; 5] = [
    "command_failed",
    code::TIMEOUT,
    code::EXPRESSION,
    params::BAD_PARAMETER,
    "unknown_probe",
];

/// See the module's documentation.
pub(crate) struct DetectDamage(pub(crate) Arc<Site>);

/// Whether the damage of a component was noticed.
#[derive(Serialize)]
struct Noticed {
    /// None if nothing validates the component.
    detected: Option<bool>,
    /// What its validations found.
    why: String,
}

#[async_trait]
impl Action for DetectDamage {
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
        let site = &self.0;
        let mut components = BTreeMap::new();
        for name in site.system().affected_by(scenario(site)?) {
            let (name, component) = site.component(name)?;
            components.insert(name.to_owned(), self.look(cx, name, component).await?);
        }
        let missed: Vec<&str> = components
            .iter()
            .filter(|(_, found)| found.detected == Some(false))
            .map(|(name, _)| name.as_str())
            .collect();
        let value = json!({ "components": components, "detected": missed.is_empty() });
        if !missed.is_empty() {
            let message = format!("no validation noticed the damage to {}", missed.join(", "));
            // A failure carries only a sentence, so the journal keeps the rest first.
            cx.checkpoint(value).await?;
            return Err(Failure::permanent(UNDETECTED, message)
                .with_hint("add a probe to the component that notices such a damage"));
        }
        Ok(Output {
            value,
            measures: Measures::new(),
        })
    }
}

impl DetectDamage {
    /// Runs the validations of a component until one fails.
    async fn look(&self, cx: &StepContext, name: &str, component: &Component) -> Result<Noticed, Failure> {
        let baseline = views::restored(&cx.steps, name).map_or_else(Numbers::new, |it| it.baseline);
        let prober = Prober::new(&self.0, cx, None, Some(name)).with_baseline(&baseline);
        let probes = component.validate.iter();
        let probes: Vec<&Probe> = probes
            .filter(|probe| probe.at.recovery() && probe.follows_target())
            .collect();
        let mut checks: Vec<Check> = Vec::new();
        for probe in &probes {
            let found = match prober.measure(probe).await {
                Ok(numbers) => checks::judge(probe, &numbers, &baseline),
                Err(failure) if failure.code == failures::INTERRUPTED => return Err(failure),
                // A probe that damaged data break has noticed them; one that could not work has noticed nothing.
                Err(failure) => {
                    let worked = !COULD_NOT_WORK.contains(&failure.code.as_str());
                    return Ok(Noticed {
                        detected: worked.then_some(true),
                        why: failure.message,
                    });
                }
            };
            checks.extend(found);
            if checks::verdict(&checks) == Some(false) {
                break;
            }
        }
        Ok(match checks::verdict(&checks) {
            Some(false) => Noticed {
                detected: Some(true),
                why: checks::missed(&checks),
            },
            Some(true) => Noticed {
                detected: Some(false),
                why: "all expectations are met".to_owned(),
            },
            None => Noticed {
                detected: None,
                why: match probes.is_empty() {
                    true => "nothing validates it".to_owned(),
                    false => "not every number was measured".to_owned(),
                },
            },
        })
    }
}
