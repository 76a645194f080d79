//! A run's steps, one row each, in the order of the plan.

use std::time::Duration;

use rekindle_model::event::{Measures, Outcome, SkipReason};
use rekindle_model::failure::Failure;
use rekindle_model::id::StepId;
use rekindle_model::step::{StepRecord, StepState};
use rekindle_model::time::Stamp;
use rekindle_plan::Plan;
use serde::Serialize;

use crate::evidence::Evidence;

/// One step as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The step.
    pub step: StepId,
    /// The action, where the plan is known.
    pub uses: Option<String>,
    /// The state's name; `cut off` where nothing drives the run any more.
    pub state: &'static str,
    /// Attempts begun, those cut off included.
    pub attempts: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were cut off and looked at again.
    pub reconciled: u32,
    /// When its first attempt began.
    pub started: Option<Stamp>,
    /// From its first attempt's start to its end, interruptions included.
    #[serde(with = "crate::seconds")]
    pub duration: Option<Duration>,
    /// Whether that duration rests on wall time across a reboot.
    pub clock_uncertain: bool,
    /// What it measured.
    pub measures: Measures,
    /// Why it failed, or why its last attempt did.
    pub error: Option<Failure>,
    /// Why it did not run.
    pub skipped: Option<String>,
}

/// Returns the steps in the plan's order, those that no event has named as pending; without a plan, those
/// that an event has named, in the order of their first start.
pub fn timeline(evidence: &Evidence, plan: Option<&Plan>) -> Vec<StepRow> {
    match plan {
        Some(plan) => plan
            .steps
            .iter()
            .map(|step| {
                row(
                    evidence,
                    &step.id,
                    Some(step.uses.clone()),
                    &evidence.state.step(&step.id),
                )
            })
            .collect(),
        None => {
            let mut steps: Vec<_> = evidence.state.steps.iter().collect();
            steps.sort_by_key(|(id, record)| (record.first_started.map(|stamp| stamp.utc), (*id).clone()));
            steps
                .into_iter()
                .map(|(id, record)| row(evidence, id, None, record))
                .collect()
        }
    }
}

fn row(evidence: &Evidence, step: &StepId, uses: Option<String>, record: &StepRecord) -> StepRow {
    let elapsed = record
        .first_started
        .zip(record.ended)
        .map(|(start, end)| end.since(&start));
    let (error, measures) = match &record.state {
        StepState::Failed { error } | StepState::Backoff { error, .. } => {
            (Some(error.clone()), Measures::new())
        }
        StepState::Succeeded { measures, .. } => (None, measures.clone()),
        _ => (None, Measures::new()),
    };
    let skipped = match &record.state {
        StepState::Skipped {
            why: SkipReason::Needs { failed },
        } => Some(format!("{failed} failed")),
        StepState::Skipped {
            why: SkipReason::Condition { run_if },
        } => Some(format!("run_if: {run_if} did not hold")),
        StepState::Skipped {
            why: SkipReason::Cancelled,
        } => Some("the run was cancelled".to_owned()),
        _ => None,
    };
    StepRow {
        step: step.clone(),
        uses,
        state: match (&record.state, evidence.state.outcome) {
            (StepState::Running, Some(_)) => "cut off",
            (state, _) => state.name(),
        },
        attempts: record.attempts,
        failures: record.failures,
        reconciled: record.reconciled,
        started: record.first_started,
        duration: elapsed.map(|elapsed| elapsed.duration),
        clock_uncertain: elapsed.is_some_and(|elapsed| elapsed.clock_uncertain),
        measures,
        error,
        skipped,
    }
}

/// Returns an outcome as people see it.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Partial => "done in part",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    }
}
