//! The journal of a workspace, once it is open.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use rekindle_journal::{Append, Journal, JournalError, RunFilter, RunSummary};
use rekindle_model::event::{JournalHead, Record};
use rekindle_model::id::{Hash32, RunId};
use tokio::sync::{broadcast, oneshot};

use crate::index::Indexer;
use crate::log::Log;
use crate::queue::Queue;
use crate::shared::{Counters, Shared};
use crate::store::RunEntry;
use crate::writer::{Request, Writer};

/// The journal of a workspace: a write-ahead log, indexed by sled. The crate's documentation shows the way of an append.
///
/// Dropping it waits until all queued appends are committed, as [`LocalJournal::close`] does.
pub struct LocalJournal {
    shared: Arc<Shared>,
    pub(crate) queue: Queue,
}

/// Counts of the writer since the journal was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Commits, each with one sync.
    pub commits: u64,
    /// Appends acknowledged.
    pub appends: u64,
    /// Records in them.
    pub records: u64,
    /// The most appends that shared one commit.
    pub largest_group: u64,
}

impl LocalJournal {
    pub(crate) fn start(shared: Shared, log: Log) -> Result<Self, JournalError> {
        let shared = Arc::new(shared);
        let indexer = Indexer::start(Arc::clone(&shared))?;
        let writer = Writer::new(Arc::clone(&shared), log, indexer);
        let queue = Queue::start(Arc::clone(&shared), writer)?;
        Ok(Self { shared, queue })
    }

    /// Commits all queued appends, closes sled and releases the lock.
    pub async fn close(self) {
        // If the writer panicked, its callers have their error already.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// Returns the last commit.
    pub fn head(&self) -> JournalHead {
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the writer's counts since the journal was opened.
    pub fn stats(&self) -> Stats {
        let Counters {
            commits,
            appends,
            records,
            largest_group,
        } = &self.shared.counters;
        let [commits, appends, records, largest_group] =
            [commits, appends, records, largest_group].map(|counter| counter.load(Ordering::Relaxed));
        Stats {
            commits,
            appends,
            records,
            largest_group,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|error| Err(JournalError::Backend(error.to_string())))
    }
}

impl fmt::Debug for LocalJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal in {}", self.shared.log_dir.display())
    }
}

#[async_trait]
impl Journal for LocalJournal {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Request { append, reply });
        answer.await.unwrap_or_else(|_| {
            Err(self
                .shared
                .poison(&JournalError::Backend("the writer has ended unexpectedly".into())))
        })
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.blocking(move |shared| shared.read(run)).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.blocking(move |shared| shared.values(run, after)).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let filter = filter.clone();
        self.blocking(move |shared| {
            shared.await_index()?;
            let mut runs = Vec::new();
            for run in shared.store.runs() {
                if filter.limit.is_some_and(|limit| runs.len() >= limit) {
                    break;
                }
                let (id, entry) = run?;
                let why = match &entry {
                    RunEntry::Broken { why, .. } => Some(why),
                    RunEntry::Whole(_) => None,
                };
                let whole = entry.head().map(|head| &head.summary);
                runs.extend(Some(RunSummary::listed(id, whole, why)).filter(|run| filter.accepts(run)));
            }
            Ok(runs)
        })
        .await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.shared.records.subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.blocking(move |shared| {
            shared.check_poison()?;
            shared.blobs.put(&bytes)
        })
        .await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.blocking(move |shared| shared.blobs.get(hash)).await
    }
}
