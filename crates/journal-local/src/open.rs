//! Opening a workspace's journal in any state that a crash or a disk may leave.
//!
//! 1. Take the lock.
//! 2. Read the log without changing it. A newer format ends the open here.
//! 3. Open sled. If that fails, set its folder aside and begin a new one.
//! 4. If sled or the head file knows a later commit, the log has lost its end. The report says so, and the log goes on
//!    after that commit. Records that sled still has are logged again.
//! 5. Apply to sled the commits that it has not seen. If it then knows less of any run than the log does, it has lost
//!    something: set it aside and rebuild it from the whole log.
//! 6. Cut the torn tail off, and start the writer.
//!
//! A crash in any step is harmless: the next open does the step again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rekindle_journal::JournalError;
use rekindle_journal::admit;
use rekindle_journal::api::SUBSCRIBER_BACKLOG;
use rekindle_journal::codec::{self, Key};
use rekindle_model::id::RunId;
use tokio::sync::broadcast;

use crate::blobs::Blobs;
use crate::durable::make_dir;
use crate::error::OpenError;
use crate::head_file::HeadFile;
use crate::journal::LocalJournal;
use crate::lock::{self, Lock};
use crate::log::{self, Log, Scanned};
use crate::mark::Mark;
use crate::progress::Progress;
use crate::recent::Recent;
use crate::replay::{catch_up, replay};
use crate::report::OpenReport;
use crate::shared::{Counters, Shared};
use crate::store::{self, RunEntry, Store, Unusable};

/// Options of an open.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// sled's cache in bytes. Its own default, 1 GiB, is more than a journal needs.
    pub cache_bytes: u64,
    /// How long sled may take to open before it is set aside and rebuilt. A wait for its lock may take as long before.
    pub sled_timeout: Duration,
    /// The size in bytes after which a log segment gets a successor.
    pub segment_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            sled_timeout: Duration::from_secs(30),
            segment_bytes: 32 << 20,
        }
    }
}

impl LocalJournal {
    /// Opens the journal in a workspace's folder, and makes the folder if needed.
    ///
    /// # Errors
    /// [`OpenError::Held`] if another process owns it. Damage is no error: the report names it.
    pub async fn open(dir: &Path, options: OpenOptions) -> Result<(Self, OpenReport), OpenError> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&dir, &options)).await;
        opened.unwrap_or_else(|error| Err(JournalError::Backend(error.to_string()).into()))
    }
}

fn open(dir: &Path, options: &OpenOptions) -> Result<(LocalJournal, OpenReport), OpenError> {
    let (shared, log, report) = parts(dir, options)?;
    Ok((LocalJournal::start(shared, log)?, report))
}

