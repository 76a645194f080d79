//! The targets of a system, judged: met, missed or no data, each with the figure, how it was computed, and from which
//! run.
//!
//! A backup is judged by the group `backup` and by what its proofs measured, a recovery by all groups. A target of another
//! group is about a number that a probe measures. What was not measured is *no data*, never met.

use std::collections::BTreeMap;

use rekindle_model::event::Measures;
use rekindle_model::expect::Expect;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::measured::{self, PERFORMANCE};
use rekindle_model::step::StepState;
use rekindle_model::system::{System, Target};
use rekindle_plan::{Plan, PlanStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup::BackupTable;
use crate::evidence::Evidence;
use crate::recovery::{RecoveryTable, Validity};

/// A target, judged by one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetRow {
    /// Its group in the system's file.
    pub group: String,
    /// Its name there.
    pub target: String,
    /// What the number must be.
    pub expect: Expect,
    /// The number; none is *no data*.
    pub figure: Option<f64>,
    /// Whether it is met; none without data.
    pub met: Option<bool>,
    /// How the number is computed.
    pub formula: String,
    /// The numbers that it was computed from.
    pub inputs: BTreeMap<String, f64>,
    /// Why there is no data.
    pub why: Option<String>,
    /// The runs that measured it.
    pub runs: Vec<RunId>,
    /// The share that the figure is, if it is one.
    #[serde(skip)]
    pub(crate) share: Option<Share>,
}

/// A share, so that those of several runs can be summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Share {
    /// What is counted as good, and how many are.
    pub(crate) good: (String, usize),
    /// Of how many.
    pub(crate) all: (String, usize),
    /// How many of these were not measured.
    pub(crate) open: usize,
}

impl Share {
    pub(crate) fn new(good: (&str, usize), all: (&str, usize)) -> Self {
        let named = |(name, count): (&str, usize)| (name.to_owned(), count);
        Self {
            good: named(good),
            all: named(all),
            open: 0,
        }
    }

    /// Returns the share as a number; none if there is nothing to be a share of.
    #[expect(clippy::cast_precision_loss, reason = "counts of components and checks")]
    pub(crate) fn value(&self) -> Option<f64> {
        (self.all.1 > 0).then(|| self.good.1 as f64 / self.all.1 as f64)
    }

    /// Adds the share of another run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.good.1 += other.good.1;
        self.all.1 += other.all.1;
        self.open += other.open;
    }
}

/// A number, and where it comes from.
#[derive(Default)]
pub(crate) struct Figure {
    value: Option<f64>,
    formula: String,
    inputs: BTreeMap<String, f64>,
    baseline: Option<f64>,
    /// The greatest value that it may have, if some of it was not measured; `value` is the least.
    most: Option<f64>,
    why: Option<String>,
    share: Option<Share>,
}

impl Figure {
    /// The share of `good` in `all`, of which `open` were not measured.
    fn between(good: usize, open: usize, all: usize) -> Self {
        let mut share = Share::new(("restored and valid", good), ("components", all));
        share.open = open;
        Self::of_share(share)
    }

    /// The share; none if there is nothing.
    pub(crate) fn of_share(share: Share) -> Self {
        let (good, all) = (number(share.good.1), number(share.all.1));
        let inputs = [(share.good.0.clone(), good), (share.all.0.clone(), all)];
        let mut figure = Self {
            value: (share.all.1 > 0).then(|| good / all),
            inputs: inputs.into(),
            ..Self::default()
        };
        if share.open > 0 {
            figure.most = Some(number(share.good.1 + share.open) / all);
            figure
                .inputs
                .insert("without data".to_owned(), number(share.open));
        }
        figure.share = Some(share);
        figure
    }

