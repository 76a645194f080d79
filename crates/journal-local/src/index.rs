//! The thread that brings sled up to the log: commits are durable and acknowledged before they reach it.
//!
//! Whoever reads waits until sled has what was durable when they asked, so that an acknowledged record is always
//! there to be read. While nobody reads, commits are gathered for a moment and become one batch, in which each run's
//! entry is written once.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rekindle_model::event::JournalHead;
use rekindle_model::id::RunId;

use crate::disk::Shared;
use crate::store::RunEntry;
use rekindle_journal::JournalError;
use rekindle_journal::codec::Key;

/// How long commits are gathered. Each batch slows a commit or two that are made meanwhile, so there should be few of
/// them; nobody notices, since whoever reads has it applied at once, and after a crash it is read from the log.
const GATHER: Duration = Duration::from_millis(200);
/// How many records are not gathered any longer: what sled applies in a few milliseconds.
const BATCH: usize = 2048;
/// How many records sled may be behind; the writer waits for it then. They are in memory, some hundred bytes each, and
/// are applied again from the log after a crash.
const BEHIND: usize = 16 * 1024;

/// Durable commits.
pub(crate) struct Commit {
    /// The head after the last of them.
    pub(crate) head: JournalHead,
    pub(crate) entries: Vec<(Key, Vec<u8>)>,
    /// Where the runs stand then.
    pub(crate) runs: HashMap<RunId, RunEntry>,
}

/// How far sled has come, and what it has yet to get.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    /// Told to the thread: there is something to do.
    wake: Condvar,
    /// Told to everybody else: it has come further, or has ended.
    moved: Condvar,
}

struct State {
    gathered: Option<Commit>,
    applied: u64,
    /// The last commit that somebody waits for.
    wanted: u64,
    /// Whether nothing more will be handed over.
    closing: bool,
    /// Whether it will come no further.
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

    /// Returns whether what is gathered is to be applied at once.
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

    /// Waits until sled has a commit, which is durable. Returns false where it never will.
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

    /// Hands a commit over. Returns false where the thread has ended by an error.
    fn add(&self, commit: Commit) -> bool {
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

    /// Returns what has been gathered, once it is worth a batch; none once there will be no more.
    fn gather(&self) -> Option<Commit> {
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

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.moved.notify_all();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}

/// The thread. Dropping it waits until sled has everything.
pub(crate) struct Indexer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let followed = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("journal-index".into())
            .spawn(move || follow(&followed))
            .map_err(|error| JournalError::io("start the indexer of", &shared.log_dir, error))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands a durable commit over. Returns false where the thread has ended by an error, which has poisoned the
    /// journal.
    pub(crate) fn apply(&self, commit: Commit) -> bool {
        self.shared.applied.add(commit)
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.shared.applied.state().closing = true;
        self.shared.applied.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended its progress, which readers are told of.
            let _ = thread.join();
        }
    }
}

/// Marks the end of the progress however the thread ends, so that nobody waits for ever.
struct Ends<'a>(&'a Progress);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.tell(|state| state.ended = true);
    }
}

fn follow(shared: &Shared) {
    let _ends = Ends(&shared.applied);
    while let Some(Commit { head, entries, runs }) = shared.applied.gather() {
        let records = entries.iter().map(|(key, value)| (key, value.as_slice()));
        let applied = shared
            .store
            .apply(head, records, runs.iter().map(|(run, entry)| (*run, entry)));
        if let Err(error) = applied {
            // The log has it, and the next open brings it to sled. Until then nobody could read what was acknowledged.
            shared.poison(&error);
            return;
        }
        shared.applied.tell(|state| state.applied = head.commit);
    }
}
