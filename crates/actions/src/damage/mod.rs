//! `damage`: causes the disaster of a drill, in its sandbox and nowhere else.
//!
//! The scenario says what happens to which components ([`rekindle_model::scenario`]); [`files`] does it. The files and the
//! bytes follow from a seed, so a drill can be repeated. Of an attempt that was cut off, the next one takes the same files,
//! and no damage undoes itself when it is done twice.

mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::scenario::{How, Scenario};
use rekindle_model::system::Component;
use rekindle_plan::Problem;
use rekindle_sources::blocking;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::measure::number;
use crate::params;
use crate::prober::Prober;
use crate::remove_sandbox::no_sandbox;
use crate::site::Site;

/// The action's name.
pub const DAMAGE: &str = "damage";

/// How many damaged files the output names.
const NAMED: usize = 20;

/// See the module's documentation.
pub(crate) struct CauseDamage(pub(crate) Arc<Site>);

/// What an attempt has chosen before its first change. The next one keeps to it.
#[derive(Serialize, Deserialize)]
struct Chosen {
    /// The seed of the damages without one of their own.
    seed: u64,
    /// The files of each damage that hits only some, by its place in the scenario and the component.
    files: BTreeMap<String, Vec<PathBuf>>,
}

/// What happened to a component.
#[derive(Serialize)]
struct Done {
    component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<How>,
    /// The program that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    files: u64,
    /// Bytes deleted, changed or encrypted.
    bytes: u64,
    named: Vec<String>,
    /// Whether nothing of the component is there: the recovery begins with nothing.
    all_gone: bool,
}

#[async_trait]
impl Action for CauseDamage {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, &[])
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(chosen) = checkpoint else {
            return Ok(Reconciled::redo("nothing was damaged yet"));
        };
        Ok(Reconciled::Continue {
            evidence: json!({ "why": "the same files are damaged again", "seed": chosen["seed"] }),
        })
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let site = &self.0;
        let Some(sandbox) = site.sandbox() else {
            return Err(no_sandbox());
        };
        let scenario = scenario(site)?;
        let affected = site.system().affected_by(scenario);
        let earlier = checkpoint.and_then(|value| Chosen::deserialize(value).ok());
        let chosen = match earlier {
            Some(chosen) => chosen,
            None => self.choose(cx, sandbox, scenario).await?,
        };
        cx.checkpoint(json!(chosen)).await?;
        let mut done = Vec::new();
        for (component, spec) in affected.iter().filter_map(|name| site.component(name).ok()) {
            let gone = site.system().loses_all(scenario, component);
            if scenario.damage.is_empty() && spec.source.is_some() {
                done.push(self.gone(component));
            }
            for (at, damage) in site.system().damages(scenario, component) {
                let seed = damage.seed.unwrap_or(chosen.seed);
                let Some(how) = damage.how else {
                    self.program(cx, component, &damage.run).await?;
                    done.push(Done {
                        how: None,
                        run: damage.run.first().map(crate::prober::word),
                        all_gone: false,
                        ..self.gone(component)
                    });
                    continue;
                };
                if spec.source.is_none() {
                    continue;
                }
                if gone {
                    done.push(self.gone(component));
                    break;
                }
                let files = match chosen.files.get(&format!("{at} {component}")) {
                    Some(files) => files.clone(),
                    None => self.files(sandbox, component, spec, how).await?,
                };
                let below = sandbox.to_owned();
                let harm = blocking(move || files::damage(&files, &below, how, seed)).await?;
                done.push(Done {
                    component: component.to_owned(),
                    how: Some(how),
                    run: None,
                    seed: Some(seed),
                    files: harm.files.len() as u64,
                    bytes: harm.bytes,
                    named: harm.named(sandbox, NAMED),
                    all_gone: false,
                });
            }
        }
        let count = |of: fn(&Done) -> u64| number(done.iter().map(of).sum());
        let measures = Measures::from([
            ("files_damaged".to_owned(), count(|done| done.files)),
            ("bytes_damaged".to_owned(), count(|done| done.bytes)),
        ]);
        Ok(Output {
            value: json!({ "scenario": site.scenario(), "damage": done }),
            measures,
        })
    }
}

