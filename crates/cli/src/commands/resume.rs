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
    ReadWriteWorkspace::with(&app.application, async |session| resume(app, args, session).await).await
}

async fn resume(app: &App, args: &Args, session: &ReadWriteWorkspace) -> Result<Exit, Error> {
    if let Some(word) = &args.run {
        let run = session.context.run(word).await?;
        if args.from.is_some() || args.failed {
            let ask = requests::again(args.from.as_deref());
            requests::ask(session, run, ask, args.why.clone()).await?;
        }
        return drive::go_on(app, session, run).await;
    }
    let mut interrupted = session.context.interrupted().await?;
    // A run that is part of one of these is gone on with by that one.
    let runs: BTreeSet<RunId> = interrupted.iter().map(|run| run.run).collect();
    interrupted.retain(|run| run.parent().is_none_or(|parent| !runs.contains(&parent.run)));
    interrupted.reverse();
    let state = &session.context.layout.state;
    let held: Vec<(RunId, Elsewhere)> = interrupted
        .iter()
        .filter_map(|run| Some((run.run, replica::elsewhere(state, run.run)?)))
        .collect();
    // Whoever has only such runs is refused with who has them.
    let all_held = held.len() == interrupted.len();
    if !all_held && !args.all {
        interrupted.retain(|run| held.iter().all(|(held, _)| *held != run.run));
        for (run, elsewhere) in &held {
            app.printer.warn(format!(
                "run {run} is held by {}; once nobody works on it there: {}",
                elsewhere.named(),
                elsewhere.adopt
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
        [one] => drive::go_on(app, session, one.run).await,
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
                            held.adopt
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
                    format!("{count} runs are interrupted, and other workspaces go on with all of them"),
                )
                .with_advice(format!("once nobody works on it there:\n  {}", list.join("\n  ")))),
            }
        }
        several => {
            let mut worst = Exit::Done;
            for run in several {
                let exit = match drive::go_on(app, session, run.run).await {
                    Ok(exit) => exit,
                    Err(error) if Exit::of_error(&error) == Exit::Interrupted => return Err(error),
                    // What is wrong with one run is no reason to leave the others.
                    Err(error) => {
                        let told = format!("run {}: {error}; {}", run.run, app.printer.advice(&error.next()));
                        app.printer.warn(told);
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
