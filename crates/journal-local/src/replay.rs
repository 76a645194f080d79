//! Applies the log to sled.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rekindle_journal::JournalError;
use rekindle_journal::admit::RunHead;
use rekindle_journal::codec::{self, Key};
use rekindle_model::event::JournalHead;
use rekindle_model::id::{Hash32, RunId};

use crate::error::OpenError;
use crate::log::{self, Commit, Log};
use crate::mark::Mark;
use crate::report::OpenReport;
use crate::store::{RunEntry, Store, Unusable};

/// Applies the log to sled up to its end. An error gives the reason why sled cannot be used.
pub(crate) fn catch_up(
    log_dir: &Path,
    store: &Store,
    applied: JournalHead,
    log: &Log,
    tops: &HashMap<RunId, u64>,
    report: &mut OpenReport,
) -> Result<(), Unusable> {
    if applied != log.head() {
        replay(log_dir, store, applied, log.head(), report).map_err(|error| match error {
            OpenError::Journal(error) => error.into(),
            other => Unusable::Broken(other.to_string()),
        })?;
    }
    let mut known = HashMap::new();
    for run in store.runs() {
        let (run, entry) = run?;
        known.insert(run, entry.top());
    }
    match tops
        .iter()
        .find(|(run, top)| known.get(run).is_none_or(|known| known < top))
    {
        None => Ok(()),
        Some((run, top)) => Err(Unusable::Broken(format!(
            "it has lost the end of run {run}, which the log has up to record {top}"
        ))),
    }
}

/// Applies every commit after `from` to sled. Applying one twice changes nothing.
pub(crate) fn replay(
    log_dir: &Path,
    store: &Store,
    from: JournalHead,
    to: JournalHead,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    /// How many records are applied to sled at once.
    const GROUP: usize = 1024;
    let mut runs: HashMap<RunId, Progress> = HashMap::new();
    let mut lost: BTreeMap<RunId, u64> = BTreeMap::new();
    let mut group: Vec<(Key, Vec<u8>)> = Vec::new();
    let mut commits = 0;
    let apply = |group: &mut Vec<(Key, Vec<u8>)>| {
        let records = group.iter().map(|(key, value)| (key, value.as_slice()));
        // The last batch has the commit number. If a crash comes earlier, all of this is done again.
        let applied = store.apply(from, records, std::iter::empty());
        group.clear();
        applied
    };
    log::scan(log_dir, |commit| {
        let Commit {
            head,
            entries,
            marks,
            hurt,
            ..
        } = commit;
        if head.is_some_and(|head| head.commit == from.commit && head != from) {
            let why = format!("its commit {} is not the log's", from.commit);
            return Err(JournalError::Backend(why));
        }
        if head.is_some_and(|head| head.commit <= from.commit) {
            return Ok(());
        }
        commits += 1;
        for mark in marks {
            if let Mark::Forgotten(forgotten) = mark {
                apply(&mut group)?;
                let run = forgotten.summary.run;
                runs.remove(&run);
                lost.remove(&run);
                store.forget(None, &[*forgotten])?;
            }
        }
        for key in &hurt {
            let (run, seq) = codec::parse_key(key);
            let newest = lost.entry(run).or_default();
            *newest = seq.max(*newest);
        }
        for (key, value) in entries {
            let (run, seq) = codec::parse_key(&key);
            let progress = match runs.entry(run) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(new) => new.insert(Progress::of(store.run(run)?)),
            };
            progress.step(&key, seq, value);
            group.push((key, value.to_vec()));
        }
        if group.len() >= GROUP {
            apply(&mut group)
        } else {
            Ok(())
        }
    })?;
    apply(&mut group)?;
    report.replayed = commits;

    for (run, seq) in lost {
        // A damaged key names a run that never existed.
        let known = runs.contains_key(&run) || store.run(run)?.is_some();
        if known {
            let progress = match runs.remove(&run) {
                Some(progress) => progress,
                None => Progress::of(store.run(run)?),
            };
            runs.insert(run, progress.with_lost(seq));
        }
    }
    let mut entries = Vec::with_capacity(runs.len());
    for (run, progress) in &runs {
        entries.push((*run, progress.entry(*run, store)?));
    }
    store.apply(
        to,
        std::iter::empty(),
        entries.iter().map(|(run, entry)| (*run, entry)),
    )?;
    Ok(())
}

/// The state of a run while it is replayed.
struct Progress {
    head: Option<RunHead>,
    /// The highest number seen.
    top: u64,
    /// Whether records came out of order or incomplete: then the run is assembled at the end.
    uneven: bool,
}

impl Progress {
    fn of(entry: Option<RunEntry>) -> Self {
        let uneven = matches!(entry, Some(RunEntry::Broken { .. }));
        let top = entry.as_ref().map_or(0, RunEntry::top);
        Self {
            head: entry.and_then(|entry| entry.head().cloned()),
            top,
            uneven,
        }
    }

    fn step(&mut self, key: &Key, seq: u64, value: &[u8]) {
        let follows = seq == self.top + 1;
        // Records that sled has already come again if the commit number was lost.
        let repeated = seq <= self.top;
        self.top = self.top.max(seq);
        if repeated || self.uneven {
            return;
        }
        let record = codec::decode(key, value).ok().filter(|record| {
            let prev = self.head.as_ref().map_or(Hash32::ZERO, |head| head.hash);
            follows && record.prev == prev
        });
        match record.and_then(|record| RunHead::after(self.head.as_ref(), &record, codec::hash(value))) {
            Some(head) => self.head = Some(head),
            None => self.uneven = true,
        }
    }

    /// Notes a damaged record: unless an intact copy follows, the run is broken.
    fn with_lost(self, seq: u64) -> Self {
        /// A larger distance means that the number itself is damaged.
        const PLAUSIBLE: u64 = 1 << 16;
        match seq > self.top && seq - self.top <= PLAUSIBLE {
            true => Self {
                top: seq,
                uneven: true,
                ..self
            },
            false => self,
        }
    }

    fn entry(&self, run: RunId, store: &Store) -> Result<RunEntry, JournalError> {
        if let (false, Some(head)) = (self.uneven, &self.head) {
            return Ok(RunEntry::Whole(head.clone()));
        }
        let values = store.values(run, 1, self.top)?;
        let mut head: Option<RunHead> = None;
        for seq in 1..=self.top {
            let key = codec::key(run, seq);
            let value = values.get(&seq);
            let next = value.and_then(|value| {
                let record = codec::decode(&key, value).ok()?;
                let prev = head.as_ref().map_or(Hash32::ZERO, |head| head.hash);
                (record.prev == prev).then(|| RunHead::after(head.as_ref(), &record, codec::hash(value)))?
            });
            let Some(next) = next else {
                let why = match value.map(|value| codec::decode(&key, value)) {
                    None => format!("record {seq} is lost, in sled and in the log"),
                    Some(Err(error)) => error.to_string(),
                    Some(Ok(_)) => format!("record {seq} does not follow the record before it"),
                };
                return Ok(RunEntry::Broken {
                    top: self.top,
                    why,
                    head,
                });
            };
            head = Some(next);
        }
        match head {
            Some(head) => Ok(RunEntry::Whole(head)),
            None => Ok(RunEntry::Broken {
                top: self.top,
                why: "all of it is lost".into(),
                head: None,
            }),
        }
    }
}
