//! The result of a backup: each component, each tier, and whether the stored copies were read back.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::entry::{TreePath, Unreadable};
use rekindle_model::event::Outcome;
use rekindle_model::step::StepState;
use rekindle_model::time::Stamp;
use rekindle_plan::Plan;
use rekindle_plan::workflow::RECOVERY;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::Evidence;
use crate::rework::bytes;
use crate::rule::AppliedRule;

/// A backup run, summed up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupTable {
    /// The recovery set that it sealed.
    pub set: Option<String>,
    /// Whether that set is good enough to recover from, by the system's own rule; none before it is sealed.
    pub recovery_ready: Option<bool>,
    /// Whether the tiers that keep it are enough to recover all of it.
    pub recoverable: Option<bool>,
    /// The rule `recovery_ready`, as it was applied.
    pub rule: Option<AppliedRule>,
    /// The oldest instant that one of its components would be back at.
    pub oldest_point: Option<DateTime<Utc>>,
    /// The components, most urgent first as the plan has them.
    pub components: Vec<BackupRow>,
    /// The tiers that keep the set, each with all of its members.
    pub stored_in: Vec<String>,
    /// The set before it.
    pub predecessor: Option<String>,
    /// What tiers should hold and do not: the first of it, as sentences.
    pub lost: Vec<String>,
    /// The tiers that could not take the set, and why.
    pub unsealed: BTreeMap<String, String>,
    /// The members of the sealed set, inherited ones included.
    pub members: BTreeMap<String, Member>,
    /// The newest proof of each component that was ever proven, as the set keeps it.
    pub proofs: BTreeMap<String, ProofRow>,
    /// The components that keep the set from being ready: their proof is due and did not find them valid.
    pub unproven: Vec<String>,
    /// When the run was created.
    #[serde(skip)]
    pub began: Option<DateTime<Utc>>,
    /// From the run's creation to its end.
    #[serde(with = "crate::seconds", rename = "duration_seconds")]
    pub duration: Option<Duration>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
}

/// A recovery of a component's stored copy into a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofRow {
    /// When.
    #[serde(default, deserialize_with = "utc_of_stamp")]
    pub at: Option<DateTime<Utc>>,
    /// The snapshot that was recovered; none for a component without data of its own.
    pub snapshot: Option<String>,
    /// Whether the component was valid there; none if something was not measured.
    pub valid: Option<bool>,
    /// Why it was not valid, or is not known to be; empty if it was.
    pub why: String,
    /// Whether the living system passed its validations at the capture; none if nothing was measured.
    pub living: Option<bool>,
}

fn utc_of_stamp<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(Some(Stamp::deserialize(deserializer)?.utc))
}

impl ProofRow {
    /// Returns why a component is invalid, for people.
    pub fn sentence(&self, component: &str) -> String {
        let living = match self.living {
            Some(false) => "; the living system fails its validation too",
            _ => "",
        };
        match self.valid {
            Some(false) => format!("the copy of {component} is invalid: {}{living}", self.why),
            _ => format!("the copy of {component} is not proven: {}{living}", self.why),
        }
    }
}

/// One component's place in a sealed set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The snapshot that the set names, if any.
    pub snapshot: Option<String>,
    /// The tiers that hold it.
    pub tiers: Vec<String>,
    /// The instant that it would be back at.
    pub point: Option<DateTime<Utc>>,
}

/// One component of a backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupRow {
    /// Its name.
    pub component: String,
    /// The snapshot, if one was captured.
    pub snapshot: Option<String>,
    /// Bytes of the source.
    pub bytes: Option<u64>,
    /// Bytes of it that no earlier snapshot held.
    pub bytes_new: Option<u64>,
    /// Files of the source.
    pub files: Option<u64>,
    /// Each due tier: whether its stored copy was verified; none if it was not stored.
    pub tiers: BTreeMap<String, Option<bool>>,
    /// Entries that were not captured, or changed meanwhile. None if unknown: the process died before it
    /// recorded them.
    pub noted: Option<Vec<Noted>>,
    /// Paths that could not be read. The snapshot lacks them.
    pub unreadable: Option<Unread>,
    /// The earlier snapshot, if this one has less than a tenth of its files or of its bytes.
    pub shrunk_from: Option<Extent>,
    /// What a person should look at, although the capture is whole.
    pub warnings: Vec<String>,
    /// The first thing that went wrong.
    pub error: Option<String>,
}

