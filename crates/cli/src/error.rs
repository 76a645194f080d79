//! Every error of every command, classified once: what is printed, what to do next, the exit code.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rekindle_engine::EngineError;
use rekindle_factoria::FactoriaError;
use rekindle_journal::JournalError;
use rekindle_journal::archive::ArchiveError;
use rekindle_journal_local::OpenError;
use rekindle_model::failure::{Failure, code};
use rekindle_model::run::IllegalHistory;
use rekindle_plan::Diagnostics;
use rekindle_server::Problem;
use rekindle_server::api::{NOBODY, STOPPING};
use rekindle_vault::key::KeyError;
use rekindle_vault::{TierError, VaultError};

use crate::exit::Exit;
use crate::slots::fenced;

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

    /// Returns what to do next: what fits this very error, else what fits its kind.
    pub fn hint(&self) -> &str {
        self.hint
            .as_deref()
            .unwrap_or_else(|| next(self.exit, &self.code))
    }

    /// Returns what to do next where this very error says it.
    pub(crate) fn own_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns whether nothing was begun, only because the owner that was there is leaving or has left.
    pub(crate) fn is_of_leaving(&self) -> bool {
        [STOPPING, NOBODY].contains(&self.code())
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

/// Returns what to do about an error of some kind that says nothing of its own.
fn next(exit: Exit, code: &str) -> &'static str {
    match code {
        "disk_full" => "make room on that disk, then run the same command again",
        "engine" => {
            "`rekindle show RUN` tells how far the run came; `rekindle resume RUN` goes on where it can"
        }
        "factoria" => "`rekindle factoria --help` tells what its commands take",
        "fenced" => "another process drives that run: `rekindle watch RUN` follows it to its end",
        "foreign_vault" => "see the tier's URL in system.yaml: another system, or another key, stores there",
        "invalid_file" => "mend the places that are named; `rekindle lint FILE` looks again",
        "io" => "see that the path is there and that its disk is well, then run the same command again",
        "journal" => "`rekindle doctor` tells what is amiss in this workspace",
        "journal_damaged" => {
            "`rekindle journal verify` names what is lost and what is not; a new run needs nothing of a damaged one"
        }
        "key" => {
            "`rekindle doctor` tells which key is expected here; `rekindle init DIR --from-kit KIT` takes it anew"
        }
        "key_damaged" => "take the key anew from a tier: rekindle init DIR --from-kit KIT",
        "newer_format" => "use the version of rekindle that wrote it, or a newer one; nothing was changed",
        OVER => "`rekindle show RUN` tells how it ended; a new run begins afresh",
        "refused" => "`rekindle show RUN` tells what its steps are and what they wait for",
        "source_unreadable" => {
            "check the owner and the mode of what is named, then run the same command again"
        }
        "taken_over" => {
            "it goes on in the workspace that is named; `rekindle adopt URL RUN` brings it back from there"
        }
        "tier" => "mend the tier in system.yaml; `rekindle tier check` tries each out",
        "tier_damaged" => "other tiers are not affected; `rekindle verify` tells what each still holds",
        "tier_unavailable" => "see that it is mounted or answers; `rekindle tier check` tries each out",
        "unknown_run" => "`rekindle runs` lists the runs of this workspace",
        "wrong_passphrase" => "give it again; nothing was opened and nothing was changed",
        _ => match exit {
            Exit::Done | Exit::Failed | Exit::Partial => {
                "`rekindle show latest` tells what the newest run came to; `rekindle doctor` looks for what is amiss"
            }
            Exit::Usage => "nothing was begun; `rekindle help COMMAND` tells what it takes",
            Exit::Interrupted => "nothing that was acknowledged is lost: `rekindle resume` goes on",
            Exit::DataLost => {
                "what else there is stays as it is; `rekindle verify` tells what each tier still holds"
            }
            Exit::Held => "run the same command again when that process has ended",
        },
    }
}

/// The word of an error that says: what was asked for needs a run that is not over.
pub(crate) const OVER: &str = "over";

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
            JournalError::Poisoned { .. } | JournalError::Io { .. } | JournalError::Backend(_) => {
                Self::new(Exit::Interrupted, "journal", message).with_hint(
                    "clear the cause, then `rekindle resume`; nothing that was acknowledged is lost",
                )
            }
            _ => Self::new(Exit::Failed, "journal", message),
        }
    }
}

impl From<ArchiveError> for CliError {
    fn from(error: ArchiveError) -> Self {
        let message = format!("cannot {error}");
        match error {
            ArchiveError::Differs { .. } | ArchiveError::StillLost { .. } => {
                Self::new(Exit::Usage, "run_differs", message)
            }
            ArchiveError::NewerFormat { .. } => Self::new(Exit::Usage, "newer_format", message),
            // One that failed in the journal is told as what it is.
            ArchiveError::Journal(error @ (JournalError::DiskFull { .. } | JournalError::Io { .. })) => {
                error.into()
            }
            _ => Self::new(Exit::DataLost, "archive_damaged", message).with_hint(
                "nothing was imported, and the journal here is as it was; take another copy of the file",
            ),
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
            EngineError::TakenOver(taken) => fenced::refusal(&taken),
            EngineError::Journal(error) => error.into(),
            EngineError::History(error) => error.into(),
            EngineError::Over { .. } => Self::new(Exit::Usage, OVER, message),
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
    fn no_error_is_without_a_way_on_also_behind_the_socket() {
        let exits = (0..=6).map(Exit::of_code);
        let words = ["usage", "io", "journal", "engine", "held", "of no kind"];
        for (exit, word) in exits.flat_map(|exit| words.map(|word| (exit, word))) {
            let error = CliError::new(exit, word, "it failed");
            assert!(error.hint().len() > 20, "{exit:?} {word}");
            let told = error.hint().to_owned();
            let problem = Problem::from(error);
            assert_eq!(CliError::from(problem).hint(), told);
        }
        let own = CliError::usage("x").with_hint("do this");
        assert_eq!(own.hint(), "do this");
    }

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
        let of_no_kind = |error: &CliError| error.hint() == next(error.exit(), "a word of no kind");
        for (error, exit, code) in cases {
            assert_eq!((error.exit().code(), error.code()), (exit, code), "{error}");
            // What somebody mistyped is told by the message; every wrapped error has a way on of its own kind.
            let own = !["usage", "data_lost"].contains(&code);
            assert!(!own || !of_no_kind(&error), "{error}: {}", error.hint());
        }
        let held = CliError::from(OpenError::Held { path, pid: Some(7) });
        assert!(held.to_string().contains("process 7"), "{held}");
    }
}
