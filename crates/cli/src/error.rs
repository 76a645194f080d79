//! Every error of every command, classified once: what is printed, what to do next, the exit code.

use std::fmt;

use crate::exit::Exit;

/// A command's failure, ready to be shown.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    /// A stable word for scripts (`usage`, `invalid_file`, `held` …).
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// Located findings of a file, printed as they are before the message.
    details: Option<String>,
}

impl CliError {
    /// Returns an error with its exit code and a stable word for scripts.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None, details: None }
    }

    /// Returns an error of the command line: nothing was begun.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Returns an error of the machine: a file that cannot be read or written.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::StorageFull { "disk_full" } else { "io" };
        let failed = Self::new(Exit::Failed, code, format!("cannot {what}: {error}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => {
                failed.with_hint("free some space and run the same command again; nothing that was acknowledged is lost")
            }
            std::io::ErrorKind::PermissionDenied => failed.with_hint("check the owner and the mode of that path"),
            _ => failed,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds located findings.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the stable word for scripts.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns what to do next, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns located findings, where there are some.
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}
