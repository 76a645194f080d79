//! What restore needs of a snapshot, so that it can be tested without a vault.

use async_trait::async_trait;
use bytes::Bytes;
use rekindle_model::entry::Entry;
use rekindle_model::id::Hash32;

/// A stretch of a file's content that is stored as one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSpan {
    /// The chunk's id.
    pub id: Hash32,
    /// Its length in bytes, before compression.
    pub len: u32,
}

/// One entry with what is needed to write its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// The entry.
    pub entry: Entry,
    /// Plain (unkeyed) BLAKE3 of a file's whole content; zero for a folder or a symbolic link.
    pub content: Hash32,
    /// A file's content in order; the lengths add up to its size.
    pub chunks: Vec<ChunkSpan>,
}

/// Where a chunk is stored: chunks are fetched in this order within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The pack.
    pub pack: Hash32,
    /// The first byte in it.
    pub offset: u64,
}

/// Why a record or a chunk cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Every tier was asked, and none has a whole copy: what needs it is lost.
    #[error("no tier has a whole copy of it: {0}")]
    Lost(String),
    /// It may be there later: the restore stops and can be resumed.
    #[error("it cannot be read now: {0}")]
    Unavailable(String),
}

/// The records of a snapshot, in the order of their paths.
#[async_trait]
pub trait EntryCursor: Send {
    /// Returns the next record, or none at the end.
    async fn next(&mut self) -> Result<Option<FileRecord>, ContentError>;
}

/// One snapshot: its records and the bytes of its chunks, whichever tier they come from.
#[async_trait]
pub trait ContentStore: Send + Sync {
    /// Returns a cursor that stands after the first `skip` records.
    async fn cursor(&self, skip: u64) -> Result<Box<dyn EntryCursor>, ContentError>;

    /// Returns the plain bytes of a chunk, checked against its id.
    async fn chunk(&self, chunk: ChunkSpan) -> Result<Bytes, ContentError>;

    /// Returns where a chunk is stored, if that is known.
    fn place(&self, chunk: ChunkSpan) -> Option<Place>;
}
