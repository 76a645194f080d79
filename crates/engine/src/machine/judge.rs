//! Whether a step runs, waits or is skipped, by how its needs ended and by its `run_if`.

use rekindle_model::event::SkipReason;
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::{RunIf, expr};

use super::{Draft, Machine};
use crate::payload;

/// What a step's needs say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// They have not all ended.
    Wait,
    Run,
    Skip(SkipReason),
}

impl Machine {
    /// Returns what a step's needs say about it.
    ///
    /// A step that was skipped because another failed counts as failed itself; one that was skipped by its own
    /// condition neither succeeded nor failed. One that a person had left out counts as succeeded.
    pub(super) fn judge(&mut self, draft: &Draft, place: usize) -> Judgement {
        if !self.frontier.needs_are_settled(place) {
            return Judgement::Wait;
        }
        let (mut all_succeeded, mut failed) = (true, None);
        for &need in &self.needs[place] {
            let state = &self.record(draft, need).state;
            all_succeeded &= matches!(
                state,
                StepState::Succeeded { .. }
                    | StepState::Skipped {
                        why: SkipReason::Requested { .. }
                    }
            );
            failed = failed.or_else(|| root_of_failure(&self.step(need).id, state));
        }
        let begun = self.record(draft, place).first_started.is_some();
        let unmet = |run_if: &str| {
            Judgement::Skip(SkipReason::Condition {
                run_if: payload::fit_sentence(run_if),
            })
        };
        let step = &self.plan.steps[place];
        match &step.run_if {
            RunIf::Always => Judgement::Run,
            RunIf::Success if all_succeeded => Judgement::Run,
            RunIf::Success => match failed {
                Some(failed) => Judgement::Skip(SkipReason::Needs { failed }),
                None => unmet("success"),
            },
            RunIf::Failure if failed.is_some() => Judgement::Run,
            RunIf::Failure => unmet("failure"),
            // What has begun was decided then.
            RunIf::Expr(_) if begun => Judgement::Run,
            RunIf::Expr(condition) => match expr::holds(condition, self.scope.of(step)) {
                Ok(false) => unmet(condition),
                // An expression that fails is a failure of the step, which starts to have it.
                Ok(true) | Err(_) => Judgement::Run,
            },
        }
    }
}

/// Returns the step that failed first on the way to this one, where one did.
fn root_of_failure(id: &StepId, state: &StepState) -> Option<StepId> {
    match state {
        StepState::Failed { .. }
        | StepState::Skipped {
            why: SkipReason::Cancelled | SkipReason::Deadline | SkipReason::Deadlock,
        } => Some(id.clone()),
        StepState::Skipped {
            why: SkipReason::Needs { failed },
        } => Some(failed.clone()),
        _ => None,
    }
}