    pub(crate) fn none(formula: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            formula: formula.into(),
            why: Some(why.into()),
            ..Self::default()
        }
    }

    /// A number that Rekindle computes from these inputs.
    fn of<const N: usize>(value: Option<f64>, inputs: [(&str, f64); N]) -> Self {
        Self {
            value,
            inputs: inputs.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Self::default()
        }
    }

    /// The share `part / all`; none if there is nothing.
    fn share(part: (&str, usize), all: (&str, usize)) -> Self {
        Self::of_share(Share::new(part, all))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a system has far fewer than 2^52 components, copies and expectations"
)]
fn number(count: usize) -> f64 {
    count as f64
}

pub(crate) fn judged(
    group: &str,
    name: &str,
    target: &Target,
    runs: Vec<RunId>,
    mut figure: Figure,
) -> TargetRow {
    if let Some(known) = measured::find(group, name) {
        known.formula.clone_into(&mut figure.formula);
    }
    let expect = *target.expect();
    let is_met = |value: f64| expect.is_met_by(value, figure.baseline);
    let mut met = figure.value.and_then(is_met);
    // If a part was not measured, the target is decided only where that part cannot matter.
    if figure.most.is_some_and(|most| is_met(most) != met) {
        met = None;
        figure.why = Some("what was not measured decides it".to_owned());
    }
    if let Some(baseline) = figure.baseline.filter(|_| expect.of_baseline) {
        figure.inputs.insert("baseline".to_owned(), baseline);
    }
    let why = figure.why.or_else(|| {
        (met.is_none()).then(|| match figure.value {
            Some(_) => "the set that was recovered has no baseline of it".to_owned(),
            None => "there was nothing to measure".to_owned(),
        })
    });
    TargetRow {
        group: group.to_owned(),
        target: name.to_owned(),
        expect,
        figure: figure.value,
        met,
        formula: figure.formula,
        inputs: figure.inputs,
        why,
        runs,
        share: figure.share,
    }
}

/// Judges the targets of the group `backup` by a backup.
pub fn of_backup(evidence: &Evidence, plan: &Plan, system: &System, table: &BackupTable) -> Vec<TargetRow> {
    const GROUP: &str = "backup";
    let targets = system.targets.get(GROUP).into_iter().flatten();
    let copies = || table.components.iter().flat_map(|row| row.tiers.values());
    let read = copies().filter(|copy| copy.is_some()).count();
    let good = copies().filter(|copy| **copy == Some(true)).count();
    let of_this_run = |at| at >= table.began;
    let proofs = || table.proofs.values().filter(|proof| of_this_run(proof.at));
    let judged_proofs = proofs().filter(|proof| proof.valid.is_some()).count();
    let good_proofs = proofs().filter(|proof| proof.valid == Some(true)).count();
    let stored: Vec<(&PlanStep, &Value)> = plan
        .steps
        .iter()
        .filter(|step| step.uses == "store")
        .map(|step| (step, evidence.output(&step.id)))
        .filter(|(_, output)| !output["snapshot"].is_null())
        .collect();
    let figure = |name: &str| match name {
        "success_rate" => {
            let whole = table.components.iter().filter(|row| row.whole()).count();
            Figure::share(
                ("stored and verified", whole),
                ("attempted", table.components.len()),
            )
        }
        "completion_seconds" => Figure::of(table.duration.map(|took| took.as_secs_f64()), []),
        "verification_rate" => Figure::share(("read back", read), ("stored", stored.len())),
        "integrity" => Figure::share(
            ("found good", good + good_proofs),
            ("examined", read + judged_proofs),
        ),
        "stored_share" => stored_share(table, &stored),
        _ => Figure::none("", "Rekindle does not measure it"),
    };
    let mut rows: Vec<TargetRow> = targets
        .map(|(name, target)| judged(GROUP, name, target, vec![evidence.state.id], figure(name)))
        .collect();
    // What its proofs have measured; other targets wait for a run that measures them.
    rows.extend(of_probes(evidence, plan, system).filter(|row| row.figure.is_some()));
    rows
}

