//! The thread that brings sled up to the log: commits are durable and acknowledged before they reach it.
//!
//! Whoever reads waits until sled has what was durable when they asked, so that an acknowledged record is always
//! there to be read. While it falls behind, several commits become one batch, in which each run's entry is written
//! once.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rekindle_model::event::JournalHead;
use rekindle_model::id::RunId;

use crate::codec::Key;
use crate::disk::Shared;
use crate::error::JournalError;
use crate::store::RunEntry;

/// How many commits sled may be behind; the writer waits for it then. What is behind is in memory, and is applied
/// again from the log after a crash.
const BEHIND: usize = 64;
/// How many records a batch has before no further commit joins it: what sled applies in a few milliseconds.
const BATCH: usize = 1024;

/// A durable commit.
pub(crate) struct Commit {
    pub(crate) head: JournalHead,
    pub(crate) entries: Vec<(Key, Vec<u8>)>,
    pub(crate) runs: HashMap<RunId, RunEntry>,
}

/// How far sled has come.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    applied: u64,
    /// Whether it will come no further.
    ended: bool,
}

impl Progress {
    pub(crate) fn at(commit: u64) -> Self {
        Self {
            state: Mutex::new(State {
                applied: commit,
                ended: false,
            }),
            moved: Condvar::new(),
        }
    }

    /// Waits until sled has a commit. Returns false where it never will.
    pub(crate) fn wait_for(&self, commit: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.applied < commit && !state.ended {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.applied >= commit
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }
}

/// The way to the thread. Dropping it waits until sled has everything.
pub(crate) struct Indexer {
    queue: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let (queue, commits) = mpsc::sync_channel(BEHIND);
        let log_dir = shared.log_dir.clone();
        let thread = thread::Builder::new()
            .name("journal-index".into())
            .spawn(move || follow(&shared, &commits))
            .map_err(|error| JournalError::io("start the indexer of", &log_dir, error))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Hands a durable commit over. Returns false where the thread has ended by an error, which has poisoned the
    /// journal.
    pub(crate) fn apply(&self, commit: Commit) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.send(commit).is_ok())
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.queue = None;
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

fn follow(shared: &Shared, commits: &Receiver<Commit>) {
    let _ends = Ends(&shared.applied);
    while let Ok(mut batch) = commits.recv() {
        while batch.entries.len() < BATCH
            && let Ok(next) = commits.try_recv()
        {
            batch.head = next.head;
            batch.entries.extend(next.entries);
            batch.runs.extend(next.runs);
        }
        let Commit { head, entries, runs } = &batch;
        let records = entries.iter().map(|(key, value)| (key, value.as_slice()));
        let applied = shared
            .store
            .apply(*head, records, runs.iter().map(|(run, entry)| (*run, entry)));
        if let Err(error) = applied {
            // The log has it, and the next open brings it to sled. Until then nobody could read what was acknowledged.
            shared.poison(&error);
            return;
        }
        shared.applied.tell(|state| state.applied = head.commit);
    }
}
