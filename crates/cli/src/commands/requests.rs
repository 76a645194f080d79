//! `rekindle cancel`, `pause`, `approve`, `reject`, `retry`, `skip`: a person's requests to a run.

use std::cell::Cell;

use rekindle_engine::Ask;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::Action;
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use rekindle_workspace::error::{Error, OVER};
use rekindle_workspace::open::ReadWriteWorkspace;
use rekindle_workspace::operations::nested::{Located, locate};
use rekindle_workspace::operations::requests::{ask, go_on_around, waiting};
use rekindle_workspace::replica;

/// A run, and why.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// A decision on a step that waits for one.
#[derive(Debug, clap::Args)]
pub struct DecisionArgs {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// The step [default: the one that waits]
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// The reason, for those who read the history
    #[arg(long, alias = "note", value_name = "TEXT")]
    why: Option<String>,
}

/// Request that a step and everything after it run again; this reopens a run that is over
///
/// The request is journaled, and the process that drives the run acts on it. To request this and continue the run with
/// one command, use `rekindle resume RUN --from STEP` or `rekindle resume RUN --failed`.
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// The step: failed, succeeded or skipped; if it waits for its next attempt, the attempt begins now, and its
    /// failures and deadline count from the start
    #[arg(
        value_name = "STEP",
        required_unless_present = "failed",
        conflicts_with = "failed"
    )]
    step: Option<String>,
    /// Every step that failed; if the run is stuck, every undo that failed
    #[arg(long)]
    failed: bool,
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// Skip a step; the steps that need it run as if it had succeeded
#[derive(Debug, clap::Args)]
pub struct Skip {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// The step
    #[arg(value_name = "STEP")]
    step: String,
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT", required = true)]
    why: String,
}

/// Cancels a run. If no process drives it, this one takes it over and ends it.
pub(crate) async fn cancel(app: &App, args: &RunArgs) -> Result<Exit, Error> {
    // The request is sent once. If the owner leaves before the rest is done, only the rest is tried again.
    let asked = Cell::new(false);
    let exit = ReadWriteWorkspace::with(&app.application, async |workspace| {
        let run = workspace.context.run(&args.run).await?;
        if !asked.get() {
            ask(&app.application, workspace, run, Ask::Cancel, args.why.clone()).await?;
            asked.set(true);
        }
        match workspace.service.resume(run).await {
            // The process that drives it was quicker.
            Err(problem) if problem.code == OVER => {}
            resumed => resumed?,
        }
        drive::attend(app, workspace, run, 0).await
    });
    // The command succeeded: it was asked to cancel. So a failed run is no failure of the command.
    exit.await
        .map(|exit| if exit == Exit::Failed { Exit::Done } else { exit })
}

/// Pauses a run.
pub(crate) async fn pause(app: &App, args: &RunArgs) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: args.why.clone(),
        said: "begins nothing new",
        undo: Some(|run| Action::Unpause { run: Some(run) }),
    };
    asked.of_run(app, Ask::Pause).await
}

/// Lets a paused run continue.
pub(crate) async fn unpause(app: &App, args: &RunArgs) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: args.why.clone(),
        said: "continues",
        undo: None,
    };
    asked.of_run(app, Ask::Unpause).await
}

/// Approves a step.
pub(crate) async fn approve(app: &App, args: &DecisionArgs) -> Result<Exit, Error> {
    decide(app, args, "is approved", |step| Ask::Approve { step }).await
}

/// Rejects a step.
pub(crate) async fn reject(app: &App, args: &DecisionArgs) -> Result<Exit, Error> {
    decide(app, args, "is rejected", |step| Ask::Reject { step }).await
}

async fn decide(
    app: &App,
    args: &DecisionArgs,
    said: &'static str,
    decision: impl Fn(StepId) -> Ask,
) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: args.why.clone(),
        said,
        undo: None,
    };
    let step = args.step.as_deref();
    let located = async |workspace: &ReadWriteWorkspace, run| waiting(workspace, run, step).await;
    asked.of_step(app, located, decision).await
}

