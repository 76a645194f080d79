//! `rekindle key`

use std::path::PathBuf;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::keys::kit;
use rekindle_workspace::tiers;

/// The instructions of a recovery kit for its reader, as comment lines.
pub(crate) const HOW_TO: &str = "\
# To come back on a machine that has nothing else, with this file as kit.txt and a tier within reach:
#   rekindle init DIR --from-kit kit.txt
#       takes the key from a tier of DIR/system.yaml. If system.yaml is lost too, it comes from one of the tiers above.
#       --tier-url URL names a tier that has moved.
#   rekindle -w DIR recover --to OUT
#       recovers everything into the folder OUT; without --to, into the system's own folder.
# Where a passphrase opens the key, the program asks for it, or takes it from REKINDLE_PASSPHRASE or a file.
";

/// What to do with the key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write the recovery kit: all that a bare machine needs, beside a tier, to recover
    Export {
        /// Write it to this new file (0600) instead of the terminal
        #[arg(long, value_name = "FILE")]
        kit: Option<PathBuf>,
    },
}

/// Does it.
pub(crate) fn run(app: &App, command: &Command) -> Result<Exit, Error> {
    let Command::Export { kit } = command;
    let layout = app.application.layout()?;
    let text = kit::hand_out(
        &app.application,
        &layout,
        &tiers::urls(&layout),
        HOW_TO,
        kit.as_deref(),
    )?;
    let body = match kit {
        Some(file) => serde_json::json!({ "kit_file": file }),
        None => serde_json::json!({ "kit": text }),
    };
    app.printer.document(&body, || match kit {
        Some(file) => format!(
            "wrote the recovery kit to {}: keep it where a disaster does not reach it",
            file.display()
        ),
        None => text.clone(),
    })?;
    Ok(Exit::Done)
}
