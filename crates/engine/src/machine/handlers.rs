//! When the handlers of a run are due: `on_success`, `on_failure`, `on_cancel` and `finally`.
//!
//! ```text
//!  steps ──► undo ──► on_success, on_failure, on_cancel ──► finally ──► the run is over
//! ```
//! Handlers begin once all steps have ended and all that the run owes is undone, or is stuck. So an alarm can say what
//! was undone. Neither the run's deadline nor a cancel ends them: each has a deadline of its own. A second cancel ends
//! them too.
//!
//! A run that gave way in a deadlock never gets its lock, and runs its handlers without it: else its alarm would be
//! lost.

use std::collections::BTreeSet;

use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::Handler;

use super::{Draft, Effect, Machine, Phase, StopWhy};
use crate::request::Request;

/// Returns whether a run was cancelled once its handlers had begun.
pub(super) fn cancelled_late(records: &[Record], is_handler: impl Fn(&StepId) -> bool) -> bool {
    let (mut begun, mut cancelled, mut late) = (BTreeSet::new(), false, false);
    for record in records {
        match &record.event {
            Event::StepStarted { step, .. } | Event::StepSkipped { step, .. } if is_handler(step) => {
                begun.insert(step);
            }
            Event::StepInvalidated { step, .. } => drop(begun.remove(step)),
            Event::CancelRequested { .. } if !cancelled => (cancelled, late) = (true, !begun.is_empty()),
            Event::RunReopened { .. } => (cancelled, late) = (false, false),
            _ => {}
        }
    }
    late
}

impl Machine {
    pub(super) fn is_handler(&self, place: usize) -> bool {
        self.step(place).handler.is_some()
    }

    /// Returns whether a handler may begin, once handlers are due.
    pub(super) fn may_handle(&self) -> bool {
        let going = self.phase != Phase::Stopping && !self.leaving && (!self.needs_lock || self.deadlocked);
        going && (!self.paused || self.phase == Phase::Cancelling || self.late_cancel)
    }

    /// Returns whether all steps have ended, and nothing remains to be undone.
    pub(super) fn handlers_are_due(&self, draft: &Draft) -> bool {
        self.frontier.has_unfinished_handlers()
            && !self.frontier.has_unfinished_steps()
            && self.may_handle()
            && self.next_undo(draft).is_none()
    }

    /// Returns whether a list of handlers is for the end that the run comes to.
    pub(super) fn applies(&self, draft: &Draft, handler: Handler) -> bool {
        let came_to = self.came_to(draft);
        let cancelled = came_to == Outcome::Cancelled;
        let failed = self.any_fell(draft) || self.unwinds(draft);
        match handler {
            Handler::OnSuccess => came_to == Outcome::Succeeded && !failed,
            // A stuck undo needs a person, also in a cancelled run.
            Handler::OnFailure => self.stuck(draft).next().is_some() || (failed && !cancelled),
            Handler::OnCancel => cancelled,
            Handler::Finally => true,
        }
    }

    /// Returns whether a handler of the run has begun, or has been skipped.
    pub(super) fn handlers_have_begun(&self, draft: &Draft) -> bool {
        (0..self.plan.steps.len())
            .any(|place| self.is_handler(place) && self.record(draft, place).state != StepState::Pending)
    }

    /// Returns whether a handler failed, or ended with the run.
    pub(super) fn a_handler_fell(&self, draft: &Draft) -> bool {
        (0..self.plan.steps.len()).any(|place| self.is_handler(place) && self.fell(draft, place))
    }

    /// Asks the handlers at work to end, and lets no other begin.
    pub(super) fn call_off_handlers(&mut self, draft: &mut Draft) {
        self.handlers_called_off = true;
        for (&place, held) in &mut self.held {
            if self.plan.steps[place].handler.is_some() && held.stop != Some(StopWhy::Cancel) {
                held.stop = Some(StopWhy::Cancel);
                draft.effects.push(Effect::CancelStep {
                    step: self.plan.steps[place].id.clone(),
                    for_good: true,
                });
            }
        }
    }

    /// Makes the handlers pending again, since the end of the run that they were for has not come.
    pub(super) fn withdraw_handlers(&mut self, draft: &mut Draft, request: &Request) {
        for place in 0..self.plan.steps.len() {
            if self.is_handler(place) && self.record(draft, place).state.is_final() {
                let why = format!("{} asked for an undo to be tried again", request.by);
                self.withdraw(draft, place, &why);
            }
        }
    }
}
