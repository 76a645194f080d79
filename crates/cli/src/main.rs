//! The `rekindle` command. Everything is in the library, so that tests can run it with their own hooks.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_cli::run(std::env::args_os(), rekindle_cli::Hooks::default())
}
