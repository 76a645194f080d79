//! `rekindle status`, or no command: the four answers, each with the run that proves it.

use rekindle_report::status::{Check, Status};
use rekindle_report::text;
use rekindle_workspace::operations::status;
use rekindle_workspace::{Error, ReadOnlyWorkspace};
use serde_json::{Value, json};

use crate::App;
use crate::exit::Exit;

/// Show the state of the workspace, as `rekindle` without a command does: can we come back, how long will it take, how
/// much will we lose, where is the proof; which runs work or wait, and what to do next
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Say first in one line whether all holds, for monitoring: exit 0 if it does, 1 for a warning, 2 if an answer is
    /// bad, 3 if the status cannot be read
    #[arg(long)]
    check: bool,
}

/// Answers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    match answered(app).await {
        Ok(status) => print(app, &status, args.check),
        Err(error) if args.check => {
            let body = json!({ "check": "unknown", "summary": error.to_string() });
            app.printer.data(&body, || format!("UNKNOWN: {error}"))?;
            if !app.printer.is_json() {
                app.printer.error(&error);
            }
            Ok(Exit::UNKNOWN)
        }
        Err(error) => Err(error),
    }
}

async fn answered(app: &App) -> Result<Status, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let answered = status::status(&workspace).await;
    workspace.close().await;
    answered
}

fn print(app: &App, status: &Status, checks: bool) -> Result<Exit, Error> {
    let (check, summary) = status.check();
    let mut body = json!({ "check": check, "summary": summary });
    if let (Value::Object(body), Ok(Value::Object(answers))) = (&mut body, serde_json::to_value(status)) {
        body.extend(answers);
    }
    app.printer.data(&body, || {
        let answers = text::status(status, app.printer.width(), &|action| app.printer.command(action));
        match checks {
            true => format!("{}: {summary}\n\n{answers}", word(check)),
            false => answers,
        }
    })?;
    Ok(match checks {
        true => Exit::of_check(check),
        false => Exit::Done,
    })
}

fn word(check: Check) -> &'static str {
    match check {
        Check::Ok => "OK",
        Check::Warning => "WARNING",
        Check::Critical => "CRITICAL",
    }
}
