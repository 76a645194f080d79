//! How the machine responds to an attempt's end, a reconciliation, a recheck, a lock or a stop, before `settle`.

use rekindle_model::event::{Event, Verdict};
use rekindle_model::failure::Failure;
use rekindle_model::step::StepState;
use serde_json::Value;

use super::judge::Judgement;
use super::{
    CutShort, Draft, Effect, Ending, Found, Held, Input, Later, Machine, Phase, StopWhy, Work, retry,
};
use crate::context::{INTERRUPTED, Note};
use crate::nest;
use crate::payload;

impl Machine {
    pub(super) fn respond(&mut self, draft: &mut Draft, input: Input) {
        match input {
            Input::Begin if self.state.cancel.is_some() && !self.late_cancel => {
                self.phase = Phase::Cancelling
            }
            Input::Begin if self.state.expired.is_some() => {
                (self.phase, self.cut_short) = (Phase::Cancelling, CutShort::Deadline);
            }
            Input::Begin if self.phase == Phase::Going => self.to_recheck = self.relied_on(draft),
            Input::Begin => {}
            Input::Ended {
                step,
                attempt,
                ending,
            } => {
                if let Some((place, held)) = self.release(draft, &step, Some(attempt), Work::Attempt) {
                    self.ended(draft, place, held, ending);
                }
            }
            Input::Noted { step, attempt, note } => {
                if self.lives(&step, attempt) {
                    self.heard(&step, draft.now);
                    let place = self.places[&step];
                    let event = match note {
                        Note::Checkpoint(progress) => Event::StepCheckpoint {
                            step,
                            attempt,
                            progress,
                        },
                        Note::Child(child) => Event::ChildStarted { step, attempt, child },
                    };
                    self.push(draft, place, event, Value::Null);
                }
            }
            Input::Reconciled { step, found } => {
                if let Some((place, held)) = self.release(draft, &step, None, Work::Reconcile) {
                    self.reconciled(draft, place, held, found);
                }
            }
            Input::Rechecked { step, gone } => {
                if let Some((place, _)) = self.release(draft, &step, None, Work::Recheck)
                    && let Some(why) = gone
                {
                    self.invalidate(draft, place, &why);
                }
            }
            Input::Undone {
                step,
                attempt,
                ending,
            } => {
                if let Some((place, held)) = self.release(draft, &step, Some(attempt), Work::Undo) {
                    self.undone(draft, place, held, ending);
                }
            }
            Input::LockTaken => {
                self.needs_lock = false;
                self.begun.get_or_insert(draft.now);
                if let Some(waited) = &self.state.awaits_lock {
                    let group = waited.group.clone();
                    draft.events.push(Event::GroupLockTaken { group });
                }
            }
            Input::LockHeldBy(holder) => {
                // The holder may change while the run waits. The wait is journaled only once.
                if let (None, Some(group)) = (&self.state.awaits_lock, self.plan.concurrency.clone()) {
                    draft.events.push(Event::GroupLockAwaited { group, holder });
                }
            }
            Input::Deadlock(cycle) => {
                let Some(group) = self.plan.concurrency.clone() else {
                    return;
                };
                let cycle = payload::fit_cycle(cycle);
                draft.events.push(Event::Deadlocked { group, cycle });
                self.deadlocked = true;
                // A run that was ending already waited only to undo its steps. It keeps its reason to end.
                if self.phase != Phase::Cancelling {
                    self.cut_short = CutShort::Deadlock;
                    self.turn(draft, Phase::Cancelling, StopWhy::Cancel);
                }
            }
            Input::Wake => {}
            Input::Stop if self.phase == Phase::Going => self.turn(draft, Phase::Stopping, StopWhy::Stop),
            Input::Stop => self.leave(draft),
        }
    }

    /// Returns whether this attempt, or attempt to undo, is at work.
    pub(crate) fn lives(&self, step: &rekindle_model::id::StepId, attempt: u32) -> bool {
        let Some(place) = self.places.get(step) else {
            return false;
        };
        let (Some(held), Some(record)) = (self.held.get(place), self.state.steps.get(step)) else {
            return false;
        };
        match held.work {
            Work::Attempt => record.attempts == attempt,
            Work::Undo => record.undo.as_ref().is_some_and(|undo| undo.attempts == attempt),
            Work::Reconcile | Work::Recheck => false,
        }
    }

