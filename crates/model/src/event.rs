//! The journal's vocabulary: everything that can happen to a run.
//!
//! These types are persisted. A field may be added with a default; a name never changes its meaning. The
//! encoding is a map with the key `event` for the variant, in MessagePack inside the journal and in JSON
//! for people.

#[cfg(test)]
mod tests;

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
    /// The run exists. It is pinned to the definition and the system as they were at that time.
    RunCreated {
        /// The workflow's name.
        workflow: String,
        /// The blob with the plan's definition (the workflow's YAML).
        definition: Hash32,
        /// The blob with the system's YAML, where the run has a system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<Hash32>,
        /// The inputs that expand the definition into the plan again: parameters and loop keys.
        inputs: Payload,
        /// What the run is for; none in a history from before runs had kinds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<RunKind>,
        /// The person or process that asked for the run.
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
    /// A process adopted the run. From here on, appends under a lower epoch are refused.
    RunAdopted {
        /// The new epoch, one above the last.
        epoch: u64,
        /// The process that drives the run now.
        worker: Worker,
        /// Why it did.
        why: String,
        /// The workspace that adopted the run, where the run came from another workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<Uuid>,
    },
    /// The run waits for its group's lock: another run of the group holds it, or has waited longer. No step starts.
    #[serde(rename = "turn_awaited")]
    GroupLockAwaited {
        /// The group.
        group: String,
        /// The run that held the lock then.
        holder: RunId,
    },
    /// A run that waited for its group's lock holds it now.
    #[serde(rename = "turn_taken")]
    GroupLockTaken {
        /// The group.
        group: String,
    },
    /// Runs waited for each other in a cycle, and this run is the youngest that waited for a group's lock. It gives up, so
    /// that the others continue. None of its steps starts.
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
    /// The attempt has created a process for a program. The program executes only once this is durable, so that the
    /// journal knows every process that acts for a step.
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
    /// After a crash, the action compared the world with the attempt that was cut off.
    StepReconciled {
        /// The step.
        step: StepId,
        /// The attempt that was cut off.
        attempt: u32,
        /// How the step continues.
        verdict: Verdict,
        /// The evidence for the verdict.
        evidence: Value,
    },
    /// The attempt succeeded. The step never runs again, unless it is invalidated.
    StepSucceeded {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The value that later steps may refer to.
        output: Payload,
        /// The numbers measured while it ran.
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
        /// The numbers measured until then.
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
    /// The step's output is gone or no longer valid: the step is pending again.
    StepInvalidated {
        /// The step.
        step: StepId,
        /// What was found.
        why: String,
    },
    /// An attempt to undo the step's work begins. Durable before its first side effect.
    UndoStarted {
        /// The step.
        step: StepId,
        /// The attempt to undo, from 1 since the step was started last; one that was cut off counts.
        attempt: u32,
    },
    /// The step's work is undone.
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
    /// The undo failed for good. The step's work stays until a person repairs the cause and retries the undo.
    UndoStuck {
        /// The step.
        step: StepId,
        /// The attempt to undo.
        attempt: u32,
        /// Why.
        error: Failure,
    },
    /// The attempt asked a person a question: the step waits for the answer.
    ApprovalRequested {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The question.
        prompt: String,
    },
    /// A person approved. The step succeeds, at once or when the run is driven again.
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
    /// A person rejected. The step fails, at once or when the run is driven again.
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
    /// A person asked for the step to run again.
    ///
    /// If the step waits for its next attempt, that attempt begins at once, and its failures and its deadline count
    /// from the start. If the step has ended, it is invalidated next, in the same append. If its undo is stuck, the
    /// undo runs again.
    RetryRequested {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person paused the run: no step starts any more. Running steps continue to their end.
    PauseRequested {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person unpaused the run. *Resumed* means something else: `rekindle resume` adopts an interrupted run, and
    /// `run_adopted` records that.
    RunUnpaused {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person, or the run around it, asked for the run to end early. If that was asked before, its handlers end too.
    CancelRequested {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The run has taken longer than its deadline: running steps are stopped and fail, the others do not start.
    DeadlinePassed,
    /// The run is over.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// Figures of the whole run.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        summary: Value,
    },
    /// A person reopened a finished run. It is no longer finished, cancelled or paused. No other event may follow
    /// `run_finished`.
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
            Self::GroupLockAwaited { .. } => "turn_awaited",
            Self::GroupLockTaken { .. } => "turn_taken",
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
            | Self::GroupLockAwaited { .. }
            | Self::GroupLockTaken { .. }
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
    /// The value of a step without output.
    pub const NONE: Self = Self::Inline(Value::Null);
}

/// How a step continues after an attempt that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The work is complete: the step succeeds without running again. An older journal has another word for it.
    #[serde(alias = "adopt")]
    Complete,
    /// A part of the work is done: the next attempt continues from the checkpoint.
    Continue,
    /// No part of the work is usable: the next attempt starts from the beginning.
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
    /// The run gave up its place in the queue for a lock, because runs waited for each other.
    Deadlock,
    /// A person skipped it. The steps that need it continue as if it had succeeded.
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
    /// Something failed, but a loop's last step succeeded for one of its keys (a copy was verified in one of two
    /// tiers, or a component was validated), or a component succeeded as a whole. Also if nothing failed, but a person
    /// skipped a step.
    Partial,
    /// Something failed, and no loop reached its end for any of its keys.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It failed or was cancelled, and an undo of a step failed. The run waits for a person.
    Stuck,
}

/// The most runs that [`Event::Deadlocked`] names, so that it fits a record. Runs are nested eight deep at most.
pub const LONGEST_CYCLE: usize = 16;

/// One of several runs that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The run.
    pub run: RunId,
    /// The group whose lock it waits for and the next one holds; none where the next one is the work of one of
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
    /// The epoch under which it was appended.
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
