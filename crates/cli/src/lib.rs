//! The `rekindle` command as a library, so that tests can run it with hooks of their own planted.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the command line |
//! | [`commands`] | one file per command: its arguments and its function |
//! | [`printer`] | the one place that prints |
//! | [`error`], [`exit`] | every error classified once; the exit codes |
//! | [`workspace`], [`keys`] | where `.rekindle` stands; where the keys are |
//! | `kit`, `adopt` | the recovery kit; taking over the vault that the tiers hold already |
//! | [`ground`], [`session`] | a workspace with its journal; in use, whoever owns it, or only looked at |
//! | `workshop` | how the owner in this process puts runs together |
//! | [`pinned`] | what a run is pinned to, and the plan that follows from it |
//! | `unfinished`, `holders` | what a run has to wait for: a recovery in place that has not ended, files that are open |
//! | [`drive`] | one run from here to its end, or to a graceful stop |
//! | `target` | where a recovery may write |
//! | [`live`] | what a run shows while it works |
//! | [`signals`] | Ctrl-C once and twice |
//! | `slots` | a run's journal in every tier: copied, gone on with elsewhere, mended from there |
//! | `tiers` | the tiers, opened for reading |
//! | [`names`], [`moment`], [`lookup`] | names, instants and run ids as people type them |

mod adopt;
mod answering;
pub mod args;
pub mod commands;
pub mod drive;
pub mod error;
pub mod exit;
pub mod ground;
mod here;
mod holders;
mod hooks;
pub mod keys;
mod kit;
pub mod live;
pub mod lookup;
pub mod moment;
pub mod names;
pub mod partial_recovery;
mod pinned;
pub mod printer;
pub mod prompt;
pub mod session;
pub mod signals;
mod slots;
mod target;
mod tiers;
mod unfinished;
mod workshop;
pub mod workspace;
mod yaml_file;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use rekindle_actions::supervise;
use rekindle_model::time::{Clock, SystemClock};

pub use crate::error::CliError;
pub use crate::exit::Exit;
pub use crate::hooks::Hooks;
use crate::printer::Printer;
use crate::signals::Signals;

/// What every command gets.
pub struct App {
    /// How it speaks.
    pub printer: Printer,
    /// The options that all commands share.
    pub global: args::Global,
    /// What tests plant.
    pub hooks: Hooks,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether somebody wants it to stop.
    pub signals: Signals,
}

/// Runs one command line, the program's name first, and returns its exit code.
///
/// It builds its own runtime and listens to SIGINT and SIGTERM; a second signal ends the process at once.
pub fn run<I, T>(args: I, hooks: Hooks) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    // Before anything else: a supervisor has no runtime, no options and no voice of its own.
    if args.get(1).is_some_and(|word| word == supervise::SUBCOMMAND) {
        return supervise::supervise(args.into_iter().skip(2));
    }
    let cli = match args::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // Help that cannot be written has no reader.
            let _ = error.print();
            return exit.into();
        }
    };
    let printer = Printer::new(&cli.global);
    trace(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::io("start the runtime", &error);
            printer.error(&error);
            return error.exit().into();
        }
    };
    let exit = runtime.block_on(async {
        let app = App {
            printer,
            global: cli.global,
            hooks,
            clock: Arc::new(SystemClock),
            signals: Signals::listen(printer),
        };
        match commands::dispatch(&app, cli.command).await {
            Ok(exit) => exit,
            Err(error) => {
                printer.error(&error);
                error.exit()
            }
        }
    });
    // A blocking read of a slow tier must not hold up the end of a command whose work is journaled.
    runtime.shutdown_background();
    exit.into()
}

/// Logs go to stderr, never to stdout; RUST_LOG refines what `-v` asks for.
fn trace(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "error",
        1 => "rekindle=debug,warn",
        _ => "trace,sled=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Tests run several commands in one process: the first one's subscriber stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(printer::may_color() && std::io::stderr().is_terminal())
        .try_init();
}
