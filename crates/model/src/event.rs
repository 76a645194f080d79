//! The journal's vocabulary: everything that can happen to a run.
//!
//! These types are persisted. A field may be added with a default; a name never changes its meaning. The
//! encoding is a map with the key `event` for the variant, in MessagePack inside the journal and in JSON
//! for people (`rekindle history --json`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::id::{Hash32, RunId, StepId};
use crate::origin::{Origin, Parent, RunKind, Trigger};
use crate::process::Child;
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
        /// What the run is for; none in a history that was written before runs had kinds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<RunKind>,
        /// Who or what asked for the run.
        trigger: Trigger,
        /// When the disaster struck, for a recovery.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disaster_at: Option<DateTime<Utc>>,
        /// Whether a person gave `disaster_at`; else it is assumed to be the run's start.
        #[serde(default)]
        disaster_at_told: bool,
        /// The step that began the run, in a history that was written when `trigger` could not name it. A new run never
        /// has it.
        #[serde(default, rename = "parent", skip_serializing_if = "Option::is_none")]
        old_parent: Option<Parent>,
    },
    /// A process took the run over; holders of a lower epoch are refused from here on.
    RunAdopted {
        /// The new epoch, one above the last.
        epoch: u64,
        /// The process that drives the run now.
        worker: Worker,
        /// Why it did.
        why: String,
        /// The workspace that it was brought to, where that is another than the one that had it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<Uuid>,
    },
    /// Another run of the same group was at work, or had waited longer: nothing starts before this run's turn.
    TurnAwaited {
        /// The group.
        group: String,
        /// The run whose turn it was then.
        holder: RunId,
    },
    /// It is the turn of a run that had waited for it.
    TurnTaken {
        /// The group.
        group: String,
    },
    /// The run waited for its turn, runs waited for each other, and it is the youngest of those that waited for a turn:
    /// it gives up, so that the others go on. Nothing of it starts.
    Deadlocked {
        /// The group.
        group: String,
        /// The runs that wait, this one first: each for the next, the last for the first. At most [`LONGEST_CYCLE`] of
        /// them.
        cycle: Vec<Waits>,
    },
    /// An attempt begins. Durable before its first side effect.
    StepStarted {
        /// The step.
        step: StepId,
        /// The attempt, from 1; an attempt that was cut off counts.
        attempt: u32,
    },
    /// The attempt has started a program, which is held until this is durable: nothing that it does is done by a
    /// process that the journal does not know.
    ChildStarted {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The program's process, and its supervisor's.
        child: Child,
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
    /// The undoing of what the step did begins. Durable before its first side effect.
    UndoStarted {
        /// The step.
        step: StepId,
        /// The attempt to undo, from 1 since the step was started last; one that was cut off counts.
        attempt: u32,
    },
    /// What the step did is undone.
    UndoSucceeded {
        /// The step.
        step: StepId,
        /// The attempt to undo.
        attempt: u32,
    },
    /// The attempt to undo failed, and another is due.
    UndoFailed {
        /// The step.
        step: StepId,
        /// The attempt to undo.
        attempt: u32,
        /// Why.
        error: Failure,
        /// When the next attempt is due.
        retry_at: DateTime<Utc>,
    },
    /// The undo failed for good: what the step did stays, until a person sees to it.
    UndoStuck {
        /// The step.
        step: StepId,
        /// The attempt to undo.
        attempt: u32,
        /// Why.
        error: Failure,
    },
    /// The attempt consists of a question, which was put: the step waits for a person.
    ApprovalRequested {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// What is asked.
        prompt: String,
    },
    /// A person said yes. The step's success follows from it, at once or when the run is driven again.
    Approved {
        /// The step.
        step: StepId,
        /// The attempt that asked.
        attempt: u32,
        /// Who.
        by: String,
        /// What they said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A person said no. The step's failure follows from it, at once or when the run is driven again.
    Rejected {
        /// The step.
        step: StepId,
        /// The attempt that asked.
        attempt: u32,
        /// Who.
        by: String,
        /// What they said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A person asked for the step to run again: one that waits for its next attempt begins it at once, and its
    /// failures and its deadline count anew; one that has ended is invalidated next, in the same append. Of one whose undo is stuck it is the undo that runs again.
    RetryRequested {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person asked that nothing more be started. What is at work goes on to its end.
    PauseRequested {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person let a paused run go on. It is not called *resumed*: that is what `rekindle resume` does with a run
    /// that was interrupted, and `run_adopted` records it.
    RunUnpaused {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Somebody asked for the run to end early.
    CancelRequested {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The run has taken longer than its deadline: what is at work is stopped and fails, the rest does not start.
    DeadlinePassed,
    /// The run is over.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// Figures of the whole run.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        summary: Value,
    },
    /// A person asked for more of a run that was over. It is not over any more, nor cancelled, nor paused; the only
    /// event that may follow `run_finished`.
    RunReopened {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

impl Event {
    /// Returns the variant's name as it is written in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunCreated { .. } => "run_created",
            Self::RunAdopted { .. } => "run_adopted",
            Self::TurnAwaited { .. } => "turn_awaited",
            Self::TurnTaken { .. } => "turn_taken",
            Self::Deadlocked { .. } => "deadlocked",
            Self::StepStarted { .. } => "step_started",
            Self::ChildStarted { .. } => "child_started",
            Self::StepCheckpoint { .. } => "step_checkpoint",
            Self::StepReconciled { .. } => "step_reconciled",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::StepFailed { .. } => "step_failed",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepInvalidated { .. } => "step_invalidated",
            Self::UndoStarted { .. } => "undo_started",
            Self::UndoSucceeded { .. } => "undo_succeeded",
            Self::UndoFailed { .. } => "undo_failed",
            Self::UndoStuck { .. } => "undo_stuck",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::RetryRequested { .. } => "retry_requested",
            Self::PauseRequested { .. } => "pause_requested",
            Self::RunUnpaused { .. } => "run_unpaused",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::DeadlinePassed => "deadline_passed",
            Self::RunFinished { .. } => "run_finished",
            Self::RunReopened { .. } => "run_reopened",
        }
    }

    /// Returns the kind and the trigger of the run that the event creates; none for any other event.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::RunCreated {
                workflow,
                kind,
                trigger,
                old_parent,
                ..
            } => Some(Origin::of_stored(workflow, *kind, trigger, old_parent.as_ref())),
            _ => None,
        }
    }

    /// Returns the step that the event is about, or none for an event of the whole run.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStarted { step, .. }
            | Self::ChildStarted { step, .. }
            | Self::StepCheckpoint { step, .. }
            | Self::StepReconciled { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepInvalidated { step, .. }
            | Self::UndoStarted { step, .. }
            | Self::UndoSucceeded { step, .. }
            | Self::UndoFailed { step, .. }
            | Self::UndoStuck { step, .. }
            | Self::ApprovalRequested { step, .. }
            | Self::Approved { step, .. }
            | Self::Rejected { step, .. }
            | Self::RetryRequested { step, .. } => Some(step),
            Self::RunCreated { .. }
            | Self::RunAdopted { .. }
            | Self::TurnAwaited { .. }
            | Self::TurnTaken { .. }
            | Self::Deadlocked { .. }
            | Self::PauseRequested { .. }
            | Self::RunUnpaused { .. }
            | Self::CancelRequested { .. }
            | Self::DeadlinePassed
            | Self::RunFinished { .. }
            | Self::RunReopened { .. } => None,
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
    /// The run's deadline had passed.
    Deadline,
    /// The run had given up its turn: runs waited for each other.
    Deadlock,
    /// A person asked for it to be left out; what needs it goes on as if it had succeeded.
    Requested {
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step succeeded, or was skipped by its own condition.
    Succeeded,
    /// Something failed, and something came through: a loop's last step succeeded for one of its keys (a copy
    /// that was verified in one of two tiers, a component that was validated), or a component came through whole.
    /// Also where nothing failed, but a person had a step left out.
    Partial,
    /// Something failed, and no loop came to its end for any of its keys.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It failed or was cancelled, and what a step did could not be undone: it waits for a person.
    Stuck,
}

/// The most runs that [`Event::Deadlocked`] names, so that it fits a record. Runs are nested eight deep at most.
pub const LONGEST_CYCLE: usize = 16;

/// One of several runs that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The run.
    pub run: RunId,
    /// The group in which it waits for its turn, which the next one has; none where the next one is the work of one of
    /// its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
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
    use crate::process::ProcessId;

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

    #[test]
    fn what_a_person_asked_for_survives_and_what_they_did_not_say_may_be_missing() {
        let (step, by) = (|| StepId::plain("confirm"), || "ann".to_owned());
        let told = || Some("go".to_owned());
        for event in [
            Event::ApprovalRequested {
                step: step(),
                attempt: 1,
                prompt: "sure?".into(),
            },
            Event::Approved {
                step: step(),
                attempt: 1,
                by: by(),
                note: told(),
            },
            Event::ChildStarted {
                step: step(),
                attempt: 1,
                child: Child {
                    program: ProcessId {
                        pid: 7,
                        start_ticks: 9,
                    },
                    supervisor: None,
                    boot_id: uuid::Uuid::from_u128(5),
                },
            },
            Event::Rejected {
                step: step(),
                attempt: 1,
                by: by(),
                note: None,
            },
            Event::RetryRequested {
                step: step(),
                by: by(),
                why: told(),
            },
            Event::PauseRequested { by: by(), why: None },
            Event::RunUnpaused {
                by: by(),
                why: told(),
            },
            Event::RunReopened { by: by(), why: None },
            Event::StepSkipped {
                step: step(),
                why: SkipReason::Requested {
                    by: by(),
                    why: "known".into(),
                },
            },
        ] {
            let packed = rmp_serde::to_vec_named(&event).unwrap();
            assert_eq!(rmp_serde::from_slice::<Event>(&packed).unwrap(), event);
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], event.name());
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
        let bare = serde_json::json!({ "event": "pause_requested", "by": "ann" });
        assert_eq!(
            serde_json::from_value::<Event>(bare).unwrap(),
            Event::PauseRequested { by: by(), why: None }
        );
    }
}
