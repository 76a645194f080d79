//! The notices of an operation at work. The operation returns its result; a notice is for a person to see before that.

use std::fmt;
use std::sync::Arc;

use rekindle_model::next_action::{Action, NextAction};

/// Something that a person should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How urgent it is.
    pub severity: Severity,
    /// What happened.
    pub text: String,
    /// What to do about it.
    pub next: Vec<NextAction>,
}

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The operation continues as it should.
    Info,
    /// Something is not as it should be; the operation continues.
    Warning,
}

impl Notice {
    /// Returns a notice that nothing need be done about.
    pub fn info(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            text: text.into(),
            next: Vec::new(),
        }
    }

    /// Returns a warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::info(text)
        }
    }

    /// Adds an action, and what it is good for.
    #[must_use]
    pub fn with_next(mut self, action: Action, text: impl Into<String>) -> Self {
        self.next.push(NextAction::new(action, text));
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_all(mut self, next: impl IntoIterator<Item = NextAction>) -> Self {
        self.next.extend(next);
        self
    }
}

/// The listener of notices. Clones are the same listener.
#[derive(Clone)]
pub struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

impl Notices {
    /// Returns a listener.
    pub fn new(listener: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Returns a listener that hears nothing.
    pub fn none() -> Self {
        Self::new(|_| ())
    }

    /// Gives a notice.
    pub fn give(&self, notice: Notice) {
        (self.0)(notice);
    }

    /// Gives a notice that nothing need be done about.
    pub fn say(&self, text: impl AsRef<str>) {
        self.give(Notice::info(text.as_ref()));
    }

    /// Gives a warning.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.give(Notice::warning(text.as_ref()));
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
