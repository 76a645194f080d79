//! The journal's vocabulary: everything that can happen to a run.
//!
//! These types are persisted. A field may be added with a default; a name never changes its meaning. The
//! encoding is a map with the key `event` for the variant, in MessagePack inside the journal and in JSON
//! for people (`rekindle history --json`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::id::{Hash32, RunId, StepId};
use crate::time::Stamp;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run exists. It is pinned to the definition and the system as they were then.
    RunCreated {
        /// The workflow's name.
        workflow: String,
        /// The blob with the plan's definition (the workflow's YAML).
        definition: Hash32,
        /// The blob with the system's YAML, where the run has a system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<Hash32>,
        /// What expands the definition into the plan again: parameters and loop keys.
        inputs: Payload,
        /// Who or what asked for the run.
        trigger: String,
        /// When the disaster struck, for a recovery.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disaster_at: Option<DateTime<Utc>>,
        /// Whether `disaster_at` was told by a person, rather than assumed to be the run's start.
        #[serde(default)]
        disaster_at_told: bool,
    },
    /// A process took the run over; holders of a lower epoch are refused from here on.
    RunAdopted {
        /// The new epoch, one above the last.
        epoch: u64,
        /// The process that drives the run now.
        worker: Worker,
        /// Why it did.
        why: String,
    },
    /// An attempt begins. Durable before its first side effect.
    StepStarted {
        /// The step.
        step: StepId,
        /// The attempt, from 1; an attempt that was cut off counts.
        attempt: u32,
    },
    /// Progress from which a next attempt continues.
    StepCheckpoint {
        /// The step.
        step: StepId,
        /// The attempt that got so far.
        attempt: u32,
        /// The action's own account of its progress.
        progress: Payload,
    },
    /// After a crash: what the action found in the world.
    StepReconciled {
        /// The step.
        step: StepId,
        /// The attempt that was cut off.
        attempt: u32,
        /// What follows from it.
        verdict: Verdict,
        /// What the verdict rests on.
        evidence: Value,
    },
    /// The attempt reached its goal. The step never runs again, unless it is invalidated.
    StepSucceeded {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// What later steps may refer to.
        output: Payload,
        /// What was measured while it ran.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        measures: Measures,
    },
    /// The attempt failed.
    StepFailed {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// Why.
        error: Failure,
        /// When the next attempt is due; none means that the step has failed for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<DateTime<Utc>>,
        /// What was measured until then.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        measures: Measures,
    },
    /// The step will not run.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Why not.
        why: SkipReason,
    },
    /// What the step had produced is gone or no longer holds: it is pending again.
    StepInvalidated {
        /// The step.
        step: StepId,
        /// What was found.
        why: String,
    },
    /// Somebody asked for the run to end early.
    CancelRequested {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The run is over.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// Figures of the whole run.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        summary: Value,
    },
}

impl Event {
    /// Returns the variant's name as it is written in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunCreated { .. } => "run_created",
            Self::RunAdopted { .. } => "run_adopted",
            Self::StepStarted { .. } => "step_started",
            Self::StepCheckpoint { .. } => "step_checkpoint",
            Self::StepReconciled { .. } => "step_reconciled",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::StepFailed { .. } => "step_failed",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepInvalidated { .. } => "step_invalidated",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::RunFinished { .. } => "run_finished",
        }
    }

    /// Returns the step that the event is about, or none for an event of the whole run.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepCheckpoint { step, .. }
            | Self::StepReconciled { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepInvalidated { step, .. } => Some(step),
            Self::RunCreated { .. }
            | Self::RunAdopted { .. }
            | Self::CancelRequested { .. }
            | Self::RunFinished { .. } => None,
        }
    }
}

/// Numbers measured by a step, by name with the unit last: `bytes_written`, `duration_ms`.
pub type Measures = BTreeMap<String, f64>;

/// A JSON value that is either small enough for the record or kept in a blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself.
    Inline(Value),
    /// The blob that holds the value as JSON.
    Blob(Hash32),
}

impl Payload {
    /// The value of a step that has nothing to say.
    pub const NONE: Self = Self::Inline(Value::Null);
}

/// What an action found after a crash, for the attempt that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The work is done and whole: its success is recorded without running again.
    Adopt,
    /// Part of it is done: the next attempt continues from the checkpoint.
    Continue,
    /// Nothing of it can be relied on: the next attempt starts afresh.
    Redo,
}

/// Why a step will not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum SkipReason {
    /// A step that it needs failed, or was itself skipped for that reason.
    Needs {
        /// The step that failed first on the way here.
        failed: StepId,
    },
    /// Its `run_if` did not hold.
    Condition {
        /// The condition as written.
        run_if: String,
    },
    /// The run was cancelled.
    Cancelled,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step succeeded, or was skipped by its own condition.
    Succeeded,
    /// Something failed, and something came through: a loop's last step succeeded for one of its keys (a copy
    /// that was verified in one of two tiers, a component that was validated), or a component came through whole.
    Partial,
    /// Something failed, and no loop came to its end for any of its keys.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// The process that drives a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The machine's host name.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// The version of Rekindle.
    pub version: String,
}

/// One event with its place in the journal, as it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: RunId,
    /// The event's place in the run: 1, 2, 3 … without a gap.
    pub seq: u64,
    /// The epoch of whoever appended it.
    pub epoch: u64,
    /// When it was appended.
    #[serde(flatten)]
    pub time: Stamp,
    /// The hash of the run's record before it; zero for the first.
    pub prev: Hash32,
    /// The workspace's journal head before the batch that holds this record; only on the first and the last
    /// record of a run, so that a run cannot vanish from history unnoticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<JournalHead>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The end of a workspace's journal: a commit and the hash of all commits up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    /// The commit's number, from 1; 0 is the empty journal.
    pub commit: u64,
    /// BLAKE3 over the head before it and the hashes of the commit's records.
    pub hash: Hash32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_messagepack_and_json() {
        let event = Event::StepFailed {
            step: StepId::looped("restore", &["context_cache"]),
            attempt: 2,
            error: Failure::transient("tier_unavailable", "tier \"hot\" does not answer"),
            retry_at: DateTime::from_timestamp(1_800_000_000, 5),
            measures: [("bytes_written".to_owned(), 12.0)].into(),
        };
        let packed = rmp_serde::to_vec_named(&event).unwrap();
        assert_eq!(rmp_serde::from_slice::<Event>(&packed).unwrap(), event);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], event.name());
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