/// Judges the targets about numbers of probes.
fn of_probes<'a>(
    evidence: &'a Evidence,
    plan: &'a Plan,
    system: &'a System,
) -> impl Iterator<Item = TargetRow> + 'a {
    let groups = system
        .targets
        .iter()
        .filter(|(group, _)| measured::of_group(group).next().is_none());
    groups.flat_map(move |(group, targets)| {
        targets.iter().map(move |(name, target)| {
            let figure = of_probe(evidence, plan, system, name, target);
            judged(group, name, target, vec![evidence.state.id], figure)
        })
    })
}

fn stored_share(table: &BackupTable, stored: &[(&PlanStep, &Value)]) -> Figure {
    let bytes = |value: &Value| value.as_f64().unwrap_or_default();
    let source = |step: &PlanStep| {
        let component = step.each.get("component");
        let row = table
            .components
            .iter()
            .find(|row| Some(&row.component) == component);
        row.and_then(|row| row.bytes).map_or(0.0, |bytes| bytes as f64)
    };
    let kept: f64 = stored
        .iter()
        .map(|(_, output)| bytes(&output["bytes_stored"]) + bytes(&output["bytes_present"]))
        .sum();
    let sources: f64 = stored.iter().map(|(step, _)| source(step)).sum();
    let share = (sources > 0.0).then(|| kept / sources);
    Figure::of(share, [("bytes stored", kept), ("bytes of the sources", sources)])
}

/// Judges all targets of a system by a recovery.
pub fn of_recovery(
    evidence: &Evidence,
    plan: &Plan,
    system: &System,
    table: &RecoveryTable,
) -> Vec<TargetRow> {
    let run = evidence.state.id;
    // Shares of other targets come last.
    let mut rows: Vec<TargetRow> = of_probes(evidence, plan, system).collect();
    for (group, why) in [
        ("backup", "each backup judges it"),
        (
            "availability",
            "it is about a period: `rekindle targets` judges it",
        ),
        ("testing", "it is about a period: `rekindle targets` judges it"),
    ] {
        let targets = system.targets.get(group).into_iter().flatten();
        rows.extend(
            targets.map(|(name, target)| judged(group, name, target, vec![run], Figure::none("", why))),
        );
    }
    let performance = || {
        rows.iter()
            .filter(|row| row.group == PERFORMANCE && row.met.is_some())
    };
    let met = performance().filter(|row| row.met == Some(true)).count();
    let performance = (met, performance().count());
    let of_recovery = system.targets.get("recovery").into_iter().flatten();
    let of_recovery: Vec<TargetRow> = of_recovery
        .map(|(name, target)| {
            let figure = of_table(evidence, plan, table, name, performance);
            judged("recovery", name, target, vec![run], figure)
        })
        .collect();
    rows.extend(of_recovery);
    rows.sort_by(|a, b| (&a.group, &a.target).cmp(&(&b.group, &b.target)));
    rows
}

/// Returns a number of the group `recovery`. `performance` is how many targets of that group are met, and of how many.
fn of_table(
    evidence: &Evidence,
    plan: &Plan,
    table: &RecoveryTable,
    name: &str,
    performance: (usize, usize),
) -> Figure {
    let rows = &table.components;
    match name {
        "success_rate" => {
            let of = |valid| {
                rows.iter()
                    .filter(|row| row.valid == valid && !row.rto.failed)
                    .count()
            };
            Figure::between(of(Validity::Yes), of(Validity::NoData), rows.len())
        }
        "rto_compliance" => {
            let met: Vec<bool> = rows.iter().filter_map(|row| row.rto.met()).collect();
            share_of("within their RTO", &met)
        }
        "rpo_compliance" => {
            let classes = rows.iter().flat_map(|row| &row.rpo);
            let met: Vec<bool> = classes.filter_map(|class| class.rpo.met()).collect();
            share_of("within their RPO", &met)
        }
        "validation_rate" => share_of(
            "met",
            &expectations(evidence, plan, &["validate", "system-integrity"]),
        ),
        "post_recovery_performance" => Figure::share(("met", performance.0), ("judged", performance.1)),
        _ => Figure::none("", "Rekindle does not measure it"),
    }
}

