//! The errors of importing a file of runs.

use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::IllegalHistory;

use crate::error::JournalError;

/// A file of runs cannot be imported. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It has neither form, or is cut short or changed.
    #[error("read the archive at byte {at}: {why}; take another copy of it")]
    Damaged {
        /// The position in bytes.
        at: usize,
        /// The finding.
        why: String,
    },
    /// It was written by a newer Rekindle.
    #[error("read the archive: format {found}, this version reads up to {supported}; use a newer Rekindle")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The hash of a blob's bytes is not its name.
    #[error("read the archive: blob {expected} hashes to {found}; take another copy of it")]
    Blob {
        /// The name of the blob in the archive.
        expected: Hash32,
        /// The hash of its bytes.
        found: Hash32,
    },
    /// A blob is missing.
    #[error("read the archive: run {run} refers to blob {hash}, which is not in it; take another copy of it")]
    MissingBlob {
        /// The run.
        run: RunId,
        /// The blob.
        hash: Hash32,
    },
    /// A run's records contradict each other.
    #[error("read the archive: {0}")]
    History(IllegalHistory),
    /// The JSON of a record does not match its bytes.
    #[error("read the archive: record {seq} of run {run}: {why}; export it again, or as an archive")]
    Line {
        /// The run.
        run: RunId,
        /// The record's number.
        seq: u64,
        /// The finding.
        why: &'static str,
    },
    /// The journal has a different run with the same id.
    #[error(
        "import run {run}: this journal has a run of that id, which differs from record {seq} on; nothing was \
         imported, leave that run out or import into another workspace"
    )]
    Differs {
        /// The run.
        run: RunId,
        /// The first record that differs.
        seq: u64,
    },
    /// The journal has lost a record of the run, and the file lacks it too.
    #[error(
        "mend run {run}: record {seq} is lost in this journal, and is not in what it was to be mended from; nothing \
         was changed, take a later copy of the run"
    )]
    StillLost {
        /// The run.
        run: RunId,
        /// The first record that both lack.
        seq: u64,
    },
    /// A record of the file is damaged, or the journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
