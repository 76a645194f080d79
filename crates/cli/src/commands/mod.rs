//! The commands, one file each: its arguments, whose doc comment is its help, and its function.

pub mod adopt;
pub mod backup;
pub mod completions;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod graph;
pub mod history;
pub mod init;
pub mod journal;
pub mod key;
pub mod lint;
pub mod logs;
pub mod plan;
pub mod prune;
pub mod recover;
pub mod requests;
pub mod restore;
pub mod resume;
pub mod run;
pub mod runs;
pub mod schema;
pub mod serve;
pub mod sets;
pub mod show;
pub mod snapshots;
pub mod status;
pub mod tier;
pub mod verify;
pub mod watch;

use crate::App;
use crate::args::Command;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// Runs one command; none is status.
pub(crate) async fn dispatch(app: &App, command: Option<Command>) -> Result<Exit, Error> {
    match command {
        None | Some(Command::Status(_)) => status::run(app).await,
        Some(Command::Demo(args)) => demo::run(app, args).await,
        Some(Command::Init(args)) => init::run(app, &args).await,
        Some(Command::Backup(args)) => backup::run(app, &args).await,
        Some(Command::Recover(args)) => recover::run(app, &args).await,
        Some(Command::Verify(args)) => verify::run(app, &args).await,
        Some(Command::Resume(args)) => resume::run(app, &args).await,
        Some(Command::Adopt(args)) => adopt::run(app, &args).await,
        Some(Command::Run(args)) => run::run(app, &args).await,
        Some(Command::Runs(args)) => runs::run(app, &args).await,
        Some(Command::Show(args)) => show::run(app, &args).await,
        Some(Command::History(args)) => history::run(app, &args).await,
        Some(Command::Graph(args)) => graph::run(app, &args).await,
        Some(Command::Lint(args)) => lint::run(app, &args),
        Some(Command::Plan(args)) => plan::run(app, &args),
        Some(Command::Prune(args)) => prune::run(app, &args).await,
        Some(Command::Serve(args)) => serve::run(app, &args).await,
        Some(Command::Watch(args)) => watch::run(app, &args).await,
        Some(Command::Logs(args)) => logs::run(app, &args).await,
        Some(Command::Cancel(args)) => requests::cancel(app, &args).await,
        Some(Command::Unpause(args)) => requests::unpause(app, &args).await,
        Some(Command::Pause(args)) => requests::pause(app, &args).await,
        Some(Command::Approve(args)) => requests::approve(app, &args).await,
        Some(Command::Reject(args)) => requests::reject(app, &args).await,
        Some(Command::Retry(args)) => requests::retry(app, &args).await,
        Some(Command::Skip(args)) => requests::skip(app, &args).await,
        Some(Command::Diff(args)) => diff::run(app, &args).await,
        Some(Command::Tier(command)) => tier::run(app, &command).await,
        Some(Command::Doctor(args)) => doctor::run(app, &args).await,
        Some(Command::Schema(args)) => schema::run(app, &args),
        Some(Command::Completions(args)) => completions::run(app, &args),
        Some(Command::Snapshots(args)) => snapshots::run(app, &args).await,
        Some(Command::Sets(args)) => sets::run(app, &args).await,
        Some(Command::Restore(args)) => restore::run(app, &args).await,
        Some(Command::Journal(command)) => journal::run(app, &command).await,
        Some(Command::Key(command)) => key::run(app, &command),
        Some(Command::Factoria(command)) => demo::factoria(app, command).await,
    }
}