    /// Removes a step from the work at hand, if the report is about the work that the step is held for.
    fn release(
        &mut self,
        draft: &Draft,
        step: &rekindle_model::id::StepId,
        attempt: Option<u32>,
        work: Work,
    ) -> Option<(usize, Held)> {
        let place = *self.places.get(step)?;
        let held = *self.held.get(&place)?;
        let record = self.record(draft, place);
        let attempts = match work {
            Work::Undo => record.undo.as_ref().map_or(0, |undo| undo.attempts),
            _ => record.attempts,
        };
        let current = attempt.is_none_or(|attempt| attempt == attempts);
        if held.work != work || !current {
            return None;
        }
        self.held.remove(&place);
        Some((place, held))
    }

    fn ended(&mut self, draft: &mut Draft, place: usize, held: Held, ending: Ending) {
        let failure = match ending {
            Ending::Succeeded {
                output,
                value,
                measures,
            } => {
                return self.succeed(draft, place, output, value, measures);
            }
            Ending::Failed(failure) => Some(failure),
            Ending::Dropped => None,
        };
        match held.stop {
            Some(StopWhy::Cancel) => {
                let error = self.called_off(place, failure.as_ref());
                self.fail(draft, place, error);
            }
            Some(why @ (StopWhy::Timeout | StopWhy::Deadline | StopWhy::Stalled)) => {
                let error = self.overdue(place, why);
                self.fail(draft, place, error);
            }
            Some(StopWhy::Stop) | None => match failure {
                // The attempt was cut off, as by a crash.
                None => {}
                Some(failure) if held.stop.is_some() && failure.code == INTERRUPTED => {}
                // The run that the step waits for was interrupted. So this one stops too; both are resumed together.
                Some(failure) if failure.code == INTERRUPTED && nest::nests(self.step(place)) => {
                    self.turn(draft, Phase::Stopping, StopWhy::Stop);
                }
                Some(failure) => self.fail(draft, place, failure),
            },
        }
    }

    /// Journals that an attempt failed. If there is a next attempt, also journals when it is due.
    pub(super) fn fail(&mut self, draft: &mut Draft, place: usize, error: Failure) {
        let record = self.record(draft, place);
        let (attempt, failures) = (record.attempts, record.failures + 1);
        let step = self.step(place);
        let ends = match step.handler {
            Some(_) => self.handlers_called_off,
            None => self.phase == Phase::Cancelling,
        };
        let wait = match ends {
            true => None,
            false => retry::wait(&step.retry, &error, failures, self.state.id, &step.id),
        };
        let interruption = match (wait, self.phase) {
            _ if ends => None,
            (None, Phase::Going | Phase::Stopping) => {
                retry::interruption(&step.retry, &error, failures, self.state.id, &step.id)
            }
            _ => None,
        };
        let wait = wait.or(interruption);
        let retry_at = wait.map(|wait| retry::ends_at(&draft.now, wait));
        let error = payload::fit_failure(error);
        let step = step.id.clone();
        let event = Event::StepFailed {
            step,
            attempt,
            error,
            retry_at,
            measures: Default::default(),
        };
        self.push(draft, place, event, Value::Null);
        if interruption.is_some() && self.phase == Phase::Going {
            self.turn(draft, Phase::Stopping, StopWhy::Stop);
        }
    }

    fn reconciled(&mut self, draft: &mut Draft, place: usize, held: Held, found: Found) {
        let (step, attempt) = (self.step(place).id.clone(), self.record(draft, place).attempts);
        let failure = match found {
            Found::Complete {
                output,
                value,
                measures,
                evidence,
            } => {
                self.reconcile_later.remove(&place);
                let evidence = payload::fit_evidence(evidence);
                let event = Event::StepReconciled {
                    step,
                    attempt,
                    verdict: Verdict::Complete,
                    evidence,
                };
                self.push(draft, place, event, Value::Null);
                return self.succeed(draft, place, output, value, measures);
            }
            Found::Continue { evidence } => return self.go_on(draft, place, Verdict::Continue, evidence),
            Found::Redo { evidence } => return self.go_on(draft, place, Verdict::Redo, evidence),
            Found::Failed(failure) => failure,
            Found::Dropped => Failure::transient(INTERRUPTED, "it was stopped"),
        };
        let failure = match held.stop {
            // The state stays the same. After a cancellation, `settle` ends the step. A resume looks again.
            Some(StopWhy::Cancel) => return,
            Some(StopWhy::Stop) if failure.code == INTERRUPTED => return,
            Some(why @ (StopWhy::Timeout | StopWhy::Deadline | StopWhy::Stalled)) => self.overdue(place, why),
            _ => failure,
        };
        // The retry policy also applies to a reconciliation, but a reconciliation uses up no attempt.
        let failures = self.reconcile_later.get(&place).map_or(0, |later| later.failures) + 1;
        let planned = self.step(place);
        match retry::wait(&planned.retry, &failure, failures, self.state.id, &planned.id) {
            Some(wait) => {
                self.reconcile_later.insert(
                    place,
                    Later {
                        failures,
                        since: draft.now,
                        wait,
                    },
                );
            }
            None => {
                self.reconcile_later.remove(&place);
                self.fail_for_good(draft, place, failure);
            }
        }
    }

