//! `rekindle resume`

use rekindle_model::problem::ProblemKind;
use std::collections::BTreeSet;

use rekindle_model::id::RunId;
use rekindle_report::unfinished::Elsewhere;

use crate::App;
use crate::commands::requests;
use crate::drive;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::open::ReadWriteWorkspace;
use rekindle_workspace::replica;

/// Continue an interrupted run exactly where it stopped; or run it again from a step, or what failed of it
///
/// With `--from` or `--failed` a run that is over is opened again: same run, same definition, same parameters; what it
/// has done before those steps is kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning of its id, or latest [default: the one that is interrupted]
    run: Option<String>,
    /// Every interrupted run, the oldest first
    #[arg(long, conflicts_with = "run")]
    all: bool,
    /// Run this step again, and everything after it, also where it succeeded
    #[arg(long, value_name = "STEP", requires = "run")]
    from: Option<String>,
    /// Run every step that failed again, and everything after those; of a run that is stuck, try its undos again
    #[arg(long, requires = "run", conflicts_with = "from")]
    failed: bool,
    /// Why it runs again, for those who read the history
    #[arg(long, value_name = "TEXT", requires = "run")]
    why: Option<String>,
}

/// Resumes.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    ReadWriteWorkspace::with(&app.application, async |workspace| {
        resume(app, args, workspace).await
    })
    .await
}

async fn resume(app: &App, args: &Args, workspace: &ReadWriteWorkspace) -> Result<Exit, Error> {
    if let Some(word) = &args.run {
        let run = workspace.context.run(word).await?;
        if args.from.is_some() || args.failed {
            let ask = requests::again(args.from.as_deref());
            requests::ask(app, workspace, run, ask, args.why.clone()).await?;
        }
        return drive::go_on(app, workspace, run).await;
    }
    let mut interrupted = workspace.context.interrupted().await?;
    // A run continues the runs that are part of it.
    let runs: BTreeSet<RunId> = interrupted.iter().map(|run| run.run).collect();
    interrupted.retain(|run| run.parent().is_none_or(|parent| !runs.contains(&parent.run)));
    interrupted.reverse();
    let state = &workspace.context.layout.state;
    let held: Vec<(RunId, Elsewhere)> = interrupted
        .iter()
        .filter_map(|run| Some((run.run, replica::elsewhere(state, run.run)?)))
        .collect();
    // If other workspaces have all of them, the command is refused and names those workspaces.
    let all_held = held.len() == interrupted.len();
    if !all_held && !args.all {
        interrupted.retain(|run| held.iter().all(|(held, _)| *held != run.run));
        for (run, elsewhere) in &held {
            app.printer.warn(format!(
                "run {run} is held by {}; once no process works on it there: {}",
                elsewhere.named(),
                app.printer.command(&elsewhere.adopt)
            ));
        }
    }
    match interrupted.as_slice() {
        [] => {
            app.printer.data(&serde_json::json!({ "resumed": [] }), || {
                "no run is interrupted".to_owned()
            })?;
            Ok(Exit::Done)
        }
        [one] => drive::go_on(app, workspace, one.run).await,
        several if !args.all => {
            let list: Vec<String> = several
                .iter()
                .map(|run| match held.iter().find(|(held, _)| *held == run.run) {
                    None => format!("{} ({})", run.run, run.workflow),
                    Some((_, held)) => {
                        format!(
                            "{} ({}), held by {}: {}",
                            run.run,
                            run.workflow,
                            held.named(),
                            app.printer.command(&held.adopt)
                        )
                    }
                })
                .collect();
            let count = several.len();
            match all_held {
                false => Err(Error::usage(format!("{count} runs are interrupted"))
                    .with_advice(format!("name one, or --all:\n  {}", list.join("\n  ")))),
                true => Err(Error::new(
                    ProblemKind::Held,
                    "taken_over",
                    format!("{count} runs are interrupted, and other workspaces continue all of them"),
                )
                .with_advice(format!(
                    "once no process works on them there:\n  {}",
                    list.join("\n  ")
                ))),
            }
        }
        several => {
            let mut worst = Exit::Done;
            for run in several {
                let exit = match drive::go_on(app, workspace, run.run).await {
                    Ok(exit) => exit,
                    Err(error) if Exit::of_error(&error) == Exit::Interrupted => return Err(error),
                    // A fault of one run does not keep the others from continuing.
                    Err(error) => {
                        let text = format!("run {}: {error}; {}", run.run, app.printer.advice(&error.next()));
                        app.printer.warn(text);
                        Exit::of_error(&error)
                    }
                };
                if exit == Exit::Interrupted {
                    return Ok(exit);
                }
                worst = worst.max(exit);
            }
            Ok(worst)
        }
    }
}
