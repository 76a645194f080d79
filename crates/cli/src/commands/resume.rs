//! `rekindle resume`

use rekindle_model::problem::ProblemKind;
use rekindle_workspace::operations::requests;
use rekindle_workspace::operations::resume::{self, Candidate, Interrupted};
use rekindle_workspace::{Error, ReadWriteWorkspace};

use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Continue an interrupted run exactly where it stopped; or run again a step, or every failed step
///
/// With `--from` or `--failed`, this reopens a run that is over. The run keeps its definition, its parameters, and the
/// results of the steps before.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning or end of its id, or latest [default: the one that is interrupted]
    run: Option<String>,
    /// Every interrupted run, the oldest first
    #[arg(long, conflicts_with = "run")]
    all: bool,
    /// Run this step and everything after it again, even if it succeeded
    #[arg(long, value_name = "STEP", requires = "run")]
    from: Option<String>,
    /// Run every failed step and everything after it again; if the run is stuck, try its undos again
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
            let (step, why) = (args.from.as_deref(), args.why.clone());
            requests::run_again(&app.application, workspace, run, step, why).await?;
        }
        return drive::go_on(app, workspace, run).await;
    }
    let Interrupted { candidates, left } = resume::interrupted(workspace, args.all).await?;
    for (run, held) in &left {
        app.printer.warn(format!(
            "run {} is held by {}; once no process works on it there: {}",
            run.run,
            held.named(),
            app.printer.command(&held.adopt)
        ));
    }
    match candidates.as_slice() {
        [] => {
            app.printer.data(&serde_json::json!({ "resumed": [] }), || {
                "no run is interrupted".to_owned()
            })?;
            Ok(Exit::Done)
        }
        [(one, _)] => drive::go_on(app, workspace, one.run).await,
        several if !args.all => Err(refused(app, several)),
        several => {
            let mut worst = Exit::Done;
            for (run, _) in several {
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

/// Returns the refusal to choose between several runs.
fn refused(app: &App, several: &[Candidate]) -> Error {
    let line = |(run, held): &Candidate| {
        let held = held.as_ref().map(|held| {
            let adopt = app.printer.command(&held.adopt);
            format!(", held by {}: {adopt}", held.named())
        });
        format!("\n  {} ({}){}", run.run, run.workflow, held.unwrap_or_default())
    };
    let (count, list) = (several.len(), several.iter().map(line).collect::<String>());
    match several.iter().all(|(_, held)| held.is_some()) {
        false => Error::usage(format!("{count} runs are interrupted"))
            .with_advice(format!("name one, or --all:{list}")),
        true => Error::new(
            ProblemKind::Held,
            "taken_over",
            format!("{count} runs are interrupted, and other workspaces continue all of them"),
        )
        .with_advice(format!("once no process works on them there:{list}")),
    }
}