impl CauseDamage {
    /// Chooses the files before the first change. Each damage must have one.
    async fn choose(&self, cx: &StepContext, sandbox: &Path, scenario: &Scenario) -> Result<Chosen, Failure> {
        let (site, system) = (&self.0, self.0.system());
        let mut chosen = Chosen {
            seed: fresh_seed(cx),
            files: BTreeMap::new(),
        };
        for name in system.affected_by(scenario) {
            let (component, spec) = site.component(name)?;
            let damages = system.damages(scenario, component);
            for (at, damage) in damages.filter(|_| !system.loses_all(scenario, component)) {
                let Some(how) = damage.how.filter(|_| spec.source.is_some()) else {
                    continue;
                };
                let files = self.files(sandbox, component, spec, how).await?;
                if files.is_empty() {
                    let message = format!("{component} has no file to damage in this way");
                    return Err(Failure::permanent("nothing_to_damage", message)
                        .with_hint("choose another damage in the scenario, or other components"));
                }
                if let Some(count) = damage.count {
                    let seed = damage.seed.unwrap_or(chosen.seed);
                    let files = files::sample(files, sandbox, count, seed);
                    chosen.files.insert(format!("{at} {component}"), files);
                }
            }
        }
        Ok(chosen)
    }

    /// Returns the files of a component in the sandbox that can be damaged in this way.
    async fn files(
        &self,
        sandbox: &Path,
        component: &str,
        spec: &Component,
        how: How,
    ) -> Result<Vec<PathBuf>, Failure> {
        let Some(source) = &spec.source else {
            return Ok(Vec::new());
        };
        let placed = rekindle_sources::place(source, &self.0.root(sandbox.to_owned()))?;
        if placed.source.claim().is_none() || !placed.root.starts_with(sandbox) {
            let message = format!("only a program knows where the data of {component} is");
            return Err(Failure::permanent("no_files_to_damage", message)
                .with_hint("let the scenario damage it by `run`"));
        }
        blocking(move || {
            let found = placed.source.existing(&placed.root, &[])?;
            let mut files: Vec<PathBuf> = found.files.iter().map(|file| placed.root.join(file)).collect();
            files.retain(|file| files::can_be_damaged(file, how));
            files.sort_unstable();
            Ok(files)
        })
        .await
    }

    /// Runs a program that damages a component in the sandbox.
    async fn program(&self, cx: &StepContext, component: &str, run: &[Value]) -> Result<(), Failure> {
        let prober = Prober::new(&self.0, cx, None, Some(component));
        let words = prober.words(&json!(run));
        let words = words.map_err(|error| Failure::permanent(code::EXPRESSION, error.to_string()))?;
        let ended = prober.program(&words, None).await?;
        match ended.status.success() {
            true => Ok(()),
            false => {
                let message = format!("the damage to {component}: {}", ended.account());
                Err(ended
                    .redactor
                    .failure(Failure::permanent("damage_failed", message)))
            }
        }
    }

    fn gone(&self, component: &str) -> Done {
        Done {
            component: component.to_owned(),
            how: Some(How::Delete),
            run: None,
            seed: None,
            files: 0,
            bytes: 0,
            named: Vec::new(),
            all_gone: true,
        }
    }
}

/// Returns the scenario of the run.
pub(crate) fn scenario(site: &Site) -> Result<&Scenario, Failure> {
    let scenario = site.scenario().and_then(|name| site.system().scenarios.get(name));
    scenario.ok_or_else(|| {
        Failure::permanent(params::BAD_PARAMETER, "the run names no scenario of the system")
            .with_hint("start it with `rekindle drill SCENARIO`")
    })
}

/// Returns a seed that another drill does not have.
pub(crate) fn fresh_seed(cx: &StepContext) -> u64 {
    let hash = blake3::hash(cx.run.to_string().as_bytes());
    let bytes: [u8; 8] = std::array::from_fn(|at| hash.as_bytes()[at]);
    // JSON has no larger whole numbers everywhere.
    u64::from_le_bytes(bytes) >> 11
}
