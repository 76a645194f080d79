//! `rekindle journal`: the record of all runs, looked after.

pub mod compact;
pub mod export;
pub mod import;
pub mod rebuild;
pub mod verify;

use rekindle_model::problem::ProblemKind;
use std::io::Write;
use std::path::Path;

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

/// Runs what reads or writes many files, aside from what else the process does.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ProblemKind::Failed, "internal", error.to_string()))
}

/// Writes a new file that others cannot read, durably, whole or not at all.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: &std::io::Error| Error::io(format_args!("write {}", path.display()), error);
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|error| failed(&error))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    file.persist_noclobber(path)
        .map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::usage(format!("{} is there already", path.display())).with_advice("name a new file")
            }
            _ => failed(&error.error),
        })?;
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed(&error))
}
