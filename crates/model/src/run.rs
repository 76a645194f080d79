//! The one fold: a run's state is what its records say, one after another.

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
use crate::step::{IllegalTransition, StepRecord};
use crate::time::Stamp;
use crate::undo::UndoState;

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
    /// What expands the definition into the plan again.
    pub inputs: Payload,
    /// What it is for.
    pub kind: RunKind,
    /// Who or what asked for it.
    pub trigger: Trigger,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person told `disaster_at`.
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
    /// Who asked for it to be cancelled.
    pub cancel: Option<String>,
    /// When its deadline had passed, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Stamp>,
    /// When it was opened again last; its deadline counts from there, where it has no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<Stamp>,
    /// When it began since it was created or opened again: when its turn came that it had waited for, or its first step
    /// started. The deadline of a run of a group counts from there; what it waits for its turn after a crash counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Stamp>,
    /// Who asked for it to be paused, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// That it gave up its turn, where it did: runs waited for each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlock: Option<Deadlock>,
    /// The turn that it waits for, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_turn: Option<AwaitedTurn>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Figures of the whole run, once it is over.
    pub summary: Value,
}

/// That nothing of a run is to be started.
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

/// That a run waits until no other run of its group is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedTurn {
    /// The group.
    pub group: String,
    /// The run whose turn it was when the wait began.
    pub holder: RunId,
    /// Since when.
    pub since: Stamp,
}

/// That a run gave up its turn because runs waited for each other.
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
    /// Tells who waits for whom.
    pub fn told(cycle: &[Waits]) -> String {
        let mut told = "runs wait for each other: ".to_owned();
        let behind = cycle.iter().skip(1).chain(cycle.first());
        for (at, (waits, next)) in cycle.iter().zip(behind).enumerate() {
            told.push_str(&match at {
                0 => format!("run {} ", waits.run),
                _ => ", which ".to_owned(),
            });
            told.push_str(&match &waits.group {
                Some(group) => format!("waits for its turn in `{group}` after run {}", next.run),
                None => format!("waits for run {}, the work of its step", next.run),
            });
        }
        told
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::told(&self.cycle))
    }
}

/// One process that took the run over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// The epoch that it began.
    pub epoch: u64,
    /// The process.
    pub worker: Worker,
    /// Why.
    pub why: String,
    /// The workspace that it was brought to from another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Uuid>,
    /// When.
    pub at: Stamp,
}

/// A record does not fit the history before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {run}, record {seq}: {fault}")]
pub struct IllegalHistory {
    /// The run.
    pub run: RunId,
    /// The record's number.
    pub seq: u64,
    /// What does not fit.
    pub fault: HistoryFault,
}

