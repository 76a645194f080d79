//! How a recovery met its objectives: RTO of each component, RPO of each data class, the whole system.
//!
//! ```text
//!   consistency point        disaster_at              run created        last validation succeeded
//!   ───────┼──────────────────────┼──────────────────────────┼─────────────────────────┼──────►
//!          └──── RPO (wall) ──────┘                          └──── CLOCK_BOOTTIME ─────┘
//!                                 └───────────────────── RTO ──────────────────────────┘
//! ```
//! Every figure comes from journaled records. What was not measured is *no data*, never met and never valid.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::event::{Event, Outcome, SkipReason};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::{Plan, PlanStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup::sentences;
use crate::evidence::Evidence;
use crate::provenance::{self, Fallback, OfSet};
use crate::rule::AppliedRule;
use crate::unheld::{self, Unheld};
use crate::units::duration;

/// The action that causes the disaster of a drill.
pub(crate) const DAMAGE: &str = "damage";

/// The action that restores what a drill damages.
const SET_UP: &str = "set-up";

/// A recovery, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryTable {
    /// The scenario, if the run names one.
    pub scenario: Option<String>,
    /// The recovery set that was restored.
    pub set: Option<String>,
    /// When that set was sealed.
    pub set_created: Option<DateTime<Utc>>,
    /// Newer sets that no tier gives, as sentences: a person accepted to do without them.
    pub newer_lost: Vec<String>,
    /// Newer sets that were not taken, as sentences that say why.
    pub passed_over: Vec<String>,
    /// Warnings that a component would miss its RTO or has missed it, oldest first, each at its time.
    pub at_risk: Vec<AtRisk>,
    /// What the search for the set warns of.
    pub warnings: Vec<String>,
    /// Whether anything outside of the tiers' own listings says which set is the newest; none before the search.
    pub confirmed: Option<bool>,
    /// The components of that set that were recovered, and those that nobody asked for.
    pub of_set: OfSet,
    /// When the disaster struck.
    pub disaster_at: DateTime<Utc>,
    /// Whether a person gave that instant; else it is assumed to be the run's start.
    pub disaster_at_told: bool,
    /// Whether it is the end of the damage that a drill has done.
    pub disaster_caused: bool,
    /// The components, most urgent first.
    pub components: Vec<ComponentRow>,
    /// The scenario's RTO; without one, the complete system's if all of it was recovered.
    pub system_rto: Objective,
    /// The same, with the time until everything ended well, also what no validation measured.
    #[serde(skip)]
    pub took: Objective,
    /// The scenario's RPO against the oldest of the restored data.
    pub scenario_rpo: Objective,
    /// Whether the checks across components hold; none if nothing was measured.
    pub operational: Option<bool>,
    /// The rule `system_operational`, as it was applied.
    pub rule: Option<AppliedRule>,
    /// Whether the sandbox of a drill is removed; none if the run is no drill, or has not come so far.
    pub sandbox_removed: Option<bool>,
    /// Whether the programs of a drill could reach nothing but its sandbox: `full` or `partial`; none before its end, and for
    /// other runs.
    pub isolation: Option<String>,
    /// Why the isolation is partial.
    pub isolation_lacks: Option<String>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
}

/// A warning during a recovery: a component or the whole would miss its RTO, or has missed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtRisk {
    /// When it was journaled.
    #[serde(default)]
    pub at: DateTime<Utc>,
    /// The component; none for the recovery as a whole.
    pub component: Option<String>,
    /// The time from the disaster to the end of its restore, as forecast then, in seconds.
    pub forecast_seconds: f64,
    /// Its RTO, in seconds.
    pub target_seconds: f64,
    /// Whether the RTO had passed.
    pub missed: bool,
}

impl AtRisk {
    /// Returns the warnings in a checkpoint.
    pub fn of(at: DateTime<Utc>, progress: &Value) -> Vec<Self> {
        let objectives = progress["objectives"].as_array().into_iter().flatten();
        let read = |objective: &Value| serde_json::from_value::<Self>(objective.clone()).ok();
        let warnings = objectives.filter_map(read);
        warnings.map(|warning| Self { at, ..warning }).collect()
    }

