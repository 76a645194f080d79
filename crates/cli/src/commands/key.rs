//! `rekindle key`

use std::path::PathBuf;

use crate::App;
use crate::commands::init::tier_urls;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys;
use crate::workspace::Workspace;

/// What to do with the key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Hand out the recovery kit: what a bare machine needs, beside a tier, to come back
    Export {
        /// Write it to this new file (0600) instead of the terminal
        #[arg(long, value_name = "FILE")]
        kit: Option<PathBuf>,
    },
}

/// Does it.
pub(crate) fn run(app: &App, command: &Command) -> Result<Exit, CliError> {
    let Command::Export { kit } = command;
    let workspace = Workspace::find_here(&app.global)?;
    let text = keys::hand_out(app, &workspace, &tier_urls(&workspace), kit.as_deref())?;
    let body = match kit {
        Some(file) => serde_json::json!({ "kit_file": file }),
        None => serde_json::json!({ "kit": text }),
    };
    app.printer.data(&body, || match kit {
        Some(file) => format!(
            "wrote the recovery kit to {}: keep it where a disaster does not reach it",
            file.display()
        ),
        None => text.clone(),
    })?;
    Ok(Exit::Done)
}
