//! The limits on time: an attempt has its `timeout`, a silent one its `stall_timeout`, all attempts of a step together
//! their `deadline`, and the run its own.
//!
//! Deadlines count from journaled times, so a crash or a resume does not restart them. An attempt's own limits end with
//! the process that makes the attempt.

use std::time::Duration;

use rekindle_model::event::Event;
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::Action;
use rekindle_model::step::StepState;
use rekindle_model::time::Stamp;

use super::settle::cancelled;
use super::{CutShort, Draft, Effect, Held, Machine, Phase, StopWhy, Work, retry};

impl Machine {
    /// Asks overdue work to end, and fails steps that wait past their deadline.
    pub(super) fn expire(&mut self, draft: &mut Draft) {
        let over = |(&place, held): (&usize, &Held)| {
            let (remaining, why) = self.limit(draft, place, held)?;
            (held.stop.is_none() && remaining.is_zero()).then_some((place, why))
        };
        let overdue: Vec<(usize, StopWhy)> = self.held.iter().filter_map(over).collect();
        for (place, why) in overdue {
            if let Some(held) = self.held.get_mut(&place) {
                held.stop = Some(why);
            }
            draft.effects.push(Effect::CancelStep {
                step: self.step(place).id.clone(),
                for_good: true,
            });
        }
        let late = |&place: &usize| self.idle_limit(draft, place).is_some_and(|left| left.is_zero());
        let late: Vec<usize> = self.frontier.active().filter(late).collect();
        for place in late {
            let error = self.too_late(place);
            self.reconcile_later.remove(&place);
            self.fail_for_good(draft, place, error);
        }
    }

    /// Ends a run that has taken longer than it may.
    pub(super) fn expire_run(&mut self, draft: &mut Draft) {
        if self.run_limit(draft).is_some_and(|left| left.is_zero()) {
            draft.events.push(Event::DeadlinePassed);
            self.cut_short = CutShort::Deadline;
            self.turn(draft, Phase::Cancelling, StopWhy::Cancel);
        }
    }

    /// Returns how long the work on a step may still take, and by which limit.
    pub(super) fn limit(&self, draft: &Draft, place: usize, held: &Held) -> Option<(Duration, StopWhy)> {
        let step = self.step(place);
        let left = |limit: Option<Duration>, since: &Stamp| {
            Some(limit?.saturating_sub(draft.now.since(since).duration))
        };
        let timeout = left(step.timeout, &held.since).map(|left| (left, StopWhy::Timeout));
        let stalled = left(step.stall_timeout, &held.heard).map(|left| (left, StopWhy::Stalled));
        let deadline = self.deadline(draft, place).map(|left| (left, StopWhy::Deadline));
        let limits = match held.work {
            Work::Attempt => [deadline, timeout, stalled],
            Work::Reconcile => [deadline, timeout, None],
            Work::Recheck | Work::Undo => [None, timeout, None],
        };
        limits.into_iter().flatten().min_by_key(|(left, _)| *left)
    }

    /// Returns how long a step may still wait for its next attempt or for approval. A step that was cut off has this
    /// limit only once its reconciliation begins.
    pub(super) fn idle_limit(&self, draft: &Draft, place: usize) -> Option<Duration> {
        let record = self.record(draft, place);
        let waits = matches!(record.state, StepState::Backoff { .. }) || record.awaits().is_some();
        let ending = self.phase == Phase::Cancelling && !self.is_handler(place);
        let applies = waits && !ending && !self.held.contains_key(&place);
        applies.then(|| self.deadline(draft, place)).flatten()
    }

    /// Returns how long the run may still take, if it has a deadline and is not ending. A run that waits for its first
    /// turn has not begun.
    pub(super) fn run_limit(&self, draft: &Draft) -> Option<Duration> {
        let limit = self.plan.deadline?;
        let ended = !self.frontier.has_unfinished_steps();
        if self.state.outcome.is_some() || self.phase == Phase::Cancelling || ended {
            return None;
        }
        let begun = match self.plan.concurrency {
            Some(_) => self.begun?,
            None => self.state.reopened.unwrap_or(self.state.created),
        };
        Some(retry::remaining(
            &begun,
            retry::ends_at(&begun, limit),
            &draft.now,
        ))
    }

