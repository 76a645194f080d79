//! The `rekindle` command as a library, so that tests can run it with hooks of their own planted.
//!
//! It turns arguments into a request, asks the application (`rekindle-workspace`), and prints the result.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the command line: every command, with its function |
//! | [`global`] | the options of every command |
//! | [`commands`] | one file per command: its arguments and its function |
//! | [`printer`] | the one place that prints |
//! | `colors` | gives the marks of a text their colours |
//! | `complete` | the words that a shell completes |
//! | `harmless` | escapes what a terminal would act on |
//! | [`exit`] | the exit codes |
//! | `command_hints` | next actions, written as commands |
//! | `no_core` | keeps keys out of core files |
//! | [`drive`] | submits a run and follows it to its end |
//! | [`live`] | what a run shows while it works |
//! | [`prompt`] | questions at the terminal |
//! | `serve_log` | what `serve` tells of the runs that it drives |
//! | [`signals`] | Ctrl-C once and twice |
//! | [`time_args`] | instants as people type them |
//! | `version` | what `--version` says |

pub mod args;
mod colors;
mod command_hints;
pub mod commands;
mod complete;
pub mod drive;
pub mod exit;
pub mod global;
mod harmless;
pub mod live;
mod no_core;
pub mod printer;
pub mod prompt;
mod serve_log;
pub mod signals;
pub mod time_args;
mod told;
mod version;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use rekindle_actions::supervise;
use rekindle_actions::trust::Accounts;
use rekindle_model::time::SystemClock;
use rekindle_workspace::keys::Unlocker;
use rekindle_workspace::layout::Selection;
use rekindle_workspace::regular;
use rekindle_workspace::{Application, Error, Notices};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::args::{Cli, Command};
pub use crate::exit::Exit;
use crate::global::Global;
use crate::printer::Printer;
pub use rekindle_workspace::Hooks;

/// Overrides the folder of the identity.
pub const CONFIG_DIR_VAR: &str = "REKINDLE_CONFIG_DIR";
/// Names the workspace where no option does.
pub const WORKSPACE_VAR: &str = "REKINDLE_WORKSPACE";
/// Holds a passphrase, for machines without a terminal.
pub const PASSPHRASE_VAR: &str = "REKINDLE_PASSPHRASE";

/// What every command gets.
pub struct App {
    /// How it speaks.
    pub printer: Printer,
    /// The application, set up for this command line.
    pub application: Application,
}

impl App {
    fn new(printer: Printer, global: Global, hooks: Hooks, stop: CancellationToken) -> Result<Self, Error> {
        let notices = Notices::new(move |notice| printer.notice(&notice));
        let application = application(global, hooks, notices, stop)?;
        Ok(Self { printer, application })
    }
}

/// Sets the application up for this user, in the current folder.
fn application(
    global: Global,
    hooks: Hooks,
    notices: Notices,
    stop: CancellationToken,
) -> Result<Application, Error> {
    let executable = std::env::current_exe().map_err(|error| Error::io("find this program", &error))?;
    Ok(Application {
        selection: Selection {
            workspace: global.workspace,
            system: global.system,
            here: std::env::current_dir().map_err(|error| Error::io("find the current folder", &error)),
        },
        asker: asker(),
        executable,
        hooks,
        clock: Arc::new(SystemClock),
        stop,
        notices,
        unlocker: unlocker(),
    })
}

/// Returns the person who asks, as the journal names them.
fn asker() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = std::env::var("USER").ok().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{name} on {host}")
}