    /// Returns the warning for people.
    pub fn sentence(&self) -> String {
        let shown = |seconds| duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        let who = self.component.as_deref().unwrap_or("the recovery as a whole");
        let rto = shown(self.target_seconds);
        match self.missed {
            true => format!("{who} has missed its RTO of {rto}"),
            false => format!(
                "{who} will miss its RTO of {rto}: at this rate its restore ends {} after the disaster",
                shown(self.forecast_seconds)
            ),
        }
    }
}

/// One component of a recovery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentRow {
    /// Its name.
    pub component: String,
    /// Whether its data was restored; none if it has no data of its own.
    pub restored: Option<bool>,
    /// The judgement of its probes.
    pub valid: Validity,
    /// Its RTO, and the time until a validation found it valid.
    pub rto: Objective,
    /// The time until its last step ended well, also if no validation measured anything.
    #[serde(skip)]
    pub ended: Option<Duration>,
    /// Each of its data classes' RPO and the loss.
    pub rpo: Vec<ClassRow>,
    /// Bytes restored.
    pub bytes: Option<u64>,
    /// Data that another tier gave in place of the preferred one.
    pub elsewhere: Vec<Fallback>,
    /// What the target could not hold.
    pub unheld: Vec<Unheld>,
    /// Why it did not come through.
    pub error: Option<String>,
}

/// One data class of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// The class.
    pub class: String,
    /// Its RPO and the time that was lost.
    pub rpo: Objective,
}

/// An objective in time, and the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Objective {
    /// The objective, in seconds.
    #[serde(with = "crate::seconds", rename = "target_seconds")]
    pub target: Option<Duration>,
    /// The measured time, in seconds; none is *no data*.
    #[serde(with = "crate::seconds", rename = "actual_seconds")]
    pub actual: Option<Duration>,
    /// Whether the figure rests on a clock that may have changed in between.
    pub clock_uncertain: bool,
    /// Whether the run ended without success in it: then it is missed, however long that took.
    pub failed: bool,
}

impl Objective {
    /// Returns whether the objective was met; none if it is not set or was not measured.
    pub fn met(&self) -> Option<bool> {
        let target = self.target?;
        match self.failed {
            true => Some(false),
            false => Some(self.actual? <= target),
        }
    }
}

/// The judgement of a component's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// All that was expected was measured and holds.
    Yes,
    /// Something does not hold.
    No,
    /// Nothing was measured.
    NoData,
}

impl RecoveryTable {
    /// Returns every objective that was missed, in words.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let mut judge = |what: String, objective: &Objective| {
            if objective.met() == Some(false) {
                missed.push(what);
            }
        };
        for row in &self.components {
            judge(format!("RTO of {}", row.component), &row.rto);
            row.rpo
                .iter()
                .for_each(|class| judge(format!("RPO of {} ({})", class.class, row.component), &class.rpo));
        }
        judge("RTO of the whole".to_owned(), &self.system_rto);
        judge("RPO of the scenario".to_owned(), &self.scenario_rpo);
        missed
    }

    /// Returns what the target could not hold: a sentence for each component and kind.
    pub fn unheld(&self) -> Vec<String> {
        let of = |row: &ComponentRow| {
            let kinds = row.unheld.iter();
            kinds
                .map(|one| format!("{}: {}", row.component, one.sentence()))
                .collect::<Vec<_>>()
        };
        self.components.iter().flat_map(of).collect()
    }

    /// Returns the data that came from another tier than the preferred one, and why: a sentence for each
    /// component and tier.
    pub fn fell_back(&self) -> Vec<String> {
        let of = |row: &ComponentRow| {
            let fallbacks = row.elsewhere.iter();
            fallbacks
                .map(|one| one.sentence(&row.component))
                .collect::<Vec<_>>()
        };
        self.components.iter().flat_map(of).collect()
    }
}

