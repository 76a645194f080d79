//! The requests that a person may make to a run, and the reasons to refuse them.
//!
//! The machine decides on a request, whether the run is driven or not. The engine journals the decision before it
//! answers the person.

use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, Again, NextAction};
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::payload;

/// Something that a person asks of a run. In JSON: `{"by": "ann", "note": "…", "ask": "approve", "step": "confirm"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The person who asks.
    pub by: String,
    /// The reason, or a remark. A skip needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The request itself.
    #[serde(flatten)]
    pub ask: Ask,
}

/// Who has taken a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBy {
    /// The driver of the run, which has begun to act on it.
    Driver,
    /// The journal alone, because nobody drove the run. The rest follows when the run is driven again.
    Journal,
}

/// The kinds of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// End the run: stop the work at hand, which counts as failed, and skip the rest.
    Cancel,
    /// Start no more steps. The work at hand continues to its end. The run then waits, also through a crash.
    Pause,
    /// Let a paused run continue.
    Unpause,
    /// Approve a step that waits for approval.
    Approve {
        /// The step.
        step: StepId,
    },
    /// Reject a step that waits for approval.
    Reject {
        /// The step.
        step: StepId,
    },
    /// Run a step again, with everything that came after it. The step failed, succeeded, or was skipped because another
    /// step failed, which then runs again too. If a step waits for its next attempt, begin it at once. This opens a run
    /// that is over.
    Retry {
        /// The step.
        step: StepId,
    },
    /// Run every step that failed again, with everything that came after one of them, also skipped steps. If the run is
    /// stuck, try its stuck undos again instead. This opens a run that is over.
    RetryFailed,
    /// Skip a step, for the reason in the note. The steps that need it continue as if it had succeeded. This opens a
    /// run that is over.
    Skip {
        /// The step.
        step: StepId,
    },
}

/// Why the machine refuses a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The plan has no such step.
    #[error("the run has no step {step}{}", help.as_ref().map(|help| format!("; {help}")).unwrap_or_default())]
    UnknownStep {
        /// The name in the request.
        step: StepId,
        /// Similar names, or all names.
        help: Option<String>,
    },
    /// The step does not wait for approval now.
    #[error(
        "{step} does not wait for approval, it is {state}; {}",
        those_that_wait(waiting)
    )]
    NotWaiting {
        /// The step.
        step: StepId,
        /// Its state.
        state: &'static str,
        /// The steps that do wait.
        waiting: Vec<StepId>,
    },
    /// Another person has decided already.
    #[error("{by} {} {step} already", if *granted { "approved" } else { "rejected" })]
    Decided {
        /// The step.
        step: StepId,
        /// The person who decided.
        by: String,
        /// Whether it was approved.
        granted: bool,
    },
    /// The run is over.
    #[error("it is over ({})", outcome_name(*.outcome))]
    Over {
        /// How it ended.
        outcome: Outcome,
    },
    /// The run is being cancelled.
    #[error("{by} has cancelled it; wait until it is over")]
    Cancelled {
        /// Who asked for it.
        by: String,
    },
    /// The run's deadline has passed, and the run is ending.
    #[error("its deadline has passed; wait until it is over, then ask again")]
    Expired,
    /// The run is paused already.
    #[error("{by} has paused it already, at {}", at.utc.format("%Y-%m-%d %H:%M:%S UTC"))]
    Paused {
        /// Who asked for it.
        by: String,
        /// When.
        at: Stamp,
    },
    /// The run is not paused.
    #[error("it is not paused")]
    NotPaused,
    /// The step need not be retried.
    #[error("there is nothing to retry: {step} {}", why_not_to_retry(state))]
    NothingToRetry {
        /// The step.
        step: StepId,
        /// Its state.
        state: &'static str,
    },
    /// No step has failed.
    #[error("there is nothing to retry: no step has failed")]
    NothingFailed,
    /// The step cannot be left out any more.
    #[error("there is nothing to skip: {step} {state} already")]
    NothingToSkip {
        /// The step.
        step: StepId,
        /// What became of it.
        state: &'static str,
    },
    /// The run is undoing its steps.
    #[error("the run takes back what its steps did; wait until it is over, then ask again")]
    Undoing,
    /// A skip without a reason.
    #[error("leaving {step} out needs a reason, which is journaled with your name")]
    NoReason {
        /// The step.
        step: StepId,
    },
    /// The step has an attempt without an outcome.
    #[error("{step} is at work; wait for its end, or cancel the run")]
    AtWork {
        /// The step.
        step: StepId,
    },
    /// Steps that rest on what is to run again have an attempt without an outcome.
    #[error(
        "{} rest on {} and are at work; wait for their end, or cancel the run",
        names(at_work),
        names(steps)
    )]
    DependentsAtWork {
        /// The steps that are to run again.
        steps: Vec<StepId>,
        /// Those that are at work.
        at_work: Vec<StepId>,
    },
}

