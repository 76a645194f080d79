//! The log of a workspace that another process owns.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_journal::{Append, Journal, JournalError, RunFilter, RunSummary};
use rekindle_journal_local::{LogView, OpenError};
use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};
use tokio::sync::broadcast;

/// The log of a workspace that another process owns. It is read again for each question, because it grows.
pub(super) struct LogOfAnother(pub(super) PathBuf);

impl LogOfAnother {
    async fn view(&self) -> Result<LogView, JournalError> {
        match LogView::open(&self.0).await {
            Ok((view, _)) => Ok(view),
            Err(OpenError::Journal(error)) => Err(error),
            Err(error) => Err(JournalError::Backend(error.to_string())),
        }
    }
}

#[async_trait]
impl Journal for LogOfAnother {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        self.view().await?.append(append).await
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.view().await?.read(run).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        Journal::values(&self.view().await?, run, after).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.view().await?.runs(filter).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        // A follower of a run asks the run's owner.
        broadcast::Sender::new(1).subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.view().await?.put_blob(bytes).await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.view().await?.blob(hash).await
    }
}