/// Returns how a recovery met the objectives of the system that it is pinned to.
pub fn recovery_table(evidence: &Evidence, plan: &Plan, system: &System) -> RecoveryTable {
    let state = &evidence.state;
    let struck = struck(evidence, plan);
    let assumed = struck.unwrap_or(state.created).utc;
    let disaster = Disaster {
        at: state.disaster_at.filter(|_| struck.is_none()).unwrap_or(assumed),
        struck,
    };
    let mut names: Vec<&str> = Vec::new();
    // What a drill only sets up is not recovered.
    let recovers = plan.steps.iter().filter(|step| step.uses != SET_UP);
    for name in recovers.filter_map(|step| step.each.get("component")) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| {
        (
            system.components.get(*name).map_or(u32::MAX, |c| c.priority),
            *name,
        )
    });
    let components: Vec<ComponentRow> = names
        .iter()
        .map(|name| {
            let steps = plan
                .steps
                .iter()
                .filter(|step| step.each.get("component").is_some_and(|own| own == name));
            component_row(evidence, system, name, disaster, &steps.collect::<Vec<_>>())
        })
        .collect();
    let scenario = evidence
        .param("scenario")
        .as_str()
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    let declared = scenario.as_ref().and_then(|name| system.scenarios.get(name));
    let target = system.rto_of_all(scenario.as_deref(), names.iter().copied());
    let slowest = |of: fn(&ComponentRow) -> Option<Duration>| {
        let all = components.iter().map(of).collect::<Option<Vec<_>>>();
        all.and_then(|all| all.into_iter().max())
    };
    let system_rto = Objective {
        target,
        actual: slowest(|row| row.rto.actual),
        clock_uncertain: components.iter().any(|row| row.rto.clock_uncertain),
        failed: components.iter().any(|row| row.rto.failed),
    };
    let took = Objective {
        actual: slowest(|row| row.ended),
        ..system_rto.clone()
    };
    let losses = components
        .iter()
        .flat_map(|row| &row.rpo)
        .filter_map(|class| class.rpo.actual);
    let scenario_rpo = Objective {
        target: declared.and_then(|scenario| scenario.rpo).map(|period| period.0),
        actual: losses.max(),
        clock_uncertain: components
            .iter()
            .flat_map(|row| &row.rpo)
            .any(|class| class.rpo.clock_uncertain),
        failed: false,
    };
    let first = |uses: &str| {
        plan.steps
            .iter()
            .find(|step| step.uses == uses)
            .map(|step| evidence.output(&step.id))
    };
    let clean_up = plan.steps.iter().find(|step| step.uses == "remove-sandbox");
    let cleaned = clean_up.map_or(&Value::Null, |step| evidence.output(&step.id));
    let integrity = plan.steps.iter().find(|step| step.uses == "system-integrity");
    let integrity = integrity.map_or(Value::Null, |step| evidence.judgement(&step.id));
    RecoveryTable {
        scenario,
        set: first("locate-set")
            .and_then(|output| output["set"].as_str())
            .map(str::to_owned),
        set_created: first("locate-set").and_then(|output| instant(&output["created"])),
        newer_lost: first("locate-set").map_or_else(Vec::new, |output| sentences(&output["newer_lost"])),
        passed_over: first("locate-set").map_or_else(Vec::new, |output| sentences(&output["passed_over"])),
        at_risk: at_risk(evidence),
        warnings: first("locate-set").map_or_else(Vec::new, |output| sentences(&output["warnings"])),
        confirmed: first("locate-set").and_then(|output| output["confirmed"].as_bool()),
        of_set: provenance::of_set(
            evidence,
            plan,
            |name| {
                let row = components.iter().find(|row| row.component == name)?;
                Some(row.restored == Some(true))
            },
            |name| system.component(name).is_some(),
        ),
        disaster_at: disaster.at,
        disaster_at_told: state.disaster_at_told,
        disaster_caused: struck.is_some(),
        components,
        system_rto,
        took,
        scenario_rpo,
        operational: integrity["operational"].as_bool(),
        rule: AppliedRule::of(&integrity["rule"]),
        isolation: cleaned["isolation"].as_str().map(str::to_owned),
        isolation_lacks: cleaned["isolation_lacks"].as_str().map(str::to_owned),
        sandbox_removed: clean_up.and_then(|step| match evidence.state.step(&step.id).state {
            StepState::Succeeded { .. } => Some(true),
            StepState::Failed { .. } => Some(false),
            _ => None,
        }),
        outcome: state.outcome,
    }
}

