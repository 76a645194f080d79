//! How the machine responds to a person's request, or why it refuses it; and how it honours a decision on an approval.
//!
//! The machine refuses a request before it decides anything, so that a refusal leaves the machine unchanged.

use rekindle_model::event::{Event, Payload, SkipReason};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::suggest;
use serde_json::Value;

use super::{CutShort, Draft, Machine, Phase, StopWhy, retry};
use crate::approve;
use crate::payload;
use crate::request::{Ask, Refusal, Request};

impl Machine {
    /// Adds the effects of a request to the draft, or refuses it.
    pub(super) fn grant(&mut self, draft: &mut Draft, request: &Request) -> Result<(), Refusal> {
        let over = self.state.outcome;
        let opens = matches!(
            request.ask,
            Ask::Retry { .. } | Ask::RetryFailed | Ask::Skip { .. }
        );
        match (over, &self.state.cancel) {
            (Some(outcome), _) if !opens => return Err(Refusal::Over { outcome }),
            (None, Some(by)) if !self.still_takes(&request.ask) => {
                return Err(Refusal::Cancelled { by: by.clone() });
            }
            // The step would be skipped again at once, and its output would be lost.
            (None, None)
                if self.state.expired.is_some()
                    && request.ask != Ask::Cancel
                    && !self.asks_handler(&request.ask) =>
            {
                return Err(Refusal::Expired);
            }
            _ => {}
        }
        if opens && over.is_none() && self.unwinding(draft) {
            return Err(Refusal::Undoing);
        }
        match &request.ask {
            Ask::Cancel => {
                draft.events.push(Event::CancelRequested {
                    by: request.by.clone(),
                    why: request.note.clone(),
                });
                if self.state.cancel.is_some() {
                    self.call_off_handlers(draft);
                } else if self.handlers_have_begun(draft) {
                    self.late_cancel = true;
                } else {
                    self.cut_short = CutShort::Cancel;
                    self.turn(draft, Phase::Cancelling, StopWhy::Cancel);
                }
                Ok(())
            }
            Ask::Pause => self.pause(draft, request),
            Ask::Unpause => self.unpause(draft, request),
            Ask::Approve { step } => self.decide_on(draft, step, request, true),
            Ask::Reject { step } => self.decide_on(draft, step, request, false),
            Ask::Retry { step } => self.run_again(draft, step, request),
            Ask::RetryFailed => self.run_failed_again(draft, request),
            Ask::Skip { step } => self.leave_out(draft, step, request),
        }
    }

