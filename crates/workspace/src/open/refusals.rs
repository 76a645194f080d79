//! Why a workspace cannot be opened, or its owner cannot be asked, with what to do next.

use std::path::Path;

use rekindle_journal::JournalError;
use rekindle_journal_local::Holder;
use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_server::Unreachable;

use crate::error::Error;

/// Returns why the owner cannot be reached. If the owner hangs, the error names its process, so that a person can end
/// it.
pub fn unreachable(error: Unreachable, state: &Path) -> Error {
    let holder = rekindle_journal_local::owner(state).ok().flatten();
    match (&error, holder) {
        (Unreachable::Silent { path }, Some(holder)) => Error::new(
            ProblemKind::Held,
            "owner_silent",
            format!(
                "{holder} owns this workspace and does not answer on {}",
                path.display()
            ),
        )
        .with_all([ends(holder)]),
        _ => Problem::from(error).into(),
    }
}

/// Returns the refusal for a process that holds the workspace and answers nobody.
pub fn answers_nobody(holder: Holder) -> Error {
    Error::new(
        ProblemKind::Held,
        "held",
        format!("{holder} works in this workspace and answers nobody"),
    )
    .with_all([ends(holder)])
}

/// Returns the action that ends a process which holds the workspace and does not answer.
fn ends(holder: Holder) -> NextAction {
    let text = "ends it if you cannot wait: it is safe to kill, its runs are resumable";
    match holder.pid {
        Some(pid) => NextAction::new(Action::EndProcess { pid }, text),
        None => {
            NextAction::advice("wait for its end, or kill it: it is safe to kill, its runs are resumable")
        }
    }
}

/// Returns the error of a wait that a person has stopped.
pub fn interrupted() -> Error {
    let message = "stopped while waiting for another process to let go of this workspace";
    Error::new(ProblemKind::Interrupted, "interrupted", message).with_advice("nothing was begun; try again")
}

/// Returns the refusal of an operation that must write, in a workspace that is read-only. There is nothing to resume:
/// a run that had started keeps its state.
pub(super) fn read_only(error: &JournalError) -> Error {
    Error::new(ProblemKind::Failed, "read_only", format!("cannot {error}")).with_advice(
        "nothing was begun: a run is journaled before it acts. Mount that file system writable, or be the user who owns the \
         workspace. Until then you can look at everything",
    )
}