fn share_of(what: &str, met: &[bool]) -> Figure {
    let good = met.iter().filter(|met| **met).count();
    Figure::share((what, good), ("judged", met.len()))
}

/// One expectation of a validation, as the journal keeps it.
#[derive(Deserialize)]
struct Check {
    ok: Option<bool>,
}

/// Returns which expectations of the steps that use one of these actions are met.
pub(crate) fn expectations(evidence: &Evidence, plan: &Plan, actions: &[&str]) -> Vec<bool> {
    let judges = plan
        .steps
        .iter()
        .filter(|step| actions.contains(&step.uses.as_str()));
    judges.flat_map(|step| met(evidence, &step.id)).collect()
}

/// Returns which expectations of a judging step are met. A step that failed before it could judge counts as one that is
/// not.
fn met(evidence: &Evidence, step: &StepId) -> Vec<bool> {
    let checks: Vec<Check> = Vec::deserialize(&evidence.judgement(step)["checks"]).unwrap_or_default();
    let failed = matches!(evidence.state.step(step).state, StepState::Failed { .. });
    match checks.is_empty() && failed {
        true => vec![false],
        false => checks.into_iter().filter_map(|check| check.ok).collect(),
    }
}

/// Returns a number that a probe printed: that of the target's component, else of the first one in the order of recovery.
fn of_probe(evidence: &Evidence, plan: &Plan, system: &System, name: &str, target: &Target) -> Figure {
    let (component, measure) = match target {
        Target::Measured {
            component, measure, ..
        } => (component.as_deref(), measure.as_deref()),
        Target::Expect(_) => (None, None),
    };
    let measure = measure.unwrap_or(name);
    let names: Vec<&str> = match component {
        Some(component) => system
            .component(component)
            .map(|(own, _)| own)
            .into_iter()
            .collect(),
        None => system.components_by_priority(),
    };
    let validations = |name: &str| {
        let of = name.to_owned();
        plan.steps
            .iter()
            .filter(move |step| step.uses == "validate" && step.each.get("component") == Some(&of))
    };
    let integrity = plan
        .steps
        .iter()
        .filter(|step| step.uses == "system-integrity" && component.is_none());
    let steps = names.iter().flat_map(|name| validations(name)).chain(integrity);
    for step in steps {
        let Some(value) = measures(evidence, &step.id).get(measure).copied() else {
            continue;
        };
        let judgement = evidence.judgement(&step.id);
        let by = step
            .each
            .get("component")
            .map_or(step.id.as_str(), String::as_str);
        return Figure {
            value: Some(value),
            formula: format!("{measure}, as a probe of {by} measured it"),
            inputs: BTreeMap::from([(measure.to_owned(), value)]),
            baseline: judgement["baseline"][measure].as_f64(),
            most: None,
            why: None,
            share: None,
        };
    }
    let whose = component.map_or_else(String::new, |component| format!(" of {component}"));
    Figure::none(measure, format!("no probe{whose} has printed {measure}"))
}

/// Returns the numbers that a judging step measured, also if its judgement was bad.
fn measures(evidence: &Evidence, step: &StepId) -> Measures {
    match evidence.state.step(step).state {
        StepState::Succeeded { measures, .. } => measures,
        _ => Measures::deserialize(&evidence.judgement(step)["measures"]).unwrap_or_default(),
    }
}

/// Returns each missed target, in words.
pub fn missed(rows: &[TargetRow]) -> Vec<String> {
    let missed = rows.iter().filter(|row| row.met == Some(false));
    missed.map(TargetRow::sentence).collect()
}

impl TargetRow {
    /// Returns the target with its figure, for people.
    pub fn sentence(&self) -> String {
        let name = format!("{}.{}", self.group, self.target);
        match self.figure {
            Some(figure) => format!("{name} is {}, target {}", shown(figure), self.expect),
            None => format!("{name}: no data, target {}", self.expect),
        }
    }
}

/// Returns a figure with at most four significant decimals.
pub(crate) fn shown(figure: f64) -> String {
    let text = match figure.abs() {
        size if size >= 1000.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
