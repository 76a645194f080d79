//! `rekindle journal`: maintenance of the record of all runs.

pub mod compact;
pub mod export;
pub mod import;
pub mod rebuild;
pub mod verify;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// What to do with the journal.
#[derive(Debug, clap::Subcommand)]
#[expect(
    missing_docs,
    reason = "a command's help is the doc comment of its arguments; one here would hide it"
)]
pub enum Command {
    Verify(verify::Args),
    Export(export::Args),
    Import(import::Args),
    Rebuild(rebuild::Args),
    Compact(compact::Args),
}

/// Does it.
pub(crate) async fn run(app: &App, command: &Command) -> Result<Exit, Error> {
    match command {
        Command::Verify(args) => verify::run(app, args).await,
        Command::Export(args) => export::run(app, args).await,
        Command::Import(args) => import::run(app, args).await,
        Command::Rebuild(args) => rebuild::run(app, args).await,
        Command::Compact(args) => compact::run(app, args).await,
    }
}