    /// Returns whether a cancelled run still takes a request: a second cancel, or a request to one of its handlers.
    fn still_takes(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Cancel => self.frontier.has_unfinished_handlers() && !self.handlers_called_off,
            ask => self.asks_handler(ask),
        }
    }

    fn asks_handler(&self, ask: &Ask) -> bool {
        let place = ask.step().and_then(|step| self.places.get(step));
        place.is_some_and(|&place| self.is_handler(place))
    }

    fn pause(&mut self, draft: &mut Draft, request: &Request) -> Result<(), Refusal> {
        if let Some(paused) = &self.state.paused {
            let (by, at) = (paused.by.clone(), paused.at);
            return Err(Refusal::Paused { by, at });
        }
        self.paused = true;
        let (by, why) = (request.by.clone(), request.note.clone());
        draft.events.push(Event::PauseRequested { by, why });
        Ok(())
    }

    fn unpause(&mut self, draft: &mut Draft, request: &Request) -> Result<(), Refusal> {
        if self.state.paused.is_none() {
            return Err(Refusal::NotPaused);
        }
        self.paused = false;
        let (by, why) = (request.by.clone(), request.note.clone());
        draft.events.push(Event::RunUnpaused { by, why });
        Ok(())
    }

    fn decide_on(
        &mut self,
        draft: &mut Draft,
        step: &StepId,
        request: &Request,
        granted: bool,
    ) -> Result<(), Refusal> {
        let place = self.place(step)?;
        let record = self.record(draft, place);
        let attempt = record.attempts;
        if record.awaits().is_none() {
            let asked = record
                .approval
                .as_ref()
                .filter(|_| record.state == StepState::Running);
            if let Some(decision) = asked.and_then(|asked| asked.decision.as_ref()) {
                return Err(Refusal::Decided {
                    step: step.clone(),
                    by: decision.by.clone(),
                    granted: decision.granted,
                });
            }
            return Err(Refusal::NotWaiting {
                step: step.clone(),
                state: record.state.name(),
                waiting: self
                    .waiting(draft)
                    .map(|place| self.step(place).id.clone())
                    .collect(),
            });
        }
        let (step, by, note) = (step.clone(), request.by.clone(), request.note.clone());
        let event = match granted {
            true => Event::Approved {
                step,
                attempt,
                by,
                note,
            },
            false => Event::Rejected {
                step,
                attempt,
                by,
                note,
            },
        };
        self.push(draft, place, event, Value::Null);
        Ok(())
    }

    /// Makes a step pending again, with everything that came after it. If the step was skipped because others failed,
    /// these run again too: else it would be skipped again.
    fn run_again(&mut self, draft: &mut Draft, step: &StepId, request: &Request) -> Result<(), Refusal> {
        let place = self.place(step)?;
        let record = self.record(draft, place);
        if record.stuck().is_some() {
            self.reopen(draft, request);
            self.push_retry(draft, place, request);
            self.withdraw_handlers(draft, request);
            return Ok(());
        }
        match &record.state {
            StepState::Backoff { .. } => {
                self.push_retry(draft, place, request);
                return Ok(());
            }
            StepState::Running | StepState::Reconciled { .. } if record.awaits().is_none() => {
                return Err(Refusal::AtWork { step: step.clone() });
            }
            StepState::Succeeded { .. }
            | StepState::Failed { .. }
            | StepState::Skipped {
                why:
                    SkipReason::Needs { .. }
                    | SkipReason::Cancelled
                    | SkipReason::Deadline
                    | SkipReason::Deadlock
                    | SkipReason::Requested { .. },
            } => {}
            state => {
                return Err(Refusal::NothingToRetry {
                    step: step.clone(),
                    state: state.name(),
                });
            }
        }
        let mut begin = vec![place];
        if matches!(record.state, StepState::Skipped { .. }) {
            self.add_fallen_needs(draft, &mut begin);
        }
        self.begin_again(draft, &[place], begin, request)
    }

    /// Makes every step that failed pending again, with everything that came after one of them. If an undo is stuck, it
    /// retries only that undo: a run must finish its undo before it goes forward.
    fn run_failed_again(&mut self, draft: &mut Draft, request: &Request) -> Result<(), Refusal> {
        let stuck: Vec<usize> = self.stuck(draft).collect();
        if !stuck.is_empty() {
            self.reopen(draft, request);
            for place in stuck {
                self.push_retry(draft, place, request);
            }
            self.withdraw_handlers(draft, request);
            return Ok(());
        }
        let failed: Vec<usize> = (0..self.plan.steps.len())
            .filter(|&place| self.fell(draft, place))
            .collect();
        match failed.is_empty() {
            true => Err(Refusal::NothingFailed),
            false => self.begin_again(draft, &failed, failed.clone(), request),
        }
    }

    /// Makes steps pending again, with everything that came after them. `asked` are the steps among them that a person
    /// named.
    fn begin_again(
        &mut self,
        draft: &mut Draft,
        asked: &[usize],
        mut begin: Vec<usize>,
        request: &Request,
    ) -> Result<(), Refusal> {
        // The effects of undone steps are gone, and the run goes forward again. So these steps run again too.
        if !begin.iter().all(|&place| self.is_handler(place)) {
            begin.extend(self.undone_before(draft));
        }
        let reached = self.reached_from(&begin);
        self.refuse_at_work(draft, asked, &reached)?;
        self.reopen(draft, request);
        for &place in asked {
            self.push_retry(draft, place, request);
        }
        let told = said(request);
        let named = match asked {
            [one] => self.step(*one).id.to_string(),
            _ => "what failed".to_owned(),
        };
        for at in (0..reached.len()).filter(|&at| reached[at]) {
            let why = match asked.contains(&at) {
                true => format!("{} asked for it to run again{told}", request.by),
                false => format!("{} asked for {named} to run again{told}", request.by),
            };
            self.withdraw(draft, at, &why);
        }
        Ok(())
    }

    fn push_retry(&mut self, draft: &mut Draft, place: usize, request: &Request) {
        let asked = Event::RetryRequested {
            step: self.step(place).id.clone(),
            by: request.by.clone(),
            why: request.note.clone(),
        };
        self.push(draft, place, asked, Value::Null);
    }

    /// Skips a step on request. The steps that were skipped because of it become pending, with everything after them.
    fn leave_out(&mut self, draft: &mut Draft, step: &StepId, request: &Request) -> Result<(), Refusal> {
        let place = self.place(step)?;
        let Some(why) = request.note.clone() else {
            return Err(Refusal::NoReason { step: step.clone() });
        };
        let record = self.record(draft, place);
        let at_work = self.held.contains_key(&place)
            || (record.state == StepState::Running && record.awaits().is_none());
        let ended = match &record.state {
            StepState::Succeeded { .. } => Some("succeeded"),
            StepState::Skipped {
                why: SkipReason::Condition { .. } | SkipReason::Requested { .. },
            } => Some("was skipped"),
            _ => None,
        };
        if let Some(state) = ended {
            let step = step.clone();
            return Err(Refusal::NothingToSkip { step, state });
        }
        if at_work {
            return Err(Refusal::AtWork { step: step.clone() });
        }
        let fell = |&at: &usize| {
            matches!(
                self.record(draft, at).state,
                StepState::Skipped {
                    why: SkipReason::Needs { .. }
                }
            )
        };
        let mut begin: Vec<usize> = self.dependents[place].iter().copied().filter(fell).collect();
        if !self.is_handler(place) {
            begin.extend(self.undone_before(draft).into_iter().filter(|&at| at != place));
        }
        let mut reached = self.reached_from(&begin);
        reached[place] = false;
        self.refuse_at_work(draft, &[place], &reached)?;
        self.reopen(draft, request);
        let by = request.by.clone();
        let event = Event::StepSkipped {
            step: step.clone(),
            why: SkipReason::Requested { by, why },
        };
        self.push(draft, place, event, Value::Null);
        let why = format!("{} had {step} left out{}", request.by, said(request));
        for at in (0..reached.len()).filter(|&at| reached[at]) {
            self.withdraw(draft, at, &why);
        }
        Ok(())
    }

    /// Journals the results of decisions on approvals, made in this process or while nobody drove the run.
    pub(super) fn honour(&mut self, draft: &mut Draft) {
        let begun: Vec<usize> = self.frontier.active().collect();
        for place in begun {
            let record = self.record(draft, place);
            let asked = record
                .approval
                .as_ref()
                .filter(|_| record.state == StepState::Running);
            let Some(decision) = asked.and_then(|asked| asked.decision.clone()) else {
                continue;
            };
            if decision.granted {
                let value = approve::output(&decision);
                let output = Payload::Inline(value.clone());
                self.succeed(draft, place, output, value, Default::default());
            } else {
                self.fail(
                    draft,
                    place,
                    approve::rejected(&decision, self.retry(Some(place))),
                );
            }
        }
    }

    /// Journals the question of a step that asks for approval, together with the start of its attempt. Returns false if
    /// an expression failed, and the step with it.
    pub(super) fn ask(&mut self, draft: &mut Draft, place: usize) -> bool {
        let prompt = match self.render_to_begin(draft, place) {
            Ok(with) => approve::prompt(&with),
            Err(error) => {
                self.fail_for_good(draft, place, error);
                return false;
            }
        };
        let step = self.step(place).id.clone();
        if self.record(draft, place).state != StepState::Running {
            let attempt = self.record(draft, place).attempts + 1;
            let started = Event::StepStarted {
                step: step.clone(),
                attempt,
            };
            self.push(draft, place, started, Value::Null);
        }
        let attempt = self.record(draft, place).attempts;
        let asked = Event::ApprovalRequested {
            step,
            attempt,
            prompt,
        };
        self.push(draft, place, asked, Value::Null);
        true
    }

    /// Fails the approvals that nobody has decided within their step's timeout.
    pub(super) fn expire_questions(&mut self, draft: &mut Draft) {
        let ending = self.phase == Phase::Cancelling;
        let waiting: Vec<usize> = self.waiting(draft).collect();
        let waiting = waiting
            .into_iter()
            .filter(|&place| !ending || self.is_handler(place));
        let waiting: Vec<usize> = waiting.collect();
        for place in waiting {
            if self
                .time_to_decide(draft, place)
                .is_some_and(|left| left.is_zero())
            {
                let allowed = self.step(place).timeout.unwrap_or_default();
                let error = Failure::transient(code::TIMEOUT, format!("nobody decided within {allowed:?}"))
                    .with_next(self.retry(Some(place)), "asks again")
                    .with_hint("a longer `timeout` leaves more time");
                self.fail(draft, place, error);
            }
        }
    }

    /// Returns the steps that wait for approval.
    pub(super) fn waiting(&self, draft: &Draft) -> impl Iterator<Item = usize> {
        self.frontier
            .active()
            .filter(|&place| self.record(draft, place).awaits().is_some())
    }

    /// Returns how long a step that waits for approval may still wait, if it has a timeout. The timeout counts from the
    /// question, also after a crash.
    pub(super) fn time_to_decide(&self, draft: &Draft, place: usize) -> Option<std::time::Duration> {
        let asked = self.record(draft, place).awaits()?.asked;
        let ends_at = retry::ends_at(&asked, self.step(place).timeout?);
        Some(retry::remaining(&asked, ends_at, &draft.now))
    }

    fn place(&self, step: &StepId) -> Result<usize, Refusal> {
        self.places.get(step).copied().ok_or_else(|| {
            let ids = || self.plan.steps.iter().map(|step| step.id.as_str());
            let planned = self.plan.steps.iter();
            let of_loop = planned.filter(|planned| planned.template == step.as_str());
            let of_loop: Vec<&str> = of_loop.map(|planned| planned.id.as_str()).collect();
            let help = match of_loop.as_slice() {
                [] => suggest(step.as_str(), &ids().collect::<Vec<_>>()),
                [first, ..] => Some(format!(
                    "it is a loop of {} steps; name one of them, such as {first}",
                    of_loop.len()
                )),
            };
            let step = StepId::from(payload::fit_sentence(step.as_str()).as_str());
            Refusal::UnknownStep { step, help }
        })
    }

    /// Adds everything that failed, or was skipped because of that, on the way to the steps in the list.
    fn add_fallen_needs(&self, draft: &Draft, list: &mut Vec<usize>) {
        let mut next = 0;
        while let Some(&place) = list.get(next) {
            next += 1;
            for &need in &self.needs[place] {
                let fell = matches!(
                    self.record(draft, need).state,
                    StepState::Failed { .. }
                        | StepState::Skipped {
                            why: SkipReason::Needs { .. }
                                | SkipReason::Cancelled
                                | SkipReason::Deadline
                                | SkipReason::Deadlock
                        }
                );
                if fell && !list.contains(&need) {
                    list.push(need);
                }
            }
        }
    }

    /// Returns for each step whether it is among these or comes after one of them.
    pub(super) fn reached_from(&self, begin: &[usize]) -> Vec<bool> {
        let mut reached = vec![false; self.plan.steps.len()];
        begin.iter().for_each(|&place| reached[place] = true);
        // A plan lists each step after its needs, so one pass reaches every dependent.
        for at in 0..reached.len() {
            if reached[at] {
                self.dependents[at]
                    .iter()
                    .for_each(|&dependent| reached[dependent] = true);
            }
        }
        reached
    }

    fn refuse_at_work(&self, draft: &Draft, asked: &[usize], reached: &[bool]) -> Result<(), Refusal> {
        let at_work = (0..reached.len()).filter(|&at| {
            let record = self.record(draft, at);
            let begun = matches!(record.state, StepState::Running | StepState::Reconciled { .. });
            reached[at] && !asked.contains(&at) && begun && record.awaits().is_none()
        });
        let at_work: Vec<StepId> = at_work.map(|at| self.step(at).id.clone()).collect();
        match at_work.is_empty() {
            true => Ok(()),
            false => Err(Refusal::DependentsAtWork {
                steps: asked.iter().map(|&at| self.step(at).id.clone()).collect(),
                at_work,
            }),
        }
    }

    fn reopen(&mut self, draft: &mut Draft, request: &Request) {
        if self.state.outcome.is_some() {
            let (by, why) = (request.by.clone(), request.note.clone());
            draft.events.push(Event::RunReopened { by, why });
        }
    }

    /// Makes a step pending again that has ended, waits for its next attempt or waits for approval.
    pub(super) fn withdraw(&mut self, draft: &mut Draft, place: usize, why: &str) {
        let record = self.record(draft, place);
        let waits = matches!(record.state, StepState::Backoff { .. }) || record.awaits().is_some();
        if record.state.is_final() || waits {
            let (step, why) = (self.step(place).id.clone(), payload::fit_sentence(why));
            self.push(draft, place, Event::StepInvalidated { step, why }, Value::Null);
        }
    }
}

fn said(request: &Request) -> String {
    request
        .note
        .as_ref()
        .map(|note| format!(": {note}"))
        .unwrap_or_default()
}
