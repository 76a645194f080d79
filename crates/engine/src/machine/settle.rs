//! Which steps start now, which are skipped, which timer is next, and whether the run is over. The machine settles
//! after every input.

use std::collections::BTreeSet;
use std::time::Duration;

use rekindle_model::event::{Event, SkipReason, Verdict};
use rekindle_model::failure::{Failure, code};
use rekindle_model::planted::{self, Fault};
use rekindle_model::step::StepState;
use rekindle_plan::PlanStep;
use rekindle_plan::expr::{self, ExprError};
use serde_json::{Value, json};

use super::judge::Judgement;
use super::{CutShort, Draft, Effect, Held, Machine, Phase, Work, retry};
use crate::approve;
use crate::nest;
use crate::payload;

impl Machine {
    /// Lets every step continue that can.
    pub(super) fn settle(&mut self, draft: &mut Draft) {
        if self.state.outcome.is_some() {
            draft.effects.push(Effect::Finish);
            return;
        }
        self.starved = None;
        self.wanted.clear();
        self.take_rechecks(draft);
        if !self.rechecking() {
            self.go_forward(draft);
            if self.steps_are_over() {
                match self.unwind(draft) {
                    true => return self.arm(draft),
                    // Now the handlers are due.
                    false => self.go_forward(draft),
                }
            }
        }
        self.end(draft);
        self.arm(draft);
    }

    /// If a step fails as it starts, its dependents may be skipped, and steps that waited for it may start.
    fn go_forward(&mut self, draft: &mut Draft) {
        while self.skip(draft) && self.take_steps(draft) {}
    }

    /// Journals that a step fails for good, although no action runs. If the step has no attempt without an outcome,
    /// journals a start first.
    pub(super) fn fail_for_good(&mut self, draft: &mut Draft, place: usize, error: Failure) {
        let id = self.step(place).id.clone();
        if self.record(draft, place).state
            == (StepState::Reconciled {
                verdict: Verdict::Complete,
            })
        {
            let attempt = self.record(draft, place).attempts;
            let evidence = json!({ "why": "what was found before could not be looked at again" });
            let event = Event::StepReconciled {
                step: id.clone(),
                attempt,
                verdict: Verdict::Redo,
                evidence,
            };
            self.push(draft, place, event, Value::Null);
        }
        if self.record(draft, place).state != StepState::Running {
            let attempt = self.record(draft, place).attempts + 1;
            self.push(
                draft,
                place,
                Event::StepStarted {
                    step: id.clone(),
                    attempt,
                },
                Value::Null,
            );
        }
        let attempt = self.record(draft, place).attempts;
        let error = payload::fit_failure(error);
        let event = Event::StepFailed {
            step: id,
            attempt,
            error,
            retry_at: None,
            measures: Default::default(),
        };
        self.push(draft, place, event, Value::Null);
    }

    /// Begins a step's next attempt. Returns false if an expression failed, and the step with it.
    pub(super) fn start(&mut self, draft: &mut Draft, place: usize) -> bool {
        let step = self.step(place).id.clone();
        let attempt = self.record(draft, place).attempts + 1;
        let children = self.record(draft, place).children.clone();
        match self.render_to_begin(draft, place) {
            Ok(with) => {
                self.push(
                    draft,
                    place,
                    Event::StepStarted {
                        step: step.clone(),
                        attempt,
                    },
                    Value::Null,
                );
                let checkpoint = self.record(draft, place).checkpoint.clone();
                self.hold(draft, place, Work::Attempt);
                draft.effects.push(Effect::StartStep {
                    step,
                    attempt,
                    with,
                    checkpoint,
                    children,
                });
                true
            }
            Err(error) => {
                self.fail_for_good(draft, place, error);
                false
            }
        }
    }

    /// Returns whether a step may begin.
    pub(super) fn may_start(&self) -> bool {
        self.phase == Phase::Going && !self.paused && !self.needs_lock
    }