/// What can be wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFault {
    /// The history does not begin with `run_created`, or has it twice.
    #[error("{0} cannot be there: a history begins with run_created, once")]
    Creation(&'static str),
    /// A record is missing or doubled.
    #[error("expected record {expected}")]
    Gap {
        /// The number that should follow.
        expected: u64,
    },
    /// Something happened after the end.
    #[error("{0} after run_finished")]
    AfterEnd(&'static str),
    /// A run ended while something of it had not.
    #[error("run_finished while step {step} is {state}")]
    Unfinished {
        /// The first such step.
        step: StepId,
        /// Its state.
        state: &'static str,
    },
    /// A run that is not over was reopened.
    #[error("{0} before run_finished")]
    BeforeEnd(&'static str),
    /// A paused run was paused, or one that goes on was let go on.
    #[error("{event} in a run that is {}", if *.paused { "paused" } else { "not paused" })]
    Pause {
        /// The event.
        event: &'static str,
        /// Whether the run was paused before it.
        paused: bool,
    },
    /// A turn was taken that was not waited for, or waited for twice.
    #[error("{event} in a run that {}", if *.waits { "waits for its turn" } else { "does not wait for its turn" })]
    Turn {
        /// The event.
        event: &'static str,
        /// Whether the run waited before it.
        waits: bool,
    },
    /// A record of a fenced epoch, or an adoption that does not raise it by one.
    #[error("epoch {found}, expected {expected}")]
    Epoch {
        /// The epoch found.
        found: u64,
        /// The epoch that may append.
        expected: u64,
    },
    /// A record of another run.
    #[error("it belongs to run {0}")]
    OtherRun(RunId),
    /// A step's event does not fit the step's state.
    #[error("step {step}: {source}")]
    Step {
        /// The step.
        step: StepId,
        /// What does not fit.
        source: IllegalTransition,
    },
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
            expired: None,
            reopened: None,
            begun: None,
            paused: None,
            deadlock: None,
            awaits_turn: None,
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
                // Whoever waited is gone, and its wait with it.
                self.awaits_turn = None;
                self.adoptions.push(adoption);
            }
            Event::TurnAwaited { .. } | Event::TurnTaken { .. }
                if self.awaits_turn.is_some() == matches!(record.event, Event::TurnAwaited { .. }) =>
            {
                return Err(illegal(HistoryFault::Turn {
                    event: record.event.name(),
                    waits: self.awaits_turn.is_some(),
                }));
            }
            Event::TurnAwaited { group, holder } => {
                self.awaits_turn = Some(AwaitedTurn {
                    group: group.clone(),
                    holder: *holder,
                    since: record.time,
                });
            }
            Event::TurnTaken { .. } => {
                self.awaits_turn = None;
                self.begun.get_or_insert(record.time);
            }
            Event::Deadlocked { group, cycle } => {
                self.awaits_turn = None;
                self.deadlock = Some(Deadlock {
                    group: group.clone(),
                    cycle: cycle.clone(),
                    at: record.time,
                });
            }
            Event::CancelRequested { by, .. } => self.cancel = Some(by.clone()),
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
                self.expired = None;
                self.reopened = Some(record.time);
                self.begun = None;
                self.paused = None;
                self.deadlock = None;
                self.awaits_turn = None;
                self.outcome = None;
                self.summary = Value::Null;
            }
            Event::RunFinished { outcome, summary } => {
                if let Some((step, state)) = self.unfinished() {
                    let step = step.clone();
                    return Err(illegal(HistoryFault::Unfinished { step, state }));
                }
                self.outcome = Some(*outcome);
                self.awaits_turn = None;
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

    /// Returns the first step that was begun and has not ended, or that is being undone, with what it is.
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::time::{Clock, ManualClock};

    /// Folds a run with these events after its creation. On an illegal one, returns what does not fit.
    fn run(events: &[Event]) -> Result<RunState, HistoryFault> {
        let created = Event::RunCreated {
            workflow: "test".into(),
            definition: Hash32::ZERO,
            system: None,
            inputs: Payload::NONE,
            kind: None,
            trigger: Trigger::command("a test"),
            disaster_at: None,
            disaster_at_told: false,
            old_parent: None,
        };
        let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let mut epoch = 1;
        let records = std::iter::once(&created)
            .chain(events)
            .zip(1..)
            .map(|(event, seq)| {
                epoch += u64::from(matches!(event, Event::RunAdopted { .. }));
                Record {
                    run: RunId(Uuid::from_u128(1)),
                    seq,
                    epoch,
                    time: clock.now(),
                    prev: Hash32::ZERO,
                    head: None,
                    event: event.clone(),
                }
            });
        let records: Vec<Record> = records.collect();
        let mut state = RunState::created(&records[0]).unwrap();
        for record in &records[1..] {
            let before = state.clone();
            if let Err(illegal) = state.fold(record) {
                assert_eq!(state, before, "a refused record must change nothing");
                return Err(illegal.fault);
            }
        }
        Ok(state)
    }

    fn asked(event: &str) -> Event {
        serde_json::from_value(json!({ "event": event, "by": "ann", "why": "lunch" })).unwrap()
    }

    fn finished() -> Event {
        let summary = json!({ "steps": 0 });
        Event::RunFinished {
            outcome: Outcome::Cancelled,
            summary,
        }
    }

    #[test]
    fn a_run_is_paused_until_it_is_let_go_on() {
        let paused = run(&[asked("pause_requested")]).unwrap().paused.unwrap();
        assert_eq!(
            (paused.by.as_str(), paused.why.as_deref()),
            ("ann", Some("lunch"))
        );
        let both = [asked("pause_requested"), asked("run_unpaused")];
        assert_eq!(run(&both).unwrap().paused, None);
    }

    #[test]
    fn a_reopened_run_is_neither_over_nor_cancelled_nor_paused() {
        let state = run(&[
            asked("pause_requested"),
            asked("cancel_requested"),
            finished(),
            asked("run_reopened"),
        ])
        .unwrap();
        assert_eq!(
            (state.outcome, state.cancel, state.paused, state.summary),
            (None, None, None, Value::Null)
        );
        let again = [
            finished(),
            asked("run_reopened"),
            finished(),
            asked("run_reopened"),
        ];
        assert_eq!(run(&again).unwrap().outcome, None);
    }

    fn turn(event: &str) -> Event {
        let holder = RunId(Uuid::from_u128(9));
        serde_json::from_value(json!({ "event": event, "group": "nightly", "holder": holder })).unwrap()
    }

    #[test]
    fn a_run_waits_for_its_turn_until_it_is_taken_or_whoever_waited_is_gone() {
        let waits = run(&[turn("turn_awaited")]).unwrap().awaits_turn.unwrap();
        assert_eq!(waits.group, "nightly");
        let adopted = serde_json::from_value(json!({
            "event": "run_adopted", "epoch": 2, "why": "", "worker": { "host": "h", "pid": 1, "version": "0" },
        }));
        for ends in [turn("turn_taken"), adopted.unwrap(), finished()] {
            let state = run(&[turn("turn_awaited"), ends.clone()]).unwrap();
            assert_eq!(state.awaits_turn, None, "{ends:?}");
        }
    }

    fn of_step(event: &str, attempt: u32) -> Event {
        let error = crate::failure::Failure::permanent("x", "y");
        let why = json!({ "reason": "cancelled" });
        serde_json::from_value(json!({
            "event": event, "step": "s", "attempt": attempt, "error": error, "output": Payload::NONE,
            "retry_at": "2027-01-15T08:00:00Z", "verdict": "redo", "evidence": null, "why": why,
        }))
        .unwrap()
    }

    #[test]
    fn a_run_does_not_end_before_what_it_has_begun() {
        let started = || of_step("step_started", 1);
        let undoing = || {
            vec![
                started(),
                of_step("step_succeeded", 1),
                of_step("undo_started", 1),
            ]
        };
        for (history, state) in [
            (vec![started()], "running"),
            (vec![started(), of_step("step_reconciled", 1)], "reconciled"),
            (vec![started(), of_step("step_failed", 1)], "backoff"),
            (undoing(), "being undone"),
        ] {
            let fault = run(&[history.clone(), vec![finished()]].concat()).unwrap_err();
            let step = StepId::plain("s");
            assert_eq!(fault, HistoryFault::Unfinished { step, state }, "{history:?}");
        }
        let ended = [
            vec![started(), of_step("step_succeeded", 1)],
            vec![of_step("step_skipped", 1)],
            [undoing(), vec![of_step("undo_stuck", 1)]].concat(),
        ];
        for history in ended {
            assert!(
                run(&[history.clone(), vec![finished()]].concat()).is_ok(),
                "{history:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_a_run_is_refused() {
        let pause = |event, paused| HistoryFault::Pause { event, paused };
        for (events, fault) in [
            (
                vec![asked("run_reopened")],
                HistoryFault::BeforeEnd("run_reopened"),
            ),
            (
                vec![finished(), asked("pause_requested")],
                HistoryFault::AfterEnd("pause_requested"),
            ),
            (
                vec![finished(), asked("cancel_requested")],
                HistoryFault::AfterEnd("cancel_requested"),
            ),
            (
                vec![finished(), finished()],
                HistoryFault::AfterEnd("run_finished"),
            ),
            (vec![asked("run_unpaused")], pause("run_unpaused", false)),
            (
                vec![turn("turn_taken")],
                HistoryFault::Turn {
                    event: "turn_taken",
                    waits: false,
                },
            ),
            (
                vec![turn("turn_awaited"), turn("turn_awaited")],
                HistoryFault::Turn {
                    event: "turn_awaited",
                    waits: true,
                },
            ),
            (
                vec![asked("pause_requested"), asked("pause_requested")],
                pause("pause_requested", true),
            ),
        ] {
            assert_eq!(run(&events).unwrap_err(), fault, "{events:?}");
        }
        assert_eq!(
            pause("run_unpaused", false).to_string(),
            "run_unpaused in a run that is not paused"
        );
    }

    /// Two first records as they were journaled before runs had kinds: of `rekindle backup --accept x`, and of a nested
    /// run. Each as MessagePack in hexadecimal, and as `rekindle history --json` printed it.
    const WITHOUT_KIND: [(&str, &str); 2] = [
        (
            "88a56576656e74ab72756e5f63726561746564a8776f726b666c6f77a66261636b7570aa646566696e6974696f6ed940303730373037\
     303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037\
     30373037a673797374656dd9403038303830383038303830383038303830383038303830383038303830383038303830383038303830\
     3830383038303830383038303830383038303830383038a6696e7075747381a6696e6c696e6582a56c6f6f707381a47469657291a46e\
     656172a6706172616d7381a6616363657074a0a774726967676572ba72656b696e646c65206261636b7570202d2d6163636570742078\
     ab64697361737465725f6174be323032372d30312d31355430383a30303a30302e3030303030303030375ab064697361737465725f61\
     745f746f6c64c2",
            r#"{"run":"01990000-0000-7000-8000-000000000001","seq":1,"epoch":1,"utc":"2027-01-15T08:00:00.000000007Z","boot_ns":42,"boot_id":"00000000-0000-0000-0000-000000000005","prev":"0000000000000000000000000000000000000000000000000000000000000000","head":{"commit":3,"hash":"0909090909090909090909090909090909090909090909090909090909090909"},"event":"run_created","workflow":"backup","definition":"0707070707070707070707070707070707070707070707070707070707070707","system":"0808080808080808080808080808080808080808080808080808080808080808","inputs":{"inline":{"loops":{"tier":["near"]},"params":{"accept":""}}},"trigger":"rekindle backup --accept x","disaster_at":"2027-01-15T08:00:00.000000007Z","disaster_at_told":false}"#,
        ),
        (
            "89a56576656e74ab72756e5f63726561746564a8776f726b666c6f77a76e696768746c79aa646566696e6974696f6ed9403037303730\
     373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730\
     3730373037a673797374656dd94030383038303830383038303830383038303830383038303830383038303830383038303830383038\
     303830383038303830383038303830383038303830383038a6696e7075747381a6696e6c696e6582a56c6f6f707381a47469657291a4\
     6e656172a6706172616d7381a6616363657074a0a774726967676572d92d72756e2030313939303030302d303030302d373030302d38\
     3030302d3030303030303030303030312f63616c6cab64697361737465725f6174be323032372d30312d31355430383a30303a30302e\
     3030303030303030375ab064697361737465725f61745f746f6c64c2a6706172656e7482a372756ec410019900000000700080000000\
     00000001a473746570a463616c6c",
            r#"{"run":"01990000-0000-7000-8000-000000000002","seq":1,"epoch":1,"utc":"2027-01-15T08:00:00.000000007Z","boot_ns":42,"boot_id":"00000000-0000-0000-0000-000000000005","prev":"0000000000000000000000000000000000000000000000000000000000000000","head":{"commit":3,"hash":"0909090909090909090909090909090909090909090909090909090909090909"},"event":"run_created","workflow":"nightly","definition":"0707070707070707070707070707070707070707070707070707070707070707","system":"0808080808080808080808080808080808080808080808080808080808080808","inputs":{"inline":{"loops":{"tier":["near"]},"params":{"accept":""}}},"trigger":"run 01990000-0000-7000-8000-000000000001/call","disaster_at":"2027-01-15T08:00:00.000000007Z","disaster_at_told":false,"parent":{"run":"01990000-0000-7000-8000-000000000001","step":"call"}}"#,
        ),
    ];

    #[test]
    fn a_history_from_before_runs_had_kinds_still_folds_and_is_written_again_byte_for_byte() {
        let nested_in = Parent {
            run: "01990000-0000-7000-8000-000000000001".parse().unwrap(),
            step: StepId::plain("call"),
        };
        let origins = [
            (RunKind::Backup, Trigger::command("rekindle backup --accept x")),
            (RunKind::Custom, Trigger::Parent(nested_in)),
        ];
        for ((hex, json), (kind, trigger)) in WITHOUT_KIND.into_iter().zip(origins) {
            let packed: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let event: Event = rmp_serde::from_slice(&packed).unwrap();
            assert_eq!(rmp_serde::to_vec_named(&event).unwrap(), packed);
            let record: Record = serde_json::from_str(json).unwrap();
            assert_eq!(record.event, event);
            assert_eq!(serde_json::to_string(&record).unwrap(), json);

            let state = RunState::created(&record).unwrap();
            assert_eq!((state.kind, &state.trigger), (kind, &trigger));
            assert_eq!(event.origin(), Some(Origin { kind, trigger }));
        }
    }
}
