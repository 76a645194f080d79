//! Bringing a bundle's runs into a journal: looked at as a whole first, then written run by run, each in one commit.

use rekindle_model::id::{Hash32, RunId};
use serde::Serialize;

use super::{ArchiveError, Bundle};
use crate::admit::{self, RunHead};
use crate::codec;
use crate::error::JournalError;
use crate::log;
use crate::mark::{Imported, Mark};
use crate::store::RunEntry;
use crate::upkeep::Upkeep;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imports {
    /// The runs that are new in the journal.
    pub imported: Vec<RunId>,
    /// The runs that it had already, record for record.
    pub skipped: Vec<RunId>,
    /// How many records were written.
    pub records: u64,
    /// How many blobs the imported runs came with.
    pub blobs: u64,
}

impl Upkeep {
    /// Imports a bundle that [`Bundle::decode`] has checked. Cut off, it can be done again.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] before anything is written.
    pub fn import(&mut self, bundle: &Bundle, archive: Hash32) -> Result<Imports, ArchiveError> {
        let mut imports = Imports::default();
        for (run, values) in &bundle.runs {
            match self.compare(*run, values)? {
                true => imports.skipped.push(*run),
                false => imports.imported.push(*run),
            }
        }
        if imports.imported.is_empty() {
            return Ok(imports);
        }
        // What a run refers to is there before the run is.
        for bytes in bundle.blobs.values() {
            self.shared.blobs.put(bytes)?;
            imports.blobs += 1;
        }
        for run in &imports.imported {
            let values = bundle.runs.get(run).map(Vec::as_slice).unwrap_or_default();
            self.bring_in(*run, values, archive)?;
            imports.records += values.len() as u64;
        }
        Ok(imports)
    }

    /// Returns whether the journal has exactly this run; an error where it has another of that id.
    fn compare(&self, run: RunId, values: &[Vec<u8>]) -> Result<bool, ArchiveError> {
        let Some(entry) = self.shared.store.run(run)? else {
            return Ok(false);
        };
        let present = log::values_of(&self.shared.log_dir, run)?;
        let longest = entry.top().max(values.len() as u64);
        let differs = (1..=longest).find(|seq| {
            let given = usize::try_from(seq - 1).ok().and_then(|at| values.get(at));
            given.is_none() || present.get(seq) != given
        });
        match differs {
            None => Ok(true),
            Some(seq) => Err(ArchiveError::Differs { run, seq }),
        }
    }

    fn bring_in(&mut self, run: RunId, values: &[Vec<u8>], archive: Hash32) -> Result<(), JournalError> {
        let records = admit::check_chain(run, values)?;
        let mut head: Option<RunHead> = None;
        for (record, value) in records.iter().zip(values) {
            head = RunHead::after(head.as_ref(), record, codec::hash(value));
        }
        let head = head.ok_or(JournalError::Empty(run))?;
        let mark = Mark::Imported(Imported {
            run,
            records: values.len() as u64,
            archive,
        });
        let mut entries = vec![mark.entry()?];
        entries.extend(
            (1..)
                .zip(values)
                .map(|(seq, value)| (codec::key(run, seq), value.clone())),
        );
        let commit = self.append_marked(&entries)?;
        let records = entries[1..].iter().map(|(key, value)| (key, value.as_slice()));
        let entry = RunEntry::Whole(head);
        self.shared
            .store
            .apply(commit, records, std::iter::once((run, &entry)))
    }
}
