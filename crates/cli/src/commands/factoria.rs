//! `rekindle factoria`

use rekindle_factoria::FactoriaCommand;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;

/// Makes, probes or damages the system that ships.
pub(crate) fn run(app: &App, command: FactoriaCommand) -> Result<Exit, CliError> {
    let result = rekindle_factoria::run(command)?;
    app.printer.data(&result, || {
        serde_json::to_string_pretty(&result).unwrap_or_default()
    })?;
    Ok(Exit::Done)
}
