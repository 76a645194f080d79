//! The thread that applies durable commits to sled. A commit is acknowledged before it reaches sled.
//!
//! A reader waits until sled has all that was durable when it asked, so it always finds an acknowledged record. While
//! there is no reader, the thread gathers commits for a moment and applies them as one batch, which writes each run's
//! entry once.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rekindle_journal::JournalError;

use crate::progress::{Commit, Progress};
use crate::shared::Shared;

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

    /// Hands a durable commit over. Returns false if the thread has ended with an error, which has poisoned
    /// the journal.
    pub(crate) fn apply(&self, commit: Commit) -> bool {
        self.shared.applied.add(commit)
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.shared.applied.close();
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, the progress has ended and every reader gets an error.
            let _ = thread.join();
        }
    }
}

/// Ends the progress even if the thread panics, so that no reader waits for ever.
struct Ends<'a>(&'a Progress);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
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
            // The log has the commit, and the next open applies it to sled. Until then no reader could see it.
            shared.poison(&error);
            return;
        }
        shared.applied.advance_to(head.commit);
    }
}
