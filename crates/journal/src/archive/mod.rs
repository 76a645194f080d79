//! Runs outside of a journal: exported to a file and read back from it, whole or not at all.
//!
//! A [`Bundle`] is the content of such a file: each run's records byte for byte, and every blob that they
//! refer to. It has two forms. [`binary`] has the record bytes as the log has them. [`lines`] is JSON for
//! people and their programs, and gives the same bytes again. Both end with a BLAKE3 hash over everything
//! before it. `FORMAT.md` gives the bytes.

mod binary;
mod error;
mod import;
mod lines;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;

use crate::admit;
use crate::api::Journal;
use crate::blob_refs::blobs_of;
use crate::codec;
use crate::error::JournalError;

pub use binary::ARCHIVE_FORMAT;
pub use error::ArchiveError;
pub use import::{Import, Imports};

/// The form of a file of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// The bytes of the log.
    Archive,
}

/// Runs with their blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Each run's records, oldest first, byte for byte.
    pub runs: BTreeMap<RunId, Vec<Vec<u8>>>,
    /// The blobs that they refer to.
    pub blobs: BTreeMap<Hash32, Vec<u8>>,
}

/// The size of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Runs.
    pub runs: u64,
    /// Their records.
    pub records: u64,
    /// The blobs that they refer to.
    pub blobs: u64,
}

impl Bundle {
    /// Exports runs from a journal, whole or not at all.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`]; [`JournalError::Quarantined`] for a run that has lost a record; a blob
    /// that is lost.
    pub async fn of(
        journal: &dyn Journal,
        runs: impl IntoIterator<Item = RunId, IntoIter: Send>,
    ) -> Result<Self, JournalError> {
        let mut bundle = Self::default();
        for run in runs {
            let values = journal.values(run, 0).await?;
            for hash in admit::check_chain(run, &values)?
                .iter()
                .flat_map(|record| blobs_of(&record.event))
            {
                if let Entry::Vacant(new) = bundle.blobs.entry(hash) {
                    new.insert(journal.blob(hash).await?);
                }
            }
            bundle.runs.insert(run, values);
        }
        Ok(bundle)
    }

    /// Builds a bundle from a copy of one run: its records, oldest first, and its blobs. Leaves out blobs
    /// that no record refers to.
    ///
    /// # Errors
    /// A record, a blob or a history that fails its check, as [`Bundle::decode`].
    pub fn gather(
        run: RunId,
        values: Vec<Vec<u8>>,
        blobs: BTreeMap<Hash32, Vec<u8>>,
    ) -> Result<Self, ArchiveError> {
        let mut bundle = Self {
            runs: BTreeMap::from([(run, values)]),
            blobs,
        };
        bundle.check()?;
        let mut wanted = BTreeSet::new();
        for (run, values) in &bundle.runs {
            let records = admit::check_chain(*run, values)?;
            wanted.extend(records.iter().flat_map(|record| blobs_of(&record.event)));
        }
        bundle.blobs.retain(|hash, _| wanted.contains(hash));
        Ok(bundle)
    }

    /// Adds the runs and blobs of another.
    pub fn extend(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.blobs.extend(other.blobs);
    }

    /// Returns a blob; none if the bundle lacks it.
    pub fn blob(&self, hash: Hash32) -> Option<&[u8]> {
        self.blobs.get(&hash).map(Vec::as_slice)
    }

    /// Returns the records of a run, byte for byte; none if the bundle lacks the run.
    pub fn values(&self, run: RunId) -> &[Vec<u8>] {
        self.runs.get(&run).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the size of the bundle.
    pub fn counts(&self) -> Counts {
        Counts {
            runs: self.runs.len() as u64,
            records: self.runs.values().map(|values| values.len() as u64).sum(),
            blobs: self.blobs.len() as u64,
        }
    }

    /// Returns the bytes of a file with this bundle, and the hash at its end.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn encode(&self, format: Format) -> Result<(Vec<u8>, Hash32), JournalError> {
        match format {
            Format::Archive => Ok(binary::encode(self)),
            Format::Jsonl => lines::encode(self),
        }
    }

    /// Reads a file of either form and checks all of it: its hash and counts, each record, each run's chain
    /// and history, each blob. Also returns the hash at its end.
    ///
    /// # Errors
    /// The first fault and its position.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Hash32), ArchiveError> {
        let (bundle, hash) = match binary::is_archive(bytes) {
            true => binary::decode(bytes)?,
            false => lines::decode(bytes)?,
        };
        bundle.check()?;
        Ok((bundle, hash))
    }

    fn check(&self) -> Result<(), ArchiveError> {
        for (hash, bytes) in &self.blobs {
            let found = codec::hash(bytes);
            if found != *hash {
                return Err(ArchiveError::Blob {
                    expected: *hash,
                    found,
                });
            }
        }
        for (run, values) in &self.runs {
            let records: Vec<Record> = admit::check_chain(*run, values)?;
            RunState::from_records(&records).map_err(ArchiveError::History)?;
            let missing = records
                .iter()
                .flat_map(|record| blobs_of(&record.event))
                .find(|hash| !self.blobs.contains_key(hash));
            if let Some(hash) = missing {
                return Err(ArchiveError::MissingBlob { run: *run, hash });
            }
        }
        Ok(())
    }
}
