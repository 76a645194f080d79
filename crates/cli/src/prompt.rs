//! Questions to the person at the terminal. Without a terminal no question is asked: the caller says which option to give
//! instead.

use std::io::{BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::harmless;
use rekindle_model::problem::ProblemKind;
use rekindle_workspace::Error;

/// Asks for yes or no; none where there is no terminal.
pub(crate) fn confirm(question: &str) -> Result<Option<bool>, Error> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut terminal = open()?;
    write!(terminal, "{} [y/N] ", harmless::narration(question))
        .map_err(|error| Error::io("ask at the terminal", &error))?;
    Ok(Some(matches!(read(&terminal)?.trim(), "y" | "Y" | "yes")))
}

/// Returns the error of an operation that a person declined.
pub(crate) fn declined() -> Error {
    Error::new(ProblemKind::Failed, "declined", "nothing was done")
}

/// Asks for a secret without showing it.
pub(crate) fn secret(question: &str) -> Result<String, Error> {
    let mut terminal = open()?;
    let shown =
        tcgetattr(&terminal).map_err(|error| Error::io("read the terminal's settings", &error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    write!(terminal, "{question}: ").map_err(|error| Error::io("ask at the terminal", &error))?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)
        .map_err(|error| Error::io("hide what is typed", &error.into()))?;
    let answer = read(&terminal);
    // The terminal gets its settings back even if the read failed.
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &shown);
    let _ = writeln!(terminal);
    restored.map_err(|error| Error::io("restore the terminal's settings", &error.into()))?;
    let answer = Zeroizing::new(answer?);
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}

fn open() -> Result<std::fs::File, Error> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| {
            Error::usage(format!(
                "there is no terminal to ask for the passphrase at: {error}"
            ))
            .with_advice("set REKINDLE_PASSPHRASE, or give --passphrase-file FILE")
        })
}

fn read(terminal: &std::fs::File) -> Result<String, Error> {
    let mut line = String::new();
    BufReader::new(terminal)
        .read_line(&mut line)
        .map_err(|error| Error::io("read from the terminal", &error))?;
    Ok(line)
}