    /// Returns whether this step may begin. If it is a handler, handlers are due.
    pub(super) fn may_begin(&self, place: usize) -> bool {
        match self.is_handler(place) {
            true => self.may_handle(),
            false => self.may_start(),
        }
    }

    /// Returns the parameters of a step that begins, as [`Machine::render`] does. If its condition cannot be evaluated,
    /// returns that failure.
    pub(super) fn render_to_begin(&self, draft: &Draft, place: usize) -> Result<Value, Failure> {
        self.condition(draft, place)
            .map_err(|error| cannot_evaluate(&error))?;
        self.render(place)
    }

    /// Returns a step's parameters with their expressions replaced. If an expression cannot be evaluated, returns that
    /// failure.
    pub(super) fn render(&self, place: usize) -> Result<Value, Failure> {
        let step = &self.plan.steps[place];
        expr::render(&step.with, &self.scope.of(step)).map_err(|error| cannot_evaluate(&error))
    }

    pub(super) fn hold(&mut self, draft: &mut Draft, place: usize, work: Work) {
        if work == Work::Undo || !nest::nests(self.step(place)) {
            draft.room = draft.room.saturating_sub(1);
        }
        self.held.insert(
            place,
            Held {
                work,
                since: draft.now,
                heard: draft.now,
                stop: None,
            },
        );
    }

    pub(super) fn rechecking(&self) -> bool {
        !self.to_recheck.is_empty() || self.held.values().any(|held| held.work == Work::Recheck)
    }

    /// Returns the succeeded steps whose artefacts can be gone and that an unfinished step needs, directly or through
    /// other steps.
    pub(super) fn relied_on(&self, draft: &Draft) -> BTreeSet<usize> {
        let mut relied_on = BTreeSet::new();
        // In reverse plan order, every step comes after the steps that need it.
        let mut matters = vec![false; self.plan.steps.len()];
        for place in (0..self.plan.steps.len()).rev() {
            let state = &self.record(draft, place).state;
            // A handler is for a run whose steps have ended, and some are undone on purpose.
            if (!state.is_final() && !self.is_handler(place)) || matters[place] {
                self.needs[place].iter().for_each(|&need| matters[need] = true);
            }
            if matters[place] && self.can_be_gone[place] && matches!(state, StepState::Succeeded { .. }) {
                relied_on.insert(place);
            }
        }
        relied_on
    }

    fn take_rechecks(&mut self, draft: &mut Draft) {
        while let Some(&place) = self.to_recheck.first() {
            if !self.may_start() || !self.has_capacity(draft, self.step(place).priority) {
                return;
            }
            self.to_recheck.remove(&place);
            let record = self.record(draft, place);
            let (attempt, succeeded) = (
                record.attempts,
                matches!(record.state, StepState::Succeeded { .. }),
            );
            let step = self.step(place).id.clone();
            // A step that was invalidated meanwhile runs again anyway. One that no longer renders cannot be rechecked.
            let (true, Ok(with)) = (succeeded, self.render(place)) else {
                continue;
            };
            let output = self
                .views
                .get(&step)
                .map(|view| view.output.clone())
                .unwrap_or_default();
            self.hold(draft, place, Work::Recheck);
            draft.effects.push(Effect::Recheck {
                step,
                attempt,
                with,
                output,
            });
        }
    }

    /// Returns whether the run may take up one more step of this priority. If only the process's limit forbids it,
    /// notes that in `starved`.
    fn has_capacity(&mut self, draft: &Draft, priority: i64) -> bool {
        let waits_only = |&&place: &&usize| nest::nests(self.step(place));
        let busy = self.held.len() - self.held.keys().filter(waits_only).count();
        if busy >= self.plan.max_parallel.max(1) {
            return false;
        }
        let yields = self.rival.is_some_and(|rival| rival <= priority);
        if draft.room > 0 && !yields {
            return true;
        }
        self.starved = Some(self.starved.map_or(priority, |urgent| urgent.min(priority)));
        false
    }

