//! Imports a bundle's runs into a journal. It checks the whole bundle first, then writes each run in one
//! commit.
//!
//! If the journal has lost a record of a run, a bundle that has the record mends the run. All other records
//! must be equal.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use rekindle_journal::JournalError;
use rekindle_journal::RunSummary;
use rekindle_journal::admit::{self, RunHead};
use rekindle_journal::archive::{ArchiveError, Bundle, Import, Imports};
use rekindle_journal::codec;
use rekindle_model::id::{Hash32, RunId};

use crate::log;
use crate::mark::{Forgotten, Imported, Mark};
use crate::store::RunEntry;
use crate::upkeep::Upkeep;

/// The journal's part of a run that is to be imported.
enum Present {
    /// Nothing.
    Nothing,
    /// Exactly these records.
    Same,
    /// The journal has lost a record; with the bundle, these are all.
    Mendable(Vec<Vec<u8>>),
}

impl Import for Upkeep {
    fn import(&mut self, bundle: &Bundle, archive: Hash32) -> Result<Imports, ArchiveError> {
        let mut imports = Imports::default();
        let mut wanted: BTreeMap<RunId, Vec<Vec<u8>>> = BTreeMap::new();
        for (run, values) in &bundle.runs {
            match self.compare(*run, values)? {
                Present::Same => imports.skipped.push(*run),
                Present::Nothing => {
                    imports.imported.push(*run);
                    wanted.insert(*run, values.clone());
                }
                Present::Mendable(whole) => {
                    imports.mended.push(*run);
                    wanted.insert(*run, whole);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(imports);
        }
        imports.blobs = self.put_blobs(bundle)?;
        for (run, values) in &wanted {
            self.write_run(*run, values, archive, None)?;
            imports.records += values.len() as u64;
        }
        Ok(imports)
    }

    fn mend(&mut self, run: RunId, copy: &Bundle, source: Hash32) -> Result<u64, ArchiveError> {
        let Some(RunEntry::Broken { top, .. }) = self.shared.store.run(run)? else {
            return Ok(0);
        };
        let values = copy.runs.get(&run).map(Vec::as_slice).unwrap_or_default();
        let known = usize::try_from(top).unwrap_or(usize::MAX).min(values.len());
        match self.compare(run, values.get(..known).unwrap_or_default())? {
            Present::Mendable(whole) => {
                self.put_blobs(copy)?;
                self.write_run(run, &whole, source, None)?;
                Ok(whole.len() as u64)
            }
            Present::Nothing | Present::Same => Ok(0),
        }
    }

    fn replace(
        &mut self,
        bundle: &Bundle,
        archive: Hash32,
        now: DateTime<Utc>,
    ) -> Result<Vec<RunId>, ArchiveError> {
        let mut changed = Vec::new();
        self.put_blobs(bundle)?;
        for (run, values) in &bundle.runs {
            let entry = self.shared.store.run(*run)?;
            let newest = values.last().map_or(Hash32::ZERO, |value| codec::hash(value));
            if matches!(&entry, Some(RunEntry::Whole(head)) if head.hash == newest) {
                continue;
            }
            // If the run is longer here than in the bundle, mending must keep the additional records.
            if matches!(&entry, Some(RunEntry::Broken { top, .. }) if *top > values.len() as u64)
                && self.mend(*run, bundle, archive).is_ok_and(|records| records > 0)
            {
                changed.push(*run);
                continue;
            }
            let forgotten = entry.map(|entry| {
                let head = entry.head();
                let why = match &entry {
                    RunEntry::Broken { why, .. } => Some(why),
                    RunEntry::Whole(_) => None,
                };
                Forgotten {
                    summary: RunSummary::listed(*run, head.map(|head| &head.summary), why),
                    newest: head.map_or(Hash32::ZERO, |head| head.hash),
                    archive: None,
                    at: now,
                }
            });
            self.write_run(*run, values, archive, forgotten)?;
            changed.push(*run);
        }
        Ok(changed)
    }
}

impl Upkeep {
    /// Stores the blobs of a bundle, before its runs.
    fn put_blobs(&self, bundle: &Bundle) -> Result<u64, JournalError> {
        for bytes in bundle.blobs.values() {
            self.shared.blobs.put(bytes)?;
        }
        Ok(bundle.blobs.len() as u64)
    }

    /// Compares a run with the journal's; an error if the journal has a different run of that id.
    fn compare(&self, run: RunId, values: &[Vec<u8>]) -> Result<Present, ArchiveError> {
        let Some(entry) = self.shared.store.run(run)? else {
            return Ok(Present::Nothing);
        };
        let mut present = log::values_of(&self.shared.log_dir, run)?;
        if let RunEntry::Broken { top, .. } = &entry {
            let indexed = self.shared.store.values(run, 1, *top).unwrap_or_default();
            for (seq, value) in indexed {
                if codec::is_intact(&codec::key(run, seq), &value) {
                    present.entry(seq).or_insert(value);
                }
            }
            return mendable(run, *top, values, &present).map(Present::Mendable);
        }
        let longest = entry.top().max(values.len() as u64);
        let differs = (1..=longest).find(|seq| {
            let given = usize::try_from(seq - 1).ok().and_then(|at| values.get(at));
            given.is_none() || present.get(seq) != given
        });
        match differs {
            None => Ok(Present::Same),
            Some(seq) => Err(ArchiveError::Differs { run, seq }),
        }
    }

    fn write_run(
        &mut self,
        run: RunId,
        values: &[Vec<u8>],
        archive: Hash32,
        forgotten: Option<Forgotten>,
    ) -> Result<(), JournalError> {
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
        let mut entries = Vec::with_capacity(values.len() + 2);
        if let Some(forgotten) = &forgotten {
            entries.push(Mark::Forgotten(Box::new(forgotten.clone())).entry()?);
        }
        entries.push(mark.entry()?);
        let marks = entries.len();
        entries.extend(
            (1..)
                .zip(values)
                .map(|(seq, value)| (codec::key(run, seq), value.clone())),
        );
        let commit = self.append_marked(&entries)?;
        if let Some(forgotten) = forgotten {
            self.shared.store.forget(None, &[forgotten])?;
        }
        let records = entries
            .iter()
            .skip(marks)
            .map(|(key, value)| (key, value.as_slice()));
        let entry = RunEntry::Whole(head);
        self.shared
            .store
            .apply(commit, records, std::iter::once((run, &entry)))
    }
}

/// Returns all records of a run, up to `top` at least: the given ones, and those of the journal after them.
/// Records in both must be equal.
fn mendable(
    run: RunId,
    top: u64,
    given: &[Vec<u8>],
    present: &HashMap<u64, Vec<u8>>,
) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut whole = given.to_vec();
    for (seq, value) in (1..).zip(given) {
        if present.get(&seq).is_some_and(|present| present != value) {
            return Err(ArchiveError::Differs { run, seq });
        }
    }
    for seq in given.len() as u64 + 1..=top {
        match present.get(&seq) {
            Some(value) => whole.push(value.clone()),
            None => return Err(ArchiveError::StillLost { run, seq }),
        }
    }
    match admit::check_chain(run, &whole) {
        Ok(_) if !whole.is_empty() => Ok(whole),
        Ok(_) => Err(ArchiveError::StillLost { run, seq: 1 }),
        Err(JournalError::Corrupt { seq, .. }) => Err(ArchiveError::Differs { run, seq }),
        Err(error) => Err(error.into()),
    }
}
