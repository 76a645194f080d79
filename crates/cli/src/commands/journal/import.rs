//! `rekindle journal import`

use std::path::PathBuf;

use rekindle_workspace::Error;
use rekindle_workspace::operations::journal;

use crate::App;
use crate::exit::Exit;

/// Import runs from a file that `journal export` or `journal compact` wrote
///
/// This checks the whole file first: its hash, each record, each run's chain and history, each blob. If the same run
/// is here already, it is skipped. If the run here has lost records, they are repaired. If the run here differs, this
/// command refuses, and imports nothing.
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
