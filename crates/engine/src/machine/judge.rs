//! Whether a step runs, waits or is skipped, by how its needs ended and by its `run_if`.

use rekindle_model::event::SkipReason;
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_plan::expr::{self, ExprError, Status};
use rekindle_plan::{Handler, RunIf};

use super::{CutShort, Draft, Machine, Phase};
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
    pub(super) fn judge(&self, draft: &Draft, place: usize) -> Judgement {
        if !self.frontier.needs_are_settled(place) {
            return Judgement::Wait;
        }
        let (all_succeeded, failed) = self.how_needs_ended(draft, place);
        let unmet = |run_if: &str| {
            Judgement::Skip(SkipReason::Condition {
                run_if: payload::fit_sentence(run_if),
            })
        };
        let not_all = || match &failed {
            Some(failed) => Judgement::Skip(SkipReason::Needs {
                failed: failed.clone(),
            }),
            None => unmet("success"),
        };
        let begun = self.record(draft, place).first_started.is_some();
        if let Some(handler) = self.step(place).handler
            && !begun
            && !self.applies(draft, handler)
        {
            return unmet(match handler {
                Handler::OnSuccess => "success",
                Handler::OnFailure => "failure",
                Handler::OnCancel => "cancelled",
                Handler::Finally => "always",
            });
        }
        match &self.plan.steps[place].run_if {
            RunIf::Always => Judgement::Run,
            RunIf::Success if all_succeeded => Judgement::Run,
            RunIf::Success => not_all(),
            RunIf::Failure if failed.is_some() => Judgement::Run,
            RunIf::Failure => unmet("failure"),
            RunIf::Expr(condition) if !condition.asks_status && !all_succeeded => not_all(),
            RunIf::Expr(condition) => match self.condition(draft, place) {
                Ok(false) => unmet(&condition.text),
                // If the expression fails, the step starts, and fails with that error.
                Ok(true) | Err(_) => Judgement::Run,
            },
        }
    }

    /// Returns whether a step's condition holds. A step that has begun has passed it already.
    pub(super) fn condition(&self, draft: &Draft, place: usize) -> Result<bool, ExprError> {
        let step = &self.plan.steps[place];
        let RunIf::Expr(condition) = &step.run_if else {
            return Ok(true);
        };
        if self.record(draft, place).first_started.is_some() {
            return Ok(true);
        }
        let (success, failed) = self.how_needs_ended(draft, place);
        let status = Status {
            success,
            failure: failed.is_some(),
            cancelled: self.phase == Phase::Cancelling && self.cut_short == CutShort::Cancel,
        };
        expr::holds(&condition.text, &self.scope.of(step), Some(status))
    }

    /// Returns whether all needed steps succeeded, and the step whose failure is the reason if they did not.
    fn how_needs_ended(&self, draft: &Draft, place: usize) -> (bool, Option<StepId>) {
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
        (all_succeeded, failed)
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
