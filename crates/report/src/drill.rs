//! What the drill of a scenario proved: the damage, whether it was noticed, and how the recovery went.
//!
//! ```text
//!   locate   set up        damage     detect    restore, validate    integrity   clean up
//!   ──┼────────┼─────────────┼───────────┼──────────────┼───────────────┼───────────┼──►
//!                            └─────────────── RTO ──────┘
//!     └──────────────────────────────── total test time ─────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::event::Outcome;
use rekindle_model::id::Hash32;
use rekindle_model::measured::PERFORMANCE;
use rekindle_model::system::System;
use rekindle_plan::{Plan, PlanStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::Evidence;
use crate::recovery::{DAMAGE, RecoveryTable, Validity, first_error, struck};
use crate::targets::{self, Share, TargetRow, expectations};

/// The action that puts the system under load.
const LOAD: &str = "load";
/// The action that verifies damaged copies.
const INJECT_FAULTS: &str = "inject-faults";
/// The action that runs the validations before the recovery.
const DETECT_DAMAGE: &str = "detect-damage";

/// The drill of a scenario, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrillTable {
    /// The scenario.
    pub scenario: String,
    /// The data came from the stored copies alone.
    pub environment: &'static str,
    /// Whether every validation and every check after the recovery succeeded, the damage was noticed before it, and nothing
    /// of the sandbox is left.
    pub success: bool,
    /// Why it is no success, as sentences.
    pub failures: Vec<String>,
    /// When the damage was done.
    pub struck: Option<DateTime<Utc>>,
    /// What was damaged.
    pub damage: Vec<DamageRow>,
    /// Whether the validations noticed it, by component.
    pub detection: BTreeMap<String, Detection>,
    /// The time from the damage to the last validation, in seconds.
    #[serde(with = "crate::seconds", rename = "recovery_seconds")]
    pub recovery: Option<Duration>,
    /// Whether the scenario's RTO was met, or without one each component's; none without data.
    pub rto_met: Option<bool>,
    /// Whether the scenario's RPO was met, or without one that of each class; none without data.
    pub rpo_met: Option<bool>,
    /// The share of the recovered components that work.
    pub functionality_restored: Option<f64>,
    /// The share of the performance targets that are met.
    pub performance_maintained: Option<f64>,
    /// The time of the whole drill, in seconds.
    #[serde(with = "crate::seconds", rename = "total_seconds")]
    pub total: Option<Duration>,
    /// How old the set was when the damage was done, in seconds.
    #[serde(with = "crate::seconds", rename = "set_age_seconds")]
    pub set_age: Option<Duration>,
    /// The tiers that gave the data.
    pub tiers: Vec<String>,
    /// The bytes that the recovery restored.
    pub bytes: u64,
    /// How many of them a second.
    pub bytes_per_second: Option<f64>,
    /// What the load before the disaster measured, by number.
    pub load_before: BTreeMap<String, f64>,
    /// What the same load measured beside the recovery.
    pub load: BTreeMap<String, f64>,
    /// What a verification found of the damaged copies, by tier.
    pub injected: Vec<InjectedRow>,
    /// The hash of the workflow that the run is pinned to.
    pub plan: Hash32,
    /// The version of Rekindle.
    pub version: Option<String>,
}

impl DrillTable {
    /// Returns whether it is a success and met the RTO and the RPO of its scenario.
    pub fn holds(&self) -> bool {
        self.success && self.rto_met != Some(false) && self.rpo_met != Some(false)
    }
}

/// What happened to a component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DamageRow {
    /// The component.
    pub component: String,
    /// What happened to its files.
    pub how: Option<String>,
    /// The program that did it.
    pub run: Option<String>,
    /// What the files and bytes were chosen by.
    pub seed: Option<u64>,
    /// How many files.
    pub files: u64,
    /// Bytes deleted, changed or encrypted.
    pub bytes: u64,
    /// The first of the files.
    pub named: Vec<String>,
    /// Whether nothing of it was left: the recovery began with nothing.
    pub all_gone: bool,
}

/// What a verification found in a tier of which it read damaged copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InjectedRow {
    /// The tier.
    pub tier: String,
    /// What the objects were chosen by.
    pub seed: u64,
    /// How many objects were damaged.
    pub injected: u64,
    /// How many of them the verification named.
    pub detected: u64,
    /// The objects, and what was wrong with each.
    pub faults: Vec<Value>,
    /// Those that it did not name.
    pub missed: Vec<Value>,
    /// Objects that it named besides: false alarms, or damage that was there before.
    pub false_alarms: Vec<Value>,
}

