//! The one fold: it computes a run's state from its records, one after another.

mod fault;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::event::{Event, Outcome, Payload, Record, Waits, Worker};
use crate::id::{Hash32, RunId, StepId};
use crate::origin::{Origin, Parent, RunKind, Trigger};
use crate::planted::{self, Fault};
use crate::step::StepRecord;
use crate::time::Stamp;
use crate::undo::UndoState;

pub use fault::{HistoryFault, IllegalHistory};

/// A run, folded from its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The run.
    pub id: RunId,
    /// The workflow's name.
    pub workflow: String,
    /// The blob with the workflow's YAML.
    pub definition: Hash32,
    /// The blob with the system's YAML.
    pub system: Option<Hash32>,
    /// The inputs that expand the definition into the plan again.
    pub inputs: Payload,
    /// What it is for.
    pub kind: RunKind,
    /// Who or what asked for it.
    pub trigger: Trigger,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person gave `disaster_at`.
    pub disaster_at_told: bool,
    /// When it was created.
    pub created: Stamp,
    /// When the newest record was appended.
    pub updated: Stamp,
    /// The newest record's number.
    pub seq: u64,
    /// The epoch that may append.
    pub epoch: u64,
    /// Every adoption, oldest first.
    pub adoptions: Vec<Adoption>,
    /// Each step that any event has named; a step that is not here is pending.
    pub steps: BTreeMap<StepId, StepRecord>,
    /// The person who asked to cancel it.
    pub cancel: Option<String>,
    /// Whether it was cancelled again after that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled_twice: bool,
    /// When its deadline passed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Stamp>,
    /// When it was last reopened, if it was. If it has no group, its deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<Stamp>,
    /// When it began since its creation or its last reopening. That is when it took the lock that it waited for, or
    /// when its first step started. The deadline of a run with a group counts from here. After a crash, a further wait
    /// for the lock counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Stamp>,
    /// The person who paused it, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Why it gave up its wait for a lock, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlock: Option<Deadlock>,
    /// The lock that it waits for, if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_lock: Option<AwaitedLock>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Figures of the whole run, once it is over.
    pub summary: Value,
}

/// A pause: no step of the run starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when.
    pub at: Stamp,
}

/// A run's wait for the lock of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedLock {
    /// The group.
    pub group: String,
    /// The run that held the lock when the wait began.
    pub holder: RunId,
    /// Since when.
    pub since: Stamp,
}

/// A run gave up its wait for a lock, because runs waited for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    /// The group.
    pub group: String,
    /// The runs, this one first: each waits for the next, the last for the first.
    pub cycle: Vec<Waits>,
    /// When.
    pub at: Stamp,
}

impl Deadlock {
    /// Returns in a sentence which run waits for which.
    pub fn describe(cycle: &[Waits]) -> String {
        let mut text = "runs wait for each other: ".to_owned();
        let behind = cycle.iter().skip(1).chain(cycle.first());
        for (at, (waits, next)) in cycle.iter().zip(behind).enumerate() {
            text.push_str(&match at {
                0 => format!("run {} ", waits.run),
                _ => ", which ".to_owned(),
            });
            text.push_str(&match &waits.group {
                Some(group) => format!("waits for the lock of group `{group}` after run {}", next.run),
                None => format!("waits for run {}, the work of its step", next.run),
            });
        }
        text
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::describe(&self.cycle))
    }
}

/// The adoption of a run by a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// The epoch that it began.
    pub epoch: u64,
    /// The process.
    pub worker: Worker,
    /// Why.
    pub why: String,
    /// The workspace that adopted the run, where it came from another workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Uuid>,
    /// When.
    pub at: Stamp,
}

impl RunState {
    /// Folds a whole history.
    pub fn from_records(records: &[Record]) -> Result<Self, IllegalHistory> {
        let [first, rest @ ..] = records else {
            return Err(IllegalHistory {
                run: RunId(uuid::Uuid::nil()),
                seq: 0,
                fault: HistoryFault::Creation("the end of the history"),
            });
        };
        let mut state = Self::created(first)?;
        rest.iter().try_for_each(|record| state.fold(record))?;
        Ok(state)
    }