    /// Skips the steps that will not run, and enqueues those that will. Returns true.
    fn skip(&mut self, draft: &mut Draft) -> bool {
        if self.phase == Phase::Cancelling {
            let why = match self.cut_short {
                CutShort::Cancel => SkipReason::Cancelled,
                CutShort::Deadline => SkipReason::Deadline,
                CutShort::Deadlock => SkipReason::Deadlock,
            };
            self.skip_all(draft, why, false);
        }
        if self.handlers_called_off {
            self.skip_all(draft, SkipReason::Cancelled, true);
        }
        let handlers = self.handlers_are_due(draft);
        loop {
            while let Some(place) = self.frontier.next_unjudged(handlers) {
                match self.judge(draft, place) {
                    Judgement::Skip(why) => self.skip_one(draft, place, why),
                    Judgement::Run => self.frontier.enqueue(place, takes_room(self.step(place))),
                    Judgement::Wait => {}
                }
            }
            // A step that has begun, and waits or was cut off, is judged by the present state of its needs.
            let waiting: Vec<usize> = self.frontier.active().collect();
            for place in waiting {
                if !self.held.contains_key(&place)
                    && let Judgement::Skip(why) = self.judge(draft, place)
                {
                    self.skip_one(draft, place, why);
                }
            }
            if !self.frontier.is_unjudged() {
                return true;
            }
        }
    }

    /// Skips all handlers that are not at work, or all other steps.
    fn skip_all(&mut self, draft: &mut Draft, why: SkipReason, handlers: bool) {
        for place in 0..self.plan.steps.len() {
            let ended = self.record(draft, place).state.is_final();
            if !ended && !self.held.contains_key(&place) && self.is_handler(place) == handlers {
                self.skip_one(draft, place, why.clone());
            }
        }
    }

    fn skip_one(&mut self, draft: &mut Draft, place: usize, why: SkipReason) {
        let step = self.step(place).id.clone();
        if self.record(draft, place).state == StepState::Running {
            let ends = matches!(
                why,
                SkipReason::Cancelled | SkipReason::Deadline | SkipReason::Deadlock
            );
            if !ends && self.record(draft, place).awaits().is_some() {
                return self.push(draft, place, Event::StepSkipped { step, why }, Value::Null);
            }
            // The attempt was cut off, and no reconciliation will follow.
            if ends {
                let error = self.called_off(place, None);
                return self.fail_for_good(draft, place, error);
            }
            let attempt = self.record(draft, place).attempts;
            let evidence = json!({ "why": "not looked at: a step that it needs did not succeed again" });
            let event = Event::StepReconciled {
                step: step.clone(),
                attempt,
                verdict: Verdict::Redo,
                evidence,
            };
            self.push(draft, place, event, Value::Null);
        }
        self.push(draft, place, Event::StepSkipped { step, why }, Value::Null);
    }

    /// Takes up the most urgent steps that are ready. Returns whether one of them failed as it started.
    fn take_steps(&mut self, draft: &mut Draft) -> bool {
        if !self.may_start() && !self.handlers_are_due(draft) {
            return false;
        }
        let begun: Vec<usize> = self.frontier.active().collect();
        let begun = begun.into_iter().filter(|&place| self.ready(draft, place));
        let begun: Vec<usize> = begun.collect();
        let (begun, roomless): (Vec<usize>, Vec<usize>) =
            begun.into_iter().partition(|&place| takes_room(self.step(place)));
        let roomless: BTreeSet<usize> = roomless.into_iter().chain(self.frontier.roomless()).collect();
        let mut at_work = self.at_work_by_lane(draft);
        for place in roomless {
            let lane = self.frontier.lane(place);
            if at_work[lane] >= self.lane_limits[lane] {
                continue;
            }
            let began = match approve::asks(self.step(place)) {
                true => self.ask(draft, place),
                false => self.take_up(draft, place),
            };
            if !began {
                return true;
            }
            at_work[lane] += 1;
        }
        let mut begun: BTreeSet<(i64, usize)> = begun
            .into_iter()
            .map(|place| (self.step(place).priority, place))
            .collect();
        let mut passed = None;
        loop {
            let is_full = |lane: usize| at_work[lane] >= self.lane_limits[lane];
            begun.retain(|&(_, place)| !is_full(self.frontier.lane(place)));
            let pending = self.frontier.most_urgent_after(passed, is_full);
            let Some(next) = begun.first().copied().into_iter().chain(pending).min() else {
                return false;
            };
            if !self.has_capacity(draft, next.0) {
                return false;
            }
            let is_pending = !begun.remove(&next);
            if !self.takes_lock(next.1) {
                passed = if is_pending { Some(next) } else { passed };
            } else if !self.take_up(draft, next.1) {
                return true;
            } else {
                at_work[self.frontier.lane(next.1)] += 1;
            }
        }
    }

