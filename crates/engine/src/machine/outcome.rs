//! How a run ended, and its figures.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::event::{Event, Outcome, SkipReason};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::{PlanStep, RunIf};
use serde_json::{Value, json};

use super::{CutShort, Draft, Machine, Phase};

/// How many bytes of names of failed steps a summary lists; the others are counted.
const LISTED: usize = 1024;

impl Machine {
    /// Returns the last event of a run whose steps have all ended.
    pub(super) fn finished(&self, draft: &Draft) -> Event {
        Event::RunFinished {
            outcome: self.outcome(draft),
            summary: self.summary(draft),
        }
    }

    fn outcome(&self, draft: &Draft) -> Outcome {
        match (self.unwinds(draft), self.came_to(draft)) {
            (true, _) if self.stuck(draft).next().is_some() => Outcome::Stuck,
            // All steps had succeeded, but the run has undone them.
            (true, Outcome::Succeeded) => Outcome::Failed,
            // A part was done, and the run has undone steps that it may rest on.
            (true, Outcome::Partial) if !self.undone_before(draft).is_empty() => Outcome::Failed,
            (_, Outcome::Succeeded) if self.a_handler_fell(draft) => Outcome::Failed,
            (_, came_to) => came_to,
        }
    }

    /// Returns the outcome of the steps, without regard to later undos and to handlers.
    pub(super) fn came_to(&self, draft: &Draft) -> Outcome {
        if self.phase == Phase::Cancelling && self.cut_short == CutShort::Cancel {
            return Outcome::Cancelled;
        }
        let states: Vec<&StepState> = (0..self.plan.steps.len())
            .map(|place| &self.record(draft, place).state)
            .collect();
        let came = |place: usize| matches!(states[place], StepState::Succeeded { .. });
        let left_out = |place: usize| {
            let requested = matches!(
                states[place],
                StepState::Skipped {
                    why: SkipReason::Requested { .. }
                }
            );
            requested && !self.is_handler(place)
        };
        match self.any_fell(draft) {
            false if (0..states.len()).any(left_out) => Outcome::Partial,
            false => Outcome::Succeeded,
            true if self.ends_of_loops().any(came) || self.whole_component(&states) => Outcome::Partial,
            true => Outcome::Failed,
        }
    }

    /// Returns whether a step that is no handler failed, or ended with the run. A step that a cancellation skipped stays
    /// skipped when the run is opened again for another step.
    pub(super) fn any_fell(&self, draft: &Draft) -> bool {
        (0..self.plan.steps.len()).any(|place| !self.is_handler(place) && self.fell(draft, place))
    }

    /// Returns whether a step failed that may fail. If the run ends early, it may not: then it ended with the run.
    pub(super) fn is_tolerated(&self, draft: &Draft, place: usize) -> bool {
        self.step(place).continue_on_error
            && self.phase != Phase::Cancelling
            && matches!(self.record(draft, place).state, StepState::Failed { .. })
    }

    pub(super) fn fell(&self, draft: &Draft, place: usize) -> bool {
        let fell = matches!(
            self.record(draft, place).state,
            StepState::Failed { .. }
                | StepState::Skipped {
                    why: SkipReason::Cancelled | SkipReason::Deadline | SkipReason::Deadlock
                }
        );
        fell && !self.is_tolerated(draft, place)
    }

    /// Returns the looped steps that no other step of a loop builds on. Such a step verifies a copy, or validates a
    /// component. Steps with the `run_if` `failure` or `always` do not count.
    fn ends_of_loops(&self) -> impl Iterator<Item = usize> + '_ {
        let steps = &self.plan.steps;
        let counts =
            |step: &PlanStep| !step.each.is_empty() && !matches!(step.run_if, RunIf::Failure | RunIf::Always);
        let built_on: BTreeSet<&StepId> = steps
            .iter()
            .filter(|step| counts(step))
            .flat_map(|step| &step.needs)
            .collect();
        steps
            .iter()
            .enumerate()
            .filter(move |(_, step)| counts(step) && !built_on.contains(&step.id))
            .map(|(place, _)| place)
    }

    /// Returns whether every step of a component succeeded or was skipped by its own condition, and one succeeded.
    fn whole_component(&self, states: &[&StepState]) -> bool {
        let mut components: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for (step, state) in self.plan.steps.iter().zip(states) {
            if let Some(component) = step.each.get("component") {
                let (came, whole) = components.entry(component).or_insert((false, true));
                *came |= matches!(state, StepState::Succeeded { .. });
                *whole &= matches!(
                    state,
                    StepState::Succeeded { .. }
                        | StepState::Skipped {
                            why: SkipReason::Condition { .. }
                        }
                );
            }
        }
        components.values().any(|&(came, whole)| came && whole)
    }

    fn summary(&self, draft: &Draft) -> Value {
        let (mut succeeded, mut skipped, mut failed, mut tolerated) = (0, 0, Vec::new(), Vec::new());
        for (place, step) in self.plan.steps.iter().enumerate() {
            match &self.record(draft, place).state {
                StepState::Succeeded { .. } => succeeded += 1,
                _ if self.is_tolerated(draft, place) => tolerated.push(step.id.as_str()),
                StepState::Failed { .. } => failed.push(step.id.as_str()),
                _ => skipped += 1,
            }
        }
        let compensated = self.plan.steps.iter().any(|step| step.compensate.is_some());
        let undone = self.undone_before(draft).len();
        let stuck: Vec<&StepId> = self.stuck(draft).map(|place| &self.step(place).id).collect();
        let elapsed = draft.now.since(&self.state.created);
        let listed = first(&failed);
        let mut summary = json!({
            "steps": self.plan.steps.len(),
            "succeeded": succeeded,
            "failed": failed.len(),
            "skipped": skipped,
            "duration_ms": u64::try_from(elapsed.duration.as_millis()).unwrap_or(u64::MAX),
            "clock_uncertain": elapsed.clock_uncertain,
            "failed_steps": listed,
            "failed_steps_left_out": failed.len() - listed.len(),
        });
        if !tolerated.is_empty() {
            summary["continued_on_error"] = json!(tolerated.len());
            summary["continued_on_error_steps"] = json!(first(&tolerated));
        }
        if compensated {
            summary["undone"] = json!(undone);
            // The run undoes one step at a time, so that never more than one is stuck.
            summary["stuck"] = json!(stuck);
        }
        summary
    }
}

/// Returns the names that a summary lists.
fn first<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut bytes = 0;
    let fit = names.iter().copied().take_while(|id| {
        bytes += id.len() + 2;
        bytes <= LISTED
    });
    fit.collect()
}
