//! `rekindle cancel`, `pause`, `approve`, `reject`, `retry`, `skip`: a person's requests to a run.

use std::cell::Cell;

use rekindle_engine::Ask;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::Action;
use rekindle_model::run::RunState;
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use rekindle_workspace::error::{Error, OVER};
use rekindle_workspace::open::ReadWriteWorkspace;
use rekindle_workspace::operations::requests::{again, ask, waiting};
use rekindle_workspace::replica;

/// A run, and why.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The run: a unique beginning of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// A decision on a step that waits for one.
#[derive(Debug, clap::Args)]
pub struct DecisionArgs {
    /// The run: a unique beginning of its id, or latest
    #[arg(value_name = "RUN")]
    run: String,
    /// The step [default: the one that waits]
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// A note, for those who read the history
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Request that a step and everything after it run again; this reopens a run that is over
///
/// The request is journaled, and the process that drives the run acts on it. To request this and continue the run with
/// one command, use `rekindle resume RUN --from STEP` or `rekindle resume RUN --failed`.
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// The run: a unique beginning of its id, or latest
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
    /// The run: a unique beginning of its id, or latest
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
    asked.of(app, |_, _| Ok(Ask::Pause)).await
}

/// Lets a paused run continue.
pub(crate) async fn unpause(app: &App, args: &RunArgs) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: args.why.clone(),
        said: "continues",
        undo: None,
    };
    asked.of(app, |_, _| Ok(Ask::Unpause)).await
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
        note: args.note.clone(),
        said,
        undo: None,
    };
    let of = |run, state: &RunState| Ok(decision(waiting(run, state, args.step.as_deref())?));
    asked.of(app, of).await
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
    let step = args.step.as_deref();
    asked.of(app, |_, _| Ok(again(step))).await
}

/// Skips a step.
pub(crate) async fn skip(app: &App, args: &Skip) -> Result<Exit, Error> {
    let asked = Asked {
        run: &args.run,
        note: Some(args.why.clone()),
        said: "is skipped",
        undo: None,
    };
    let step = StepId::from(args.step.as_str());
    asked.of(app, |_, _| Ok(Ask::Skip { step: step.clone() })).await
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
    async fn of(
        self,
        app: &App,
        what: impl Fn(RunId, &RunState) -> Result<Ask, Error>,
    ) -> Result<Exit, Error> {
        ReadWriteWorkspace::with(&app.application, async |workspace| {
            let run = workspace.context.run(self.run).await?;
            let state = workspace.context.evidence(run).await?.state;
            let ask_for = what(run, &state)?;
            let step = ask_for.step().cloned();
            ask(&app.application, workspace, run, ask_for, self.note.clone()).await?;
            let driven = workspace.drives(run).await;
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
        })
        .await
    }
}
