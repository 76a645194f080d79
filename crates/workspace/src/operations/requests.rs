//! What a person asks of a run: to pause, to do without a step, to run again what failed.
//!
//! A request is journaled before it has effect, whether a process drives the run or not.

use rekindle_engine::{Ask, Request};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::Action;
use rekindle_model::run::RunState;

use crate::Application;
use crate::error::Error;
use crate::open::ReadWriteWorkspace;

/// Asks something of a run, in the name of the person who uses this application.
///
/// # Errors
/// The run cannot do it, or the request cannot be journaled.
pub async fn ask(
    app: &Application,
    workspace: &ReadWriteWorkspace,
    run: RunId,
    ask: Ask,
    note: Option<String>,
) -> Result<(), Error> {
    let request = Request {
        by: app.asker.clone(),
        note,
        ask,
    };
    tracing::debug!(%run, ?request, "asked");
    Ok(workspace.service.request(run, request).await?)
}

/// Returns the request that a step and everything after it run again, or everything that failed.
pub fn again(step: Option<&str>) -> Ask {
    match step {
        Some(step) => Ask::Retry {
            step: StepId::from(step),
        },
        None => Ask::RetryFailed,
    }
}

/// Returns the step that was named, else the only one that waits for approval.
///
/// # Errors
/// None waits, or several do.
pub fn waiting(run: RunId, state: &RunState, named: Option<&str>) -> Result<StepId, Error> {
    if let Some(step) = named {
        return Ok(StepId::from(step));
    }
    let waiting: Vec<&StepId> = state.waiting_for_approval().collect();
    match waiting.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::usage(format!("no step of run {run} waits for approval"))
            .with_next(Action::Show { run: Some(run) }, "shows what it does now")),
        several => {
            let names: Vec<&str> = several.iter().map(|step| step.as_str()).collect();
            Err(
                Error::usage(format!("{} steps of run {run} wait for approval", names.len()))
                    .with_advice(format!("name one: {}", names.join(", "))),
            )
        }
    }
}
