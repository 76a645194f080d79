//! The one transition table of a step: [`StepRecord::apply`].
//!
//! ```text
//!            Started            Failed, retry_at
//! Pending ───────────► Running ─────────────────► Backoff ─ RetryRequested ─► Pending
//!    │                 │ │ │ ◄─────────────────────┘ Started
//!    │ Skipped         │ │ └─ Reconciled ─► Reconciled ─ Started (continue, redo) ─► Running
//!    ▼                 │ │                       └─ Succeeded (adopt)
//! Skipped              │ └─ Failed ─► Failed
//!                      └─ Succeeded ─► Succeeded ─ Invalidated ─► Pending
//! ```
//! Beside these:
//!
//! - A running attempt may consist of a question to a person (ApprovalRequested). From then on it succeeds only after
//!   it was Approved, it may be skipped or invalidated while it waits, and a next attempt asks anew.
//! - A running attempt may start programs (ChildStarted). They are known until the next attempt starts, whatever
//!   becomes of this one: whoever starts it sees to it first that they are gone.
//! - RetryRequested leaves what is final as it is; the StepInvalidated that follows it makes it pending. A step in Backoff
//!   has its attempts and its deadline anew by it, and keeps its checkpoint.
//! - Invalidated also takes a step out of Backoff: what it waits to continue does not hold any more.
//! - A step that has ended may be undone (UndoStarted and what follows it, see [`undo`](crate::undo)) where it was
//!   started since it was undone last. Its own state stays as it is; starting it again makes it owe an undo anew.
//! - Skipped at a person's request may also follow Failed, and Skipped for any other reason.
//!
//! The engine folds what it appends and resumes from what it reads by this table alone, so an illegal
//! history fails the same way in both.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::approval::{Approval, Decision};
use crate::event::{Event, Measures, Payload, SkipReason, Verdict};
use crate::failure::Failure;
use crate::process::Child;
use crate::time::Stamp;
use crate::undo::{Undo, UndoState};

/// Where a step stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// Not begun, or invalidated.
    #[default]
    Pending,
    /// An attempt has begun and has no outcome: it runs now, or it was cut off.
    Running,
    /// An attempt was cut off, and the action has said what it found.
    Reconciled {
        /// What follows.
        verdict: Verdict,
    },
    /// An attempt failed; the next is due.
    Backoff {
        /// When.
        retry_at: DateTime<Utc>,
        /// Why the last one failed.
        error: Failure,
    },
    /// Done.
    Succeeded {
        /// What it produced.
        output: Payload,
        /// What it measured.
        measures: Measures,
    },
    /// Failed for good.
    Failed {
        /// Why.
        error: Failure,
    },
    /// Will not run.
    Skipped {
        /// Why not.
        why: SkipReason,
    },
}

impl StepState {
    /// Returns whether nothing more happens to the step, unless it is invalidated.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. }
        )
    }

    /// Returns the state's name, as people see it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Reconciled { .. } => "reconciled",
            Self::Backoff { .. } => "backoff",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// A step's state and what has led to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Where it stands.
    #[serde(flatten)]
    pub state: StepState,
    /// Attempts begun, those that were cut off included.
    pub attempts: u32,
    /// Attempts that failed: what a retry policy counts. A crash of Rekindle uses up no attempt of a step.
    pub failures: u32,
    /// The last checkpoint that a next attempt may continue from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// The programs that the newest attempt has started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// What the newest attempt asks a person, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Whether it was started since it was undone last: there may be something to undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
    /// The undo that has begun since it was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// How many attempts were cut off and later adopted, continued or redone.
    pub reconciled: u32,
    /// When the first attempt since the last invalidation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started: Option<Stamp>,
    /// From when its deadline counts: as `first_started`, or since a person asked for the next attempt of one that waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_from: Option<Stamp>,
    /// When the newest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Stamp>,
    /// When the step became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Stamp>,
}

