//! Imports runs from a file, or from another copy, into a journal.

use chrono::{DateTime, Utc};
use rekindle_model::id::{Hash32, RunId};
use serde::Serialize;

use super::{ArchiveError, Bundle};

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imports {
    /// The new runs.
    pub imported: Vec<RunId>,
    /// The runs whose lost records the import restored.
    pub mended: Vec<RunId>,
    /// The runs that the journal had already, record for record.
    pub skipped: Vec<RunId>,
    /// How many records were written.
    pub records: u64,
    /// How many blobs came with the imported runs.
    pub blobs: u64,
}

/// A journal that imports whole runs while nobody appends to it. The functions block.
pub trait Import {
    /// Imports a bundle that [`Bundle::decode`] or [`Bundle::gather`] has checked. If interrupted, call it
    /// again.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] and [`ArchiveError::StillLost`], before anything is written.
    fn import(&mut self, bundle: &Bundle, archive: Hash32) -> Result<Imports, ArchiveError>;

    /// Mends a quarantined run with another copy. Returns how many records the run has then; 0 if there was
    /// nothing to mend. It leaves out records of the copy beyond those that the journal knows of: another
    /// workspace may have appended them.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] and [`ArchiveError::StillLost`], before anything is written.
    fn mend(&mut self, run: RunId, copy: &Bundle, source: Hash32) -> Result<u64, ArchiveError>;

    /// Replaces the journal's records of a bundle's runs: another workspace has continued the runs, so later
    /// records here do not count. Returns the changed runs.
    ///
    /// # Errors
    /// The journal cannot be written.
    fn replace(
        &mut self,
        bundle: &Bundle,
        archive: Hash32,
        now: DateTime<Utc>,
    ) -> Result<Vec<RunId>, ArchiveError>;
}