/// Paths of a source that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unread {
    /// How many there are. A folder counts once.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
    /// Whether the component's definition accepts that.
    pub accepted: bool,
}

/// Returns the paths that a snapshot step could not read; none if it read all.
fn unread(output: &Value) -> Option<Unread> {
    let found = Unreadable::deserialize(&output["unreadable"]).ok()?;
    let accepted = output["unreadable_accepted"] == true;
    Some(Unread {
        count: found.count,
        first: found.named.iter().map(TreePath::display).collect(),
        accepted,
    })
}

/// How much a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Of fewer files than these, most may come and go without anything being amiss.
const FILES_WORTH_A_WARNING: u64 = 10;
/// A snapshot counts as shrunk if less than this part (a tenth) is left: no ordinary day's work removes so
/// much.
const SHRUNK_BELOW: u64 = 10;

/// Returns the extent of the earlier snapshot if so little of it is left that the source may have been lost.
fn shrunk_from(output: &Value) -> Option<Extent> {
    let before = Extent::deserialize(&output["before"]).ok()?;
    let now = Extent::deserialize(output).ok()?;
    let shrunk = |before: u64, now: u64| now.saturating_mul(SHRUNK_BELOW) < before;
    let lost = shrunk(before.files, now.files) || shrunk(before.bytes, now.bytes);
    (before.files >= FILES_WORTH_A_WARNING && lost).then_some(before)
}

/// Entries of a source that the capture left out or that changed meanwhile, all for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noted {
    /// `socket`; `attributes`: some extended attributes were not captured; `vanished`: gone before it was read; `changed`: written while it
    /// was read.
    pub kind: String,
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl BackupRow {
    /// Returns whether the component is captured, stored in every due tier and verified in each.
    pub fn whole(&self) -> bool {
        self.snapshot.is_some()
            && !self.tiers.is_empty()
            && self.tiers.values().all(|tier| *tier == Some(true))
    }
}

/// Returns the entries that a snapshot step noted as not captured, without Rekindle's own files.
fn noted(output: &Value) -> Option<Vec<Noted>> {
    let noted = match output.get("noted") {
        None => return Some(Vec::new()),
        Some(Value::Null) => return None,
        Some(noted) => noted,
    };
    let first = |kind: &str| {
        let of_kind = noted["first"].as_array().into_iter().flatten();
        of_kind
            .filter(|note| note["kind"] == kind)
            .filter_map(|note| TreePath::deserialize(&note["path"]).ok())
            .map(|path| path.display())
            .collect()
    };
    let counts = noted["counts"].as_object().into_iter().flatten();
    let kinds = counts
        .filter(|(kind, _)| *kind != "own")
        .map(|(kind, count)| Noted {
            kind: kind.clone(),
            count: count.as_u64().unwrap_or_default(),
            first: first(kind),
        });
    Some(kinds.collect())
}