/// An event does not fit the state of its step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} (attempt {attempt}) cannot follow state {state} after {attempts} attempts")]
pub struct IllegalTransition {
    /// The event's name.
    pub event: &'static str,
    /// The event's attempt, 0 where it has none.
    pub attempt: u32,
    /// The step's state.
    pub state: &'static str,
    /// The attempts begun so far.
    pub attempts: u32,
}

impl StepRecord {
    /// Returns what the step asks a person who has not decided yet.
    pub fn awaits(&self) -> Option<&Approval> {
        self.approval
            .as_ref()
            .filter(|approval| self.state == StepState::Running && approval.decision.is_none())
    }

    /// Applies one event of this step. On an error the record is unchanged.
    pub fn apply(&mut self, event: &Event, time: &Stamp) -> Result<(), IllegalTransition> {
        use StepState as S;
        let illegal = |attempt: u32| IllegalTransition {
            event: event.name(),
            attempt,
            state: self.state.name(),
            attempts: self.attempts,
        };
        match (event, &self.state) {
            (Event::StepStarted { attempt, .. }, S::Pending | S::Backoff { .. } | S::Reconciled { .. }) => {
                let adopted = matches!(
                    self.state,
                    S::Reconciled {
                        verdict: Verdict::Adopt
                    }
                );
                if *attempt != self.attempts + 1 || adopted {
                    return Err(illegal(*attempt));
                }
                if matches!(
                    self.state,
                    S::Reconciled {
                        verdict: Verdict::Redo
                    }
                ) {
                    self.checkpoint = None;
                }
                self.attempts = *attempt;
                self.approval = None;
                self.children.clear();
                self.acted = true;
                self.undo = None;
                self.first_started.get_or_insert(*time);
                self.timed_from.get_or_insert(*time);
                self.last_started = Some(*time);
                self.state = S::Running;
            }
            (Event::ChildStarted { attempt, child, .. }, state)
                if self.undoes(*attempt)
                    || (*state == S::Running && *attempt == self.attempts && self.approval.is_none()) =>
            {
                self.children.push(*child);
            }
            (
                Event::StepCheckpoint {
                    attempt, progress, ..
                },
                S::Running,
            ) if *attempt == self.attempts => {
                self.checkpoint = Some(progress.clone());
            }
            (Event::StepReconciled { attempt, verdict, .. }, S::Running | S::Reconciled { .. })
                if *attempt == self.attempts =>
            {
                if self.state == S::Running {
                    self.reconciled += 1;
                }
                self.state = S::Reconciled { verdict: *verdict };
            }
            (
                Event::StepSucceeded {
                    attempt,
                    output,
                    measures,
                    ..
                },
                S::Running
                | S::Reconciled {
                    verdict: Verdict::Adopt,
                },
            ) if *attempt == self.attempts && self.approval.as_ref().is_none_or(Approval::is_granted) => {
                self.state = S::Succeeded {
                    output: output.clone(),
                    measures: measures.clone(),
                };
                self.ended = Some(*time);
            }
            (
                Event::StepFailed {
                    attempt,
                    error,
                    retry_at,
                    ..
                },
                S::Running,
            ) if *attempt == self.attempts => {
                self.failures += 1;
                self.state = match retry_at {
                    Some(retry_at) => S::Backoff {
                        retry_at: *retry_at,
                        error: error.clone(),
                    },
                    None => S::Failed { error: error.clone() },
                };
                if retry_at.is_none() {
                    self.ended = Some(*time);
                }
            }
            (Event::ApprovalRequested { attempt, prompt, .. }, S::Running)
                if *attempt == self.attempts && self.approval.is_none() =>
            {
                self.approval = Some(Approval {
                    prompt: prompt.clone(),
                    asked: *time,
                    decision: None,
                });
            }
            (
                Event::Approved {
                    attempt, by, note, ..
                }
                | Event::Rejected {
                    attempt, by, note, ..
                },
                S::Running,
            ) if *attempt == self.attempts => match &mut self.approval {
                Some(approval) if approval.decision.is_none() => {
                    approval.decision = Some(Decision {
                        granted: matches!(event, Event::Approved { .. }),
                        by: by.clone(),
                        note: note.clone(),
                        at: *time,
                    });
                }
                _ => return Err(illegal(*attempt)),
            },
            (Event::UndoStarted { attempt, .. }, state) if state.is_final() && self.acted => {
                let (attempts, failures) = self
                    .undo
                    .as_ref()
                    .map_or((0, 0), |undo| (undo.attempts, undo.failures));
                let stuck = self.undo.as_ref().is_some_and(|undo| undo.stuck().is_some());
                if *attempt != attempts + 1 || stuck {
                    return Err(illegal(*attempt));
                }
                self.children.clear();
                self.undo = Some(Undo {
                    state: UndoState::Running,
                    attempts: *attempt,
                    failures,
                });
            }
            (
                Event::UndoSucceeded { attempt, .. }
                | Event::UndoFailed { attempt, .. }
                | Event::UndoStuck { attempt, .. },
                _,
            ) if self.undoes(*attempt) => {
                let failures = self.undo.as_ref().map_or(0, |undo| undo.failures);
                let failed = u32::from(!matches!(event, Event::UndoSucceeded { .. }));
                let state = match event {
                    Event::UndoFailed { error, retry_at, .. } => UndoState::Waiting {
                        retry_at: *retry_at,
                        since: *time,
                        error: error.clone(),
                    },
                    Event::UndoStuck { error, .. } => UndoState::Stuck { error: error.clone() },
                    _ => UndoState::Done,
                };
                self.acted = state != UndoState::Done;
                self.undo = Some(Undo {
                    state,
                    attempts: *attempt,
                    failures: failures + failed,
                });
            }
            (Event::RetryRequested { .. }, _) if self.stuck().is_some() => {
                if let Some(undo) = &mut self.undo {
                    undo.state = UndoState::Due;
                    undo.failures = 0;
                }
            }
            (Event::RetryRequested { .. }, S::Succeeded { .. } | S::Skipped { .. } | S::Failed { .. }) => {}
            (Event::RetryRequested { .. }, S::Backoff { .. }) => {
                // Whoever asks for it gives it its attempts and its time anew.
                self.failures = 0;
                self.timed_from = None;
                self.state = S::Pending;
            }
            (Event::StepSkipped { why, .. }, _) if self.may_be_skipped(why) => {
                self.state = S::Skipped { why: why.clone() };
                self.ended = Some(*time);
            }
            (Event::StepInvalidated { .. }, state)
                if state.is_final() || matches!(state, S::Backoff { .. }) || self.awaits().is_some() =>
            {
                *self = Self {
                    attempts: self.attempts,
                    reconciled: self.reconciled,
                    children: std::mem::take(&mut self.children),
                    acted: self.acted,
                    ..Self::default()
                };
            }
            (
                Event::StepStarted { attempt, .. }
                | Event::ChildStarted { attempt, .. }
                | Event::StepCheckpoint { attempt, .. }
                | Event::StepReconciled { attempt, .. }
                | Event::StepSucceeded { attempt, .. }
                | Event::StepFailed { attempt, .. }
                | Event::UndoStarted { attempt, .. }
                | Event::UndoSucceeded { attempt, .. }
                | Event::UndoFailed { attempt, .. }
                | Event::UndoStuck { attempt, .. }
                | Event::ApprovalRequested { attempt, .. }
                | Event::Approved { attempt, .. }
                | Event::Rejected { attempt, .. },
                _,
            ) => return Err(illegal(*attempt)),
            (
                Event::StepSkipped { .. }
                | Event::StepInvalidated { .. }
                | Event::RunCreated { .. }
                | Event::RunAdopted { .. }
                | Event::TurnAwaited { .. }
                | Event::TurnTaken { .. }
                | Event::Deadlocked { .. }
                | Event::RetryRequested { .. }
                | Event::PauseRequested { .. }
                | Event::RunUnpaused { .. }
                | Event::CancelRequested { .. }
                | Event::DeadlinePassed
                | Event::RunFinished { .. }
                | Event::RunReopened { .. },
                _,
            ) => return Err(illegal(0)),
        }
        Ok(())
    }

