//! The commands, one file each: its arguments, whose doc comment is its help, and its function.

pub mod backup;
pub mod demo;
pub mod factoria;
pub mod graph;
pub mod history;
pub mod init;
pub mod key;
pub mod lint;
pub mod plan;
pub mod recover;
pub mod restore;
pub mod resume;
pub mod run;
pub mod runs;
pub mod sets;
pub mod show;
pub mod snapshots;
pub mod status;
pub mod verify;

use crate::App;
use crate::args::Command;
use crate::error::CliError;
use crate::exit::Exit;

/// Runs one command; none is status.
pub(crate) async fn dispatch(app: &App, command: Option<Command>) -> Result<Exit, CliError> {
    match command {
        None => status::run(app).await,
        Some(Command::Demo(args)) => demo::run(app, args).await,
        Some(Command::Init(args)) => init::run(app, &args).await,
        Some(Command::Backup(args)) => backup::run(app, &args).await,
        Some(Command::Recover(args)) => recover::run(app, &args).await,
        Some(Command::Verify(args)) => verify::run(app, &args).await,
        Some(Command::Resume(args)) => resume::run(app, &args).await,
        Some(Command::Run(args)) => run::run(app, &args).await,
        Some(Command::Runs(args)) => runs::run(app, &args).await,
        Some(Command::Show(args)) => show::run(app, &args).await,
        Some(Command::History(args)) => history::run(app, &args).await,
        Some(Command::Graph(args)) => graph::run(app, &args).await,
        Some(Command::Lint(args)) => lint::run(app, &args),
        Some(Command::Plan(args)) => plan::run(app, &args),
        Some(Command::Snapshots(args)) => snapshots::run(app, &args).await,
        Some(Command::Sets(args)) => sets::run(app, &args).await,
        Some(Command::Restore(args)) => restore::run(app, &args).await,
        Some(Command::Key(command)) => key::run(app, &command),
        Some(Command::Factoria(command)) => factoria::run(app, command).await,
    }
}
