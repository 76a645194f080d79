//! What a person asks of a run: to pause, to do without a step, to run again what failed.
//!
//! A request is journaled before it has effect, whether a process drives the run or not.

use rekindle_engine::{Ask, Request};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::Action;
use rekindle_model::step::StepState;

use crate::Application;
use crate::error::Error;
use crate::open::ReadWriteWorkspace;
use crate::operations::nested::{self, Located};

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

/// Asks for a step and everything after it to run again, or for everything that failed. If the step belongs to a run
/// below, the runs around it go on with that run.
///
/// # Errors
/// As [`ask`].
pub async fn run_again(
    app: &Application,
    workspace: &ReadWriteWorkspace,
    run: RunId,
    step: Option<&str>,
    note: Option<String>,
) -> Result<(), Error> {
    let Some(step) = step else {
        return ask(app, workspace, run, Ask::RetryFailed, note).await;
    };
    let located = nested::locate(&workspace.context, run, step).await?;
    let of_step = Ask::Retry {
        step: located.step.clone(),
    };
    ask(app, workspace, located.run, of_step, note.clone()).await?;
    go_on_around(app, workspace, &located, note).await
}

/// Lets the runs around a step go on, if their steps on the way to it have failed.
///
/// # Errors
/// As [`ask`].
pub async fn go_on_around(
    app: &Application,
    workspace: &ReadWriteWorkspace,
    located: &Located,
    note: Option<String>,
) -> Result<(), Error> {
    for (run, step) in &located.around {
        let state = workspace.context.evidence(*run).await?.state;
        if matches!(state.step(step).state, StepState::Failed { .. }) {
            let step = step.clone();
            ask(app, workspace, *run, Ask::Retry { step }, note.clone()).await?;
        }
    }
    Ok(())
}

/// Returns the step that was named, else the only one that waits for approval, in the run or in the runs below it.
///
/// # Errors
/// None waits, or several do.
pub async fn waiting(
    workspace: &ReadWriteWorkspace,
    run: RunId,
    named: Option<&str>,
) -> Result<Located, Error> {
    if let Some(step) = named {
        return nested::locate(&workspace.context, run, step).await;
    }
    let state = workspace.context.evidence(run).await?.state;
    let own = |step: &StepId| (step.to_string(), run, step.clone());
    let mut waiting: Vec<(String, RunId, StepId)> = state.waiting_for_approval().map(own).collect();
    for below in nested::below(&workspace.context, run).await? {
        let state = &below.evidence.state;
        let inner = state.waiting_for_approval();
        waiting.extend(inner.map(|step| (format!("{}/{step}", below.path), state.id, step.clone())));
    }
    match waiting.as_slice() {
        [(_, run, step)] => Ok(Located {
            run: *run,
            step: step.clone(),
            around: Vec::new(),
        }),
        [] => Err(Error::usage(format!("no step of run {run} waits for approval"))
            .with_next(Action::Show { run: Some(run) }, "shows what it does now")),
        several => {
            let names: Vec<&str> = several.iter().map(|(path, ..)| path.as_str()).collect();
            Err(
                Error::usage(format!("{} steps of run {run} wait for approval", names.len()))
                    .with_advice(format!("name one: {}", names.join(", "))),
            )
        }
    }
}