    /// Journals the verdict. If the step may start now, begins its next attempt in the same append.
    fn go_on(&mut self, draft: &mut Draft, place: usize, verdict: Verdict, evidence: Value) {
        self.reconcile_later.remove(&place);
        let cut_off = self.record(draft, place).cut_off_as(verdict);
        if self.is_too_often(place, cut_off) && !nest::nests(self.step(place)) {
            let error = self.interrupted_too_often(place, "the step");
            return self.fail_for_good(draft, place, error);
        }
        let (step, attempt) = (self.step(place).id.clone(), self.record(draft, place).attempts);
        let evidence = payload::fit_evidence(evidence);
        self.push(
            draft,
            place,
            Event::StepReconciled {
                step,
                attempt,
                verdict,
                evidence,
            },
            Value::Null,
        );
        let room = draft.room > 0 || nest::nests(self.step(place));
        // The state of its needs may have changed during the reconciliation.
        let lane = self.frontier.lane(place);
        let full = self.at_work_by_lane(draft)[lane] >= self.lane_limits[lane];
        let may_start = self.may_begin(place) && room && !full && self.judge(draft, place) == Judgement::Run;
        let group = self.step(place).concurrency.clone();
        if may_start && group.is_none_or(|group| self.locks.remove(&group)) {
            self.start(draft, place);
        }
    }

    /// Makes a step and all steps that came after it pending again. A step that was cut off stays as it is. It is
    /// reconciled once all that it needs is there again.
    fn invalidate(&mut self, draft: &mut Draft, place: usize, why: &str) {
        if !matches!(self.record(draft, place).state, StepState::Succeeded { .. }) {
            return;
        }
        let gone = self.step(place).id.clone();
        let reached = self.reached_from(&[place]);
        for at in (0..reached.len()).filter(|&at| reached[at]) {
            match at == place {
                true => self.withdraw(draft, at, why),
                false => self.withdraw(draft, at, &format!("{gone}, which it rests on, is gone: {why}")),
            }
        }
    }

    /// Leaves a run before all of it is undone, and asks undos and handlers at work to stop. A resume does the rest.
    fn leave(&mut self, draft: &mut Draft) {
        self.leaving = true;
        for (&place, held) in &mut self.held {
            let handler = self.plan.steps[place].handler.is_some();
            if (held.work == Work::Undo || handler) && held.stop.is_none() {
                held.stop = Some(StopWhy::Stop);
                draft.effects.push(Effect::CancelStep {
                    step: self.plan.steps[place].id.clone(),
                    for_good: false,
                });
            }
        }
    }

    /// Changes the phase so that the run heads for its end, and asks all work at hand to end.
    pub(super) fn turn(&mut self, draft: &mut Draft, phase: Phase, why: StopWhy) {
        self.leaving |= self.phase == Phase::Stopping;
        self.phase = phase;
        self.to_recheck.clear();
        for (&place, held) in &mut self.held {
            // A cancellation does not stop an undo or a handler.
            let handler = self.plan.steps[place].handler.is_some();
            if (held.work == Work::Undo || handler) && why == StopWhy::Cancel {
                continue;
            }
            let for_good = why == StopWhy::Cancel;
            if held.stop.is_none() || (for_good && held.stop == Some(StopWhy::Stop)) {
                draft.effects.push(Effect::CancelStep {
                    step: self.plan.steps[place].id.clone(),
                    for_good,
                });
            }
            if held.stop.is_none() || for_good {
                held.stop = Some(why);
            }
        }
    }
}