/// Retries a step.
pub(crate) async fn retry(app: &App, args: &Retry) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: args.why.clone(),
        said: match args.step {
            Some(_) => "runs again",
            None => "runs again what failed",
        },
        undo: None,
    };
    match &args.step {
        Some(step) => {
            let located =
                async |workspace: &ReadWriteWorkspace, run| locate(&workspace.context, run, step).await;
            asked.of_step(app, located, |step| Ask::Retry { step }).await
        }
        None => asked.of_run(app, Ask::RetryFailed).await,
    }
}

/// Skips a step.
pub(crate) async fn skip(app: &App, args: &Skip) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: Some(args.why.clone()),
        said: "is skipped",
        undo: None,
    };
    let located =
        async |workspace: &ReadWriteWorkspace, run| locate(&workspace.context, run, &args.step).await;
    asked.of_step(app, located, |step| Ask::Skip { step }).await
}

/// A request that is over once it is journaled.
struct Asked<'a> {
    run: &'a str,
    note: Option<String>,
    /// What follows, for people.
    said: &'static str,
    /// The action that reverses the request, if there is one.
    undo: Option<fn(RunId) -> Action>,
}

impl Asked<'_> {
    async fn of_run(self, app: &App, what: Ask) -> Result<Exit, Error> {
        ReadWriteWorkspace::with(&app.application, async |workspace| {
            let run = workspace.context.run(self.run).await?;
            let before = workspace.drives(run).await;
            ask(&app.application, workspace, run, what.clone(), self.note.clone()).await?;
            self.say(app, workspace, run, None, before).await
        })
        .await
    }

    /// Asks something of a step, which may belong to a run below the one that the person named.
    async fn of_step(
        self,
        app: &App,
        find: impl AsyncFn(&ReadWriteWorkspace, RunId) -> Result<Located, Error>,
        what: impl Fn(StepId) -> Ask,
    ) -> Result<Exit, Error> {
        ReadWriteWorkspace::with(&app.application, async |workspace| {
            let named = workspace.context.run(self.run).await?;
            let located = find(workspace, named).await?;
            let (run, step) = (located.run, located.step.clone());
            let before = workspace.drives(run).await;
            let asked = what(step.clone());
            let begins = matches!(asked, Ask::Retry { .. } | Ask::Skip { .. });
            ask(&app.application, workspace, run, asked, self.note.clone()).await?;
            if begins {
                go_on_around(&app.application, workspace, &located, self.note.clone()).await?;
            }
            self.say(app, workspace, run, Some(step), before).await
        })
        .await
    }

    /// Says what follows. `before` says whether a process drove the run before the request.
    async fn say(
        &self,
        app: &App,
        workspace: &ReadWriteWorkspace,
        run: RunId,
        step: Option<StepId>,
        before: bool,
    ) -> Result<Exit, Error> {
        // After the request, the run may have ended in no time.
        let driven = before
            || workspace.drives(run).await
            || workspace.context.evidence(run).await?.state.outcome.is_some();
        let body = json!({ "run": run, "step": step, "driven": driven });
        app.printer.data(&body, || {
            let undo = self.undo.map(|undo| app.printer.command(&undo(run)));
            let undo = undo.map_or(String::new(), |undo| format!("; `{undo}` takes it back"));
            let said = format!("{}{undo}", self.said);
            let subject = step
                .as_ref()
                .map_or_else(|| format!("run {run}"), ToString::to_string);
            match driven {
                true => format!("{subject} {said}"),
                false => {
                    let way_on = app
                        .printer
                        .command(&replica::way_on(&workspace.context.layout.state, run));
                    format!("{subject} {said}, once a process drives the run: {way_on}")
                }
            }
        })?;
        Ok(Exit::Done)
    }
}