/// Returns when the drill of a scenario caused the disaster; none before, and for other runs.
pub(crate) fn struck(evidence: &Evidence, plan: &Plan) -> Option<Stamp> {
    let damage = plan.steps.iter().find(|step| step.uses == DAMAGE)?;
    let record = evidence.state.step(&damage.id);
    match record.state {
        StepState::Succeeded { .. } => record.ended,
        _ => None,
    }
}

fn at_risk(evidence: &Evidence) -> Vec<AtRisk> {
    let checkpoints = evidence.records.iter().filter_map(|record| match &record.event {
        Event::StepCheckpoint { progress, .. } => {
            Some(AtRisk::of(record.time.utc, &evidence.resolve(progress)))
        }
        _ => None,
    });
    // The validation tells of a miss again that the restore has told of.
    let mut missed = BTreeSet::new();
    checkpoints
        .flatten()
        .filter(|warning| !warning.missed || missed.insert(warning.component.clone()))
        .collect()
}

/// A folder with data that a recovery in place moved aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Displaced {
    /// The folder.
    pub folder: String,
    /// Where its content was.
    pub root: String,
}

/// Returns the folders with the data that a recovery in place moved aside, also for unfinished steps; empty
/// if nothing was moved.
pub fn set_aside(evidence: &Evidence, plan: &Plan) -> Vec<Displaced> {
    let mut displaced: Vec<Displaced> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.uses == "set-aside") {
        let begun = evidence.state.step(&step.id).checkpoint;
        let begun = begun.map_or(Value::Null, |progress| evidence.resolve(&progress));
        for value in [evidence.output(&step.id), &begun] {
            let root = value["root"].as_str().unwrap_or_default();
            let named = value["aside"].as_array().into_iter().flatten();
            displaced.extend(named.filter_map(Value::as_str).map(|folder| Displaced {
                folder: folder.to_owned(),
                root: root.to_owned(),
            }));
        }
    }
    displaced.sort_unstable();
    displaced.dedup();
    displaced
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(instant.to_utc())
}

