//! A run's steps, one row each, in the order of the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::approval::Approval;
use rekindle_model::event::{Event, Measures, Outcome, SkipReason};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::step::{StepRecord, StepState};
use rekindle_model::time::Stamp;
use rekindle_model::undo::Undo;
use rekindle_plan::Plan;
use serde::Serialize;

use crate::evidence::Evidence;

/// One step as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The step.
    pub step: StepId,
    /// The action, if the plan is known.
    pub uses: Option<String>,
    /// Its state.
    pub state: RowState,
    /// Attempts begun, including those cut off.
    pub attempts: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were cut off and reconciled.
    pub reconciled: u32,
    /// When its first attempt began.
    pub started: Option<Stamp>,
    /// From its first attempt's start to its end, interruptions included.
    #[serde(with = "crate::seconds", rename = "duration_seconds")]
    pub duration: Option<Duration>,
    /// Whether that duration rests on wall time across a reboot.
    pub clock_uncertain: bool,
    /// Its measures.
    pub measures: Measures,
    /// Why it failed, or why its last attempt did.
    pub error: Option<Failure>,
    /// Its attempts that failed and were followed, or are to be followed, by another; the newest is not among them
    /// while it waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
    /// When its next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
    /// Why it did not run.
    pub skipped: Option<String>,
    /// The group in which it waits for its group lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<String>,
    /// The undo of its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// The run that it runs, or ran last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The question of its newest attempt to a person, and the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The people who asked to run it again, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<Retry>,
}

impl StepRow {
    /// Returns whether a report has more to say about it than that it succeeded at once, waits for other steps, or did not
    /// run.
    pub fn is_remarkable(&self) -> bool {
        let plain = matches!(
            self.state,
            RowState::Succeeded | RowState::Pending | RowState::Skipped
        );
        !plain
            || self.attempts > 1
            || self.undo.is_some()
            || self.run.is_some()
            || self.approval.is_some()
            || self.waits_in.is_some()
            || !self.retries.is_empty()
    }

    /// Returns the question that the step waits for an answer to.
    pub fn waits_for(&self) -> Option<&str> {
        let asked = self.approval.as_ref().filter(|asked| asked.decision.is_none())?;
        (self.state == RowState::Waiting).then_some(asked.prompt.as_str())
    }
}

/// The state of a step in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// Not begun, or invalidated.
    Pending,
    /// An attempt runs, or was cut off and not yet reconciled.
    Running,
    /// It waits for a person's decision.
    Waiting,
    /// The run is over, and the attempt has no outcome.
    #[serde(rename = "cut off")]
    CutOff,
    /// An attempt was cut off and reconciled.
    Reconciled,
    /// It waits for its next attempt.
    Backoff,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// It will not run.
    Skipped,
}

impl RowState {
    /// Returns the state's name, as people see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::CutOff => "cut off",
            Self::Reconciled => "reconciled",
            Self::Backoff => "backoff",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// An attempt that failed and was followed by another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedAttempt {
    /// Which.
    pub attempt: u32,
    /// Why.
    pub error: Failure,
    /// When.
    pub at: Stamp,
    /// When the next was due.
    pub retry_at: DateTime<Utc>,
}

/// A request to run a step again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// The person.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// When.
    pub at: Stamp,
}

/// The action of a step that runs another workflow; its checkpoint names the run.
const WORKFLOW: &str = "workflow";

/// Returns the steps in the plan's order; steps without an event are pending. Without a plan, returns the
/// steps that an event has named, in the order of their first start.
pub fn timeline(evidence: &Evidence, plan: Option<&Plan>) -> Vec<StepRow> {
    let mut facts = StepFacts {
        failed: failed_attempts(evidence),
        asked: retries(evidence),
    };
    match plan {
        Some(plan) => plan
            .steps
            .iter()
            .map(|step| {
                let record = evidence.state.step(&step.id);
                let row = row(evidence, &step.id, Some(step.uses.clone()), &record, &mut facts);
                let ended = |need| evidence.state.step(need).state.is_final();
                let could = record.state == StepState::Pending && evidence.state.outcome.is_none();
                let waits = could && evidence.state.paused.is_none() && step.needs.iter().all(ended);
                StepRow {
                    waits_in: step.concurrency.clone().filter(|_| waits),
                    ..row
                }
            })
            .collect(),
        None => {
            let mut steps: Vec<_> = evidence.state.steps.iter().collect();
            steps.sort_by_key(|(id, record)| (record.first_started.map(|stamp| stamp.utc), (*id).clone()));
            steps
                .into_iter()
                .map(|(id, record)| row(evidence, id, None, record, &mut facts))
                .collect()
        }
    }
}

