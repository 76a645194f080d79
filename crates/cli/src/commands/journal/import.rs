//! `rekindle journal import`

use std::path::PathBuf;

use rekindle_workspace::Error;
use rekindle_workspace::operations::journal;

use crate::App;
use crate::exit::Exit;

/// Bring runs in from a file that `journal export` or `journal compact` wrote
///
/// The whole file is checked first: its hash, each record, each run's chain and history, each blob. A run that is here
/// already, record for record, is skipped; one that has lost records here is mended; one that differs is refused, and
/// then nothing is imported.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file: an archive or JSON lines
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Imports runs.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let imports = journal::import(&app.application, &args.file).await?;
    app.printer.data(&imports, || {
        format!(
            "imported {} runs with {} records; {} were here already{}",
            imports.imported.len(),
            imports.records,
            imports.skipped.len(),
            match imports.mended.len() {
                0 => String::new(),
                mended => format!("; {mended} had lost records and are whole again"),
            }
        )
    })?;
    Ok(Exit::Done)
}
