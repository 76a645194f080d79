//! The one transition table of a step: [`StepRecord::apply`].
//!
//! ```text
//!            Started            Failed, retry_at
//! Pending ───────────► Running ─────────────────► Backoff
//!    │                 │ │ │ ◄─────────────────────┘ Started
//!    │ Skipped         │ │ └─ Reconciled ─► Reconciled ─ Started (continue, redo) ─► Running
//!    ▼                 │ │                       └─ Succeeded (adopt)
//! Skipped              │ └─ Failed ─► Failed
//!                      └─ Succeeded ─► Succeeded ─ Invalidated ─► Pending
//! ```
//! The engine folds what it appends and resumes from what it reads by this table alone, so an illegal
//! history fails the same way in both.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Measures, Payload, SkipReason, Verdict};
use crate::failure::Failure;
use crate::time::Stamp;

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
    /// How many attempts were cut off and later adopted, continued or redone.
    pub reconciled: u32,
    /// When the first attempt since the last invalidation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started: Option<Stamp>,
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
                self.first_started.get_or_insert(*time);
                self.last_started = Some(*time);
                self.state = S::Running;
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
            ) if *attempt == self.attempts => {
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
            (Event::StepSkipped { why, .. }, S::Pending | S::Backoff { .. } | S::Reconciled { .. }) => {
                self.state = S::Skipped { why: why.clone() };
                self.ended = Some(*time);
            }
            (Event::StepInvalidated { .. }, S::Succeeded { .. } | S::Skipped { .. } | S::Failed { .. }) => {
                *self = Self {
                    attempts: self.attempts,
                    reconciled: self.reconciled,
                    ..Self::default()
                };
            }
            (
                Event::StepStarted { attempt, .. }
                | Event::StepCheckpoint { attempt, .. }
                | Event::StepReconciled { attempt, .. }
                | Event::StepSucceeded { attempt, .. }
                | Event::StepFailed { attempt, .. },
                _,
            ) => return Err(illegal(*attempt)),
            (
                Event::StepSkipped { .. }
                | Event::StepInvalidated { .. }
                | Event::RunCreated { .. }
                | Event::RunAdopted { .. }
                | Event::CancelRequested { .. }
                | Event::RunFinished { .. },
                _,
            ) => return Err(illegal(0)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StepId;
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
            (vec![started(1), skipped()], "step_skipped"),
            (vec![invalidated()], "step_invalidated"),
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
}
