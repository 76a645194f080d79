//! `rekindle man`

use std::path::PathBuf;

use rekindle_workspace::Error;
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Write the manual pages, one for each command
///
/// For `man rekindle`: rekindle man /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it is made if there is none
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes the pages of `command` and of the commands below it.
pub(crate) fn run(app: &App, args: &Args, command: clap::Command) -> Result<Exit, Error> {
    let dir = app.application.selection.absolute(&args.dir)?;
    std::fs::create_dir_all(&dir)
        .and_then(|()| clap_mangen::generate_to(command, &dir))
        .map_err(|error| Error::io(format_args!("write manual pages to {}", dir.display()), &error))?;
    let body = json!({ "dir": dir });
    app.printer
        .data(&body, || format!("the manual pages are in {}", dir.display()))?;
    Ok(Exit::Done)
}