    /// Returns what it is for, and who asked for it.
    pub fn origin(&self) -> Origin {
        Origin {
            kind: self.kind,
            trigger: self.trigger.clone(),
        }
    }

    /// Returns the state after a run's first record.
    pub fn created(record: &Record) -> Result<Self, IllegalHistory> {
        let illegal = |fault| IllegalHistory {
            run: record.run,
            seq: record.seq,
            fault,
        };
        if record.seq != 1 {
            return Err(illegal(HistoryFault::Gap { expected: 1 }));
        }
        if record.epoch != 1 {
            return Err(illegal(HistoryFault::Epoch {
                found: record.epoch,
                expected: 1,
            }));
        }
        let Event::RunCreated {
            workflow,
            definition,
            system,
            inputs,
            kind,
            trigger,
            disaster_at,
            disaster_at_told,
            old_parent,
        } = &record.event
        else {
            return Err(illegal(HistoryFault::Creation(record.event.name())));
        };
        let Origin { kind, trigger } = Origin::of_stored(workflow, *kind, trigger, old_parent.as_ref());
        Ok(Self {
            id: record.run,
            workflow: workflow.clone(),
            definition: *definition,
            system: *system,
            inputs: inputs.clone(),
            kind,
            trigger,
            disaster_at: *disaster_at,
            disaster_at_told: *disaster_at_told,
            created: record.time,
            updated: record.time,
            seq: 1,
            epoch: 1,
            adoptions: Vec::new(),
            steps: BTreeMap::new(),
            cancel: None,
            cancelled_twice: false,
            expired: None,
            reopened: None,
            begun: None,
            paused: None,
            deadlock: None,
            awaits_lock: None,
            outcome: None,
            summary: Value::Null,
        })
    }