/// Opens the journal without starting its threads.
pub(crate) fn parts(dir: &Path, options: &OpenOptions) -> Result<(Shared, Log, OpenReport), OpenError> {
    make_dir(dir)?;
    let lock = Arc::new(Lock::take(&dir.join(lock::NAME))?);
    let log_dir = dir.join("log");
    make_dir(&log_dir)?;
    let blobs = Blobs::open(&dir.join("blobs"))?;

    let mut report = OpenReport::default();
    let noted = HeadFile::read(dir);
    let mut tops: HashMap<RunId, u64> = HashMap::new();
    let scanned = log::scan(&log_dir, |commit| {
        for run in commit.marks.iter().filter_map(Mark::forgets) {
            tops.remove(&run);
        }
        for (key, _) in &commit.entries {
            let (run, seq) = codec::parse_key(key);
            let top = tops.entry(run).or_default();
            *top = seq.max(*top);
        }
        Ok(())
    })?;
    report.damage.clone_from(&scanned.damage);
    report.segments = scanned.segments;

    let sled = Sled {
        dir: dir.join("journal"),
        options,
    };
    let mut store = match sled.open() {
        Ok(store) => store,
        Err(unusable) => sled.rebuild(unusable, &mut report)?,
    };
    let applied = store.head()?;
    // Both hear of a commit only once it is durable.
    let known = if noted.commit > applied.commit {
        noted
    } else {
        applied
    };
    let head = if known.commit > scanned.head.commit {
        known
    } else {
        scanned.head
    };
    report.damage.extend(scanned.falls_short(&log_dir, known));
    let (mut log, torn) = Log::open(
        &log_dir,
        options.segment_bytes,
        &scanned,
        head,
        HeadFile::open(dir),
        Arc::clone(&lock),
    )?;
    report.torn_bytes = torn;
    let first = report.damage.iter().map(|damage| damage.until).min();
    if first.is_some_and(|first| applied.commit < first) {
        // An index built from a damaged log lacks the records that the log has lost.
        store.note_incomplete()?;
    }
    if !report.damage.is_empty() {
        relog(&log_dir, &store, &mut log, &scanned, &mut report)?;
    }
    if let Err(unusable) = catch_up(&log_dir, &store, applied, &log, &tops, &mut report) {
        drop(store);
        store = sled.rebuild(unusable, &mut report)?;
        if !report.damage.is_empty() {
            store.note_incomplete()?;
        }
        replay(&log_dir, &store, admit::EMPTY, log.head(), &mut report)?;
    }
    for run in store.runs() {
        let (run, entry) = run?;
        report.runs += 1;
        if let RunEntry::Broken { why, .. } = entry {
            report.quarantined.push((run, why));
        }
    }
    report.commit = log.head().commit;
    let shared = Shared {
        store,
        log_dir,
        blobs,
        head: Mutex::new(log.head()),
        applied: Progress::at(log.head().commit),
        records: broadcast::Sender::new(SUBSCRIBER_BACKLOG),
        counters: Counters::default(),
        recent: Recent::default(),
        poison: OnceLock::new(),
        lock,
    };
    Ok((shared, log, report))
}

struct Sled<'a> {
    dir: PathBuf,
    options: &'a OpenOptions,
}

impl Sled<'_> {
    fn open(&self) -> Result<Store, Unusable> {
        let new = !self.dir.exists();
        let opened = Store::open(&self.dir, self.options.cache_bytes, self.options.sled_timeout);
        if new && matches!(opened, Err(Unusable::Refused(_))) {
            // The next open would take an unfinished folder for a broken one.
            let _ = fs::remove_dir_all(&self.dir);
        }
        opened
    }

    fn rebuild(&self, unusable: Unusable, report: &mut OpenReport) -> Result<Store, OpenError> {
        let why = match unusable {
            Unusable::Refused(error) => return Err(error.into()),
            Unusable::Broken(why) => why,
        };
        tracing::warn!(%why, "sled is set aside and rebuilt from the log");
        report.rebuilt.push(why);
        report.set_aside.extend(store::set_aside(&self.dir)?);
        self.open().map_err(|unusable| match unusable {
            Unusable::Refused(error) => error.into(),
            Unusable::Broken(why) => OpenError::Index {
                path: self.dir.clone(),
                why,
            },
        })
    }
}

/// Logs each intact record again that sled has and the log lacks.
fn relog(
    log_dir: &Path,
    store: &Store,
    log: &mut Log,
    scanned: &Scanned,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    /// How many records go into one frame.
    const GROUP: usize = 1024;
    let mut logged: HashSet<Key> = HashSet::new();
    log::scan(log_dir, |commit| {
        logged.extend(commit.entries.iter().map(|(key, _)| *key));
        Ok(())
    })?;
    let mut missing = Vec::new();
    for record in store.records() {
        // sled cannot read on.
        let Ok((key, value)) = record else { break };
        // sled may not have applied the removal of a run yet.
        let forgotten = scanned.forgotten.contains_key(&codec::parse_key(&key).0);
        if codec::is_intact(&key, &value) && !logged.contains(&key) && !forgotten {
            missing.push((key, value));
        }
    }
    for group in missing.chunks(GROUP) {
        log.append(group)?;
    }
    report.relogged = missing.len() as u64;
    Ok(())
}