/// Returns how this user opens keys: identities in REKINDLE_CONFIG_DIR, else `rekindle` in XDG_CONFIG_HOME or ~/.config.
/// Under `sudo` these may be another user's folders, who could change what is in them: then the home is the one that
/// `/etc/passwd` names. Passphrases come from a file, REKINDLE_PASSPHRASE or the terminal, never from the command line.
fn unlocker() -> Unlocker {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let named_dir = folder(CONFIG_DIR_VAR);
    let own_folder = |name| folder(name).filter(|dir| !is_of_another_user(dir));
    let config_dir = named_dir
        .clone()
        .or_else(|| own_folder("XDG_CONFIG_HOME").map(|dir| dir.join("rekindle")))
        .or_else(|| {
            own_folder("HOME")
                .or_else(home)
                .map(|home| home.join(".config/rekindle"))
        });
    Unlocker {
        config_dir,
        named_dir,
        dir_setting: CONFIG_DIR_VAR,
        passphrase_at_hand: std::env::var_os(PASSPHRASE_VAR).is_some(),
        ask: Arc::new(|file| match (file, std::env::var(PASSPHRASE_VAR)) {
            (Some(file), _) => regular::read_text(file, regular::SMALL)
                .map(Zeroizing::new)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| Error::io(format_args!("read {}", file.display()), &error)),
            (None, Ok(passphrase)) if !passphrase.is_empty() => Ok(passphrase),
            (None, _) => prompt::secret("passphrase"),
        }),
    }
}

/// Returns whether a folder belongs to a user who is neither this one nor root.
fn is_of_another_user(dir: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    std::fs::metadata(dir).is_ok_and(|meta| meta.uid() != us && meta.uid() != 0)
}

/// Returns this user's home, as `/etc/passwd` names it.
fn home() -> Option<PathBuf> {
    // A user without HOME has asked for no home.
    std::env::var_os("HOME")?;
    Accounts::of_host().home(rustix::process::geteuid().as_raw())
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
    // This comes before everything else: a supervisor has no runtime, no options and no output of its own.
    if args.get(1).is_some_and(|word| word == supervise::SUBCOMMAND) {
        return supervise::supervise(args.into_iter().skip(2));
    }
    // The scripts of the shells put `--` before the words. Without it, the variable was left behind by a person, and must
    // not turn a backup into a completion.
    let asked = std::env::var_os(complete::ASKS).filter(|_| args.get(1).is_some_and(|word| word == "--"));
    if let Some(shell) = asked {
        let words = complete::answer(shell, args, Cli::command);
        // A shell that reads no answer completes nothing.
        let _ = Printer::new(&Global::default()).bytes(&words);
        return Exit::Done.into();
    }
    let for_programs = args.iter().any(|word| word == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && for_programs => {
            let global = Global {
                json: true,
                ..Global::default()
            };
            Printer::new(&global).error(&usage(&error));
            return Exit::Usage.into();
        }
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
    // Before anything reads a key or asks for a passphrase.
    no_core::forbid_core_files();
    let printer = Printer::new(&cli.global);
    let command = cli
        .command
        .unwrap_or(Command::Status(commands::status::Args::default()));
    trace(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = Error::io("start the runtime", &error);
            printer.error(&error);
            return Exit::of_error(&error).into();
        }
    };
    let exit = runtime.block_on(async {
        let stop = signals::listen(printer);
        let done = match App::new(printer, cli.global, hooks, stop) {
            Ok(app) => command.run(&app).await,
            Err(error) => Err(error),
        };
        done.unwrap_or_else(|error| {
            printer.error(&error);
            Exit::of_error(&error)
        })
    });
    // A blocking read of a slow tier must not delay the end of a command whose work is journaled.
    runtime.shutdown_background();
    exit.into()
}

/// Returns why a command line cannot be read, as programs get it: the first paragraph says what is wrong, and the others
/// what to write.
fn usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let text = text.trim().trim_start_matches("error: ");
    match text.split_once("\n\n") {
        Some((what, more)) => Error::usage(what).with_details(more),
        None => Error::usage(text),
    }
}

/// Logs go to stderr, never to stdout; RUST_LOG refines the choice of `-v`.
fn trace(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "error",
        1 => "rekindle=info,warn",
        2 => "rekindle=debug,info",
        _ => "trace,sled=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Tests run several commands in one process: the first one's subscriber stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(printer::may_color() && std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .try_init();
}
