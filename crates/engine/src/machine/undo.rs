//! How a run that failed or was cancelled takes back what its steps did.
//!
//! Once all steps have ended, every step with a compensation that was started since it was undone last is undone, one
//! at a time, those that started last first. An undo is tried again by the step's own retry policy. One that fails for
//! good is stuck, and what started before it stays as it is: its own undo may rest on the one that failed. The run is
//! over then, as stuck; when a person has the undo tried again, the others follow.

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
    /// Returns the step that is to be undone next, where all steps have ended so.
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

    /// Returns whether what the steps did is taken back: nothing came of the run. A run that has begun to take back
    /// what it did and is opened again goes on with that, unless all comes through this time.
    pub(super) fn unwinds(&self, draft: &Draft) -> bool {
        match self.came_to(draft) {
            Outcome::Failed | Outcome::Cancelled | Outcome::Stuck => true,
            Outcome::Partial => self.taken_back(draft, |_| true),
            // One that is stuck has kept what it did, as far as anybody knows.
            Outcome::Succeeded => self.taken_back(draft, |undo| undo.stuck().is_none()),
        }
    }

    /// Returns whether such an undo of any step has begun that was not started since. One that a person had left out
    /// does not count: the run has come through without it.
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

    /// Returns whether steps are being undone: nothing else may be asked of them meanwhile.
    pub(super) fn unwinding(&self, draft: &Draft) -> bool {
        let begun = |place| {
            let undo = self.record(draft, place).undo.as_ref();
            undo.is_some_and(|undo| undo.state != UndoState::Done && undo.stuck().is_none())
        };
        (0..self.plan.steps.len()).any(begun)
    }

    /// Returns the steps that were undone and not started since.
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

    /// Returns what remains of the wait that a step's undo is in.
    pub(super) fn undo_waits(&self, draft: &Draft, place: usize) -> Option<std::time::Duration> {
        match &self.record(draft, place).undo.as_ref()?.state {
            UndoState::Waiting { retry_at, since, .. } => {
                Some(retry::remaining(since, *retry_at, &draft.now))
            }
            _ => None,
        }
    }

    /// Journals that what a step did stays, because it will never be the run's turn.
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

    /// Begins the next attempt to undo a step. Returns whether it did; else it is stuck by its expressions.
    pub(super) fn start_undo(&mut self, draft: &mut Draft, place: usize) -> bool {
        let step = self.step(place).id.clone();
        let record = self.record(draft, place);
        let attempt = record.undo.as_ref().map_or(0, |undo| undo.attempts) + 1;
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
            // It was cut off as by a crash, only more gently.
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

    /// Returns whether an undo may begin: a cancellation does not keep what was done from being taken back.
    pub(super) fn may_undo(&self) -> bool {
        let going = self.phase != Phase::Stopping && !self.leaving && !self.needs_turn;
        going && (!self.paused || self.phase == Phase::Cancelling)
    }

    fn render_undo(&mut self, place: usize) -> Result<Value, Failure> {
        let step = &self.plan.steps[place];
        let with = step.compensate.as_ref().map(|compensate| compensate.with.clone());
        let output = self.views.get(&step.id).map(|view| view.output.clone());
        let mut scope = self.scope.of(step).clone();
        scope["output"] = output.unwrap_or_default();
        expr::render(&with.unwrap_or_default(), &scope)
            .map_err(|error| Failure::permanent(code::EXPRESSION, error.to_string()))
    }
}