/// Whether the damage of a component was noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// None if nothing validates the component.
    pub detected: Option<bool>,
    /// What its validations found.
    pub why: String,
}

fn of<'p>(plan: &'p Plan, uses: &str) -> Option<&'p PlanStep> {
    plan.steps.iter().find(|step| step.uses == uses)
}

/// Returns what the drill of a scenario proved; none if the run is no such drill.
pub fn drill_table(
    evidence: &Evidence,
    plan: &Plan,
    system: &System,
    table: &RecoveryTable,
) -> Option<DrillTable> {
    let state = &evidence.state;
    let damage = of(plan, DAMAGE);
    let injects = || plan.steps.iter().filter(|step| step.uses == INJECT_FAULTS);
    if damage.is_none() && injects().next().is_none() {
        return None;
    }
    let done = damage.map_or(&Value::Null, |step| &evidence.output(&step.id)["damage"]);
    let loads = || {
        let steps = plan.steps.iter().filter(|step| step.uses == LOAD);
        steps.map(|step| {
            let found = evidence.judgement(&step.id)["load"].clone();
            serde_json::from_value(found).unwrap_or_default()
        })
    };
    let injected = injects().map(|step| evidence.judgement(&step.id));
    let injected = injected.filter_map(|found| serde_json::from_value(found).ok());
    let found = of(plan, DETECT_DAMAGE).map(|step| evidence.judgement(&step.id));
    let detection: BTreeMap<String, Detection> = found
        .and_then(|found| serde_json::from_value(found["components"].clone()).ok())
        .unwrap_or_default();
    let rows = targets::of_recovery(evidence, plan, system, table);
    let shares = shares_of_drill(evidence, plan, table, &rows);
    let share = |name: &str| shares.get(name).and_then(Share::value);
    let met = |name: &str| share(name).map(|share| share >= 1.0);
    let bytes = table.components.iter().filter_map(|row| row.bytes).sum();
    let took = restored_in(evidence, plan);
    let mut tiers: Vec<String> = plan
        .steps
        .iter()
        .filter(|step| step.uses == "restore")
        .filter_map(|step| evidence.output(&step.id)["preferred_tier"].as_str())
        .map(str::to_owned)
        .collect();
    tiers.sort_unstable();
    tiers.dedup();
    let struck = struck(evidence, plan).map(|stamp| stamp.utc);
    let name = table.scenario.clone().unwrap_or_default();
    let mut failures = failures(table, &detection);
    let others = plan
        .steps
        .iter()
        .filter(|step| [LOAD, INJECT_FAULTS, DETECT_DAMAGE].contains(&step.uses.as_str()));
    // If the detection has judged, `failures` already names each component that it missed.
    let others = others.filter(|step| step.uses != DETECT_DAMAGE || detection.is_empty());
    failures.extend(others.filter_map(|step| first_error(evidence, &step.id)));
    if let (Some(scenario), Some(_)) = (system.scenarios.get(&name), state.outcome) {
        let stated = [
            ("RTO", scenario.rto.is_some(), met("rto_compliance")),
            ("RPO", scenario.rpo.is_some(), met("rpo_compliance")),
        ];
        let unknown = stated
            .iter()
            .filter(|(_, stated, met)| damage.is_some() && *stated && met.is_none());
        failures.extend(unknown.map(|(what, ..)| format!("the {what} of the scenario has no data")));
    }
    Some(DrillTable {
        scenario: name,
        environment: "isolated_test",
        success: failures.is_empty() && state.outcome == Some(Outcome::Succeeded),
        failures,
        struck,
        damage: serde_json::from_value(done.clone()).unwrap_or_default(),
        detection,
        recovery: table.system_rto.actual,
        rto_met: met("rto_compliance"),
        rpo_met: met("rpo_compliance"),
        functionality_restored: share("functionality_restored"),
        performance_maintained: share("performance_maintained"),
        total: state
            .outcome
            .map(|_| state.updated.since(&state.created).duration),
        set_age: struck
            .zip(table.set_created)
            .and_then(|(struck, created)| (struck - created).to_std().ok()),
        tiers,
        bytes,
        load_before: loads().next().unwrap_or_default(),
        load: loads().nth(1).unwrap_or_default(),
        injected: injected.collect(),
        bytes_per_second: took
            .filter(|took| !took.is_zero())
            .map(|took| per_second(bytes, took)),
        plan: state.definition,
        version: state.adoptions.last().map(|it| it.worker.version.clone()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no exact bytes")]
fn per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}

/// Returns why a drill is no success.
fn failures(table: &RecoveryTable, detection: &BTreeMap<String, Detection>) -> Vec<String> {
    let mut failures: Vec<String> = detection
        .iter()
        .filter(|(_, found)| found.detected == Some(false))
        .map(|(name, _)| format!("no validation noticed the damage to {name}"))
        .collect();
    for row in &table.components {
        match (&row.error, row.valid) {
            (Some(error), _) => failures.push(format!("{}: {error}", row.component)),
            (None, Validity::No) => {
                failures.push(format!("{} is not valid after its recovery", row.component))
            }
            (None, Validity::Yes | Validity::NoData) => {}
        }
    }
    if table.operational == Some(false) {
        failures.push("checks across components do not hold".to_owned());
    }
    if table.rule.as_ref().is_some_and(|rule| rule.holds == Some(false)) {
        failures.push("the rule system_operational does not hold".to_owned());
    }
    if table.sandbox_removed == Some(false) {
        failures.push("the sandbox could not be removed".to_owned());
    }
    failures
}

/// Returns the time from the start of the first restore to the end of the last one.
fn restored_in(evidence: &Evidence, plan: &Plan) -> Option<Duration> {
    let restores = plan.steps.iter().filter(|step| step.uses == "restore");
    let records: Vec<_> = restores.map(|step| evidence.state.step(&step.id)).collect();
    let first = records
        .iter()
        .filter_map(|it| it.first_started)
        .min_by_key(|stamp| stamp.utc)?;
    let last = records
        .iter()
        .filter_map(|it| it.ended)
        .max_by_key(|stamp| stamp.utc)?;
    Some(last.since(&first).duration)
}

/// Returns the shares of the group `testing` that a drill measures by itself.
pub(crate) fn shares_of_drill(
    evidence: &Evidence,
    plan: &Plan,
    table: &RecoveryTable,
    rows: &[TargetRow],
) -> BTreeMap<&'static str, Share> {
    let one = |name: &'static str, met: Option<bool>, what| {
        met.map(|met| (name, Share::new((what, usize::from(met)), ("drills judged", 1))))
    };
    let losses = || {
        table
            .components
            .iter()
            .flat_map(|row| row.rpo.iter().filter_map(|class| class.rpo.met()))
    };
    let rpo = match table.scenario_rpo.met() {
        None => losses().next().map(|_| losses().all(|met| met)),
        told => told,
    };
    let rtos = || table.components.iter().filter_map(|row| row.rto.met());
    let rto = match table.system_rto.met() {
        None => rtos().next().map(|_| rtos().all(|met| met)),
        told => told,
    };
    let shares = [
        one("rto_compliance", rto, "within their RTO"),
        one("rpo_compliance", rpo, "within their RPO"),
    ];
    let count = |what, good: usize, of, all: usize| Share::new((what, good), (of, all));
    let of_valid = |valid| table.components.iter().filter(|row| row.valid == valid).count();
    let (works, fails) = (of_valid(Validity::Yes), of_valid(Validity::No));
    let restored: Vec<bool> = table.components.iter().filter_map(|row| row.restored).collect();
    let whole = restored.iter().filter(|restored| **restored).count();
    let met = expectations(evidence, plan, &["validate", "system-integrity"]);
    let across = expectations(evidence, plan, &["system-integrity"]);
    let good = |met: &[bool]| met.iter().filter(|met| **met).count();
    let performance = || {
        rows.iter()
            .filter(|row| row.group == PERFORMANCE)
            .filter_map(|row| row.met)
    };
    let kept = performance().filter(|met| *met).count();
    let counted = [
        (
            "functionality_restored",
            count("components that worked", works, "components tried", works + fails),
        ),
        (
            "backup_verification",
            count("copies found good", whole, "copies examined", restored.len()),
        ),
        (
            "recovery_validation",
            count("expectations met", good(&met), "measured", met.len()),
        ),
        (
            "data_consistency",
            count("checks that held", good(&across), "measured", across.len()),
        ),
        (
            "performance_maintained",
            count("performance targets met", kept, "judged", performance().count()),
        ),
    ];
    shares.into_iter().flatten().chain(counted).collect()
}
