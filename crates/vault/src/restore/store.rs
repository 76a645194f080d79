//! The interface through which a restore reads a snapshot; tests implement it without a vault.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::VaultError;
use crate::object::ChunkRef;
use crate::reader::{ChunkPlace, EntryStream, Fetched, SnapshotReader};
use crate::snapshot::EntryRecord;

/// Why a record or a chunk cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Every location was asked, and none has a whole copy: the files that need it are lost.
    #[error("{0}")]
    Lost(String),
    /// It may be there later: the restore stops and can be resumed.
    #[error("{0}")]
    Unavailable(String),
}

/// The records of a snapshot, in the order of their paths.
#[async_trait]
pub trait EntryCursor: Send + Sync {
    /// Returns the next record, or none at the end.
    async fn next(&mut self) -> Result<Option<EntryRecord>, ContentError>;

    /// Returns where the next record begins, for [`ContentStore::cursor`].
    fn position(&self) -> u64;
}

/// One snapshot: its records and the bytes of its chunks, from any location.
#[async_trait]
pub trait ContentStore: Send + Sync {
    /// Returns a cursor at a position that an earlier cursor gave; 0 is the beginning.
    fn cursor(&self, position: u64) -> Box<dyn EntryCursor>;

    /// Returns a chunk, its plain bytes checked against its id and length.
    async fn chunk(&self, chunk: &ChunkRef) -> Result<Fetched, ContentError>;

    /// Returns the tiers that gave the entries so far; see [`SnapshotReader::listed_from`].
    fn listed_from(&self) -> BTreeMap<Arc<str>, Vec<String>>;

    /// Returns the place of a chunk, if known; a window fetches its chunks in this order.
    fn place(&self, chunk: &ChunkRef) -> Option<ChunkPlace>;

    /// Returns the bytes of all files.
    fn bytes(&self) -> u64;
}

#[async_trait]
impl EntryCursor for EntryStream {
    async fn next(&mut self) -> Result<Option<EntryRecord>, ContentError> {
        Self::next(self).await.map_err(told)
    }

    fn position(&self) -> u64 {
        Self::position(self)
    }
}

#[async_trait]
impl ContentStore for SnapshotReader {
    fn cursor(&self, position: u64) -> Box<dyn EntryCursor> {
        Box::new(self.entries_at(position))
    }

    async fn chunk(&self, chunk: &ChunkRef) -> Result<Fetched, ContentError> {
        self.fetch(chunk).await.map_err(told)
    }

    fn listed_from(&self) -> BTreeMap<Arc<str>, Vec<String>> {
        Self::listed_from(self)
    }

    fn place(&self, chunk: &ChunkRef) -> Option<ChunkPlace> {
        Self::place(self, chunk)
    }

    fn bytes(&self) -> u64 {
        self.snapshot().bytes
    }
}

fn told(error: VaultError) -> ContentError {
    match error {
        VaultError::ChunkLost { .. } | VaultError::Object { .. } => ContentError::Lost(error.to_string()),
        other => ContentError::Unavailable(other.to_string()),
    }
}
