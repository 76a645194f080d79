//! `factoria …`: the commands of `rekindle factoria`, without the rest of Rekindle.
//!
//! The tests of this crate start it where a probe starts its own program. It takes the same arguments as
//! `rekindle factoria` with `--json` and prints the same JSON.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use rekindle_factoria::FactoriaCommand;
use rekindle_factoria::command::{Surroundings, stop_at_eof};
use rekindle_model::time::SystemClock;
use tokio_util::sync::CancellationToken;

/// A whole La Factoria context system
#[derive(Debug, Parser)]
struct Arguments {
    /// Prints JSON, which this program always does
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// The system's commands
    #[command(subcommand)]
    Factoria(FactoriaCommand),
}

fn main() -> ExitCode {
    let Arguments {
        json: _,
        program: Program::Factoria(command),
    } = Arguments::parse();
    let told = tokio::runtime::Runtime::new()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(command)));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: FactoriaCommand) -> Result<(), String> {
    let stop = CancellationToken::new();
    stop_at_eof(&command, &stop);
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        stop,
        listening: Box::new(|address| {
            // A reader that has gone away has no use for the address.
            let _ = print(&serde_json::to_value(address).unwrap_or_default());
        }),
    };
    let result = rekindle_factoria::run(command, around)
        .await
        .map_err(|error| error.to_string())?;
    print(&result).map_err(|error| error.to_string())
}

fn print(value: &serde_json::Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{value}")
}