    /// Returns why the undo of the step failed for good, where it did.
    pub fn stuck(&self) -> Option<&Failure> {
        self.undo.as_ref().and_then(Undo::stuck)
    }

    /// Returns whether this attempt to undo the step has begun and has no outcome.
    fn undoes(&self, attempt: u32) -> bool {
        let undo = self.undo.as_ref();
        undo.is_some_and(|undo| undo.state == UndoState::Running && undo.attempts == attempt)
    }

    fn may_be_skipped(&self, why: &SkipReason) -> bool {
        use StepState as S;
        let requested = matches!(why, SkipReason::Requested { .. });
        match &self.state {
            S::Pending | S::Backoff { .. } | S::Reconciled { .. } => true,
            S::Running => self.awaits().is_some(),
            S::Failed { .. } => requested,
            S::Skipped { why } => requested && !matches!(why, SkipReason::Requested { .. }),
            S::Succeeded { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StepId;
    use crate::process::ProcessId;
    use crate::time::{Clock, SystemClock};

    fn started(attempt: u32) -> Event {
        Event::StepStarted {
            step: StepId::plain("s"),
            attempt,
        }
    }
    fn checkpoint(attempt: u32, progress: i64) -> Event {
        Event::StepCheckpoint {
            step: StepId::plain("s"),
            attempt,
            progress: Payload::Inline(progress.into()),
        }
    }
    fn child(attempt: u32, pid: i32) -> Event {
        let program = ProcessId { pid, start_ticks: 5 };
        Event::ChildStarted {
            step: StepId::plain("s"),
            attempt,
            child: Child {
                program,
                supervisor: None,
                boot_id: uuid::Uuid::nil(),
            },
        }
    }
    fn reconciled(attempt: u32, verdict: Verdict) -> Event {
        Event::StepReconciled {
            step: StepId::plain("s"),
            attempt,
            verdict,
            evidence: serde_json::Value::Null,
        }
    }
    fn succeeded(attempt: u32) -> Event {
        Event::StepSucceeded {
            step: StepId::plain("s"),
            attempt,
            output: Payload::NONE,
            measures: Measures::default(),
        }
    }
    fn failed(attempt: u32, retry_at: Option<DateTime<Utc>>) -> Event {
        let error = Failure::transient("x", "y");
        Event::StepFailed {
            step: StepId::plain("s"),
            attempt,
            error,
            retry_at,
            measures: Measures::default(),
        }
    }
    fn skipped() -> Event {
        Event::StepSkipped {
            step: StepId::plain("s"),
            why: SkipReason::Cancelled,
        }
    }
    fn invalidated() -> Event {
        Event::StepInvalidated {
            step: StepId::plain("s"),
            why: "gone".into(),
        }
    }

    fn asked(attempt: u32) -> Event {
        Event::ApprovalRequested {
            step: StepId::plain("s"),
            attempt,
            prompt: "sure?".into(),
        }
    }
    fn approved(attempt: u32) -> Event {
        Event::Approved {
            step: StepId::plain("s"),
            attempt,
            by: "ann".into(),
            note: None,
        }
    }
    fn rejected(attempt: u32) -> Event {
        Event::Rejected {
            step: StepId::plain("s"),
            attempt,
            by: "ann".into(),
            note: Some("no".into()),
        }
    }
    fn retry() -> Event {
        Event::RetryRequested {
            step: StepId::plain("s"),
            by: "ann".into(),
            why: None,
        }
    }
    fn skipped_by_request() -> Event {
        let (by, why) = ("ann".into(), "known".into());
        Event::StepSkipped {
            step: StepId::plain("s"),
            why: SkipReason::Requested { by, why },
        }
    }

    /// Applies a history and returns the final state's name, or the name of the first refused event.
    fn run(history: &[Event]) -> Result<StepRecord, &'static str> {
        let mut record = StepRecord::default();
        for event in history {
            let before = record.clone();
            if record.apply(event, &SystemClock.now()).is_err() {
                assert_eq!(record, before, "a refused event must change nothing");
                return Err(event.name());
            }
        }
        Ok(record)
    }

    #[test]
    fn legal_histories_end_where_the_table_says() {
        let soon = DateTime::from_timestamp(1_800_000_000, 0);
        for (history, expect) in [
            (vec![started(1), checkpoint(1, 7), succeeded(1)], "succeeded"),
            (
                vec![started(1), failed(1, soon), started(2), succeeded(2)],
                "succeeded",
            ),
            (vec![started(1), failed(1, None)], "failed"),
            (
                vec![started(1), reconciled(1, Verdict::Adopt), succeeded(1)],
                "succeeded",
            ),
            (
                vec![
                    started(1),
                    reconciled(1, Verdict::Redo),
                    reconciled(1, Verdict::Redo),
                    started(2),
                ],
                "running",
            ),
            (vec![skipped()], "skipped"),
            (
                vec![started(1), succeeded(1), invalidated(), started(2)],
                "running",
            ),
            (vec![started(1), asked(1), approved(1), succeeded(1)], "succeeded"),
            (vec![started(1), asked(1), rejected(1), failed(1, None)], "failed"),
            (vec![started(1), asked(1), failed(1, None)], "failed"),
            (vec![started(1), asked(1), skipped_by_request()], "skipped"),
            (vec![started(1), asked(1), skipped()], "skipped"),
            (
                vec![started(1), asked(1), invalidated(), started(2), asked(2)],
                "running",
            ),
            (vec![started(1), failed(1, soon), retry(), started(2)], "running"),
            (vec![started(1), failed(1, soon), retry()], "pending"),
            (vec![started(1), failed(1, soon), invalidated()], "pending"),
            (vec![started(1), failed(1, None), retry()], "failed"),
            (
                vec![started(1), failed(1, None), retry(), invalidated()],
                "pending",
            ),
            (
                vec![started(1), succeeded(1), retry(), invalidated(), started(2)],
                "running",
            ),
            (vec![started(1), failed(1, None), skipped_by_request()], "skipped"),
            (
                vec![skipped(), skipped_by_request(), retry(), invalidated()],
                "pending",
            ),
            (vec![started(1), failed(1, soon), skipped_by_request()], "skipped"),
        ] {
            assert_eq!(run(&history).unwrap().state.name(), expect, "{history:?}");
        }
    }

    #[test]
    fn illegal_histories_are_refused_at_the_event_that_does_not_fit() {
        for (history, refused) in [
            (vec![succeeded(1)], "step_succeeded"),
            (vec![started(2)], "step_started"),
            (vec![started(1), started(2)], "step_started"),
            (vec![started(1), succeeded(1), started(2)], "step_started"),
            (vec![started(1), succeeded(1), succeeded(1)], "step_succeeded"),
            (vec![started(1), succeeded(2)], "step_succeeded"),
            (
                vec![started(1), reconciled(1, Verdict::Adopt), started(2)],
                "step_started",
            ),
            (
                vec![started(1), reconciled(1, Verdict::Redo), succeeded(1)],
                "step_succeeded",
            ),
            (vec![checkpoint(1, 0)], "step_checkpoint"),
            (vec![child(1, 7)], "child_started"),
            (vec![started(1), child(2, 7)], "child_started"),
            (
                vec![started(1), reconciled(1, Verdict::Redo), child(1, 7)],
                "child_started",
            ),
            (vec![started(1), asked(1), child(1, 7)], "child_started"),
            (vec![started(1), skipped()], "step_skipped"),
            (vec![invalidated()], "step_invalidated"),
            (vec![asked(1)], "approval_requested"),
            (vec![started(1), asked(2)], "approval_requested"),
            (vec![started(1), asked(1), asked(1)], "approval_requested"),
            (vec![started(1), approved(1)], "approved"),
            (vec![started(1), asked(1), approved(2)], "approved"),
            (vec![started(1), asked(1), approved(1), rejected(1)], "rejected"),
            (vec![started(1), asked(1), rejected(1), approved(1)], "approved"),
            (vec![started(1), asked(1), succeeded(1)], "step_succeeded"),
            (
                vec![started(1), asked(1), rejected(1), succeeded(1)],
                "step_succeeded",
            ),
            (
                vec![started(1), asked(1), failed(1, None), approved(1)],
                "approved",
            ),
            (vec![started(1), asked(1), approved(1), skipped()], "step_skipped"),
            (
                vec![started(1), asked(1), approved(1), invalidated()],
                "step_invalidated",
            ),
            (vec![retry()], "retry_requested"),
            (vec![started(1), retry()], "retry_requested"),
            (vec![started(1), skipped_by_request()], "step_skipped"),
            (vec![started(1), invalidated()], "step_invalidated"),
            (
                vec![started(1), succeeded(1), skipped_by_request()],
                "step_skipped",
            ),
            (vec![started(1), failed(1, None), skipped()], "step_skipped"),
            (vec![skipped_by_request(), skipped_by_request()], "step_skipped"),
        ] {
            assert_eq!(run(&history).unwrap_err(), refused, "{history:?}");
        }
    }

    #[test]
    fn continue_keeps_the_checkpoint_and_redo_drops_it() {
        let cut = [started(1), checkpoint(1, 42)];
        let next = |verdict| {
            let mut history = cut.to_vec();
            history.extend([reconciled(1, verdict), started(2)]);
            run(&history).unwrap().checkpoint
        };
        assert_eq!(next(Verdict::Continue), Some(Payload::Inline(42.into())));
        assert_eq!(next(Verdict::Redo), None);
    }

    fn undo(event: &str, attempt: u32) -> Event {
        let error = Failure::transient("x", "y");
        let value = serde_json::json!({
            "event": event, "step": "s", "attempt": attempt, "error": error, "retry_at": "2027-01-15T08:00:00Z",
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_step_owes_an_undo_from_its_start_until_it_is_undone() {
        let owes = |more: &[Event]| {
            let record = run(&[&[started(1)], more].concat()).unwrap();
            (record.acted, record.undo.map(|undo| undo.state))
        };
        assert_eq!(owes(&[succeeded(1)]), (true, None));
        let begun = [succeeded(1), undo("undo_started", 1)];
        assert_eq!(owes(&begun), (true, Some(UndoState::Running)));
        let done = [&begun[..], &[undo("undo_succeeded", 1)]].concat();
        assert_eq!(owes(&done), (false, Some(UndoState::Done)));
        let again = [&done[..], &[invalidated(), started(2)]].concat();
        assert_eq!(owes(&again), (true, None));
        // What is invalidated was done all the same.
        assert_eq!(owes(&[succeeded(1), invalidated()]), (true, None));
        let stuck = [failed(1, None), undo("undo_started", 1), undo("undo_stuck", 1)];
        let record = run(&[&[started(1)], &stuck[..]].concat()).unwrap();
        assert_eq!(record.stuck().unwrap().code, "x");
        let due = [&stuck[..], &[retry()]].concat();
        assert_eq!(owes(&due), (true, Some(UndoState::Due)));
        let second = [&due[..], &[undo("undo_started", 2), undo("undo_succeeded", 2)]].concat();
        assert_eq!(owes(&second), (false, Some(UndoState::Done)));
    }

    #[test]
    fn an_undo_that_does_not_fit_is_refused() {
        let begun = || vec![started(1), succeeded(1), undo("undo_started", 1)];
        let after = |more: Vec<Event>| [begun(), more].concat();
        for (history, refused) in [
            (vec![undo("undo_started", 1)], "undo_started"),
            (vec![skipped(), undo("undo_started", 1)], "undo_started"),
            (vec![started(1), undo("undo_started", 1)], "undo_started"),
            (
                vec![started(1), succeeded(1), undo("undo_started", 2)],
                "undo_started",
            ),
            (
                vec![started(1), succeeded(1), undo("undo_succeeded", 1)],
                "undo_succeeded",
            ),
            (after(vec![undo("undo_failed", 2)]), "undo_failed"),
            (
                after(vec![undo("undo_succeeded", 1), undo("undo_started", 2)]),
                "undo_started",
            ),
            (
                after(vec![undo("undo_stuck", 1), undo("undo_started", 2)]),
                "undo_started",
            ),
            (
                after(vec![undo("undo_failed", 1), undo("undo_succeeded", 1)]),
                "undo_succeeded",
            ),
        ] {
            assert_eq!(run(&history).unwrap_err(), refused, "{history:?}");
        }
        let cut_off = after(vec![undo("undo_started", 2)]);
        assert_eq!(
            run(&cut_off).unwrap().undo.unwrap().attempts,
            2,
            "it may be cut off and begun again"
        );
    }

    #[test]
    fn an_attempts_programs_are_known_until_the_next_attempt_starts() {
        let programs = |more: &[Event]| {
            let mut history = vec![started(1), child(1, 7), child(1, 8)];
            history.extend_from_slice(more);
            let found = run(&history).unwrap().children;
            found.iter().map(|child| child.program.pid).collect::<Vec<_>>()
        };
        assert_eq!(programs(&[]), [7, 8]);
        let soon = DateTime::from_timestamp(1_800_000_000, 0);
        for left in [
            vec![reconciled(1, Verdict::Continue)],
            vec![failed(1, soon)],
            vec![failed(1, None), retry(), invalidated()],
        ] {
            assert_eq!(programs(&left), [7, 8], "{left:?}");
            let next = [&left[..], &[started(2)]].concat();
            assert!(programs(&next).is_empty(), "{next:?}");
        }
    }

    #[test]
    fn a_crash_uses_up_no_attempt_of_the_retry_policy() {
        let record = run(&[
            started(1),
            reconciled(1, Verdict::Redo),
            started(2),
            failed(2, None),
        ])
        .unwrap();
        assert_eq!((record.attempts, record.failures), (2, 1));
    }

    #[test]
    fn a_retry_that_was_asked_for_keeps_the_checkpoint_of_a_wait_and_counts_failures_and_time_anew() {
        let soon = DateTime::from_timestamp(1_800_000_000, 0);
        let waited = run(&[started(1), checkpoint(1, 42), failed(1, soon), retry()]).unwrap();
        assert_eq!(waited.checkpoint, Some(Payload::Inline(42.into())));
        assert_eq!((waited.attempts, waited.failures), (1, 0));
        assert!(waited.first_started.is_some() && waited.timed_from.is_none());
        let ended = run(&[started(1), failed(1, None), retry(), invalidated()]).unwrap();
        assert_eq!((ended.attempts, ended.failures), (1, 0));
    }

    #[test]
    fn a_next_attempt_asks_anew() {
        let soon = DateTime::from_timestamp(1_800_000_000, 0);
        let record = run(&[started(1), asked(1), failed(1, soon), started(2)]).unwrap();
        assert_eq!(record.approval, None);
        let record = run(&[started(1), asked(1), rejected(1)]).unwrap();
        let approval = record.approval.as_ref().unwrap();
        assert!(record.awaits().is_none() && !approval.is_granted());
        let decision = approval.decision.as_ref().unwrap();
        assert_eq!(
            (decision.by.as_str(), decision.note.as_deref()),
            ("ann", Some("no"))
        );
    }
}
