//! The faults of a journal: what each costs, and what to do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_journal::{JournalError, codec};
use rekindle_model::event::{JournalHead, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;

use super::sources::{Logged, Sled};
use super::{Cost, Finding};
use crate::blobs::Blobs;
use crate::store::RunEntry;

const HEALS: &str = "nothing is lost: the next command that opens the journal mends it";
const REBUILD: &str = "nothing is lost: rebuild the index from the log";
const RESTORE: &str = "import the run from an archive into a new workspace, or restore .rekindle from a copy; the other runs are not affected";

pub(super) struct Findings<'a> {
    pub(super) dir: &'a Path,
    pub(super) found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        cost: Cost,
        file: PathBuf,
        about: (Option<RunId>, Option<u64>),
        what: String,
        next: &str,
    ) {
        let (run, seq) = about;
        self.found.push(Finding {
            cost,
            file,
            offset: None,
            run,
            seq,
            what,
            next: next.to_owned(),
        });
    }

    /// Damage of the log. Each run that loses records by it has a finding of its own.
    pub(super) fn of_log(&mut self, log: &Logged, sled: &Sled) {
        let short = log.scanned.falls_short(&self.dir.join("log"), log.head_file);
        for damage in log.scanned.damage.iter().chain(&short) {
            let (cost, next) = match sled {
                Sled::Unread(_) => (
                    Cost::Unproven,
                    "sled may have what the log has lost: verify again when no process owns the workspace",
                ),
                Sled::Read(sled) if sled.vouches && sled.head.commit >= damage.until => (
                    Cost::Repairable,
                    "sled has seen these commits: the next command that opens the journal logs again what the log lacks",
                ),
                Sled::Read(_) | Sled::Broken(_) => (
                    Cost::Lost,
                    "restore .rekindle from a copy; whole runs continue, and a missing run runs again",
                ),
            };
            self.found.push(Finding {
                cost,
                file: damage.segment.clone(),
                offset: Some(damage.offset),
                run: None,
                seq: None,
                what: damage.what.clone(),
                next: next.to_owned(),
            });
        }
        let torn = log.scanned.torn_bytes();
        if torn > 0 {
            let what =
                format!("{torn} bytes at its end are of a write that was cut off, or is just being made");
            let next = "it was not acknowledged: the next command that opens the journal cuts it off";
            self.add(Cost::Repairable, self.dir.join("log"), (None, None), what, next);
        }
    }

    /// The differences between sled and the log.
    pub(super) fn of_sled(&mut self, log: &Logged, sled: &Sled) {
        let folder = self.dir.join("journal");
        let sled = match sled {
            Sled::Unread(_) => return,
            Sled::Broken(why) => {
                let what = format!("the index cannot be read: {why}");
                return self.add(Cost::Repairable, folder, (None, None), what, HEALS);
            }
            Sled::Read(sled) => sled,
        };
        if let Some(why) = &sled.cut_short {
            let what = format!("the index cannot be read to its end: {why}");
            let next = REBUILD;
            self.add(Cost::Repairable, folder.clone(), (None, None), what, next);
        }
        if sled.head.commit < log.scanned.head.commit {
            let what = format!(
                "the index is at commit {}, the log at {}",
                sled.head.commit, log.scanned.head.commit
            );
            self.add(Cost::Repairable, folder.clone(), (None, None), what, HEALS);
        }
        for (run, seq) in &sled.hurt {
            if log.values.get(run).is_some_and(|values| values.contains_key(seq)) {
                let what = "the index's copy of a record does not check; the log's does".to_owned();
                let about = (Some(*run), Some(*seq));
                self.add(Cost::Repairable, folder.clone(), about, what, HEALS);
            }
        }
        for (run, values) in &log.values {
            let copies = sled.values.get(run);
            let seen = sled.entries.get(run).map_or(0, RunEntry::top);
            for (seq, value) in values.iter().filter(|(seq, _)| **seq <= seen) {
                let copy = copies.and_then(|copies| copies.get(seq));
                if copy.is_none() && !sled.hurt.contains(&(*run, *seq)) {
                    let what = "the index has lost a record that the log has".to_owned();
                    self.add(
                        Cost::Repairable,
                        folder.clone(),
                        (Some(*run), Some(*seq)),
                        what,
                        HEALS,
                    );
                } else if copy.is_some_and(|copy| copy != value) {
                    let what = "the index has another record than the log".to_owned();
                    let next = REBUILD;
                    self.add(
                        Cost::Repairable,
                        folder.clone(),
                        (Some(*run), Some(*seq)),
                        what,
                        next,
                    );
                }
            }
            if sled.head.commit >= log.scanned.head.commit
                && let Some((top, _)) = values.last_key_value()
                && seen < *top
            {
                let what =
                    format!("the index has lost the end of the run, which the log has up to record {top}");
                self.add(Cost::Repairable, folder.clone(), (Some(*run), None), what, HEALS);
            }
        }
        for (run, values) in sled
            .values
            .iter()
            .filter(|(run, _)| !log.scanned.forgotten.contains_key(run))
        {
            let logged = log.values.get(run);
            for seq in values.keys() {
                if logged.is_none_or(|logged| !logged.contains_key(seq)) {
                    let what = "the log has lost a record that the index has".to_owned();
                    let about = (Some(*run), Some(*seq));
                    self.add(Cost::Repairable, self.dir.join("log"), about, what, HEALS);
                }
            }
        }
    }

    /// Checks a run's numbers, chain and history. Returns the records that can be read.
    pub(super) fn of_run(
        &mut self,
        run: RunId,
        values: &BTreeMap<u64, Vec<u8>>,
        hurt: Option<&BTreeMap<u64, (PathBuf, u64)>>,
        top: u64,
    ) -> Vec<Record> {
        let log = self.dir.join("log");
        let mut records = Vec::with_capacity(values.len());
        let mut state: Result<Option<RunState>, ()> = Ok(None);
        let mut prev = Some(Hash32::ZERO);
        // A larger distance means that the number itself is damaged.
        let newest = values.last_key_value().map_or(0, |(seq, _)| *seq);
        let hurt_top = hurt.and_then(|hurt| hurt.keys().rev().find(|seq| **seq <= newest + (1 << 16)));
        let last = newest.max(top).max(hurt_top.copied().unwrap_or(0));
        for seq in 1..=last {
            let about = (Some(run), Some(seq));
            let Some(value) = values.get(&seq) else {
                let place = hurt.and_then(|hurt| hurt.get(&seq));
                let what = match place {
                    Some(_) => "the record does not check, and there is no other copy of it",
                    None => "the record is not there, neither in the log nor in the index",
                };
                self.found.push(Finding {
                    cost: Cost::Lost,
                    file: place.map_or_else(|| log.clone(), |(file, _)| file.clone()),
                    offset: place.map(|(_, offset)| *offset),
                    run: Some(run),
                    seq: Some(seq),
                    what: what.to_owned(),
                    next: RESTORE.to_owned(),
                });
                (prev, state) = (None, Err(()));
                continue;
            };
            let record = match codec::decode(&codec::key(run, seq), value) {
                Ok(record) => record,
                Err(JournalError::NewerFormat { found, supported, .. }) => {
                    let what = format!("the record has format {found}, this version reads up to {supported}");
                    self.add(
                        Cost::Unproven,
                        log.clone(),
                        about,
                        what,
                        "verify with a newer Rekindle",
                    );
                    (prev, state) = (Some(codec::hash(value)), Err(()));
                    continue;
                }
                Err(error) => {
                    self.add(Cost::Lost, log.clone(), about, error.to_string(), RESTORE);
                    (prev, state) = (Some(codec::hash(value)), Err(()));
                    continue;
                }
            };
            if prev.is_some_and(|prev| prev != record.prev) {
                let what = "the record does not follow the record before it".to_owned();
                self.add(Cost::Lost, log.clone(), about, what, RESTORE);
                state = Err(());
            }
            prev = Some(codec::hash(value));
            if let Ok(folded) = &mut state {
                let next = match folded {
                    None => RunState::created(&record).map(|created| *folded = Some(created)),
                    Some(folded) => folded.fold(&record),
                };
                if let Err(illegal) = next {
                    self.add(Cost::Lost, log.clone(), about, illegal.to_string(), RESTORE);
                    state = Err(());
                }
            }
            records.push(record);
        }
        records
    }

    /// Compares the head that a record was written to with the log's.
    pub(super) fn of_head(&mut self, record: &Record, head: JournalHead, log: &Logged) {
        if log.heads.get(&head.commit).is_some_and(|hash| *hash != head.hash) {
            let what = format!(
                "the record was written after a commit {} that is not the log's: a record before it was changed or taken out",
                head.commit
            );
            let about = (Some(record.run), Some(record.seq));
            self.add(Cost::Lost, self.dir.join("log"), about, what, RESTORE);
        }
    }

    pub(super) fn of_blobs(&mut self, referred: &BTreeMap<Hash32, (RunId, u64)>) {
        let folder = self.dir.join("blobs");
        let blobs = Blobs::view(&folder);
        for (hash, (run, seq)) in referred {
            if let Err(error) = blobs.get(*hash) {
                let file = folder.join(hash.to_string());
                let next = "restore the file from a copy of the workspace, or import an archive that has it";
                self.add(
                    Cost::Lost,
                    file,
                    (Some(*run), Some(*seq)),
                    format!("cannot {error}"),
                    next,
                );
            }
        }
    }
}
