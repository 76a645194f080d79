//! An error on its way from one process to another, or from the application to its faces.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::next_action::{Action, NextAction};

/// The kind of an error. Each face shows it in its own way: as an exit code, or as an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request or a file is invalid; nothing was begun.
    Invalid,
    /// It was tried and failed.
    Failed,
    /// It was interrupted and can be resumed.
    Interrupted,
    /// Data is lost, or the integrity of what is stored is broken.
    DataLost,
    /// Another process holds the workspace or the run.
    Held,
}

/// What went wrong, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// A stable word for programs (`usage`, `invalid_file`, `held` …).
    pub code: Cow<'static, str>,
    /// What happened, for people.
    pub message: String,
    /// What to do next, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<NextAction>,
    /// Located findings of a file, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl Problem {
    /// Returns a problem without advice.
    pub fn new(kind: ProblemKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            next: Vec::new(),
            details: None,
        }
    }

    /// Adds advice that needs no action of Rekindle.
    #[must_use]
    pub fn with_advice(mut self, text: impl Into<String>) -> Self {
        self.next.push(NextAction::advice(text));
        self
    }

    /// Adds an action, and what it is good for.
    #[must_use]
    pub fn with_next(mut self, action: Action, text: impl Into<String>) -> Self {
        self.next.push(NextAction::new(action, text));
        self
    }
}
