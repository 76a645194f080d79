//! How many commits sled has, and the commits that wait for it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekindle_journal::codec::Key;
use rekindle_model::event::JournalHead;
use rekindle_model::id::RunId;

use crate::store::RunEntry;

/// How long commits are gathered. Each batch slows one or two concurrent commits, so there should be few.
/// Nobody notices the delay: a reader makes the thread apply at once, and after a crash the next open reads
/// the log.
const GATHER: Duration = Duration::from_millis(200);
/// A batch has at most about this many records; sled applies them in a few milliseconds.
const BATCH: usize = 2048;
/// How many records sled may lag behind before the writer waits for it. They are in memory, some hundred
/// bytes each.
const BEHIND: usize = 16 * 1024;

/// Durable commits.
pub(crate) struct Commit {
    /// The head after the last of them.
    pub(crate) head: JournalHead,
    pub(crate) entries: Vec<(Key, Vec<u8>)>,
    /// The entries of their runs after the last of them.
    pub(crate) runs: HashMap<RunId, RunEntry>,
}

/// How many commits sled has, and which ones it still has to get.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    /// Wakes the index thread: there are commits to apply.
    wake: Condvar,
    /// Wakes everybody who waits for the index thread: it has advanced, or has ended.
    moved: Condvar,
}

struct State {
    gathered: Option<Commit>,
    applied: u64,
    /// The newest commit that a reader waits for.
    wanted: u64,
    /// Whether no more commits will come.
    closing: bool,
    /// Whether the thread has ended.
    ended: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "applied up to commit {}", self.applied)
    }
}

impl State {
    fn behind(&self) -> usize {
        self.gathered.as_ref().map_or(0, |commit| commit.entries.len())
    }

    /// Returns whether to apply the gathered commits at once.
    fn is_urgent(&self) -> bool {
        self.closing || self.wanted > self.applied || self.behind() >= BATCH
    }
}

impl Progress {
    pub(crate) fn at(commit: u64) -> Self {
        let state = State {
            gathered: None,
            applied: commit,
            wanted: commit,
            closing: false,
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            moved: Condvar::new(),
        }
    }

    /// Waits until sled has a durable commit. Returns false if it never will.
    pub(crate) fn wait_for(&self, commit: u64) -> bool {
        let mut state = self.state();
        if state.applied < commit {
            state.wanted = state.wanted.max(commit);
            self.wake.notify_one();
        }
        while state.applied < commit && !state.ended {
            state = wait(&self.moved, state);
        }
        state.applied >= commit
    }

    /// Returns the last commit that sled has.
    pub(crate) fn applied(&self) -> u64 {
        self.state().applied
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a commit over. Returns false if the thread has ended with an error.
    pub(crate) fn add(&self, commit: Commit) -> bool {
        let mut state = self.state();
        while state.behind() >= BEHIND && !state.ended {
            state = wait(&self.moved, state);
        }
        let idle = match &mut state.gathered {
            Some(gathered) => {
                gathered.head = commit.head;
                gathered.entries.extend(commit.entries);
                gathered.runs.extend(commit.runs);
                false
            }
            none => {
                *none = Some(commit);
                true
            }
        };
        if idle || state.is_urgent() {
            self.wake.notify_one();
        }
        !state.ended
    }

    /// Waits until the gathered commits are worth a batch, and returns them; none if no more will come.
    pub(crate) fn gather(&self) -> Option<Commit> {
        let mut state = self.state();
        while state.gathered.is_none() {
            if state.closing {
                return None;
            }
            state = wait(&self.wake, state);
        }
        let hurried = self
            .wake
            .wait_timeout_while(state, GATHER, |state| !state.is_urgent());
        hurried.unwrap_or_else(PoisonError::into_inner).0.gathered.take()
    }

    /// Notes that sled has every commit up to this one.
    pub(crate) fn advance_to(&self, commit: u64) {
        self.state().applied = commit;
        self.moved.notify_all();
    }

    /// Lets the index thread end once it has applied everything.
    pub(crate) fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
    }

    /// Wakes all waiting threads: sled will apply no more.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.moved.notify_all();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}
