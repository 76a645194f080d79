//! The one place that prints. It decides what is data and what is narration: data goes to stdout, narration to stderr.
//!
//! What a person reads is made harmless here, so no command can forget it. JSON stays as it is.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::{Value, json};

use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::problem::ProblemKind;
use rekindle_model::shown;
use rekindle_report::text::Listing;
use rekindle_workspace::notice::{Notice, Severity};

use crate::colors;
use crate::command_hints;
use crate::exit::Exit;
use crate::global::Global;
use crate::harmless;
use crate::told::Told;
use rekindle_workspace::Error;

/// The version of all JSON output, in each object's `schema_version`. It rises if a field is renamed, removed or gets
/// another meaning. New fields may come without a new version.
pub const SCHEMA_VERSION: u32 = 1;

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    voice: Voice,
    /// The options of a command that works in the same workspace. They live as long as the process, which has one command
    /// line.
    here: Option<&'static str>,
    /// Whether results are only part of what the command does: they go beside the one result, to stderr.
    beside: bool,
    /// Whether the command has several results: for programs each is one line.
    several: bool,
    /// What was told. It lives as long as the process, too.
    told: &'static Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// For people.
    Text {
        /// Whether stdout may have colours.
        color: bool,
        /// Whether stderr is a terminal, so that bars can move on it.
        live: bool,
        /// Whether narration is left out (`--quiet`).
        quiet: bool,
    },
    /// For programs: JSON on stdout, narration as JSON lines on stderr.
    Json,
}

