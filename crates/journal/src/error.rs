//! The errors of a journal's operations.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::IllegalHistory;

/// An operation of an open journal failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The run has new records since the caller read it, or another process has adopted it.
    #[error(
        "run {run} is at record {found_seq} of epoch {found_epoch}, not where the append expected it; \
         read it again"
    )]
    Conflict {
        /// The run.
        run: RunId,
        /// The number of its newest record; 0 when there is no such run.
        found_seq: u64,
        /// Its epoch; 0 when there is no such run.
        found_epoch: u64,
    },
    /// The events do not fit the run's history.
    #[error("append an event that does not fit: {0}")]
    Illegal(#[from] IllegalHistory),
    /// An append without events.
    #[error("append nothing to run {0}; give at least one event")]
    Empty(RunId),
    /// A record would exceed the limit.
    #[error("write event {event} of run {run}: {bytes} bytes, at most {limit}; put its value into a blob")]
    TooLarge {
        /// The run.
        run: RunId,
        /// The event's name.
        event: &'static str,
        /// The size that the record would have, in bytes.
        bytes: usize,
        /// The most that a record may have, in bytes.
        limit: usize,
    },
    /// An event that could be written but not read back.
    #[error("encode event {event} of run {run}: {why}")]
    Unencodable {
        /// The run.
        run: RunId,
        /// The event's name.
        event: &'static str,
        /// The reason.
        why: String,
    },
    /// No run of that id.
    #[error("find run {0} in this workspace")]
    UnknownRun(RunId),
    /// No intact copy of one of the run's records exists. Other runs are not affected.
    #[error("read run {run}: {why}; it is quarantined, other runs are not affected")]
    Quarantined {
        /// The run.
        run: RunId,
        /// The finding.
        why: String,
    },
    /// A record is damaged.
    #[error("read run {run}, record {seq}: {why}")]
    Corrupt {
        /// The run.
        run: RunId,
        /// The record's number.
        seq: u64,
        /// The finding.
        why: String,
    },
    /// A record was written by a newer Rekindle.
    #[error(
        "read run {run}, record {seq}: format {found}, this version reads up to {supported}; use a newer Rekindle"
    )]
    NewerFormat {
        /// The run.
        run: RunId,
        /// The record's number.
        seq: u64,
        /// The format found.
        found: u8,
        /// The newest format that this version reads.
        supported: u8,
    },
    /// An earlier error has ended this journal. It has acknowledged nothing since.
    #[error("use the journal after it failed: {why}")]
    Poisoned {
        /// The first error.
        why: String,
    },
    /// No space is left. The journal is poisoned.
    #[error("write {}: no space left on the device", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system refused. A failed write poisons the journal.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The journal is open for reading only.
    #[error("{what} a journal that is open for reading only")]
    ReadOnly {
        /// The refused operation.
        what: &'static str,
    },
    /// The backend failed. Opening the journal again may repair it.
    #[error("use the journal: {0}")]
    Backend(String),
    /// No blob of that hash.
    #[error("find blob {0}")]
    UnknownBlob(Hash32),
    /// The hash of a blob's bytes is not its name.
    #[error("read blob {expected}: its bytes hash to {found}")]
    BlobCorrupt {
        /// The hash asked for.
        expected: Hash32,
        /// The hash of the bytes found.
        found: Hash32,
    },
}

impl JournalError {
    /// Returns a typed error for a failed system call. A full disk or quota has a variant of its own.
    pub fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.to_owned(),
            },
            _ => Self::Io {
                what,
                path: path.to_owned(),
                source: Arc::new(source),
            },
        }
    }
}