/// Facts about steps from the records, gathered in one pass each: a run may have as many records as steps.
struct StepFacts {
    failed: BTreeMap<StepId, Vec<FailedAttempt>>,
    asked: BTreeMap<StepId, Vec<Retry>>,
}

fn row(
    evidence: &Evidence,
    step: &StepId,
    uses: Option<String>,
    record: &StepRecord,
    facts: &mut StepFacts,
) -> StepRow {
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
    let retry_at = match &record.state {
        StepState::Backoff { retry_at, .. } => Some(*retry_at),
        _ => None,
    };
    let mut failed_attempts = facts.failed.remove(step).unwrap_or_default();
    if retry_at.is_some() {
        // That is its `error`.
        failed_attempts.pop();
    }
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
        StepState::Skipped {
            why: SkipReason::Deadline,
        } => Some("the run's deadline had passed".to_owned()),
        StepState::Skipped {
            why: SkipReason::Deadlock,
        } => Some("the run gave up its group lock: runs waited for each other".to_owned()),
        StepState::Skipped {
            why: SkipReason::Requested { by, why },
        } => Some(format!("{by} asked for it: {why}")),
        _ => None,
    };
    let begun = record
        .checkpoint
        .as_ref()
        .filter(|_| uses.as_deref() == Some(WORKFLOW));
    let run = begun.and_then(|noted| serde_json::from_value(evidence.resolve(noted)["run"].clone()).ok());
    StepRow {
        step: step.clone(),
        uses,
        state: match (&record.state, evidence.state.outcome) {
            (StepState::Running, Some(_)) => RowState::CutOff,
            _ if record.awaits().is_some() => RowState::Waiting,
            (StepState::Pending, _) => RowState::Pending,
            (StepState::Running, None) => RowState::Running,
            (StepState::Reconciled { .. }, _) => RowState::Reconciled,
            (StepState::Backoff { .. }, _) => RowState::Backoff,
            (StepState::Succeeded { .. }, _) => RowState::Succeeded,
            (StepState::Failed { .. }, _) => RowState::Failed,
            (StepState::Skipped { .. }, _) => RowState::Skipped,
        },
        attempts: record.attempts,
        failures: record.failures,
        reconciled: record.reconciled,
        started: record.first_started,
        duration: elapsed.map(|elapsed| elapsed.duration),
        clock_uncertain: elapsed.is_some_and(|elapsed| elapsed.clock_uncertain),
        measures,
        error,
        failed_attempts,
        retry_at,
        skipped,
        waits_in: None,
        undo: record.undo.clone(),
        run,
        approval: record.approval.clone(),
        retries: facts.asked.remove(step).unwrap_or_default(),
    }
}

/// Returns the people who asked to run steps again.
fn retries(evidence: &Evidence) -> BTreeMap<StepId, Vec<Retry>> {
    let mut asked: BTreeMap<StepId, Vec<Retry>> = BTreeMap::new();
    for record in &evidence.records {
        if let Event::RetryRequested { step, by, why } = &record.event {
            asked.entry(step.clone()).or_default().push(Retry {
                by: by.clone(),
                why: why.clone(),
                at: record.time,
            });
        }
    }
    asked
}

/// Returns the attempts of each step that failed and were followed by another.
fn failed_attempts(evidence: &Evidence) -> BTreeMap<StepId, Vec<FailedAttempt>> {
    let mut failed: BTreeMap<StepId, Vec<FailedAttempt>> = BTreeMap::new();
    for record in &evidence.records {
        if let Event::StepFailed {
            step,
            attempt,
            error,
            retry_at: Some(retry_at),
            ..
        } = &record.event
        {
            failed.entry(step.clone()).or_default().push(FailedAttempt {
                attempt: *attempt,
                error: error.clone(),
                at: record.time,
                retry_at: *retry_at,
            });
        }
    }
    failed
}

/// Returns an outcome as people see it.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Partial => "done in part",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Stuck => "stuck: an undo failed",
    }
}
