//! `rekindle logs`

use std::collections::BTreeSet;
use std::path::Path;

use rekindle_model::event::{Event, Record};
use rekindle_model::id::StepId;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::names;
use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::regular;

/// Print the output of the programs of a run's steps, attempt by attempt
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// Only of this step
    #[arg(value_name = "STEP")]
    step: Option<String>,
}

/// Prints the logs.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let run = workspace.context.run(&args.run).await?;
    let state = workspace.context.layout.state.clone();
    let evidence = workspace.context.evidence(run).await;
    workspace.close().await;
    let evidence = evidence?;
    if let Some(step) = &args.step
        && !evidence.state.steps.contains_key(&StepId::from(step.as_str()))
    {
        let known = evidence.state.steps.keys().map(StepId::as_str);
        return Err(names::unknown("step that has begun", step, known));
    }
    let mut printed = 0;
    for (step, attempt) in begun(&evidence.records) {
        if args.step.as_deref().is_none_or(|only| only == step.as_str()) {
            let file = rekindle_actions::log_file(&state, run, step, attempt);
            let Some(text) = read(&file)? else { continue };
            printed += 1;
            let body = json!({ "run": run, "step": step, "attempt": attempt, "file": file, "text": text });
            app.printer.lines(&body, || {
                format!("── {step}, attempt {attempt}\n{}", text.trim_end())
            })?;
        }
    }
    if printed == 0 {
        app.printer.say("no program of these steps has written anything");
    }
    Ok(Exit::Done)
}

/// Returns the attempts in the order in which they began. An undo writes to the same file as the attempt of its number.
fn begun(records: &[Record]) -> Vec<(&StepId, u32)> {
    let mut seen = BTreeSet::new();
    let attempts = records.iter().filter_map(|record| match &record.event {
        Event::StepStarted { step, attempt } | Event::UndoStarted { step, attempt } => Some((step, *attempt)),
        _ => None,
    });
    attempts.filter(|attempt| seen.insert(*attempt)).collect()
}

fn read(file: &Path) -> Result<Option<String>, Error> {
    match regular::read(file, u64::MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format_args!("read {}", file.display()), &error)),
    }
}