    /// Returns how long all attempts of a step that has begun may still take together.
    fn deadline(&self, draft: &Draft, place: usize) -> Option<Duration> {
        let (limit, begun) = (self.step(place).deadline?, self.record(draft, place).timed_from?);
        Some(retry::remaining(
            &begun,
            retry::ends_at(&begun, limit),
            &draft.now,
        ))
    }

    /// Returns the failure of an attempt that was asked to end for this reason.
    pub(super) fn overdue(&self, place: usize, why: StopWhy) -> Failure {
        let step = self.step(place);
        match why {
            StopWhy::Deadline => self.too_late(place),
            StopWhy::Stalled => {
                let silent = step.stall_timeout.unwrap_or_default();
                let message = format!("the attempt gave no sign of progress for {silent:?}");
                Failure::transient(code::STALLED, message).with_hint(
                    "see what it waits for; what it had recorded as done is kept for the next attempt",
                )
            }
            StopWhy::Timeout | StopWhy::Stop | StopWhy::Cancel => {
                let allowed = step.timeout.unwrap_or_default();
                let message = format!("the attempt took longer than its timeout of {allowed:?}");
                Failure::transient(code::TIMEOUT, message).with_hint(
                    "raise the step's `timeout`; what it had recorded as done is kept for the next attempt",
                )
            }
        }
    }

    /// Returns the failure of an attempt that ended with the run. `said` is the failure that the action returned.
    pub(super) fn called_off(&self, place: usize, said: Option<&Failure>) -> Failure {
        match self.cut_short {
            _ if self.is_handler(place) => cancelled(said),
            CutShort::Cancel => cancelled(said),
            CutShort::Deadline => {
                let limit = self.plan.deadline.unwrap_or_default();
                let message = format!("the run took longer than its deadline of {limit:?}");
                Failure::permanent(code::DEADLINE, message).with_next(
                    self.retry(None),
                    "opens the run again, with its whole deadline before it",
                )
            }
            CutShort::Deadlock => self.gave_way(),
        }
    }

    /// Returns the failure of a step or an undo of a run that gave way in a deadlock.
    pub(super) fn gave_way(&self) -> Failure {
        let group = self.plan.concurrency.as_deref().unwrap_or_default();
        let message =
            format!("the run gave up the lock of group `{group}`, because runs waited for each other");
        let run = Some(self.state.id);
        Failure::permanent(code::DEADLOCK, message)
            .with_next(Action::Show { run }, "names the runs that waited for each other")
            .with_next(self.retry(None), "tries it again, once they have ended")
    }

    /// Returns whether a step may not begin again, after so many attempts in a row were cut off.
    pub(super) fn is_too_often(&self, place: usize, cut_off: u32) -> bool {
        cut_off >= self.step(place).max_interruptions.max(1)
    }

    /// Returns the failure of a step, or of its undo, that was cut off too often.
    pub(super) fn interrupted_too_often(&self, place: usize, what: &str) -> Failure {
        let allowed = self.step(place).max_interruptions;
        let message = format!(
            "{what} was cut off {allowed} times in a row without progress: each time, the process that drove the run \
             ended"
        );
        Failure::permanent(code::MAX_INTERRUPTIONS, message)
            .with_next(self.retry(Some(place)), "starts it again")
            .with_hint(
                "see whether it ends that process itself, as by using up the memory; `max_interruptions` allows more",
            )
    }

    fn too_late(&self, place: usize) -> Failure {
        let limit = self.step(place).deadline.unwrap_or_default();
        let message = format!("its attempts together took longer than its deadline of {limit:?}");
        Failure::permanent(code::DEADLINE, message)
            .with_next(self.retry(Some(place)), "starts it again from the beginning")
            .with_hint(match self.is_handler(place) {
                true => "a longer `deadline`, or `handler_timeout` of the workflow, leaves it more time",
                false => "a longer `deadline` leaves it more time",
            })
    }

    /// Returns the action that runs a step again, or every step that failed.
    pub(super) fn retry(&self, place: Option<usize>) -> Action {
        Action::Retry {
            run: Some(self.state.id),
            step: place.map(|place| self.step(place).id.clone()),
        }
    }
}
