//! How a run that failed or was cancelled undoes its steps.
//!
//! Once all steps have ended, the machine undoes every step with a compensation that was started since its last undo.
//! It undoes one step at a time, and the step that started last first. The step's retry policy applies to its undo too.
//!
//! If an undo fails for good, it is stuck. The steps that started before stay as they are, since their undo may rest on
//! the one that failed. The run is then over, as stuck. After a person's retry of that undo, the others follow.

use rekindle_model::event::{Event, Outcome, SkipReason};
use rekindle_model::failure::{Failure, code};
use rekindle_model::planted::{self, Fault};
use rekindle_model::step::StepState;
use rekindle_model::undo::{Undo, UndoState};
use rekindle_plan::expr;
use serde_json::Value;

use super::{Draft, Effect, Held, Machine, Phase, StopWhy, Undone, Work, retry};
use crate::context::INTERRUPTED;
use crate::payload;

impl Machine {
    /// Returns the step to undo next, if the run undoes its steps.
    pub(super) fn next_undo(&self, draft: &Draft) -> Option<usize> {
        if !self.unwinds(draft) || self.stuck(draft).next().is_some() || planted::is(Fault::UndoSkipped) {
            return None;
        }
        let owes = |&place: &usize| self.owes_undo(draft, place);
        (0..self.plan.steps.len())
            .filter(owes)
            .max_by_key(|&place| self.started[place])
    }

    /// Returns the steps whose undo failed for good.
    pub(super) fn stuck(&self, draft: &Draft) -> impl Iterator<Item = usize> {
        let stuck =
            |&place: &usize| self.owes_undo(draft, place) && self.record(draft, place).stuck().is_some();
        (0..self.plan.steps.len()).filter(stuck)
    }

    /// Returns whether the run undoes its steps: it was cancelled, or not all of it succeeded. If all that is missing are
    /// steps that a person skipped, it undoes none. If a run that has begun to undo its steps is opened again, it
    /// continues the undo, unless all steps succeed this time.
    pub(super) fn unwinds(&self, draft: &Draft) -> bool {
        match self.came_to(draft) {
            Outcome::Failed | Outcome::Cancelled | Outcome::Stuck => true,
            Outcome::Partial => self.any_fell(draft) || self.taken_back(draft, |_| true),
            // A step whose undo is stuck counts as not undone.
            Outcome::Succeeded => self.taken_back(draft, |undo| undo.stuck().is_none()),
        }
    }

    /// Returns whether a step that was not started since has an undo that `counts`. A step that a person had left out
    /// does not count, since the run succeeded without it.
    fn taken_back(&self, draft: &Draft, counts: impl Fn(&Undo) -> bool) -> bool {
        (0..self.plan.steps.len()).any(|place| {
            let record = self.record(draft, place);
            let left_out = matches!(
                record.state,
                StepState::Skipped {
                    why: SkipReason::Requested { .. }
                }
            );
            !left_out && record.undo.as_ref().is_some_and(&counts)
        })
    }

    /// Returns whether an undo is under way. Meanwhile, the machine refuses a retry or a skip.
    pub(super) fn unwinding(&self, draft: &Draft) -> bool {
        let begun = |place| {
            let undo = self.record(draft, place).undo.as_ref();
            undo.is_some_and(|undo| undo.state != UndoState::Done && undo.stuck().is_none())
        };
        (0..self.plan.steps.len()).any(begun)
    }

    /// Returns the steps that were undone and have not started since.
    pub(super) fn undone_before(&self, draft: &Draft) -> Vec<usize> {
        let done = |&place: &usize| {
            let undo = self.record(draft, place).undo.as_ref();
            undo.is_some_and(|undo| undo.state == UndoState::Done)
        };
        (0..self.plan.steps.len()).filter(done).collect()
    }

    fn owes_undo(&self, draft: &Draft, place: usize) -> bool {
        self.step(place).compensate.is_some() && self.record(draft, place).acted
    }

    /// Returns the remaining wait of a step's undo, if it waits.
    pub(super) fn undo_waits(&self, draft: &Draft, place: usize) -> Option<std::time::Duration> {
        match &self.record(draft, place).undo.as_ref()?.state {
            UndoState::Waiting { retry_at, since, .. } => {
                Some(retry::remaining(since, *retry_at, &draft.now))
            }
            _ => None,
        }
    }

