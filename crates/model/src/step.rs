//! The one transition table of a step: [`StepRecord::apply`].
//!
//! ```text
//!            Started            Failed, retry_at
//! Pending ───────────► Running ─────────────────► Backoff ─ RetryRequested ─► Pending
//!    │                 │ │ │ ◄─────────────────────┘ Started
//!    │ Skipped         │ │ └─ Reconciled ─► Reconciled ─ Started (continue, redo) ─► Running
//!    ▼                 │ │                       └─ Succeeded (complete)
//! Skipped              │ └─ Failed ─► Failed
//!                      └─ Succeeded ─► Succeeded ─ Invalidated ─► Pending
//! ```
//! Beside these:
//!
//! - A running attempt may consist of a question to a person (ApprovalRequested). Then it succeeds only after
//!   Approved. While it waits, it may be skipped or invalidated. A next attempt asks again.
//! - A running attempt may start programs (ChildStarted). The record keeps them until the next attempt starts: the
//!   engine ends them before it starts that attempt.
//! - RetryRequested does not change a final state; the StepInvalidated that follows it makes the step pending. For a
//!   step in Backoff, attempts and deadline count from the start again, and the checkpoint stays.
//! - Invalidated also applies to a step in Backoff: the work that it waits to continue is not valid any more.
//! - If a step has ended and was started since its last undo, it may be undone (UndoStarted and the events after it,
//!   see [`undo`](crate::undo)). An undo does not change the step's own state. If the step starts again, it owes an
//!   undo again.
//! - Skipped at a person's request may also follow Failed, and Skipped for any other reason.
//!
//! The engine uses only this table, for the records that it appends and for the records that it reads. So an illegal
//! history fails in the same way in both.

mod state;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::approval::{Approval, Decision};
use crate::event::{Event, Payload, SkipReason, Verdict};
use crate::failure::Failure;
use crate::process::Child;
use crate::time::Stamp;
use crate::undo::{Undo, UndoState};

pub use state::StepState;

/// A step's state and its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its state.
    #[serde(flatten)]
    pub state: StepState,
    /// The number of attempts begun, including those that were cut off.
    pub attempts: u32,
    /// The number of failed attempts, which a retry policy counts. A crash of Rekindle uses up no attempt.
    pub failures: u32,
    /// The last checkpoint that a next attempt may continue from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// The programs that the newest attempt has started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// The question of the newest attempt to a person, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Whether it was started since its last undo, so that there may be effects to undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
    /// The undo that has begun since it was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// How many attempts were cut off, and later complete, continued or redone.
    pub reconciled: u32,
    /// How many of the newest attempts, one after another, were cut off without progress.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_off: u32,
    /// Whether the newest attempt has recorded progress.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progressed: bool,
    /// When the first attempt since the last invalidation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started: Option<Stamp>,
    /// From when its deadline counts: `first_started`, or a person's request to begin the next attempt at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_from: Option<Stamp>,
    /// When the newest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Stamp>,
    /// When the step became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Stamp>,
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
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
    /// Returns the question of the step, if no person has decided on it yet.
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
                let complete = matches!(
                    self.state,
                    S::Reconciled {
                        verdict: Verdict::Complete
                    }
                );
                if *attempt != self.attempts + 1 || complete {
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
                self.progressed = false;
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
                self.progressed |= self.checkpoint.as_ref() != Some(progress);
                self.checkpoint = Some(progress.clone());
            }
            (Event::StepReconciled { attempt, verdict, .. }, S::Running | S::Reconciled { .. })
                if *attempt == self.attempts =>
            {
                if self.state == S::Running {
                    self.cut_off = self.cut_off_as(*verdict);
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
                    verdict: Verdict::Complete,
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
                self.cut_off = 0;
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
                let cut_off = self.undo.as_ref().map_or(0, Undo::cut_off_by_next);
                let stuck = self.undo.as_ref().is_some_and(|undo| undo.stuck().is_some());
                if *attempt != attempts + 1 || stuck {
                    return Err(illegal(*attempt));
                }
                self.children.clear();
                self.undo = Some(Undo {
                    state: UndoState::Running,
                    attempts: *attempt,
                    failures,
                    cut_off,
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
                    cut_off: 0,
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
                // After a person's retry, attempts and time count from the start.
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
                | Event::GroupLockAwaited { .. }
                | Event::GroupLockTaken { .. }
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

    /// Returns how many attempts in a row were cut off without progress, if the newest was and ends in this verdict.
    pub fn cut_off_as(&self, verdict: Verdict) -> u32 {
        match verdict {
            Verdict::Continue if self.progressed => 0,
            _ => self.cut_off + 1,
        }
    }

    /// Returns why the undo of the step failed for good, if it did.
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
