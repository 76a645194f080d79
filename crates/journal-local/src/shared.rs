//! The state that the writer, the index thread and the readers of a journal share.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use rekindle_journal::JournalError;
use rekindle_model::event::{JournalHead, Record};
use tokio::sync::broadcast;

use crate::blobs::Blobs;
use crate::lock::Lock;
use crate::progress::Progress;
use crate::recent::Recent;
use crate::store::Store;

/// The state that the threads share. The lock is dropped last.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) log_dir: PathBuf,
    pub(crate) blobs: Blobs,
    /// The last commit that is durable.
    pub(crate) head: Mutex<JournalHead>,
    /// How many of its commits sled has.
    pub(crate) applied: Progress,
    pub(crate) records: broadcast::Sender<Arc<Record>>,
    pub(crate) counters: Counters,
    /// The run that was read last.
    pub(crate) recent: Recent,
    /// The error that ended this journal.
    pub(crate) poison: OnceLock<JournalError>,
    /// Held until everything else is dropped.
    pub(crate) lock: Arc<Lock>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) largest_group: AtomicU64,
}

impl Shared {
    /// Ends the journal, and returns the error that every caller gets from now on.
    pub(crate) fn poison(&self, error: &JournalError) -> JournalError {
        poisoned(self.poison.get_or_init(|| error.clone()))
    }

    pub(crate) fn check_poison(&self) -> Result<(), JournalError> {
        self.poison.get().map_or(Ok(()), |error| Err(poisoned(error)))
    }
}

/// Returns the error for callers after another error has ended the journal. A full disk stays a full disk: a
/// person can free space, and then the run continues.
fn poisoned(error: &JournalError) -> JournalError {
    match error {
        JournalError::DiskFull { .. } | JournalError::Poisoned { .. } => error.clone(),
        other => JournalError::Poisoned {
            why: other.to_string(),
        },
    }
}