/// Returns whether colours are allowed at all. NO_COLOR and a dumb terminal forbid them.
pub(crate) fn may_color() -> bool {
    let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    allowed && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

impl Printer {
    /// Decides by the options, by NO_COLOR, and by whether stdout and stderr are terminals.
    pub fn new(global: &Global) -> Self {
        let voice = match global.json {
            true => Voice::Json,
            false => Voice::Text {
                color: may_color() && std::io::stdout().is_terminal(),
                live: !is_dumb() && std::io::stderr().is_terminal(),
                quiet: global.quiet,
            },
        };
        let environment = std::env::var_os(crate::WORKSPACE_VAR);
        let here = command_hints::options(global, environment.as_deref());
        Self {
            voice,
            here: here.map(|options| &*options.leak()),
            beside: false,
            several: false,
            told: Box::leak(Box::default()),
        }
    }

    /// Returns a printer whose results go to stderr, beside the one result of the command.
    #[must_use]
    pub fn beside(self) -> Self {
        Self { beside: true, ..self }
    }

    /// Returns a printer for a command with several results.
    #[must_use]
    pub fn several(self) -> Self {
        Self {
            several: true,
            ..self
        }
    }

    /// Returns whether programs read the output.
    pub fn is_json(self) -> bool {
        self.voice == Voice::Json
    }

    /// Returns whether people read the output and want only results, warnings and errors.
    pub fn is_quiet(self) -> bool {
        matches!(self.voice, Voice::Text { quiet: true, .. })
    }

    /// Returns whether text may carry colours.
    pub fn color(self) -> bool {
        matches!(self.voice, Voice::Text { color: true, .. })
    }

    /// Returns how many columns a paragraph may have: those of the terminal. What no terminal shows is not wrapped.
    pub fn width(self) -> usize {
        match (self.voice, rustix::termios::tcgetwinsize(std::io::stdout())) {
            (Voice::Text { .. }, Ok(size)) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => usize::MAX,
        }
    }

    /// Returns whether progress bars can move.
    pub fn live(self) -> bool {
        matches!(
            self.voice,
            Voice::Text {
                live: true,
                quiet: false,
                ..
            }
        )
    }

    /// Prints a command's result: `text` for people, `data` for programs. A string of `data` cannot begin a line of the
    /// text.
    pub fn data<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.voice {
            Voice::Json if self.beside => {
                self.note("ended", &serde_json::to_value(data).map_err(unprintable)?);
                Ok(())
            }
            Voice::Text { .. } if self.beside => {
                self.say(text().trim_end());
                Ok(())
            }
            Voice::Json if self.several => self.out(&versioned(data)?.to_string()),
            Voice::Json => self.out(&format!("{:#}", versioned(data)?)),
            Voice::Text { .. } => {
                let data = serde_json::to_value(data).map_err(unprintable)?;
                self.text(&harmless::result(text().trim_end(), &data))
            }
        }
    }

    /// Prints a result that is lines of text itself: a drawing, a recovery kit.
    pub fn document<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.voice {
            Voice::Json => self.data(data, text),
            Voice::Text { .. } => self.out(&shown::block(text().trim_end())),
        }
    }

    /// Prints one of many results that are lines of text themselves: logs.
    pub fn lines<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.voice {
            Voice::Json => self.line(data, text),
            Voice::Text { .. } => self.out(&shown::block(&text())),
        }
    }

    /// Prints one of many results; for programs each is one line.
    pub fn line<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.voice {
            Voice::Json => self.out(&versioned(data)?.to_string()),
            Voice::Text { .. } => {
                let data = serde_json::to_value(data).map_err(unprintable)?;
                self.text(&harmless::result(&text(), &data))
            }
        }
    }

    /// Prints an entry of a list for programs. People see the whole list ([`Printer::list`]).
    pub fn entry<T: Serialize>(self, data: &T) -> Result<(), Error> {
        match self.voice {
            Voice::Json => self.out(&versioned(data)?.to_string()),
            Voice::Text { .. } => Ok(()),
        }
    }

    /// Prints a list for people. Programs got its entries ([`Printer::entry`]).
    pub fn list(self, listing: Listing) -> Result<(), Error> {
        match (self.voice, listing.text()) {
            (Voice::Json, _) => Ok(()),
            (_, text) if text.is_empty() => Ok(()),
            (_, text) => self.text(&text),
        }
    }

    /// Writes a text for people. On a terminal its marks have colours.
    fn text(self, text: &str) -> Result<(), Error> {
        match self.color() {
            true => self.out(&colors::paint(text)),
            false => self.out(text),
        }
    }

    /// Writes bytes as they are: the content of a file that a person asked for. Returns whether anybody still reads.
    pub fn bytes(self, bytes: &[u8]) -> Result<bool, Error> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if is_gone(&error) => Ok(false),
            result => result
                .map(|()| true)
                .map_err(|error| Error::io("write to stdout", &error)),
        }
    }

    /// Says what is going on.
    pub fn say(self, text: impl Into<String>) {
        self.notice(&Notice::info(text));
    }

    /// Warns; also when quiet.
    pub fn warn(self, text: impl Into<String>) {
        self.notice(&Notice::warning(text));
    }

    /// Shows a notice, of this command or of an operation that is at work.
    pub fn notice(self, notice: &Notice) {
        self.line_of(notice).iter().for_each(|line| err(line));
    }

    /// Returns a notice as a line; none if it is not wanted.
    fn line_of(self, notice: &Notice) -> Option<String> {
        let Notice { severity, text, next } = notice;
        let warning = match self.voice {
            Voice::Json => {
                let kind = match severity {
                    Severity::Info => "note",
                    Severity::Warning => "warning",
                };
                let line =
                    json!({ "schema_version": SCHEMA_VERSION, "note": kind, "message": text, "next": next });
                return Some(line.to_string());
            }
            Voice::Text { quiet: true, .. } if *severity == Severity::Info => return None,
            Voice::Text { .. } if *severity == Severity::Info => "",
            Voice::Text { color: true, .. } => "\u{1b}[1;33mwarning:\u{1b}[0m ",
            Voice::Text { .. } => "warning: ",
        };
        let text = self.told.shorten(text);
        let text = match next.as_slice() {
            [] => text.into_owned(),
            next => format!("{text}: {}", self.advice(next)),
        };
        Some(format!("{warning}{}", harmless::narration(&text)))
    }

    /// Returns whether the reason of a failure was told before.
    pub fn has_told(self, reason: &str) -> bool {
        self.told.has(reason)
    }

    /// Notes the reason of a failure that a display has told.
    pub fn tells(self, reason: String) {
        self.told.note(reason);
    }

    /// Returns a line of narration for a display that prints by itself.
    pub fn narration(self, text: &str) -> String {
        harmless::narration(text).into_owned()
    }

    /// Reports events to programs: one JSON object on a line of stderr, with its kind under `note`. People see
    /// nothing.
    pub fn note(self, kind: &str, body: &Value) {
        if self.is_json() {
            let mut line = json!({ "schema_version": SCHEMA_VERSION, "note": kind });
            if let (Some(line), Some(body)) = (line.as_object_mut(), body.as_object()) {
                line.extend(body.clone());
            }
            err(&line.to_string());
        }
    }

    /// Returns advice as text. Its commands work in this workspace from the person's folder.
    pub fn advice(self, next: &[NextAction]) -> String {
        command_hints::advice(next, self.here.unwrap_or_default())
    }

    /// Returns an action as a command that works in this workspace from the person's folder.
    pub fn command(self, action: &Action) -> String {
        command_hints::command(action, self.here.unwrap_or_default())
    }

    /// Shows why a command failed. Programs get the error on stdout, so that it is never empty.
    pub fn error(self, error: &Error) {
        let mut next = error.next();
        if error.code() == "usage" && error.own_next().is_empty() {
            next.push(NextAction::advice(
                "`--help` after the command lists what it takes",
            ));
        }
        let hint = command_hints::advice(&next, self.here.unwrap_or_default());
        match self.voice {
            Voice::Json => {
                let body = json!({ "schema_version": SCHEMA_VERSION, "error": {
                    "code": error.code(), "message": error.to_string(), "hint": hint,
                    "details": error.details(), "exit": Exit::of_error(error).code(), "next": next,
                }});
                let _ = self.out(&body.to_string());
            }
            Voice::Text { color, .. } => {
                if let Some(details) = error.details() {
                    err(&shown::block(details.trim_end()));
                }
                let (red, cyan, plain) = if color {
                    ("\u{1b}[1;31m", "\u{1b}[1;36m", "\u{1b}[0m")
                } else {
                    ("", "", "")
                };
                let (error, hint) = (error.to_string(), harmless::narration(&hint).into_owned());
                err(&format!("{red}error:{plain} {}", harmless::narration(&error)));
                err(&format!("{cyan}hint:{plain} {hint}"));
            }
        }
    }

    /// Prints how a run ended. If that cannot be written, only warns: the exit code says how the run ended.
    pub fn end_of_run<T: Serialize>(self, data: &T, text: impl FnOnce() -> String) {
        // Only on one terminal does the result stand below what was told.
        let below = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let text = || match below {
            true => self.told.shorten(&text()).into_owned(),
            false => text(),
        };
        if let Err(error) = self.data(data, text) {
            self.warn(format!("how the run ended could not be printed: {error}"));
        }
    }

    /// Writes one text to stdout. A reader that has gone away ends the output, not the command: the next program of a
    /// pipe (`| head`), or the terminal.
    fn out(self, text: &str) -> Result<(), Error> {
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if is_gone(&error) => Ok(()),
            result => result.map_err(|error| Error::io("write to stdout", &error)),
        }
    }
}