fn component_row(
    evidence: &Evidence,
    system: &System,
    name: &str,
    disaster: Disaster,
    steps: &[&PlanStep],
) -> ComponentRow {
    let component = system.components.get(name);
    let of = |uses: &'static str| steps.iter().filter(move |step| step.uses == uses);
    let restore = of("restore").next();
    let consistency_point = restore
        .map(|step| evidence.output(&step.id))
        .and_then(|output| instant(&output["consistency_point"]));
    let created = &evidence.state.created;
    // Wall clocks give both ends of a loss, and the time before the run. If a clock was set in between, the
    // figure is wrong. Before the capture, nothing but wall time is known.
    let clock_set = restore
        .and_then(|step| {
            serde_json::from_value::<Stamp>(evidence.output(&step.id)["consistency_stamp"].clone()).ok()
        })
        .is_some_and(|captured| created.was_set_since(&captured));
    let validations: Vec<&StepId> = of("validate").map(|step| &step.id).collect();
    let valid = validity(evidence, &validations);
    let whole = steps
        .iter()
        .all(|step| matches!(evidence.state.step(&step.id).state, StepState::Succeeded { .. }));
    let back = match whole {
        true => last_end(evidence, &validations),
        false => None,
    };
    let failed = evidence.state.outcome.is_some() && (valid == Validity::No || !whole);
    let (ended, clock_uncertain) = match back {
        Some(back) => {
            let (actual, uncertain) = since_disaster(created, &back, disaster);
            (actual, uncertain || clock_set && evidence.state.disaster_at_told)
        }
        None => (None, false),
    };
    let restored = component
        .and_then(|component| component.source.as_ref())
        .and(restore)
        .map(|step| matches!(evidence.state.step(&step.id).state, StepState::Succeeded { .. }));
    ComponentRow {
        component: name.to_owned(),
        restored,
        valid,
        rto: Objective {
            target: component.and_then(|component| system.rto(component)),
            // Nothing is back before a validation has measured it and succeeded.
            actual: ended.filter(|_| valid == Validity::Yes),
            clock_uncertain,
            failed,
        },
        ended,
        rpo: component
            .map_or(&[][..], |component| &component.classes)
            .iter()
            .map(|class| ClassRow {
                class: class.clone(),
                rpo: Objective {
                    target: system.data_classes.get(class).map(|class| class.rpo.0),
                    actual: consistency_point
                        .map(|point| (disaster.at - point).to_std().unwrap_or(Duration::ZERO)),
                    // A capture from after the disaster is a clock that differs, or a wrong time of the disaster.
                    clock_uncertain: clock_set || consistency_point.is_some_and(|point| point > disaster.at),
                    failed: false,
                },
            })
            .collect(),
        bytes: restore.and_then(|step| evidence.output(&step.id)["bytes"].as_u64()),
        elsewhere: restore.map_or_else(Vec::new, |step| provenance::fallbacks(evidence, &step.id)),
        unheld: restore.map_or_else(Vec::new, |step| {
            unheld::unheld_of(&evidence.output(&step.id)["unheld"])
        }),
        error: steps.iter().find_map(|step| first_error(evidence, &step.id)),
    }
}

fn validity(evidence: &Evidence, validations: &[&StepId]) -> Validity {
    let mut measured = false;
    for step in validations {
        match evidence.state.step(step).state {
            StepState::Succeeded { .. } => match evidence.output(step)["valid"] {
                Value::Bool(true) => measured = true,
                Value::Bool(false) => return Validity::No,
                _ => return Validity::NoData,
            },
            StepState::Failed { .. } => return Validity::No,
            _ => return Validity::NoData,
        }
    }
    if measured { Validity::Yes } else { Validity::NoData }
}

/// Returns when the last of them succeeded, by the order of the journal and not by the clock.
fn last_end(evidence: &Evidence, validations: &[&StepId]) -> Option<Stamp> {
    let ends = evidence.records.iter().rev();
    let mut ends = ends.filter(|record| match &record.event {
        Event::StepSucceeded { step, .. } => validations.contains(&step),
        _ => false,
    });
    ends.next().map(|record| record.time)
}

/// When the disaster struck.
#[derive(Clone, Copy)]
struct Disaster {
    at: DateTime<Utc>,
    /// The exact time, if a drill caused it.
    struck: Option<Stamp>,
}

/// The part before the run exists only on the wall; the part after it is exact within one boot.
fn since_disaster(created: &Stamp, back: &Stamp, disaster: Disaster) -> (Option<Duration>, bool) {
    if let Some(struck) = disaster.struck {
        let run = back.since(&struck);
        return (Some(run.duration), run.clock_uncertain);
    }
    let run = back.since(created);
    let before = (created.utc - disaster.at).to_std();
    (
        Some(run.duration + before.unwrap_or(Duration::ZERO)),
        run.clock_uncertain || before.is_err(),
    )
}

pub(crate) fn first_error(evidence: &Evidence, step: &StepId) -> Option<String> {
    match evidence.state.step(step).state {
        StepState::Failed { error } => Some(format!("{step}: {error}")),
        StepState::Skipped {
            why: SkipReason::Needs { failed },
        } => Some(format!("{step} skipped: {failed} failed")),
        StepState::Skipped {
            why: SkipReason::Cancelled,
        } => Some(format!("{step} skipped: the run was cancelled")),
        StepState::Skipped {
            why: SkipReason::Requested { by, why },
        } => Some(format!("{step} skipped: {by} asked for it: {why}")),
        _ => None,
    }
}
