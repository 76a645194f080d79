//! Completion of words: a shell asks this program, which knows the runs, sets, snapshots, components and tiers.
//!
//! `rekindle completions SHELL` prints the shell's part. It calls the program with [`ASKS`] set and with the words so
//! far. An answer writes nothing in a workspace, asks for no passphrase, says nothing but the words that fit, and takes at
//! most [`PATIENCE`]; where nothing can be read, no word fits.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;
use rekindle_model::shown;
use rekindle_workspace::operations::known_names::{Kind, Name, known_names};
use rekindle_workspace::{Application, Error, Notices};
use tokio_util::sync::CancellationToken;

use crate::Hooks;
use crate::global::Global;

/// The variable by which a shell asks. It holds the shell's name.
pub(crate) const ASKS: &str = "REKINDLE_COMPLETE";
/// How long a person waits for a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns a shell's script; none if the shell is not known.
pub(crate) fn script(shell: &str) -> Option<String> {
    let mut script = Vec::new();
    let writer = Shells::builtins();
    let written =
        writer
            .completer(shell)?
            .write_registration(ASKS, "rekindle", "rekindle", "rekindle", &mut script);
    written.ok()?;
    String::from_utf8(script).ok()
}

/// Returns the words that fit, as the shell reads them; `asked` are the arguments of the program. The list is empty if
/// nothing fits, or if nothing could be read in time: a file or a tier that hangs must not keep the shell.
pub(crate) fn answer(shell: OsString, asked: Vec<OsString>, command: fn() -> Command) -> Vec<u8> {
    let (send, answered) = std::sync::mpsc::channel();
    // The process ends after this, and with it a thread that hangs.
    std::thread::spawn(move || send.send(fitting(&shell, &asked, command())));
    answered.recv_timeout(PATIENCE).unwrap_or_default()
}

fn fitting(shell: &OsStr, asked: &[OsString], command: Command) -> Vec<u8> {
    let words: Vec<OsString> = asked
        .iter()
        .skip_while(|word| *word != "--")
        .skip(1)
        .cloned()
        .collect();
    let shells = Shells::builtins();
    let completer = shell.to_str().and_then(|name| shells.completer(name));
    let (Some(completer), Ok(known)) = (completer, Known::of(&words)) else {
        return Vec::new();
    };
    let here = known.app.selection.here.clone().ok();
    let mut answer = Vec::new();
    let mut command = completing(command, &Arc::new(known));
    match completer.write_complete(&mut command, words, here.as_deref(), &mut answer) {
        Ok(()) => answer,
        Err(_) => Vec::new(),
    }
}

/// Returns a command whose values complete, and whose subcommands do.
fn completing(command: Command, known: &Arc<Known>) -> Command {
    command
        .mut_args(|argument| match kinds(&argument) {
            [] => argument,
            kinds => argument.add(ArgValueCompleter::new(Values {
                known: Arc::clone(known),
                kinds,
            })),
        })
        .mut_subcommands(|below| completing(below, known))
}

/// Returns what an argument names; nothing if it names nothing of the workspace.
pub(crate) fn kinds(argument: &Arg) -> &'static [Kind] {
    let placeholder = argument.get_value_names().and_then(<[_]>::first);
    match (argument.get_long(), placeholder.map_or("", |name| name.as_str())) {
        (Some("component"), _) => &[Kind::Component],
        (Some("tier"), _) | (None, "TIER") => &[Kind::Tier],
        (Some("scenario"), _) | (None, "SCENARIO") => &[Kind::Scenario],
        (Some("workflow"), _) => &[Kind::Workflow],
        (_, "RUN") => &[Kind::Run],
        (_, "SNAPSHOT" | "A" | "B") => &[Kind::Component, Kind::Snapshot],
        (_, "SET|TIME|latest") => &[Kind::Set],
        (_, "RUN|FILE") => &[Kind::Run, Kind::Workflow],
        (_, "FILE|WORKFLOW") => &[Kind::Workflow],
        _ => &[],
    }
}

/// The values of an argument.
struct Values {
    known: Arc<Known>,
    kinds: &'static [Kind],
}

impl ValueCompleter for Values {
    fn complete(&self, begun: &OsStr) -> Vec<CompletionCandidate> {
        let begun_text = begun.to_string_lossy();
        let mut fitting = Vec::new();
        for kind in self.kinds {
            let names = self.known.names(*kind, &begun_text);
            let newest = matches!(kind, Kind::Run | Kind::Set).then(|| "latest".to_owned());
            let words = newest.map(|word| (word, String::new())).into_iter();
            let words = words.chain(names.into_iter().map(|Name { word, about }| (word, about)));
            fitting.extend(
                words
                    // A name that a terminal would act on cannot be completed; a remark can be shown harmless.
                    .filter(|(word, _)| word.starts_with(&*begun_text) && shown::line(word) == word.as_str())
                    .map(|(word, about)| {
                        let about = (!about.is_empty()).then(|| shown::line(&about).into_owned().into());
                        CompletionCandidate::new(word).help(about)
                    }),
            );
            if *kind == Kind::Workflow {
                fitting.extend(PathCompleter::dir().complete(begun));
            }
        }
        // The engine sorts by the place: the newest stays first.
        let places = fitting.into_iter().enumerate();
        places
            .map(|(place, one)| one.display_order(Some(place)))
            .collect()
    }
}

/// What is known in the workspace that the words so far name.
struct Known {
    app: Application,
}

impl Known {
    fn of(words: &[OsString]) -> Result<Self, Error> {
        // A key that is read must not reach a core file.
        crate::no_core::forbid_core_files();
        let silent = Notices::new(|_| {});
        let mut app = crate::application(
            selected(words),
            Hooks::default(),
            silent,
            CancellationToken::new(),
        )?;
        app.unlocker.passphrase_at_hand = false;
        app.unlocker.ask = Arc::new(|_| Err(Error::usage("no question while words are completed")));
        Ok(Self { app })
    }

    fn names(&self, kind: Kind, begun: &str) -> Vec<Name> {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return Vec::new();
        };
        runtime
            .block_on(known_names(&self.app, kind, begun))
            .unwrap_or_default()
    }
}

/// Returns the path that a word means. A shell that asks has not expanded it.
fn path(word: impl Into<PathBuf>) -> PathBuf {
    let word = word.into();
    match (word.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(below), Some(home)) => PathBuf::from(home).join(below),
        _ => word,
    }
}

/// Returns the workspace and the system file that the words so far name: the rest of them is not a command yet.
pub(crate) fn selected(words: &[OsString]) -> Global {
    let of = |short: &str, long: &str| {
        words
            .iter()
            .enumerate()
            .find_map(|(at, word)| match word.to_str() {
                Some(word) if word == short || word == long => words.get(at + 1).map(path),
                Some(word) => word
                    .strip_prefix(long)
                    .and_then(|rest| rest.strip_prefix('='))
                    .map(path),
                None => None,
            })
    };
    Global {
        workspace: of("-w", "--workspace")
            .or_else(|| std::env::var_os(crate::WORKSPACE_VAR).map(PathBuf::from)),
        system: of("-s", "--system"),
        ..Global::default()
    }
}
