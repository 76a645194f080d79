//! A read-only view of the log, beside its owner.
//!
//! sled and the end of the log belong to the owner. But a reader can tell a whole frame in a segment from one that is
//! not. A view reads the segments once, without the lock, and changes nothing: it makes no folder, cuts off no tail and
//! removes no file. The newest commit in a view may not be durable yet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_journal::JournalError;
use rekindle_journal::admit::{self, RunHead};
use rekindle_journal::codec;
use rekindle_journal::{Append, Journal, RunFilter, RunSummary};
use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};
use tokio::sync::broadcast;

use crate::blobs::Blobs;
use crate::error::OpenError;
use crate::head_file::HeadFile;
use crate::log;
use crate::mark::Mark;
use crate::report::OpenReport;

/// A workspace's log as it was at one moment. Appending to it is an error.
#[derive(Debug)]
pub struct LogView {
    runs: BTreeMap<RunId, Viewed>,
    /// The runs that were removed on purpose and have not come back.
    forgotten: Vec<RunId>,
    blobs: Blobs,
    /// Nothing is ever sent.
    records: broadcast::Sender<Arc<Record>>,
}

/// One run, up to the first record that does not follow.
#[derive(Debug)]
struct Viewed {
    head: Option<RunHead>,
    values: Vec<Vec<u8>>,
    /// Why the rest of the run cannot be read.
    broken: Option<String>,
}

impl LogView {
    /// Reads the log of a workspace's folder without disturbing its owner.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] or [`OpenError::OlderFormat`], or a segment that cannot be read. Damage is no error: the report names it.
    pub async fn open(dir: &Path) -> Result<(Self, OpenReport), OpenError> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || view_beside(&dir)).await;
        opened.unwrap_or_else(|error| Err(JournalError::Backend(error.to_string()).into()))
    }
}

impl LogView {
    /// Returns a run's records, byte for byte.
    fn checked_values(&self, run: RunId) -> Result<&[Vec<u8>], JournalError> {
        let viewed = self.runs.get(&run).ok_or(JournalError::UnknownRun(run))?;
        match &viewed.broken {
            Some(why) => Err(JournalError::Quarantined {
                run,
                why: why.clone(),
            }),
            None => Ok(&viewed.values),
        }
    }

    /// Returns the runs that a compact removed and that were not imported again since.
    pub fn forgotten(&self) -> impl Iterator<Item = RunId> {
        self.forgotten.iter().copied()
    }

    /// Returns every run, oldest first.
    pub fn run_ids(&self) -> impl Iterator<Item = RunId> {
        self.runs.keys().copied()
    }
}

/// Reads the log again if a compact of the owner deleted a segment meanwhile.
fn view_beside(dir: &Path) -> Result<(LogView, OpenReport), OpenError> {
    /// A compact deletes segments within a moment.
    const TRIES: usize = 20;
    let went = |error: &OpenError| {
        let kind = match error {
            OpenError::Journal(JournalError::Io { source, .. }) => Some(source.kind()),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::NotFound)
    };
    for _ in 1..TRIES {
        match view(dir) {
            Err(error) if went(&error) => {}
            done => return done,
        }
    }
    view(dir)
}

fn view(dir: &Path) -> Result<(LogView, OpenReport), OpenError> {
    let mut values: HashMap<RunId, BTreeMap<u64, Vec<u8>>> = HashMap::new();
    let mut report = OpenReport::default();
    let mut forgotten = Vec::new();
    let log_dir = dir.join("log");
    // Read this before the log, which may grow in between.
    let noted = HeadFile::read(dir);
    if log_dir.exists() {
        let scanned = log::scan(&log_dir, |commit| {
            for run in commit.marks.iter().filter_map(Mark::forgets) {
                values.remove(&run);
            }
            for (key, value) in commit.entries {
                let (run, seq) = codec::parse_key(&key);
                if codec::is_intact(&key, value) {
                    values.entry(run).or_default().insert(seq, value.to_vec());
                }
            }
            Ok(())
        })?;
        report.commit = scanned.head.commit;
        report.segments = scanned.segments;
        let short = scanned.falls_short(&log_dir, noted);
        report.damage = scanned.damage;
        report.damage.extend(short);
        forgotten = scanned.forgotten.into_keys().collect();
    }
    let runs: BTreeMap<RunId, Viewed> = values
        .into_iter()
        .map(|(run, values)| (run, put_together(run, values)))
        .collect();
    report.runs = runs.len();
    report.quarantined = runs
        .iter()
        .filter_map(|(run, viewed)| Some((*run, viewed.broken.clone()?)))
        .collect();
    let view = LogView {
        runs,
        forgotten,
        blobs: Blobs::view(&dir.join("blobs")),
        records: broadcast::Sender::new(1),
    };
    Ok((view, report))
}

fn put_together(run: RunId, values: BTreeMap<u64, Vec<u8>>) -> Viewed {
    let mut viewed = Viewed {
        head: None,
        values: Vec::with_capacity(values.len()),
        broken: None,
    };
    for (expected, (seq, value)) in (1..).zip(values) {
        let prev = viewed.head.as_ref().map_or(Hash32::ZERO, |head| head.hash);
        let next = match codec::decode(&codec::key(run, seq), &value) {
            _ if seq != expected => Err(format!("record {expected} is not in the log")),
            Err(error) => Err(error.to_string()),
            Ok(record) if record.prev != prev => {
                Err(format!("record {seq} does not follow the record before it"))
            }
            Ok(record) => RunHead::after(viewed.head.as_ref(), &record, codec::hash(&value))
                .ok_or_else(|| format!("record {seq} is not the creation of a run")),
        };
        match next {
            Ok(head) => {
                viewed.head = Some(head);
                viewed.values.push(value);
            }
            Err(why) => {
                viewed.broken = Some(why);
                break;
            }
        }
    }
    viewed
}

#[async_trait]
impl Journal for LogView {
    async fn append(&self, _append: Append) -> Result<Vec<Record>, JournalError> {
        Err(JournalError::ReadOnly { what: "append to" })
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        admit::check_chain(run, self.checked_values(run)?).map(Arc::new)
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        let values = self.checked_values(run)?;
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(values.iter().skip(after).cloned().collect())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let summaries = self.runs.iter().rev().map(|(run, viewed)| {
            let whole = viewed.head.as_ref().map(|head| &head.summary);
            RunSummary::listed(*run, whole, viewed.broken.as_ref())
        });
        let accepted = summaries.filter(|run| filter.accepts(run));
        Ok(accepted.take(filter.limit.unwrap_or(usize::MAX)).collect())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.records.subscribe()
    }

    async fn put_blob(&self, _bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        Err(JournalError::ReadOnly {
            what: "put a blob into",
        })
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.blobs.get(hash)
    }
}
