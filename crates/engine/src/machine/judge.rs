//! Whether a step runs, waits or is skipped, by how its needs ended and by its `run_if`.

use rekindle_model::event::SkipReason;
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::{Handler, RunIf, expr};

use super::{Draft, Machine};
use crate::payload;

/// The judgement on a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The needs have not all ended.
    Wait,
    Run,
    Skip(SkipReason),
}

impl Machine {
    /// Returns whether a step waits, runs or is skipped.
    ///
    /// If a need was skipped because another step failed, it counts as failed. If it was skipped by its own condition,
    /// it neither succeeded nor failed. If a person had it left out, or it failed with `continue_on_error`, it counts as
    /// succeeded.
    pub(super) fn judge(&mut self, draft: &Draft, place: usize) -> Judgement {
        if !self.frontier.needs_are_settled(place) {
            return Judgement::Wait;
        }
        let (mut all_succeeded, mut failed) = (true, None);
        for &need in &self.needs[place] {
            if self.is_tolerated(draft, need) {
                continue;
            }
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
        if let Some(handler) = self.step(place).handler
            && !begun
            && !self.applies(draft, handler)
        {
            return unmet(match handler {
                Handler::OnFailure => "failure",
                Handler::OnCancel => "cancelled",
                Handler::Finally => "always",
            });
        }
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
            // A step that has begun has passed its condition already.
            RunIf::Expr(_) if begun => Judgement::Run,
            RunIf::Expr(condition) => match expr::holds(condition, self.scope.of(step)) {
                Ok(false) => unmet(condition),
                // If the expression fails, the step starts, and fails with that error.
                Ok(true) | Err(_) => Judgement::Run,
            },
        }
    }
}

/// Returns the step whose failure led to this state, if there is one.
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