    /// Journals that a step's undo is stuck, because the run will never get its lock.
    pub(super) fn give_up_undo(&mut self, draft: &mut Draft, place: usize) {
        let step = self.step(place).id.clone();
        let undo = self.record(draft, place).undo.as_ref();
        let attempt = undo.map_or(0, |undo| undo.attempts) + 1;
        let started = Event::UndoStarted {
            step: step.clone(),
            attempt,
        };
        self.push(draft, place, started, Value::Null);
        let error = payload::fit_failure(self.gave_way());
        let stuck = Event::UndoStuck { step, attempt, error };
        self.push(draft, place, stuck, Value::Null);
    }

    /// Begins the next attempt to undo a step. Returns false if the undo is stuck at once.
    pub(super) fn start_undo(&mut self, draft: &mut Draft, place: usize) -> bool {
        let step = self.step(place).id.clone();
        let record = self.record(draft, place);
        let undo = record.undo.as_ref();
        let attempt = undo.map_or(0, |undo| undo.attempts) + 1;
        if self.is_too_often(place, undo.map_or(0, Undo::cut_off_by_next)) {
            let attempt = attempt - 1;
            let error = payload::fit_failure(self.interrupted_too_often(place, "its undo"));
            let stuck = Event::UndoStuck { step, attempt, error };
            self.push(draft, place, stuck, Value::Null);
            return false;
        }
        let children = record.children.clone();
        let with = self.render_undo(place);
        let started = Event::UndoStarted {
            step: step.clone(),
            attempt,
        };
        self.push(draft, place, started, Value::Null);
        match with {
            Ok(with) => {
                self.hold(draft, place, Work::Undo);
                draft.effects.push(Effect::StartUndo {
                    step,
                    attempt,
                    with,
                    children,
                });
                true
            }
            Err(error) => {
                let error = payload::fit_failure(error);
                self.push(
                    draft,
                    place,
                    Event::UndoStuck { step, attempt, error },
                    Value::Null,
                );
                false
            }
        }
    }

    /// Journals how an attempt to undo a step ended.
    pub(super) fn undone(&mut self, draft: &mut Draft, place: usize, held: Held, ending: Undone) {
        let step = self.step(place).id.clone();
        let Some(Undo {
            attempts, failures, ..
        }) = self.record(draft, place).undo.clone()
        else {
            return;
        };
        let attempt = attempts;
        let failure = match ending {
            Undone::Succeeded => {
                return self.push(draft, place, Event::UndoSucceeded { step, attempt }, Value::Null);
            }
            Undone::Failed(failure) => Some(failure),
            Undone::Dropped => None,
        };
        let failure = match (held.stop, failure) {
            (Some(why @ StopWhy::Timeout), _) => self.overdue(place, why),
            // The attempt was cut off, as by a crash.
            (_, None) => return,
            (Some(StopWhy::Stop), Some(failure)) if failure.code == INTERRUPTED => return,
            (_, Some(failure)) => failure,
        };
        let planned = self.step(place);
        let wait = retry::wait(&planned.retry, &failure, failures + 1, self.state.id, &planned.id);
        let error = payload::fit_failure(failure);
        let event = match wait {
            Some(wait) => Event::UndoFailed {
                step,
                attempt,
                error,
                retry_at: retry::ends_at(&draft.now, wait),
            },
            None => Event::UndoStuck { step, attempt, error },
        };
        self.push(draft, place, event, Value::Null);
    }

    /// Returns whether an undo may begin. A cancellation does not prevent it.
    pub(super) fn may_undo(&self) -> bool {
        let going = self.phase != Phase::Stopping && !self.leaving && !self.needs_lock;
        going && (!self.paused || self.phase == Phase::Cancelling)
    }

    fn render_undo(&mut self, place: usize) -> Result<Value, Failure> {
        let step = &self.plan.steps[place];
        let with = step.compensate.as_ref().map(|compensate| compensate.with.clone());
        let output = self.views.get(&step.id).map(|view| view.output.clone());
        let mut scope = self.scope.of(step);
        scope.set(&["output"], &output.unwrap_or_default());
        expr::render(&with.unwrap_or_default(), &scope)
            .map_err(|error| Failure::permanent(code::EXPRESSION, error.to_string()))
    }
}
