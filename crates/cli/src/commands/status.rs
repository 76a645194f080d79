//! `rekindle status`, or no command: the four answers, each with the run that proves it.

use rekindle_report::text;
use rekindle_workspace::operations::status;
use rekindle_workspace::{Error, ReadOnlyWorkspace};

use crate::App;
use crate::exit::Exit;

/// Show the state of the workspace, as `rekindle` without a command does: can we come back, how long will it take, how
/// much will we lose, where is the proof; which runs work or wait, and what to do next
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Answers.
pub(crate) async fn run(app: &App) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let answered = status::status(&workspace).await;
    workspace.close().await;
    let status = answered?;
    app.printer.data(&status, || {
        text::status(&status, &|action| app.printer.command(action))
    })?;
    Ok(Exit::Done)
}
