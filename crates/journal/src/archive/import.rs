//! Bringing runs from a file, or from a copy elsewhere, into a journal.

use chrono::{DateTime, Utc};
use rekindle_model::id::{Hash32, RunId};
use serde::Serialize;

use super::{ArchiveError, Bundle};

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imports {
    /// The runs that are new in the journal.
    pub imported: Vec<RunId>,
    /// The runs of which it had lost a record, and has no more.
    pub mended: Vec<RunId>,
    /// The runs that it had already, record for record.
    pub skipped: Vec<RunId>,
    /// How many records were written.
    pub records: u64,
    /// How many blobs the imported runs came with.
    pub blobs: u64,
}

/// A journal that takes whole runs from elsewhere, while nobody appends to it. The functions block.
pub trait Import {
    /// Imports a bundle that [`Bundle::decode`] or [`Bundle::gather`] has checked. Cut off, it can be done again.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] and [`ArchiveError::StillLost`] before anything is written.
    fn import(&mut self, bundle: &Bundle, archive: Hash32) -> Result<Imports, ArchiveError>;

    /// Mends a quarantined run by a copy from elsewhere, and returns how many records the run has then; 0 if there was
    /// nothing to mend. Records of the copy beyond those that the journal knows of are left out: another workspace may
    /// have appended them.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] and [`ArchiveError::StillLost`] before anything is written.
    fn mend(&mut self, run: RunId, copy: &Bundle, source: Hash32) -> Result<u64, ArchiveError>;

    /// Replaces what the journal has of a bundle's runs: another workspace has gone on with them, and what was appended
    /// here since does not count. Returns the runs that were changed.
    ///
    /// # Errors
    /// A journal that takes nothing.
    fn replace(
        &mut self,
        bundle: &Bundle,
        archive: Hash32,
        now: DateTime<Utc>,
    ) -> Result<Vec<RunId>, ArchiveError>;
}
