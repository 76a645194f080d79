//! Reads a run: checks each record, and repairs damage in sled from the log.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use rekindle_journal::JournalError;
use rekindle_journal::admit::{self, RunHead};
use rekindle_journal::codec;
use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};

use crate::log;
use crate::shared::Shared;
use crate::store::RunEntry;

impl Shared {
    /// Waits until sled has everything that is durable now.
    pub(crate) fn await_index(&self) -> Result<(), JournalError> {
        let durable = self.head.lock().unwrap_or_else(PoisonError::into_inner).commit;
        match self.applied.wait_for(durable) {
            true => Ok(()),
            false => Err(self.poison(&JournalError::Backend(
                "the indexer has ended unexpectedly".into(),
            ))),
        }
    }

    /// Reads a run from sled and checks it. A record that fails comes from the log and is put back into sled.
    pub(crate) fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.await_index()?;
        // Take this before the head: another reader's records must not go beyond that head.
        let mut checked = self.recent.take(run);
        let head = match self.store.run(run)? {
            None => return Err(JournalError::UnknownRun(run)),
            Some(RunEntry::Broken { why, .. }) => return Err(JournalError::Quarantined { run, why }),
            Some(RunEntry::Whole(head)) => head,
        };
        let first = checked.records.len() as u64 + 1;
        // A record that sled cannot read counts as missing, and the log is searched for it.
        let values = match first <= head.summary.seq {
            true => self
                .store
                .values(run, first, head.summary.seq)
                .unwrap_or_default(),
            false => HashMap::new(),
        };
        let tail = assemble_after(&head, first - 1, checked.hash, &values);
        match tail {
            Ok(tail) if checked.records.is_empty() => checked.records = Arc::new(tail),
            // Copied if an earlier reader still holds the records.
            Ok(tail) if !tail.is_empty() => Arc::make_mut(&mut checked.records).extend(tail),
            Ok(_) => {}
            Err(JournalError::Corrupt { .. }) => checked.records = Arc::new(self.read_whole(&head)?),
            Err(other) => return Err(other),
        }
        checked.hash = head.hash;
        let records = Arc::clone(&checked.records);
        self.recent.keep(checked);
        Ok(records)
    }

    /// Returns the values of a run's records after number `after`, checked.
    pub(crate) fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        match self.values_after(run, after) {
            // Reading the whole run repairs sled from the log.
            Err(JournalError::Corrupt { .. }) => {
                self.recent.take(run);
                self.read(run)?;
                self.values_after(run, after)
            }
            done => done,
        }
    }

    fn values_after(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.await_index()?;
        let head = match self.store.run(run)? {
            None => return Err(JournalError::UnknownRun(run)),
            Some(RunEntry::Broken { why, .. }) => return Err(JournalError::Quarantined { run, why }),
            Some(RunEntry::Whole(head)) => head,
        };
        if after >= head.summary.seq {
            return Ok(Vec::new());
        }
        let mut values = self.store.values(run, after.max(1), head.summary.seq)?;
        let prev = values
            .get(&after)
            .map_or(Hash32::ZERO, |value| codec::hash(value));
        assemble_after(&head, after, prev, &values)?;
        Ok((after + 1..=head.summary.seq)
            .filter_map(|seq| values.remove(&seq))
            .collect())
    }

    /// Reads a run from its first record: from sled, and if that fails from the log.
    fn read_whole(&self, head: &RunHead) -> Result<Vec<Record>, JournalError> {
        let run = head.summary.run;
        let mut values = self.store.values(run, 1, head.summary.seq).unwrap_or_default();
        let logged = log::values_of(&self.log_dir, run)?;
        let mut repaired = Vec::new();
        for (seq, value) in logged.into_iter().filter(|(seq, _)| *seq <= head.summary.seq) {
            if values.get(&seq) != Some(&value) {
                repaired.push((codec::key(run, seq), value.clone()));
                values.insert(seq, value);
            }
        }
        let records = assemble(head, &values).map_err(|error| match error {
            JournalError::Corrupt { seq, why, .. } => JournalError::Quarantined {
                run,
                why: format!("record {seq}: {why}, in sled and in the log"),
            },
            other => other,
        })?;
        tracing::warn!(%run, records = repaired.len(), "records were damaged in sled and repaired from the log");
        if let Err(error) = self.store.put_back(&repaired) {
            tracing::warn!(%run, %error, "the repaired records could not be put back; the log still has them");
        }
        Ok(records)
    }
}

/// Assembles a run. Checks each record, the chain, and that it ends at the run's head.
pub(crate) fn assemble(head: &RunHead, values: &HashMap<u64, Vec<u8>>) -> Result<Vec<Record>, JournalError> {
    assemble_after(head, 0, Hash32::ZERO, values)
}

/// Assembles the records after `seq`, whose hash is `prev`, with the same checks.
fn assemble_after(
    head: &RunHead,
    seq: u64,
    prev: Hash32,
    values: &HashMap<u64, Vec<u8>>,
) -> Result<Vec<Record>, JournalError> {
    let run = head.summary.run;
    let corrupt = |seq, why: &str| JournalError::Corrupt {
        run,
        seq,
        why: why.to_owned(),
    };
    let last = head.summary.seq;
    let chain: Result<Vec<&[u8]>, _> = (seq + 1..=last)
        .map(|seq| {
            values
                .get(&seq)
                .map(Vec::as_slice)
                .ok_or_else(|| corrupt(seq, "it is missing"))
        })
        .collect();
    let chain = chain?;
    let records = admit::check_chain_after(run, seq, prev, &chain)?;
    if chain.last().map_or(prev, |value| codec::hash(value)) != head.hash {
        return Err(corrupt(last, "it is not the run's newest record"));
    }
    Ok(records)
}