/// A request on its way to the driver of its run; the driver answers once the decision is durable.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) request: Request,
    pub(crate) done: oneshot::Sender<Result<(), Refusal>>,
}

impl Request {
    /// Returns the request as records can carry it. A note without a word is none.
    pub(crate) fn fit(self) -> Self {
        let note = self
            .note
            .as_deref()
            .map(str::trim)
            .filter(|note| !note.is_empty());
        Self {
            by: payload::fit_sentence(&self.by),
            note: note.map(payload::fit_sentence),
            ask: self.ask,
        }
    }
}

impl Ask {
    /// Returns the step that it is about, or none where it is about the run.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::Approve { step } | Self::Reject { step } | Self::Retry { step } | Self::Skip { step } => {
                Some(step)
            }
            Self::Cancel | Self::Pause | Self::Unpause | Self::RetryFailed => None,
        }
    }
}

impl Refusal {
    /// Returns the actions that a person can take instead.
    pub fn next(&self, run: RunId) -> Vec<NextAction> {
        let resume = |again, text: &str| {
            let run = Some(run);
            NextAction::new(Action::Resume { run, again }, text)
        };
        let again = |text: &str| resume(Again::FromStep, text);
        let goes_on = |text: &str| vec![resume(Again::Nothing, text)];
        match self {
            Self::Decided { .. } => goes_on("continues from there"),
            Self::Over { .. } => vec![
                again("opens the run again and runs a step again"),
                NextAction::new(
                    Action::Skip { run, step: None },
                    "opens it again and leaves a step out",
                ),
            ],
            Self::Cancelled { .. } | Self::Expired => goes_on("ends the run, if no process drives it"),
            Self::Paused { .. } => vec![NextAction::new(
                Action::Unpause { run: Some(run) },
                "lets it continue",
            )],
            Self::NotPaused => goes_on("continues the run, if it was interrupted"),
            Self::NothingFailed => vec![again("runs again a step that has not failed")],
            Self::NoReason { step } => vec![NextAction::from(Action::Skip {
                run,
                step: Some(step.clone()),
            })],
            Self::AtWork { .. } => goes_on("continues the step, if it was cut off"),
            Self::UnknownStep { .. }
            | Self::NotWaiting { .. }
            | Self::NothingToRetry { .. }
            | Self::NothingToSkip { .. }
            | Self::Undoing
            | Self::DependentsAtWork { .. } => Vec::new(),
        }
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Partial => "done in part",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Stuck => "stuck",
    }
}

fn those_that_wait(waiting: &[StepId]) -> String {
    match waiting {
        [] => "no step of the run does".to_owned(),
        [one] => format!("{one} does"),
        many => format!("these do: {}", names(many)),
    }
}

fn why_not_to_retry(state: &str) -> &'static str {
    match state {
        "pending" => "has not begun; it starts by itself once all that it needs has ended",
        "running" => "waits for approval; approve or reject it",
        _ => "was skipped by its own condition, which would not hold again",
    }
}

fn names(steps: &[StepId]) -> String {
    let names: Vec<&str> = steps.iter().map(StepId::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_one_flat_object() {
        let step = StepId::plain("confirm");
        for (request, expect) in [
            (
                Request {
                    by: "ann".to_owned(),
                    note: Some("seen".to_owned()),
                    ask: Ask::Approve { step },
                },
                json!({ "by": "ann", "note": "seen", "ask": "approve", "step": "confirm" }),
            ),
            (
                Request {
                    by: "ann".to_owned(),
                    note: None,
                    ask: Ask::Unpause,
                },
                json!({ "by": "ann", "ask": "unpause" }),
            ),
        ] {
            assert_eq!(serde_json::to_value(&request).unwrap(), expect);
            assert_eq!(serde_json::from_value::<Request>(expect).unwrap(), request);
        }
    }

    #[test]
    fn a_refusal_states_the_fact() {
        let step = || StepId::plain("confirm");
        let waiting = vec![step(), StepId::plain("other")];
        for (refusal, expect) in [
            (
                Refusal::NotWaiting {
                    step: StepId::plain("a"),
                    state: "pending",
                    waiting,
                },
                "a does not wait for approval, it is pending; these do: confirm, other",
            ),
            (
                Refusal::Over {
                    outcome: Outcome::Partial,
                },
                "it is over (done in part)",
            ),
            (
                Refusal::NothingToRetry {
                    step: step(),
                    state: "pending",
                },
                "there is nothing to retry: confirm has not begun; it starts by itself once all that it needs has ended",
            ),
        ] {
            assert_eq!(refusal.to_string(), expect);
        }
    }
}
