//! Why a step failed: a stable code to decide by, a sentence to read, and what to do next.

use serde::{Deserialize, Serialize};

use crate::next_action::{Action, NextAction, StoredAdvice};

/// A step's failure, as it is journaled and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", crate::shown::line(message))]
pub struct Failure {
    /// A stable, lower-case code (`data_lost`, `source_unreadable`, `timeout` …); retry policies name it.
    pub code: String,
    /// What went wrong, as it came: paths and the words of programs may be in it. `Display` shows it on one line. It is a
    /// lower-case fragment that fits "failed to …: {message}".
    pub message: String,
    /// What the reader can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the reader can let Rekindle do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<StoredAdvice>,
    /// Whether trying again may help, as far as the action knows.
    pub retryable: bool,
}

impl Failure {
    /// Returns a failure that another attempt cannot mend.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            next: Vec::new(),
            retryable: false,
        }
    }

    /// Returns a failure that may pass by itself.
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            next: Vec::new(),
            retryable: true,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds an action, and what it is good for.
    #[must_use]
    pub fn with_next(mut self, action: Action, text: impl Into<String>) -> Self {
        self.next.push(NextAction::new(action, text).into());
        self
    }

    /// Returns all that the reader can do about it, the actions of Rekindle first.
    pub fn advice(&self) -> Vec<NextAction> {
        let hint = self.hint.iter().map(NextAction::advice);
        let next = self.next.iter().cloned().map(NextAction::from);
        next.chain(hint).collect()
    }
}

/// Codes with a meaning outside the action that reports them.
pub mod code {
    /// Data is gone from every copy.
    pub const DATA_LOST: &str = "data_lost";
    /// A recovery set is known that is newer than all that can be read.
    pub const NEWER_SET_LOST: &str = "newer_set_lost";
    /// An attempt took longer than its `timeout`.
    pub const TIMEOUT: &str = "timeout";
    /// A step's attempts together took longer than its `deadline`, or the run longer than its own.
    pub const DEADLINE: &str = "deadline";
    /// The run gave up its group lock, because runs waited for each other.
    pub const DEADLOCK: &str = "deadlock";
    /// An attempt gave no sign of progress for longer than its `stall_timeout`.
    pub const STALLED: &str = "stalled";
    /// An attempt or an undo was cut off as often as the step's `max_interruptions` allows.
    pub const MAX_INTERRUPTIONS: &str = "max_interruptions";
    /// The run was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// A person said no to a step that asked for approval.
    pub const REJECTED: &str = "rejected";
    /// The action itself broke (a panic, or an impossible state): a defect of Rekindle.
    pub const INTERNAL: &str = "internal";
    /// An expression in `with:` or `run_if:` could not be evaluated.
    pub const EXPRESSION: &str = "expression";
    /// A file, database or command of the protected system could not be read.
    pub const SOURCE_UNREADABLE: &str = "source_unreadable";
    /// A tier could not be reached or written.
    pub const TIER_UNAVAILABLE: &str = "tier_unavailable";
    /// The disk is full.
    pub const DISK_FULL: &str = "disk_full";
    /// A recovered component did not meet what is expected of it.
    pub const INVALID: &str = "invalid";
}
