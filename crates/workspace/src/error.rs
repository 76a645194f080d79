//! Every error of every operation, classified once: its kind, a stable word, and what to do next.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rekindle_engine::EngineError;
use rekindle_journal::JournalError;
use rekindle_journal::archive::ArchiveError;
use rekindle_journal_local::OpenError;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::RunId;
use rekindle_model::next_action::{Action, Again, KeyOrigin, NextAction};
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::IllegalHistory;
use rekindle_plan::Diagnostics;
use rekindle_replica::ReplicaError;
use rekindle_server::api;
use rekindle_vault::key::KeyError;
use rekindle_vault::{TierError, VaultError};

/// What a repair does for a tier that does not open.
pub(crate) const MENDS: &str = "writes it anew if the rest of the tier opens with the key";

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Problem);

impl Error {
    /// Returns an error of a kind, with a stable word for programs.
    pub fn new(kind: ProblemKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Problem::new(kind, code, message))
    }

    /// Returns the refusal of a request: nothing was started.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, "usage", message)
    }

    /// Returns an error of the machine: a file that cannot be read or written.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let code = match error.kind() {
            Io::StorageFull => "disk_full",
            _ => "io",
        };
        let failed = Self::new(ProblemKind::Failed, code, format!("cannot {what}: {error}"));
        match error.kind() {
            Io::StorageFull => {
                failed.with_advice("free some space and try again; nothing that was acknowledged is lost")
            }
            Io::PermissionDenied => failed.with_advice("check the owner and the mode of that path"),
            _ => failed,
        }
    }

    /// Adds advice that needs no action of Rekindle.
    #[must_use]
    pub fn with_advice(mut self, text: impl Into<String>) -> Self {
        self.0.next.push(NextAction::advice(text));
        self
    }

    /// Adds an action, and what it is good for.
    #[must_use]
    pub fn with_next(mut self, action: Action, text: impl Into<String>) -> Self {
        self.0.next.push(NextAction::new(action, text));
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_all(mut self, next: impl IntoIterator<Item = NextAction>) -> Self {
        self.0.next.extend(next);
        self
    }

    /// Replaces what to do next.
    #[must_use]
    pub fn instead(mut self, next: impl IntoIterator<Item = NextAction>) -> Self {
        self.0.next = next.into_iter().collect();
        self
    }

    /// Adds located findings.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.0.details = Some(details.into());
        self
    }

    /// Returns its kind.
    pub fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// Returns the stable word for programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Returns what to do next: what fits this very error, else what fits its kind.
    pub fn next(&self) -> Vec<NextAction> {
        match self.0.next.as_slice() {
            [] => usual(self.0.kind, &self.0.code),
            own => own.to_vec(),
        }
    }

    /// Returns what to do next where this very error says it.
    pub fn own_next(&self) -> &[NextAction] {
        &self.0.next
    }

    /// Returns whether nothing was started, only because the owner is leaving or has left.
    pub fn is_of_leaving(&self) -> bool {
        api::is_of_leaving(&self.0)
    }

    /// Returns located findings, where there are some.
    pub fn details(&self) -> Option<&str> {
        self.0.details.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// Returns what to do about an error that says nothing of its own.
fn usual(kind: ProblemKind, code: &str) -> Vec<NextAction> {
    let advice = |text: &str| vec![NextAction::advice(text)];
    let action = |action: Action, text: &str| vec![NextAction::new(action, text)];
    let init = |key| Action::Initialize { dir: None, key };
    match code {
        "disk_full" => advice("make room on that disk, then try again"),
        "engine" => vec![
            NextAction::new(Action::Show { run: None }, "shows how far the newest run came"),
            NextAction::new(resume(None), "continues it where it can"),
        ],
        "fenced" => action(Action::ListRuns, "shows the run, which another process drives"),
        "foreign_vault" => {
            advice("check the tier's URL in system.yaml: another system, or another key, stores there")
        }
        "invalid_file" => action(
            Action::Lint { file: None },
            "checks the file again once the named places are mended",
        ),
        "io" => advice("check that the path exists and that its disk is healthy, then try again"),
        "journal" => action(Action::Diagnose, "names what is wrong in this workspace"),
        "journal_damaged" => vec![NextAction::new(
            Action::VerifyJournal,
            "names what is lost; a new run needs nothing of a damaged one",
        )],
        "key" => vec![
            NextAction::new(Action::Diagnose, "names the key that is expected here"),
            NextAction::new(init(KeyOrigin::Kit), "takes it from a tier again"),
        ],
        "key_damaged" => action(init(KeyOrigin::Kit), "takes the key from a tier again"),
        "newer_format" => {
            advice("use the version of rekindle that wrote it, or a newer one; nothing was changed")
        }
        OVER => action(
            Action::Show { run: None },
            "shows how it ended; a new run needs nothing of it",
        ),
        "refused" => action(
            Action::Show { run: None },
            "shows its steps and what they wait for",
        ),
        "source_unreadable" => advice("check the owner and the mode of the path, then try again"),
        "taken_over" => {
            advice("the workspace that is named continues it; adopt it from its tier to continue it here")
        }
        "tier" => action(Action::CheckTiers, "tries each tier once system.yaml is mended"),
        "tier_damaged" => action(
            Action::Verify,
            "shows what each tier still holds; other tiers are not affected",
        ),
        "tier_unavailable" => action(
            Action::CheckTiers,
            "tries each tier; check that it is mounted and answers",
        ),
        "unknown_run" => action(Action::ListRuns, "lists the runs of this workspace"),
        "wrong_passphrase" => advice("give it again; nothing was opened and nothing was changed"),
        _ => match kind {
            ProblemKind::Failed => vec![
                NextAction::new(Action::Show { run: None }, "shows what became of the newest run"),
                NextAction::new(Action::Diagnose, "looks for what is wrong"),
            ],
            ProblemKind::Invalid => advice("nothing was begun; correct the request"),
            ProblemKind::Interrupted => {
                action(resume(None), "continues; nothing that was acknowledged is lost")
            }
            ProblemKind::DataLost => action(
                Action::Verify,
                "shows what each tier still holds; the rest of this workspace is unchanged",
            ),
            ProblemKind::Held => advice("try again when that process has ended"),
        },
    }
}

/// Returns the action that continues a run, or the one that is interrupted.
pub fn resume(run: Option<RunId>) -> Action {
    Action::Resume {
        run,
        again: Again::Nothing,
    }
}

/// Returns the action that adopts a run from a location.
pub(crate) fn adopt(url: Option<String>, run: RunId) -> Action {
    Action::Adopt { url, run: Some(run) }
}

/// The word of an error that says: what was asked for needs a run that is not over.
pub const OVER: &str = "over";

/// What to do about a run of which a record is lost.
pub const QUARANTINED: &str = "a quarantined run is never resumed: start a new run, which needs nothing of it; the old one is kept as it is";

/// Returns the next actions if the disk that holds a path is full: a started run continues once there is room.
pub fn make_room(path: &Path, run: Option<RunId>) -> Vec<NextAction> {
    vec![
        NextAction::advice(format!(
            "make room on the disk that holds {}, then try again; nothing that was acknowledged is lost",
            path.display()
        )),
        NextAction::new(resume(run), "continues a run that had begun"),
    ]
}

impl From<Diagnostics> for Error {
    fn from(found: Diagnostics) -> Self {
        let errors = found
            .0
            .iter()
            .filter(|one| one.severity == rekindle_plan::Severity::Error)
            .count();
        let faults = if errors == 1 { "fault" } else { "faults" };
        Self::new(
            ProblemKind::Invalid,
            "invalid_file",
            format!("{errors} {faults}; nothing was begun"),
        )
        .with_details(found.to_string())
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        let message = format!("cannot {error}");
        match error {
            OpenError::Held { .. } => Self::new(ProblemKind::Held, "held", message).with_advice(
                "try again when that process has ended; it is safe to kill, its runs are resumable",
            ),
            OpenError::NewerFormat { .. } => Self::new(ProblemKind::Invalid, "newer_format", message),
            OpenError::OlderFormat { .. } => Self::new(ProblemKind::Invalid, "older_format", message),
            OpenError::Journal(error) => error.into(),
            _ => Self::new(ProblemKind::Failed, "journal", message),
        }
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        let message = format!("cannot {error}");
        match error {
            JournalError::DiskFull { path } => {
                Self::new(ProblemKind::Interrupted, "disk_full", message).with_all(make_room(&path, None))
            }
            JournalError::Quarantined { .. } => {
                Self::new(ProblemKind::DataLost, "journal_damaged", message).with_advice(QUARANTINED)
            }
            JournalError::Conflict { .. } => Self::new(ProblemKind::Held, "fenced", message),
            JournalError::UnknownRun(_) => Self::new(ProblemKind::Invalid, "unknown_run", message),
            JournalError::NewerFormat { .. } => Self::new(ProblemKind::Invalid, "newer_format", message),
            JournalError::Corrupt { .. }
            | JournalError::UnknownBlob(_)
            | JournalError::BlobCorrupt { .. } => {
                Self::new(ProblemKind::DataLost, "journal_damaged", message)
            }
            // The run is as its last acknowledged record says; only this process has failed.
            JournalError::Poisoned { .. } | JournalError::Io { .. } | JournalError::Backend(_) => {
                Self::new(ProblemKind::Interrupted, "journal", message).with_next(
                    resume(None),
                    "continues once the cause is cleared; nothing that was acknowledged is lost",
                )
            }
            _ => Self::new(ProblemKind::Failed, "journal", message),
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        let message = format!("cannot {error}");
        match error {
            ArchiveError::Differs { .. } | ArchiveError::StillLost { .. } => {
                Self::new(ProblemKind::Invalid, "run_differs", message)
            }
            ArchiveError::NewerFormat { .. } => Self::new(ProblemKind::Invalid, "newer_format", message),
            // A failure in the journal keeps its own kind.
            ArchiveError::Journal(error @ (JournalError::DiskFull { .. } | JournalError::Io { .. })) => {
                error.into()
            }
            _ => Self::new(ProblemKind::DataLost, "archive_damaged", message).with_advice(
                "nothing was imported, and the journal here is as it was; take another copy of the file",
            ),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let message = format!("cannot {error}");
        let next = error.next();
        let own = match error {
            EngineError::Fenced { .. } | EngineError::AlreadyDriven { .. } => {
                Self::new(ProblemKind::Held, "fenced", message)
            }
            EngineError::TakenOver(taken) => ReplicaError::TakenOver(taken).into(),
            EngineError::Journal(error) => error.into(),
            EngineError::History(error) => error.into(),
            EngineError::Over { .. } => Self::new(ProblemKind::Invalid, OVER, message),
            EngineError::Refused { .. } => Self::new(ProblemKind::Invalid, "refused", message),
            EngineError::Value { .. } => Self::new(ProblemKind::DataLost, "journal_damaged", message),
            _ => Self::new(ProblemKind::Failed, "engine", message),
        };
        own.with_all(next)
    }
}

impl From<ReplicaError> for Error {
    fn from(error: ReplicaError) -> Self {
        let message = format!("cannot {error}");
        match error {
            ReplicaError::TakenOver(taken) => {
                let text = match taken.is_by_unknown() {
                    true => "takes it back, and asks first: make sure that no other workspace continues it",
                    false => "takes it back, once nobody works on it there any more",
                };
                Self::new(ProblemKind::Held, "taken_over", message)
                    .with_next(adopt(Some(taken.url.to_string()), taken.run), text)
            }
            ReplicaError::HalfAdopted(taken) => Self::new(ProblemKind::Held, "half_adopted", message)
                .with_next(adopt(Some(taken.url.to_string()), taken.run), "adopts it again"),
            ReplicaError::FenceUnreadable { run, .. } => Self::new(ProblemKind::Held, "taken_over", message)
                .with_next(
                    adopt(None, run),
                    "shows the replica in a tier, and takes the run back",
                ),
            ReplicaError::WorkspaceIdUnreadable { .. } => Self::new(ProblemKind::Failed, "io", message)
                .with_advice("remove it; a new id is made, and runs are found as before"),
            ReplicaError::File { doing, path, source } => {
                Self::io(format_args!("{doing} {}", path.display()), &source)
            }
            error @ ReplicaError::Unanswered { .. } => {
                Self::new(ProblemKind::Failed, "tier_unavailable", error.to_string()).with_advice(
                    "nothing was changed; mount it, or check that it can be reached, then run this again",
                )
            }
            ReplicaError::Tier(error) => error.into(),
            ReplicaError::Journal(error) => error.into(),
            ReplicaError::History(error) => error.into(),
            _ => Self::new(ProblemKind::Failed, "replica", message),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<IllegalHistory> for Error {
    fn from(error: IllegalHistory) -> Self {
        Self::new(
            ProblemKind::DataLost,
            "illegal_history",
            format!("cannot read the run's history: {error}"),
        )
        .with_advice("other runs are not affected; keep this workspace as it is")
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Damaged(_) => Self::new(ProblemKind::DataLost, "key_damaged", message),
            KeyError::WrongPassphrase => Self::new(ProblemKind::Invalid, "wrong_passphrase", message),
            _ => Self::new(ProblemKind::Invalid, "key", message),
        }
    }
}

impl From<TierError> for Error {
    fn from(error: TierError) -> Self {
        let message = error.to_string();
        match error {
            TierError::Unreachable { .. } => Self::new(ProblemKind::Failed, "tier_unavailable", message)
                .with_advice("other tiers are not affected; try again when it answers"),
            TierError::Gone { ref tier, .. } => {
                let create = Action::CreateTier { tier: tier.clone() };
                Self::new(ProblemKind::Failed, "tier_unavailable", message)
                    .with_next(create, "makes it again, empty, where it is gone for good")
            }
            TierError::Foreign { .. } => Self::new(ProblemKind::Invalid, "foreign_vault", message),
            TierError::NewerFormat { .. } => Self::new(ProblemKind::Invalid, "newer_format", message),
            TierError::KeyMismatch { ref tier, .. } | TierError::Damaged { ref tier, .. } => {
                let repair = Action::RepairTier { tier: tier.clone() };
                Self::new(ProblemKind::DataLost, "tier_damaged", message).with_next(repair, MENDS)
            }
            _ => Self::new(ProblemKind::Invalid, "tier", message),
        }
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        error.into_failure().into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (kind, word) = match failure.code.as_str() {
            code::DATA_LOST => (ProblemKind::DataLost, "data_lost"),
            code::NEWER_SET_LOST => (ProblemKind::DataLost, code::NEWER_SET_LOST),
            code::DISK_FULL => (ProblemKind::Failed, "disk_full"),
            code::TIER_UNAVAILABLE => (ProblemKind::Failed, "tier_unavailable"),
            code::SOURCE_UNREADABLE => (ProblemKind::Failed, "source_unreadable"),
            "interrupted" => (ProblemKind::Interrupted, "interrupted"),
            "bad_glob" => (ProblemKind::Invalid, "usage"),
            _ => (ProblemKind::Failed, "failed"),
        };
        let next = failure.advice();
        Self::new(kind, word, failure.message).with_all(next)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rekindle_model::id::{Hash32, RunId};
    use rekindle_plan::load_workflow;

    use super::*;

    const KINDS: [ProblemKind; 5] = [
        ProblemKind::Invalid,
        ProblemKind::Failed,
        ProblemKind::Interrupted,
        ProblemKind::DataLost,
        ProblemKind::Held,
    ];

    #[test]
    fn every_error_says_what_to_do_next_also_behind_the_socket() {
        let words = ["usage", "io", "journal", "engine", "held", "of no kind"];
        for (kind, word) in KINDS.into_iter().flat_map(|kind| words.map(|word| (kind, word))) {
            let error = Error::new(kind, word, "it failed");
            let next = error.next();
            assert!(next.iter().any(|one| one.text.len() > 10), "{kind:?} {word}");
            let problem = Problem::from(error);
            assert_eq!(Error::from(problem).next(), next);
        }
        let own = Error::usage("x").with_advice("do this");
        assert_eq!(own.next(), [NextAction::advice("do this")]);
    }

    #[test]
    fn a_refused_request_says_what_to_ask_instead() {
        let run = RunId(uuid::Uuid::nil());
        let why = rekindle_engine::Refusal::NotPaused;
        let error = Error::from(EngineError::Refused { run, why });
        assert!(error.to_string().ends_with("it is not paused"), "{error}");
        assert_eq!(error.next()[0].action, Some(resume(Some(run))));
    }

    #[test]
    fn every_kind_of_error_is_classified_and_says_what_to_do() {
        let run = RunId(uuid::Uuid::nil());
        let path = PathBuf::from("/w/lock");
        let cases: Vec<(Error, ProblemKind, &str)> = vec![
            (Error::usage("x"), ProblemKind::Invalid, "usage"),
            (
                load_workflow("w.yaml", "workflow: [").unwrap_err().into(),
                ProblemKind::Invalid,
                "invalid_file",
            ),
            (
                OpenError::Held {
                    path: path.clone(),
                    pid: Some(7),
                }
                .into(),
                ProblemKind::Held,
                "held",
            ),
            (
                OpenError::NewerFormat {
                    path: path.clone(),
                    found: 9,
                    supported: 1,
                }
                .into(),
                ProblemKind::Invalid,
                "newer_format",
            ),
            (
                JournalError::DiskFull { path: path.clone() }.into(),
                ProblemKind::Interrupted,
                "disk_full",
            ),
            (
                JournalError::UnknownRun(run).into(),
                ProblemKind::Invalid,
                "unknown_run",
            ),
            (
                JournalError::UnknownBlob(Hash32::ZERO).into(),
                ProblemKind::DataLost,
                "journal_damaged",
            ),
            (EngineError::Fenced { run }.into(), ProblemKind::Held, "fenced"),
            (
                KeyError::WrongPassphrase.into(),
                ProblemKind::Invalid,
                "wrong_passphrase",
            ),
            (
                TierError::NoLocation {
                    tier: "hot".to_owned(),
                }
                .into(),
                ProblemKind::Invalid,
                "tier",
            ),
            (
                Failure::permanent(code::DATA_LOST, "gone").into(),
                ProblemKind::DataLost,
                "data_lost",
            ),
            (
                Failure::transient(code::TIER_UNAVAILABLE, "down").into(),
                ProblemKind::Failed,
                "tier_unavailable",
            ),
            (
                Error::io("write x", &std::io::Error::from(std::io::ErrorKind::StorageFull)),
                ProblemKind::Failed,
                "disk_full",
            ),
        ];
        let of_no_kind = |error: &Error| error.next() == usual(error.kind(), "a word of no kind");
        for (error, kind, code) in cases {
            assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
            // The message of a mistyped argument says enough; every wrapped error has advice of its own.
            let own = !["usage", "data_lost"].contains(&code);
            assert!(!own || !of_no_kind(&error), "{error}: {:?}", error.next());
        }
        let held = Error::from(OpenError::Held { path, pid: Some(7) });
        assert!(held.to_string().contains("process 7"), "{held}");
    }
}