    /// Returns for each lane how many of its steps are at work, or wait for a person.
    pub(super) fn at_work_by_lane(&self, draft: &Draft) -> Vec<usize> {
        let mut at_work = vec![0; self.lane_limits.len()];
        let held = self.held.keys().copied();
        for place in held.chain(self.waiting(draft)) {
            at_work[self.frontier.lane(place)] += 1;
        }
        at_work
    }

    /// Returns whether a step has its group's lock, or needs none. If it must wait, notes the group in `wanted`.
    fn takes_lock(&mut self, place: usize) -> bool {
        let Some(group) = self.plan.steps[place].concurrency.clone() else {
            return true;
        };
        let granted = self.locks.remove(&group);
        if !granted {
            self.wanted.insert(group);
        }
        granted
    }

    /// Begins an attempt, or reconciles the one that was cut off. Returns false if an expression failed, and the step
    /// with it.
    fn take_up(&mut self, draft: &mut Draft, place: usize) -> bool {
        match self.record(draft, place).state {
            StepState::Running | StepState::Reconciled { .. } => self.reconcile(draft, place),
            _ => self.start(draft, place),
        }
    }

    /// Returns whether a step that has begun may continue now.
    fn ready(&mut self, draft: &Draft, place: usize) -> bool {
        let record = self.record(draft, place);
        if record.state == StepState::Running && record.approval.is_some() {
            return false;
        }
        if self.held.contains_key(&place) || self.waits(draft, place).is_some_and(|wait| !wait.is_zero()) {
            return false;
        }
        !self.record(draft, place).state.is_final() && self.judge(draft, place) == Judgement::Run
    }

    /// Begins to reconcile an attempt that was cut off. Returns false if an expression failed, and the step with it.
    fn reconcile(&mut self, draft: &mut Draft, place: usize) -> bool {
        match self.render(place) {
            Ok(with) => {
                let record = self.record(draft, place);
                let (attempt, checkpoint) = (record.attempts, record.checkpoint.clone());
                let children = record.children.clone();
                let step = self.step(place).id.clone();
                self.hold(draft, place, Work::Reconcile);
                draft.effects.push(Effect::Reconcile {
                    step,
                    attempt,
                    with,
                    checkpoint,
                    children,
                });
                true
            }
            Err(error) => {
                self.fail_for_good(draft, place, error);
                false
            }
        }
    }

    /// Returns the remaining wait of a step, if it waits.
    fn waits(&self, draft: &Draft, place: usize) -> Option<Duration> {
        if let Some(later) = self.reconcile_later.get(&place) {
            return Some(later.wait.saturating_sub(draft.now.since(&later.since).duration));
        }
        match &self.record(draft, place).state {
            StepState::Backoff { retry_at, .. } => {
                let failed = self.failed_at.get(&place).unwrap_or(&draft.now);
                Some(retry::remaining(failed, *retry_at, &draft.now))
            }
            _ => None,
        }
    }

    /// Once no work is at hand and no step can start, ends the run or interrupts it.
    fn end(&mut self, draft: &mut Draft) {
        if !self.held.is_empty() {
            return;
        }
        if self.steps_are_over() && !self.frontier.has_unfinished() {
            let finished = self.finished(draft);
            draft.events.push(finished);
            draft.effects.push(Effect::Finish);
        } else if self.phase == Phase::Stopping || self.leaving {
            draft.effects.push(Effect::Interrupt);
        }
    }

