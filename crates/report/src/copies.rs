//! The stored copies that runs saw: a verification reads one copy in one tier, a recovery reads from any
//! tier.
//!
//! A sighting is evidence from the time of its run; a later run's sighting outweighs it. `status` combines
//! them.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use rekindle_model::event::Event;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::step::StepState;
use rekindle_plan::Plan;
use serde_json::Value;

use crate::evidence::Evidence;

/// A run's position among the others: by the journal's commits, and by the clock only between equal commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last commit before the newest record that carries one: the run's end, else its beginning.
    pub commit: u64,
    /// When it was seen.
    pub at: DateTime<Utc>,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.commit, self.at).cmp(&(other.commit, other.at))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A component's copy as one step of a run saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The run.
    pub run: RunId,
    /// The run's position among the others.
    pub position: Position,
    /// The component.
    pub component: String,
    /// The tier whose copy was read; none for a recovery, which reads from every tier that it can.
    pub tier: Option<String>,
    /// The snapshot, if the run got far enough to know it.
    pub snapshot: Option<String>,
    /// The state of the copy.
    pub saw: Saw,
}

/// The state of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// The run read all of it and found it right. A recovery also validated it.
    Whole,
    /// It is there: its objects exist, or a sample could be read, or it was restored and nothing validated it.
    Present,
    /// It is damaged or gone.
    Damaged,
    /// It could not be read: the tier did not answer, or the time ran out.
    Unread,
    /// It was restored, and its validation failed.
    Invalid,
}

/// Returns a run's position among the others.
pub fn position(evidence: &Evidence) -> Position {
    let carried = evidence.records.iter().rev().find_map(|record| record.head);
    Position {
        commit: carried.map_or(0, |head| head.commit),
        at: evidence.state.updated.utc,
    }
}

/// Returns the sightings of stored copies in a run, finished or not.
pub fn sightings(evidence: &Evidence, plan: &Plan) -> Vec<Sighting> {
    let located = plan
        .steps
        .iter()
        .find(|step| step.uses == "locate-set")
        .map_or(&Value::Null, |step| evidence.output(&step.id));
    let run = position(evidence);
    let mut seen = Vec::new();
    for step in &plan.steps {
        let Some(component) = step.each.get("component") else {
            continue;
        };
        let record = evidence.state.step(&step.id);
        let tier = step.each.get("tier");
        let output = evidence.output(&step.id);
        let saw = match (step.uses.as_str(), tier, &record.state) {
            ("verify", Some(_), StepState::Succeeded { .. }) => verified(output),
            ("verify", Some(_), StepState::Failed { error }) => Some(missed(error)),
            ("restore", None, StepState::Succeeded { .. }) if !output["snapshot"].is_null() => {
                Some(Saw::Present)
            }
            // Before anything is moved, it is made sure that some tier holds all of it.
            ("restore" | "set-aside", None, StepState::Failed { error }) if missed(error) == Saw::Damaged => {
                Some(Saw::Damaged)
            }
            ("validate", None, StepState::Succeeded { .. }) if output["valid"] == true => Some(Saw::Whole),
            ("validate", None, StepState::Failed { error }) if error.code == code::INVALID => {
                Some(Saw::Invalid)
            }
            _ => None,
        };
        let snapshot = || {
            let of = StepId::looped("snapshot", &[component]);
            let text = |value: &Value| value["snapshot"].as_str().map(str::to_owned);
            text(output)
                .or_else(|| text(&last_checkpoint(evidence, &step.id)))
                .or_else(|| text(evidence.output(&of)))
                .or_else(|| text(&located["components"][component.as_str()]))
        };
        seen.extend(saw.map(|saw| Sighting {
            run: evidence.state.id,
            position: Position {
                at: record.ended.map_or(run.at, |ended| ended.utc),
                ..run
            },
            component: component.clone(),
            tier: tier.cloned(),
            snapshot: snapshot(),
            saw,
        }));
    }
    seen
}

/// A look at names and lengths, or at a sample, is no proof that every byte can be read.
fn verified(output: &Value) -> Option<Saw> {
    if output["verified"] != true {
        return None;
    }
    let all = output["sample"].as_f64().is_none_or(|share| share >= 1.0);
    match output["level"].as_str() {
        Some("exists") => Some(Saw::Present),
        _ if !all => Some(Saw::Present),
        _ => Some(Saw::Whole),
    }
}

fn missed(error: &Failure) -> Saw {
    match is_damage(error) {
        true => Saw::Damaged,
        false => Saw::Unread,
    }
}

/// Returns whether the failure of a step that reads a copy shows that the copy is damaged or gone.
pub fn is_damage(error: &Failure) -> bool {
    [code::DATA_LOST, "integrity", "unknown", "nothing_to_work_on"].contains(&error.code.as_str())
}

/// The action that verifies replicas, and its earlier name.
const VERIFIES_REPLICAS: [&str; 2] = ["verify-replicas", "verify-slots"];
/// The output's key for segment faults, and its earlier name.
const SEGMENT_FAULTS: [&str; 2] = ["segment_faults", "slot_faults"];

/// Returns the faults that a run found in the replicas of runs' journals. Each object has the segment's tier,
/// location, run and number, the fault, and the remedy.
pub fn segment_faults(evidence: &Evidence, plan: &Plan) -> Vec<Value> {
    let steps = plan
        .steps
        .iter()
        .filter(|step| VERIFIES_REPLICAS.contains(&&*step.uses));
    let faults = steps.filter_map(|step| {
        let found = match evidence.output(&step.id) {
            Value::Null => last_checkpoint(evidence, &step.id),
            output => output.clone(),
        };
        let faults = SEGMENT_FAULTS.iter().find_map(|key| found[*key].as_array());
        faults.cloned()
    });
    faults.flatten().collect()
}

/// A failed verification keeps its findings in its checkpoint, since a failure carries only a sentence.
fn last_checkpoint(evidence: &Evidence, id: &StepId) -> Value {
    let progress = evidence
        .records
        .iter()
        .rev()
        .find_map(|record| match &record.event {
            Event::StepCheckpoint { step, progress, .. } if step == id => Some(progress),
            _ => None,
        });
    progress.map_or(Value::Null, |progress| evidence.resolve(progress))
}