/// Returns a list of sentences in an output.
pub(crate) fn sentences(list: &Value) -> Vec<String> {
    let said = list.as_array().into_iter().flatten();
    said.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

impl BackupTable {
    /// Returns whether a component lacks paths that could not be read, and does not accept that, whether one is not proven
    /// to be valid, or whether a tier could not take the set.
    pub fn is_incomplete(&self) -> bool {
        let mut unread = self.components.iter().filter_map(|row| row.unreadable.as_ref());
        !self.unsealed.is_empty() || !self.unproven.is_empty() || unread.any(|unread| !unread.accepted)
    }
}

/// Returns the result of a backup.
pub fn backup_table(evidence: &Evidence, plan: &Plan) -> BackupTable {
    let mut components: Vec<BackupRow> = Vec::new();
    for step in &plan.steps {
        let Some(name) = step.each.get("component") else {
            continue;
        };
        // A proof may need components that this run does not capture.
        let of_proof = matches!(step.uses.as_str(), "restore" | "validate") || step.template == RECOVERY;
        if of_proof {
            continue;
        }
        let index = components
            .iter()
            .position(|row| row.component == *name)
            .unwrap_or_else(|| {
                components.push(BackupRow {
                    component: name.clone(),
                    snapshot: None,
                    bytes: None,
                    bytes_new: None,
                    files: None,
                    tiers: BTreeMap::new(),
                    noted: Some(Vec::new()),
                    unreadable: None,
                    shrunk_from: None,
                    warnings: Vec::new(),
                    error: None,
                });
                components.len() - 1
            });
        let Some(row) = components.get_mut(index) else {
            continue;
        };
        let output = evidence.output(&step.id);
        let record = evidence.state.step(&step.id);
        match (step.uses.as_str(), step.each.get("tier")) {
            ("snapshot", _) => {
                row.snapshot = output["snapshot"].as_str().map(str::to_owned);
                row.bytes = output["bytes"].as_u64();
                row.files = output["files"].as_u64();
                row.noted = noted(output);
                row.unreadable = unread(output);
                row.shrunk_from = shrunk_from(output);
                row.warnings = sentences(&output["metadata"]["warnings"]);
                if let StepState::Succeeded { measures, .. } = &record.state {
                    row.bytes_new = measures.get("bytes_new").map(|value| bytes(*value));
                }
            }
            ("store", Some(tier)) => {
                row.tiers.entry(tier.clone()).or_insert(None);
            }
            ("verify", Some(tier)) => {
                let verified = match record.state {
                    StepState::Succeeded { .. } => output["verified"].as_bool(),
                    StepState::Failed { .. } => Some(false),
                    _ => None,
                };
                row.tiers.insert(tier.clone(), verified);
            }
            _ => {}
        }
        if let StepState::Failed { error } = &record.state {
            row.error.get_or_insert_with(|| format!("{}: {error}", step.id));
        }
    }
    let sealed = plan
        .steps
        .iter()
        .find(|step| step.uses == "seal-set")
        .map(|step| evidence.output(&step.id));
    let text = |key: &str| sealed.and_then(|output| output[key].as_str()).map(str::to_owned);
    let sealed_components = || {
        sealed
            .and_then(|output| output["components"].as_object())
            .into_iter()
            .flatten()
    };
    let members = sealed_components()
        .map(|(name, member)| {
            let tiers = member["tiers"].as_array().into_iter().flatten();
            let member = Member {
                snapshot: member["snapshot"].as_str().map(str::to_owned),
                tiers: tiers
                    .filter_map(|tier| tier.as_str().map(str::to_owned))
                    .collect(),
                point: member["consistency_point"]
                    .as_str()
                    .and_then(|point| DateTime::parse_from_rfc3339(point).ok())
                    .map(|point| point.to_utc()),
            };
            (name.clone(), member)
        })
        .collect::<BTreeMap<_, Member>>();
    let oldest_point = members.values().filter_map(|member| member.point).min();
    let stored_in = sealed.and_then(|output| output["stored_in"].as_array());
    let stored_in = stored_in.into_iter().flatten();
    let state = &evidence.state;
    BackupTable {
        set: text("set"),
        recovery_ready: sealed.and_then(|output| output["recovery_ready"].as_bool()),
        recoverable: sealed.and_then(|output| output["recoverable"].as_bool()),
        rule: sealed.and_then(|output| AppliedRule::of(&output["rule"])),
        oldest_point,
        components,
        stored_in: stored_in
            .filter_map(|tier| tier.as_str().map(str::to_owned))
            .collect(),
        predecessor: text("predecessor"),
        lost: sealed.map_or_else(Vec::new, |output| sentences(&output["lost"])),
        unsealed: sealed
            .and_then(|output| BTreeMap::deserialize(&output["unsealed"]).ok())
            .unwrap_or_default(),
        members,
        proofs: sealed
            .and_then(|output| BTreeMap::deserialize(&output["proofs"]).ok())
            .unwrap_or_default(),
        unproven: sealed.map_or_else(Vec::new, |output| sentences(&output["unproven"])),
        began: Some(state.created.utc),
        duration: state
            .outcome
            .map(|_| state.updated.since(&state.created).duration),
        outcome: state.outcome,
    }
}
