//! How a run ended, and its figures.

use std::collections::BTreeMap;

use rekindle_model::event::{Event, Outcome, SkipReason};
use rekindle_model::step::StepState;
use serde_json::{Value, json};

use super::{Draft, Machine, Phase};

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
        if self.phase == Phase::Cancelling {
            return Outcome::Cancelled;
        }
        // For each component: whether a step of it succeeded, and whether none fell through.
        let mut components: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        let mut any_failed = false;
        for (place, step) in self.plan.steps.iter().enumerate() {
            let state = &self.record(draft, place).state;
            any_failed |= matches!(state, StepState::Failed { .. });
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
        match any_failed {
            false => Outcome::Succeeded,
            true if components.values().any(|&(came, whole)| came && whole) => Outcome::Partial,
            true => Outcome::Failed,
        }
    }

    fn summary(&self, draft: &Draft) -> Value {
        let (mut succeeded, mut skipped, mut failed) = (0, 0, Vec::new());
        for (place, step) in self.plan.steps.iter().enumerate() {
            match &self.record(draft, place).state {
                StepState::Succeeded { .. } => succeeded += 1,
                StepState::Failed { .. } => failed.push(step.id.as_str()),
                _ => skipped += 1,
            }
        }
        let elapsed = draft.now.since(&self.state.created);
        let mut bytes = 0;
        let listed: Vec<&str> = failed
            .iter()
            .copied()
            .take_while(|id| {
                bytes += id.len() + 2;
                bytes <= LISTED
            })
            .collect();
        json!({
            "steps": self.plan.steps.len(),
            "succeeded": succeeded,
            "failed": failed.len(),
            "skipped": skipped,
            "duration_ms": u64::try_from(elapsed.duration.as_millis()).unwrap_or(u64::MAX),
            "clock_uncertain": elapsed.clock_uncertain,
            "failed_steps": listed,
            "failed_steps_left_out": failed.len() - listed.len(),
        })
    }
}