    /// Returns whether no work is at hand and all steps have ended, so that their undos may begin.
    fn steps_are_over(&self) -> bool {
        // A paused run does not end either, so that the person who paused it finds it open.
        let may_end = !self.paused || self.phase == Phase::Cancelling || self.late_cancel;
        self.held.is_empty() && !self.frontier.has_unfinished_steps() && may_end && !self.rechecking()
    }

    /// Undoes the steps that must be undone. Returns whether undos remain.
    fn unwind(&mut self, draft: &mut Draft) -> bool {
        while let Some(place) = self.next_undo(draft) {
            if self.deadlocked && self.needs_lock {
                // The holder of the lock must not be disturbed, and will not end before this run has.
                self.give_up_undo(draft, place);
                continue;
            }
            if self.phase == Phase::Stopping || self.leaving {
                draft.effects.push(Effect::Interrupt);
                return true;
            }
            let waits = self.undo_waits(draft, place).is_some_and(|wait| !wait.is_zero());
            let priority = self.step(place).priority;
            if waits
                || !self.may_undo()
                || !self.has_capacity(draft, priority)
                || !self.takes_lock(place)
                || self.start_undo(draft, place)
            {
                return true;
            }
        }
        false
    }

    /// Arms the timer for the first limit or wait that ends.
    fn arm(&self, draft: &mut Draft) {
        let limits = self
            .held
            .iter()
            .filter(|(_, held)| held.stop.is_none())
            .filter_map(|(&place, held)| Some((self.limit(draft, place, held)?.0, place)));
        let deadlines = self
            .frontier
            .active()
            .filter_map(|place| Some((self.idle_limit(draft, place)?, place)));
        let of_run = self.run_limit(draft).map(|remaining| (remaining, 0));
        let in_backoff = self
            .frontier
            .active()
            .filter(|&place| self.may_begin(place) && !self.held.contains_key(&place))
            .filter(|_| !planted::is(Fault::RetryTimerLost))
            .filter_map(|place| self.waits(draft, place).map(|wait| (wait, place)));
        let undecided = self
            .waiting(draft)
            .filter_map(|place| Some((self.time_to_decide(draft, place)?, place)));
        // No undo begins while a step has not ended.
        let ended = match self.frontier.has_unfinished_steps() {
            true => 0,
            false => self.plan.steps.len(),
        };
        let undo = (0..ended)
            .filter(|place| self.may_undo() && !self.held.contains_key(place))
            .filter_map(|place| Some((self.undo_waits(draft, place)?, place)));
        // A step that is due and did not start waits for room, not for time.
        let starts = in_backoff
            .chain(undo)
            .filter(|(remaining, _)| !remaining.is_zero());
        // If a limit has passed already, the timer fires at once.
        let next = limits
            .chain(deadlines)
            .chain(of_run)
            .chain(undecided)
            .chain(starts)
            .min();
        if let Some((after, place)) = next {
            draft.effects.push(Effect::ArmTimer {
                step: self.step(place).id.clone(),
                after,
            });
        }
    }
}

/// Returns whether a step takes room from other steps while it is at work. A question does not, since a person works on
/// it. A step that waits for another run does not either.
fn takes_room(step: &PlanStep) -> bool {
    !approve::asks(step) && !nest::nests(step)
}

fn cannot_evaluate(error: &ExprError) -> Failure {
    Failure::permanent(code::EXPRESSION, error.to_string())
        .with_hint("correct the workflow; this run keeps the one that it began with")
}

/// Returns the failure of an attempt that a cancellation ended. `said` is the failure that the action returned.
pub(super) fn cancelled(said: Option<&Failure>) -> Failure {
    let said = said.filter(|failure| failure.code != crate::context::INTERRUPTED);
    let message = match said {
        Some(failure) => format!("the run was cancelled; the step said: {failure}"),
        None => "the run was cancelled".to_owned(),
    };
    Failure::permanent(code::CANCELLED, message)
}
