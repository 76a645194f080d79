//! Every error of every command, classified once: what is printed, what to do next, the exit code.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rekindle_engine::EngineError;
use rekindle_factoria::FactoriaError;
use rekindle_journal::{JournalError, OpenError};
use rekindle_model::failure::{Failure, code};
use rekindle_model::run::IllegalHistory;
use rekindle_plan::Diagnostics;
use rekindle_server::Problem;
use rekindle_vault::key::KeyError;
use rekindle_vault::{TierError, VaultError};

use crate::exit::Exit;

/// A command's failure, ready to be shown.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    /// A stable word for scripts (`usage`, `invalid_file`, `held` …).
    code: Cow<'static, str>,
    message: String,
    hint: Option<String>,
    /// Located findings of a file, printed as they are before the message.
    details: Option<String>,
}

impl CliError {
    /// Returns an error with its exit code and a stable word for scripts.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            hint: None,
            details: None,
        }
    }

    /// Returns an error of the command line: nothing was begun.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Returns an error of the machine: a file that cannot be read or written.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::StorageFull {
            "disk_full"
        } else {
            "io"
        };
        let failed = Self::new(Exit::Failed, code, format!("cannot {what}: {error}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => failed.with_hint(
                "free some space and run the same command again; nothing that was acknowledged is lost",
            ),
            std::io::ErrorKind::PermissionDenied => {
                failed.with_hint("check the owner and the mode of that path")
            }
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
    pub fn code(&self) -> &str {
        &self.code
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

/// What to do about a run of which a record is lost.
pub(crate) const QUARANTINED: &str = "a quarantined run is never resumed: run its command again, a new run needs nothing of it; it is kept as it is";

/// Returns what to do where the disk that holds a path is full: what had begun goes on once there is room.
pub(crate) fn make_room(path: &Path, then: &str) -> String {
    format!(
        "make room on the disk that holds {}, then {then}; nothing that was acknowledged is lost",
        path.display()
    )
}

impl From<Diagnostics> for CliError {
    fn from(found: Diagnostics) -> Self {
        let errors = found
            .0
            .iter()
            .filter(|one| one.severity == rekindle_plan::Severity::Error)
            .count();
        let faults = if errors == 1 { "fault" } else { "faults" };
        Self::new(
            Exit::Usage,
            "invalid_file",
            format!("{errors} {faults}; nothing was begun"),
        )
        .with_details(found.to_string())
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let message = format!("cannot {error}");
        match error {
            OpenError::Held { .. } => Self::new(Exit::Held, "held", message)
                .with_hint("run the command again when that process has ended; it is safe to kill, its runs are resumable"),
            OpenError::NewerFormat { .. } => Self::new(Exit::Usage, "newer_format", message),
            OpenError::Journal(error) => error.into(),
            _ => Self::new(Exit::Failed, "journal", message),
        }
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        let message = format!("cannot {error}");
        match error {
            JournalError::DiskFull { path } => {
                let then = "run the same command again, or `rekindle resume` where a run had begun";
                Self::new(Exit::Interrupted, "disk_full", message).with_hint(make_room(&path, then))
            }
            JournalError::Quarantined { .. } => {
                Self::new(Exit::DataLost, "journal_damaged", message).with_hint(QUARANTINED)
            }
            JournalError::Conflict { .. } => Self::new(Exit::Held, "fenced", message),
            JournalError::UnknownRun(_) => Self::new(Exit::Usage, "unknown_run", message),
            JournalError::NewerFormat { .. } => Self::new(Exit::Usage, "newer_format", message),
            JournalError::Corrupt { .. }
            | JournalError::UnknownBlob(_)
            | JournalError::BlobCorrupt { .. } => Self::new(Exit::DataLost, "journal_damaged", message),
            // The run stands where its last acknowledged record says; what failed was this process.
            JournalError::Poisoned { .. } | JournalError::Io { .. } | JournalError::Index(_) => {
                Self::new(Exit::Interrupted, "journal", message).with_hint(
                    "clear the cause, then `rekindle resume`; nothing that was acknowledged is lost",
                )
            }
            _ => Self::new(Exit::Failed, "journal", message),
        }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        let message = format!("cannot {error}");
        match error {
            EngineError::Fenced { .. } | EngineError::AlreadyDriven { .. } => {
                Self::new(Exit::Held, "fenced", message)
            }
            EngineError::Journal(error) => error.into(),
            EngineError::History(error) => error.into(),
            EngineError::Over { .. } => Self::new(Exit::Usage, "over", message),
            EngineError::Refused { .. } => Self::new(Exit::Usage, "refused", message),
            EngineError::Value { .. } => Self::new(Exit::DataLost, "journal_damaged", message),
            _ => Self::new(Exit::Failed, "engine", message),
        }
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        Self {
            exit: Exit::of_code(problem.exit),
            code: problem.code.into(),
            message: problem.message,
            hint: problem.hint,
            details: problem.details,
        }
    }
}

impl From<CliError> for Problem {
    fn from(error: CliError) -> Self {
        Self {
            exit: error.exit.code(),
            code: error.code.into_owned(),
            message: error.message,
            hint: error.hint,
            details: error.details,
        }
    }
}

impl From<IllegalHistory> for CliError {
    fn from(error: IllegalHistory) -> Self {
        Self::new(
            Exit::DataLost,
            "illegal_history",
            format!("cannot read the run's history: {error}"),
        )
        .with_hint("other runs are not affected; keep this workspace as it is")
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Damaged(_) => Self::new(Exit::DataLost, "key_damaged", message),
            KeyError::WrongPassphrase => Self::new(Exit::Usage, "wrong_passphrase", message),
            _ => Self::new(Exit::Usage, "key", message),
        }
    }
}

impl From<TierError> for CliError {
    fn from(error: TierError) -> Self {
        let message = error.to_string();
        match error {
            TierError::Unreachable { .. } => Self::new(Exit::Failed, "tier_unavailable", message)
                .with_hint("other tiers are not affected; try again when it answers"),
            TierError::Gone { .. } => Self::new(Exit::Failed, "tier_unavailable", message),
            TierError::Foreign { .. } => Self::new(Exit::Usage, "foreign_vault", message),
            TierError::NewerFormat { .. } => Self::new(Exit::Usage, "newer_format", message),
            TierError::KeyMismatch { .. } | TierError::Damaged { .. } => {
                Self::new(Exit::DataLost, "tier_damaged", message)
            }
            _ => Self::new(Exit::Usage, "tier", message),
        }
    }
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        error.into_failure().into()
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let (exit, word) = match failure.code.as_str() {
            code::DATA_LOST => (Exit::DataLost, "data_lost"),
            code::DISK_FULL => (Exit::Failed, "disk_full"),
            code::TIER_UNAVAILABLE => (Exit::Failed, "tier_unavailable"),
            code::SOURCE_UNREADABLE => (Exit::Failed, "source_unreadable"),
            "interrupted" => (Exit::Interrupted, "interrupted"),
            "unknown" | "bad_glob" => (Exit::Usage, "usage"),
            _ => (Exit::Failed, "failed"),
        };
        let error = Self::new(exit, word, failure.message);
        match failure.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<FactoriaError> for CliError {
    fn from(error: FactoriaError) -> Self {
        match error {
            FactoriaError::AlreadyServed { .. } => Self::new(Exit::Held, "held", error.to_string()),
            _ => Self::new(Exit::Usage, "factoria", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rekindle_model::id::{Hash32, RunId};
    use rekindle_plan::load_workflow;

    use super::*;

    #[test]
    fn every_kind_of_error_has_its_exit_code_and_says_what_to_do() {
        let run = RunId(uuid::Uuid::nil());
        let path = PathBuf::from("/w/lock");
        let cases: Vec<(CliError, u8, &str)> = vec![
            (CliError::usage("x"), 2, "usage"),
            (
                load_workflow("w.yaml", "workflow: [").unwrap_err().into(),
                2,
                "invalid_file",
            ),
            (
                OpenError::Held {
                    path: path.clone(),
                    pid: Some(7),
                }
                .into(),
                6,
                "held",
            ),
            (
                OpenError::NewerFormat {
                    path: path.clone(),
                    found: 9,
                    supported: 1,
                }
                .into(),
                2,
                "newer_format",
            ),
            (
                JournalError::DiskFull { path: path.clone() }.into(),
                4,
                "disk_full",
            ),
            (JournalError::UnknownRun(run).into(), 2, "unknown_run"),
            (
                JournalError::UnknownBlob(Hash32::ZERO).into(),
                5,
                "journal_damaged",
            ),
            (EngineError::Fenced { run }.into(), 6, "fenced"),
            (KeyError::WrongPassphrase.into(), 2, "wrong_passphrase"),
            (
                TierError::NoLocation {
                    tier: "hot".to_owned(),
                }
                .into(),
                2,
                "tier",
            ),
            (Failure::permanent(code::DATA_LOST, "gone").into(), 5, "data_lost"),
            (
                Failure::transient(code::TIER_UNAVAILABLE, "down").into(),
                1,
                "tier_unavailable",
            ),
            (
                CliError::io("write x", &std::io::Error::from(std::io::ErrorKind::StorageFull)),
                1,
                "disk_full",
            ),
        ];
        for (error, exit, code) in cases {
            assert_eq!((error.exit().code(), error.code()), (exit, code), "{error}");
        }
        let held = CliError::from(OpenError::Held { path, pid: Some(7) });
        assert!(held.to_string().contains("process 7"), "{held}");
    }
}