/// Returns whether the reader has gone away. A write to a terminal that was closed fails with EIO.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Returns a result as programs get it.
fn versioned<T: Serialize>(data: &T) -> Result<Value, Error> {
    let mut data = serde_json::to_value(data).map_err(unprintable)?;
    if let Some(data) = data.as_object_mut() {
        data.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    }
    Ok(data)
}

fn unprintable(error: serde_json::Error) -> Error {
    Error::new(ProblemKind::Failed, "internal", error.to_string())
}

/// Writes one line to stderr. If that fails, there is no place left to say so.
fn err(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_to_do_about_a_notice_and_programs_get_it_as_data() {
        let told = Box::leak(Box::default());
        let printer = |voice| Printer {
            voice,
            here: None,
            beside: false,
            several: false,
            told,
        };
        let notice = Notice::warning("it is behind").with_next(Action::Verify, "mends it");
        let line = printer(Voice::Json).line_of(&notice).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let next = json!([{ "action": { "action": "verify" }, "text": "mends it" }]);
        assert_eq!(
            line,
            json!({ "schema_version": 1, "note": "warning", "message": "it is behind", "next": next })
        );
        let text = |quiet| {
            printer(Voice::Text {
                color: false,
                live: false,
                quiet,
            })
        };
        let line = text(true).line_of(&notice).unwrap();
        assert_eq!(line, "warning: it is behind: `rekindle verify` mends it");
        let info = Notice::info("it begins");
        assert_eq!(text(false).line_of(&info).unwrap(), "it begins");
        assert_eq!(text(true).line_of(&info), None);
    }
}
