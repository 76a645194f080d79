//! The undo of a step's work, and its states.
//!
//! ```text
//!          UndoStarted           UndoSucceeded
//! owed ────────────────► Running ─────────────► Done
//!              ▲          │    │ UndoStuck
//!  UndoStarted │          │    └──────────────► Stuck ─ RetryRequested ─► Due ─ UndoStarted ─► Running
//!           Waiting ◄─────┘ UndoFailed
//! ```
//! A step owes its undo from its first start until the undo is done, even if the step fails. If an undo is cut off, it
//! starts again: running it twice does no harm.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::time::Stamp;

/// The undo of the step's effects since its last undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// Its state.
    #[serde(flatten)]
    pub state: UndoState,
    /// The number of attempts begun, including those that were cut off.
    pub attempts: u32,
    /// The number of failed attempts since a person last asked for another one.
    pub failures: u32,
    /// How many of the newest attempts, one after another, were cut off.
    #[serde(default, skip_serializing_if = "crate::step::is_zero")]
    pub cut_off: u32,
}

/// The state of an undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum UndoState {
    /// An attempt has begun and has no outcome: it runs now, or it was cut off.
    Running,
    /// An attempt failed; the next is due.
    Waiting {
        /// When.
        retry_at: DateTime<Utc>,
        /// When the last one failed.
        since: Stamp,
        /// Why.
        error: Failure,
    },
    /// A person asked for it to be tried again.
    Due,
    /// It failed for good: a person must repair the cause.
    Stuck {
        /// Why.
        error: Failure,
    },
    /// The step's effects are undone.
    Done,
}

impl Undo {
    /// Returns how many attempts in a row were cut off, once another attempt begins.
    pub fn cut_off_by_next(&self) -> u32 {
        match self.state {
            UndoState::Running => self.cut_off + 1,
            _ => 0,
        }
    }

    /// Returns why it failed for good, if it did.
    pub fn stuck(&self) -> Option<&Failure> {
        match &self.state {
            UndoState::Stuck { error } => Some(error),
            _ => None,
        }
    }
}
