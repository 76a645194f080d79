//! `rekindle logs`

use std::path::Path;

use rekindle_model::id::StepId;
use serde_json::json;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names;
use crate::session::Look;

/// Print what the programs of a run's steps have written, attempt by attempt
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning of its id, or latest
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// Only of this step
    #[arg(value_name = "STEP")]
    step: Option<String>,
}

/// Prints the logs.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let look = Look::here(app).await?;
    let run = look.ground.run(&args.run).await?;
    let state = look.ground.workspace.state.clone();
    let evidence = look.ground.evidence(run).await;
    look.close().await;
    let evidence = evidence?;
    if let Some(step) = &args.step
        && !evidence.state.steps.contains_key(&StepId::from(step.as_str()))
    {
        let known = evidence.state.steps.keys().map(StepId::as_str);
        return Err(names::unknown("step that has begun", step, known));
    }
    let mut printed = 0;
    for (step, record) in &evidence.state.steps {
        if args.step.as_deref().is_some_and(|only| only != step.as_str()) {
            continue;
        }
        for attempt in 1..=record.attempts {
            let file = rekindle_actions::log_file(&state, run, step, attempt);
            let Some(text) = read(&file)? else { continue };
            printed += 1;
            let body = json!({ "run": run, "step": step, "attempt": attempt, "file": file, "text": text });
            app.printer.line(&body, || {
                format!("── {step}, attempt {attempt}\n{}", text.trim_end())
            })?;
        }
    }
    if printed == 0 {
        app.printer.say("no program of these steps has written anything");
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::io(format_args!("read {}", file.display()), &error)),
    }
}
