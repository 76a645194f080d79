//! `rekindle history`

use rekindle_model::event::{Event, Record};
use rekindle_model::problem::ProblemKind;
use rekindle_model::run::Deadlock;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::open::ReadOnlyWorkspace;

/// Print every record of a run, oldest first; with --json one object per line
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(default_value = "latest")]
    run: String,
}

/// Prints a run's records.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let run = workspace.context.run(&args.run).await?;
    let records = workspace.context.journal.read(run).await?;
    workspace.close().await;
    for record in records.iter() {
        app.printer.line(&once(record)?, || line(record))?;
    }
    Ok(Exit::Done)
}

/// Returns a record as JSON in which every name occurs once. The epoch of an adoption is the epoch of its record.
fn once(record: &Record) -> Result<serde_json::Value, Error> {
    serde_json::to_value(record).map_err(|error| {
        Error::new(
            ProblemKind::Failed,
            "internal",
            format!("write a record as JSON: {error}"),
        )
    })
}

fn line(record: &Record) -> String {
    let what = match &record.event {
        Event::RunCreated {
            workflow, trigger, ..
        } => format!("{workflow}, asked for by {trigger}"),
        Event::RunAdopted {
            epoch,
            worker,
            why,
            workspace,
        } => {
            let in_workspace = workspace.map_or_else(String::new, |id| format!(" in workspace {id}"));
            format!(
                "epoch {epoch} by process {} on {}{in_workspace}: {why}",
                worker.pid, worker.host
            )
        }
        Event::StepStarted { step, attempt } => format!("{step} attempt {attempt}"),
        Event::ChildStarted {
            step, attempt, child, ..
        } => format!("{step} attempt {attempt}: process {}", child.program.pid),
        Event::StepCheckpoint { step, attempt, .. } => format!("{step} attempt {attempt}"),
        Event::StepReconciled {
            step,
            attempt,
            verdict,
            evidence,
        } => {
            let verdict = serde_json::to_value(verdict).unwrap_or_default();
            format!(
                "{step} attempt {attempt}: {} {evidence}",
                verdict.as_str().unwrap_or("?")
            )
        }
        Event::StepSucceeded { step, attempt, .. } => format!("{step} attempt {attempt}"),
        Event::StepFailed {
            step,
            attempt,
            error,
            retry_at,
            ..
        } => {
            let again = retry_at
                .map(|at| format!(", again at {}", rekindle_model::time::show(at)))
                .unwrap_or_default();
            format!("{step} attempt {attempt}: {error} [{}]{again}", error.code)
        }
        Event::StepSkipped { step, why } => {
            format!("{step}: {}", serde_json::to_string(why).unwrap_or_default())
        }
        Event::UndoStarted { step, attempt } | Event::UndoSucceeded { step, attempt } => {
            format!("{step} attempt {attempt}")
        }
        Event::UndoFailed {
            step,
            attempt,
            error,
            retry_at,
        } => {
            let at = rekindle_model::time::show(*retry_at);
            format!(
                "{step} attempt {attempt}: {error} [{}], again at {at}",
                error.code
            )
        }
        Event::UndoStuck { step, attempt, error } => {
            format!("{step} attempt {attempt}: {error} [{}]", error.code)
        }
        Event::StepInvalidated { step, why } => format!("{step}: {why}"),
        Event::ApprovalRequested {
            step,
            attempt,
            prompt,
        } => format!("{step} attempt {attempt}: {prompt}"),
        Event::Approved { step, by, note, .. } | Event::Rejected { step, by, note, .. } => {
            format!("{step} {}", asked(by, note.as_ref()))
        }
        Event::RetryRequested { step, by, why } => format!("{step} {}", asked(by, why.as_ref())),
        Event::PauseRequested { by, why }
        | Event::RunUnpaused { by, why }
        | Event::RunReopened { by, why }
        | Event::CancelRequested { by, why } => asked(by, why.as_ref()),
        Event::GroupLockAwaited { group, holder } => {
            format!("one run of {group} at a time, after run {holder}")
        }
        Event::GroupLockTaken { group } => format!("in {group}"),
        Event::Deadlocked { group, cycle } => format!("in {group}: {}", Deadlock::describe(cycle)),
        Event::DeadlinePassed => "the run stops the steps at work and starts no other".to_owned(),
        Event::RunFinished { outcome, .. } => rekindle_report::steps::outcome(*outcome).to_owned(),
    };
    let time = record.time.utc.format("%H:%M:%S%.3f");
    format!(
        "{:>5}  {time}  e{}  {:<16} {what}",
        record.seq,
        record.epoch,
        record.event.name()
    )
}

fn asked(by: &str, why: Option<&String>) -> String {
    format!("by {by}{}", why.map(|why| format!(": {why}")).unwrap_or_default())
}