    /// Applies the next record. On an error the state is unchanged.
    pub fn fold(&mut self, record: &Record) -> Result<(), IllegalHistory> {
        let illegal = |fault| IllegalHistory {
            run: record.run,
            seq: record.seq,
            fault,
        };
        if record.run != self.id {
            return Err(illegal(HistoryFault::OtherRun(record.run)));
        }
        if record.seq != self.seq + 1 {
            return Err(illegal(HistoryFault::Gap {
                expected: self.seq + 1,
            }));
        }
        match (&record.event, self.outcome) {
            (Event::RunReopened { .. }, Some(_)) => {}
            (Event::RunReopened { .. }, None) => {
                return Err(illegal(HistoryFault::BeforeEnd(record.event.name())));
            }
            (event, Some(_)) => return Err(illegal(HistoryFault::AfterEnd(event.name()))),
            (_, None) => {}
        }
        let adopts = matches!(record.event, Event::RunAdopted { .. });
        let expected = self.epoch + u64::from(adopts);
        if record.epoch != expected && !planted::is(Fault::EpochUnchecked) {
            return Err(illegal(HistoryFault::Epoch {
                found: record.epoch,
                expected,
            }));
        }
        match &record.event {
            Event::RunCreated { .. } => return Err(illegal(HistoryFault::Creation(record.event.name()))),
            Event::RunAdopted {
                epoch,
                worker,
                why,
                workspace,
            } => {
                if *epoch != expected {
                    return Err(illegal(HistoryFault::Epoch {
                        found: *epoch,
                        expected,
                    }));
                }
                let adoption = Adoption {
                    epoch: *epoch,
                    worker: worker.clone(),
                    why: why.clone(),
                    workspace: *workspace,
                    at: record.time,
                };
                self.epoch = *epoch;
                // The process that waited is gone, and its wait with it.
                self.awaits_lock = None;
                self.adoptions.push(adoption);
            }
            Event::GroupLockAwaited { .. } | Event::GroupLockTaken { .. }
                if self.awaits_lock.is_some() == matches!(record.event, Event::GroupLockAwaited { .. }) =>
            {
                return Err(illegal(HistoryFault::GroupLock {
                    event: record.event.name(),
                    waits: self.awaits_lock.is_some(),
                }));
            }
            Event::GroupLockAwaited { group, holder } => {
                self.awaits_lock = Some(AwaitedLock {
                    group: group.clone(),
                    holder: *holder,
                    since: record.time,
                });
            }
            Event::GroupLockTaken { .. } => {
                self.awaits_lock = None;
                self.begun.get_or_insert(record.time);
            }
            Event::Deadlocked { group, cycle } => {
                self.awaits_lock = None;
                self.deadlock = Some(Deadlock {
                    group: group.clone(),
                    cycle: cycle.clone(),
                    at: record.time,
                });
            }
            Event::CancelRequested { by, .. } => {
                self.cancelled_twice = self.cancel.is_some();
                self.cancel = Some(by.clone());
            }
            Event::PauseRequested { .. } | Event::RunUnpaused { .. }
                if self.paused.is_some() == matches!(record.event, Event::PauseRequested { .. }) =>
            {
                return Err(illegal(HistoryFault::Pause {
                    event: record.event.name(),
                    paused: self.paused.is_some(),
                }));
            }
            Event::PauseRequested { by, why } => {
                self.paused = Some(Paused {
                    by: by.clone(),
                    why: why.clone(),
                    at: record.time,
                });
            }
            Event::RunUnpaused { .. } => self.paused = None,
            Event::DeadlinePassed => self.expired = Some(record.time),
            Event::RunReopened { .. } => {
                self.cancel = None;
                self.cancelled_twice = false;
                self.expired = None;
                self.reopened = Some(record.time);
                self.begun = None;
                self.paused = None;
                self.deadlock = None;
                self.awaits_lock = None;
                self.outcome = None;
                self.summary = Value::Null;
            }
            Event::RunFinished { outcome, summary } => {
                if let Some((step, state)) = self.unfinished() {
                    let step = step.clone();
                    return Err(illegal(HistoryFault::Unfinished { step, state }));
                }
                self.outcome = Some(*outcome);
                self.awaits_lock = None;
                self.summary = summary.clone();
            }
            Event::StepStarted { step, .. }
            | Event::ChildStarted { step, .. }
            | Event::StepCheckpoint { step, .. }
            | Event::StepReconciled { step, .. }
            | Event::StepSucceeded { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step, .. }
            | Event::StepInvalidated { step, .. }
            | Event::UndoStarted { step, .. }
            | Event::UndoSucceeded { step, .. }
            | Event::UndoFailed { step, .. }
            | Event::UndoStuck { step, .. }
            | Event::ApprovalRequested { step, .. }
            | Event::Approved { step, .. }
            | Event::Rejected { step, .. }
            | Event::RetryRequested { step, .. } => {
                let mut next = self.steps.get(step).cloned().unwrap_or_default();
                next.apply(&record.event, &record.time).map_err(|source| {
                    illegal(HistoryFault::Step {
                        step: step.clone(),
                        source,
                    })
                })?;
                self.steps.insert(step.clone(), next);
                if let Event::StepStarted { .. } = record.event {
                    self.begun.get_or_insert(record.time);
                }
            }
        }
        self.seq = record.seq;
        self.updated = record.time;
        Ok(())
    }

    /// Returns the first step that has begun and not ended, or whose undo has, with its state.
    fn unfinished(&self) -> Option<(&StepId, &'static str)> {
        self.steps.iter().find_map(|(step, record)| {
            let undoing = record
                .undo
                .as_ref()
                .is_some_and(|undo| undo.state == UndoState::Running);
            let state = match record.state.is_final() {
                true if undoing => "being undone",
                true => return None,
                false => record.state.name(),
            };
            Some((step, state))
        })
    }

    /// Returns the step that began the run, for a run that is part of another: that one continues both.
    pub fn parent(&self) -> Option<&Parent> {
        self.trigger.parent()
    }

    /// Returns the steps that wait for a person's decision.
    pub fn waiting_for_approval(&self) -> impl Iterator<Item = &StepId> {
        self.steps
            .iter()
            .filter(|(_, record)| record.awaits().is_some())
            .map(|(step, _)| step)
    }

    /// Returns a step's record; one that no event has named is pending.
    pub fn step(&self, step: &StepId) -> StepRecord {
        self.steps.get(step).cloned().unwrap_or_default()
    }
}
