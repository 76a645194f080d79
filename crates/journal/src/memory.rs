//! A journal in memory, with the same semantics: for tests, and for runs that need not survive the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rekindle_model::event::{JournalHead, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;
use tokio::sync::broadcast;

use crate::admit::{self, RunHead};
use crate::api::{Append, Journal, RunFilter, RunSummary, SUBSCRIBER_BACKLOG};
use crate::codec;
use crate::error::JournalError;

/// A journal in memory. Clones share it, so that a test can "open" it again.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    inner: Arc<Mutex<Inner>>,
    records: broadcast::Sender<Arc<Record>>,
}

#[derive(Debug)]
struct Inner {
    head: JournalHead,
    runs: BTreeMap<RunId, Run>,
    blobs: HashMap<Hash32, Vec<u8>>,
}

#[derive(Debug)]
struct Run {
    head: RunHead,
    state: Option<RunState>,
    values: Vec<Vec<u8>>,
}

impl MemoryJournal {
    /// Returns an empty journal.
    pub fn new() -> Self {
        let inner = Inner {
            head: admit::EMPTY,
            runs: BTreeMap::new(),
            blobs: HashMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            records: broadcast::Sender::new(SUBSCRIBER_BACKLOG),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        let id = append.run;
        let mut inner = self.lock();
        let journal = inner.head;
        let (head, mut state) = match inner.runs.get_mut(&id) {
            None => (None, None),
            Some(run) => (Some(run.head.clone()), run.state.take()),
        };
        let admitted = admit::admit(head.as_ref(), &mut state, append, journal);
        if let Some(run) = inner.runs.get_mut(&id) {
            run.state = state.take();
        }
        let admitted = admitted?;
        inner.head = admit::advance(
            journal,
            admitted.entries.iter().map(|(_, value)| value.as_slice()),
        );
        let values = admitted.entries.into_iter().map(|(_, value)| value);
        match inner.runs.get_mut(&id) {
            Some(run) => {
                run.head = admitted.head;
                run.values.extend(values);
            }
            None => {
                inner.runs.insert(
                    id,
                    Run {
                        head: admitted.head,
                        state,
                        values: values.collect(),
                    },
                );
            }
        }
        for record in &admitted.records {
            // There may be no subscriber.
            let _ = self.records.send(Arc::clone(record));
        }
        Ok(admitted
            .records
            .iter()
            .map(|record| Record::clone(record))
            .collect())
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        let inner = self.lock();
        let found = inner.runs.get(&run).ok_or(JournalError::UnknownRun(run))?;
        admit::check_chain(run, &found.values).map(Arc::new)
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        let inner = self.lock();
        let found = inner.runs.get(&run).ok_or(JournalError::UnknownRun(run))?;
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(found.values.iter().skip(after).cloned().collect())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let inner = self.lock();
        let summaries = inner.runs.values().rev().map(|run| &run.head.summary);
        let accepted = summaries.filter(|run| filter.accepts(run)).cloned();
        Ok(accepted.take(filter.limit.unwrap_or(usize::MAX)).collect())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.records.subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        let hash = codec::hash(&bytes);
        self.lock().blobs.insert(hash, bytes);
        Ok(hash)
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.lock()
            .blobs
            .get(&hash)
            .cloned()
            .ok_or(JournalError::UnknownBlob(hash))
    }
}
