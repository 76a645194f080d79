//! sled: the index of the journal. Everything in it can be made again from the log.
//!
//! ```text
//! "c"                     version (1) ‖ commit (8) ‖ head hash (32) ‖ CRC32C (4): the last commit applied
//! "e" ‖ run ‖ seq         the record's value, as in the log
//! "r" ‖ run               the run's entry (MessagePack) ‖ CRC32C (4) of key and value
//! "f" ‖ run               that the run was removed (MessagePack) ‖ CRC32C (4) of key and value
//! "i"                     present if sled was built from a log that had lost something
//! ```
//! One commit is one batch in one tree, so sled shows all of it or nothing.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rekindle_journal::JournalError;
use rekindle_journal::admit::{self, RunHead};
use rekindle_journal::bytes::ByteReader;
use rekindle_journal::codec::{self, Key};
use rekindle_model::event::JournalHead;
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::planted::{self, Fault};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sled::Batch;
use uuid::Uuid;

use crate::durable::{self, sync_dir};
use crate::mark::Forgotten;

const STORE_FORMAT: u8 = 1;
const COMMIT: &[u8] = b"c";
const RECORD: u8 = b'e';
const RUN: u8 = b'r';
const FORGOTTEN: u8 = b'f';
const INCOMPLETE: &[u8] = b"i";
/// How long closing waits for sled, which can hang after an I/O error. Nothing depends on its flush.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts to get sled's own lock. Its threads may hold it a moment longer than its
/// owner.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The entry of a run in sled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum RunEntry {
    /// The end of its chain.
    Whole(RunHead),
    /// A record is lost: the rest of the run, and why it must not continue.
    Broken {
        /// The highest number of a remaining record.
        top: u64,
        /// The finding.
        why: String,
        /// The end of its whole part.
        head: Option<RunHead>,
    },
}

impl RunEntry {
    pub(crate) fn head(&self) -> Option<&RunHead> {
        match self {
            Self::Whole(head) => Some(head),
            Self::Broken { head, .. } => head.as_ref(),
        }
    }

    /// Returns the number of the newest record that the entry knows of.
    pub(crate) fn top(&self) -> u64 {
        match self {
            Self::Whole(head) => head.summary.seq,
            Self::Broken { top, .. } => *top,
        }
    }
}

/// The reason why sled cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// There is no room, or no permission to write: a new sled would fail too. The folder stays as it is.
    Refused(JournalError),
    /// sled is broken: its folder is set aside, and it is rebuilt from the log.
    Broken(String),
}

impl From<JournalError> for Unusable {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::DiskFull { .. } | JournalError::Io { .. } => Self::Refused(error),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// An open sled.
#[derive(Debug)]
pub(crate) struct Store {
    /// None once it is closed.
    db: Option<sled::Db>,
    dir: PathBuf,
}

impl Store {
    /// Opens sled. Waits as long as `timeout` for sled's own lock, and as long again for sled.
    pub(crate) fn open(dir: &Path, cache_bytes: u64, timeout: Duration) -> Result<Self, Unusable> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(500));
        let mut tries = timeout.as_millis() / LOCK_RETRY.as_millis();
        let db = loop {
            if let Some(db) = try_open(dir, &config, timeout)? {
                break db;
            }
            if tries == 0 {
                return Err(Unusable::Broken("its lock is held".to_owned()));
            }
            tries -= 1;
            // We hold the workspace's lock, so the process that holds sled's lock is about to end.
            thread::sleep(LOCK_RETRY);
        };
        let store = Self {
            db: Some(db),
            dir: dir.to_owned(),
        };
        store.head()?;
        Ok(store)
    }

    /// Returns the last commit that was applied.
    pub(crate) fn head(&self) -> Result<JournalHead, JournalError> {
        let Some(value) = self.db()?.get(COMMIT).map_err(index)? else {
            return Ok(admit::EMPTY);
        };
        let parse = || {
            let mut input = ByteReader(unseal(COMMIT, &value)?);
            (input.u8()? == STORE_FORMAT).then_some(())?;
            Some(JournalHead {
                commit: input.u64()?,
                hash: Hash32(input.array()?),
            })
        };
        parse().ok_or_else(|| JournalError::Backend("its commit number does not check".into()))
    }

    /// Applies commits up to `head`: the records, the entries of their runs and the commit number, in one batch.
    pub(crate) fn apply<'a>(
        &self,
        head: JournalHead,
        records: impl Iterator<Item = (&'a Key, &'a [u8])>,
        runs: impl Iterator<Item = (RunId, &'a RunEntry)>,
    ) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        for (key, value) in records {
            batch.insert(record_key(key), value);
        }
        for (run, entry) in runs {
            let key = run_key(run);
            let packed =
                rmp_serde::to_vec_named(entry).map_err(|error| JournalError::Backend(error.to_string()))?;
            batch.insert(key.as_slice(), seal(&key, packed));
        }
        if !planted::is(Fault::CommitNumberApart) {
            batch.insert(COMMIT, commit_value(head));
        }
        self.write(batch)
    }

    /// Removes runs, and keeps a note of each. `head`, if given, becomes the last commit applied.
    pub(crate) fn forget(&self, head: Option<JournalHead>, runs: &[Forgotten]) -> Result<(), JournalError> {
        for forgotten in runs {
            let run = forgotten.summary.run;
            let mut batch = Batch::default();
            for key in self.db()?.scan_prefix(record_prefix(run)).keys() {
                batch.remove(key.map_err(index)?);
            }
            batch.remove(run_key(run));
            let key = [&[FORGOTTEN], run.as_bytes().as_slice()].concat();
            let packed = rmp_serde::to_vec_named(forgotten)
                .map_err(|error| JournalError::Backend(error.to_string()))?;
            batch.insert(key.as_slice(), seal(&key, packed));
            self.write(batch)?;
        }
        if let Some(head) = head {
            let mut batch = Batch::default();
            batch.insert(COMMIT, commit_value(head));
            self.write(batch)?;
        }
        Ok(())
    }

    /// Notes that sled was built from a damaged log: it lacks the lost records too.
    pub(crate) fn note_incomplete(&self) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        batch.insert(INCOMPLETE, &[STORE_FORMAT]);
        self.write(batch)
    }

    /// Returns whether sled was built from a damaged log.
    pub(crate) fn is_incomplete(&self) -> Result<bool, JournalError> {
        Ok(self.db()?.get(INCOMPLETE).map_err(index)?.is_some())
    }

    /// Puts repaired values back. They equal the original ones, so nothing else changes.
    pub(crate) fn put_back(&self, records: &[(Key, Vec<u8>)]) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        for (key, value) in records {
            batch.insert(record_key(key), value.as_slice());
        }
        self.write(batch)
    }

    /// Returns the entry of a run.
    pub(crate) fn run(&self, run: RunId) -> Result<Option<RunEntry>, JournalError> {
        let key = run_key(run);
        let value = self.db()?.get(&key).map_err(index)?;
        value.map(|value| parse_run(&key, &value)).transpose()
    }

    /// Returns the entries of all runs, newest first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Result<(RunId, RunEntry), JournalError>> {
        let db = self.db.clone();
        db.into_iter()
            .flat_map(|db| db.scan_prefix([RUN]).rev())
            .map(|item| {
                let (key, value) = item.map_err(index)?;
                let id = key.get(1..).and_then(|id| Uuid::from_slice(id).ok());
                let id = id.ok_or_else(|| JournalError::Backend("a run's key is damaged".into()))?;
                Ok((RunId(id), parse_run(&key, &value)?))
            })
    }

    /// Returns the values of a run's records from `first` to `last`, unchecked, by number. Missing ones are
    /// left out.
    pub(crate) fn values(
        &self,
        run: RunId,
        first: u64,
        last: u64,
    ) -> Result<HashMap<u64, Vec<u8>>, JournalError> {
        let range = record_key(&codec::key(run, first))..=record_key(&codec::key(run, last));
        let items = self.db()?.range(range).filter_map(|item| match item {
            Ok((key, value)) => {
                parse_record_key(&key).map(|key| Ok((codec::parse_key(&key).1, value.to_vec())))
            }
            Err(error) => Some(Err(index(error))),
        });
        items.collect()
    }

    /// Returns every record that sled holds, unchecked.
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<(Key, Vec<u8>), JournalError>> {
        let db = self.db.clone();
        db.into_iter()
            .flat_map(|db| db.scan_prefix([RECORD]))
            .filter_map(|item| match item {
                Ok((key, value)) => parse_record_key(&key).map(|key| Ok((key, value.to_vec()))),
                Err(error) => Some(Err(index(error))),
            })
    }

    fn write(&self, batch: Batch) -> Result<(), JournalError> {
        let written = self.db()?.apply_batch(batch);
        written.map_err(|error| refusal("write", &self.dir, error))
    }

    fn db(&self) -> Result<&sled::Db, JournalError> {
        self.db
            .as_ref()
            .ok_or_else(|| JournalError::Backend("it is closed".into()))
    }
}

/// Waits until sled has stopped its threads and released its lock, so that it can be opened again at once.
impl Drop for Store {
    fn drop(&mut self) {
        let Some(db) = self.db.take() else { return };
        let (send, receive) = mpsc::sync_channel(1);
        let close = move || {
            drop(db);
            // The receiver may have given up.
            let _ = send.send(());
        };
        if thread::Builder::new()
            .name("journal-sled-close".into())
            .spawn(close)
            .is_ok()
            && receive.recv_timeout(CLOSE_TIMEOUT).is_err()
        {
            tracing::warn!("sled did not close in time; nothing is lost, the log holds every record");
        }
    }
}

/// Renames sled's folder aside, and returns its new name; none if there is no folder.
pub(crate) fn set_aside(dir: &Path) -> Result<Option<PathBuf>, JournalError> {
    if !dir.exists() {
        return Ok(None);
    }
    let free = (1_u32..)
        .map(|n| dir.with_extension(format!("broken-{n}")))
        .find(|path| !path.exists());
    let Some(aside) = free else { return Ok(None) };
    fs::rename(dir, &aside).map_err(|error| JournalError::io("rename", dir, error))?;
    if let Some(parent) = dir.parent() {
        sync_dir(parent)?;
    }
    Ok(Some(aside))
}

/// Opens sled in a thread of its own: a panic or a hang of sled becomes an error. Returns none while its lock is held.
///
/// The thread outlives this call only where sled hangs: a thread that goes on trying would open, by its path, the new
/// sled that replaces this one.
fn try_open(dir: &Path, config: &sled::Config, timeout: Duration) -> Result<Option<sled::Db>, Unusable> {
    if let Some(path) = odd_one_in(dir) {
        return Err(Unusable::Broken(format!("{} is no regular file", path.display())));
    }
    let (send, receive) = mpsc::sync_channel(1);
    let (folder, config) = (dir.to_owned(), config.clone());
    let open = move || match lock_is_free(&folder).then(|| config.open()).transpose() {
        Ok(opened) => Ok(opened),
        Err(error) => Err(match refusal("open", &folder, error) {
            JournalError::Backend(why) => Unusable::Broken(why),
            refused => Unusable::Refused(refused),
        }),
    };
    let watched = move || {
        let opened = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(Unusable::Broken("it panicked while opening".to_owned())));
        if let Err(mpsc::SendError(Ok(late))) = send.send(opened) {
            // Its folder has been set aside. Closing it could write into the new folder, which has the same path.
            std::mem::forget(late);
        }
    };
    thread::Builder::new()
        .name("journal-sled-open".into())
        .spawn(watched)
        .map_err(|error| Unusable::Broken(error.to_string()))?;
    receive
        .recv_timeout(timeout)
        .map_err(|_| Unusable::Broken(format!("it did not open within {timeout:?}")))?
}

/// Returns what is neither a file nor a folder in sled's folder. Sled opens its files by their names, and would wait for
/// ever at a FIFO.
fn odd_one_in(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let odd = |entry: &fs::DirEntry| {
        let kind = entry.file_type();
        kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
    };
    let mut odd = entries.filter(odd);
    odd.next().map(|entry| entry.path())
}

/// Tries sled's lock, on its `db` file, in advance, because sled has no error type for it.
fn lock_is_free(dir: &Path) -> bool {
    let Ok(file) = durable::open_regular(&dir.join("db")) else {
        return true;
    };
    !matches!(
        flock(&file, FlockOperation::NonBlockingLockExclusive),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}

fn record_key(key: &Key) -> Vec<u8> {
    [&[RECORD], key.as_slice()].concat()
}

fn parse_record_key(key: &[u8]) -> Option<Key> {
    key.get(1..)?.try_into().ok()
}

fn record_prefix(run: RunId) -> Vec<u8> {
    [&[RECORD], run.as_bytes().as_slice()].concat()
}

fn commit_value(head: JournalHead) -> Vec<u8> {
    let mut commit = vec![STORE_FORMAT];
    commit.extend(head.commit.to_be_bytes());
    commit.extend(head.hash.0);
    seal(COMMIT, commit)
}

fn run_key(run: RunId) -> Vec<u8> {
    [&[RUN], run.as_bytes().as_slice()].concat()
}

fn parse_run(key: &[u8], value: &[u8]) -> Result<RunEntry, JournalError> {
    let damaged = || JournalError::Backend("the entry of a run does not check".into());
    rmp_serde::from_slice(unseal(key, value).ok_or_else(damaged)?).map_err(|_| damaged())
}

fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend(crc.to_be_bytes());
    value
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (body, crc) = value.split_last_chunk::<4>()?;
    (crc32c::crc32c_append(crc32c::crc32c(key), body).to_be_bytes() == *crc).then_some(body)
}

fn index(error: sled::Error) -> JournalError {
    JournalError::Backend(error.to_string())
}

/// Separates refusals of the system from faults of sled: a new sled repairs only the latter.
fn refusal(what: &'static str, dir: &Path, error: sled::Error) -> JournalError {
    use std::io::ErrorKind as Kind;
    match error {
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem | Kind::PermissionDenied
            ) =>
        {
            JournalError::io(what, dir, source)
        }
        other => index(other),
    }
}

#[cfg(test)]
mod tests {
    use rekindle_journal::RunSummary;
    use rekindle_model::origin::{RunKind, Trigger};

    use super::*;

    /// Two entries as sled and the `forgotten` marks kept them before runs had kinds: a backup, and a run
    /// that a step of the first began. MessagePack in hexadecimal.
    const WITHOUT_KIND: [&str; 2] = [
        "81a557686f6c6582a773756d6d61727988a372756ec41001990000000070008000000000000001a8776f726b666c6f77a66261636b75\
     70a774726967676572ba72656b696e646c65206261636b7570202d2d6163636570742078a76372656174656483a3757463be32303237\
     2d30312d31355430383a30303a30302e3030303030303030375aa7626f6f745f6e732aa7626f6f745f6964c410000000000000000000\
     00000000000005a77570646174656483a3757463be323032372d30312d31355430383a30303a30302e3030303030303030375aa7626f\
     6f745f6e732aa7626f6f745f6964c41000000000000000000000000000000005a373657101a565706f636801a76f7574636f6d65c0a4\
     68617368d940303630363036303630363036303630363036303630363036303630363036303630363036303630363036303630363036\
     30363036303630363036303630363036",
        "81a557686f6c6582a773756d6d61727989a372756ec41001990000000070008000000000000002a8776f726b666c6f77a76e69676874\
     6c79a774726967676572d92d72756e2030313939303030302d303030302d373030302d383030302d3030303030303030303030312f63\
     616c6ca6706172656e7482a372756ec41001990000000070008000000000000001a473746570a463616c6ca76372656174656483a375\
     7463be323032372d30312d31355430383a30303a30302e3030303030303030375aa7626f6f745f6e732aa7626f6f745f6964c4100000\
     0000000000000000000000000005a77570646174656483a3757463be323032372d30312d31355430383a30303a30302e303030303030\
     3030375aa7626f6f745f6e732aa7626f6f745f6964c41000000000000000000000000000000005a373657101a565706f636801a76f75\
     74636f6d65c0a468617368d9403036303630363036303630363036303630363036303630363036303630363036303630363036303630\
     3630363036303630363036303630363036303630363036",
    ];

    #[test]
    fn a_summary_from_before_runs_had_kinds_is_read_as_its_records_fold() {
        let of = |hex: &str| {
            let packed: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let entry: RunEntry = rmp_serde::from_slice(&packed).unwrap();
            entry.head().unwrap().summary.clone()
        };
        let [backup, nested] = WITHOUT_KIND.map(of);
        assert_eq!(backup.kind, RunKind::Backup);
        assert_eq!(backup.trigger, Trigger::command("rekindle backup --accept x"));
        assert_eq!(nested.kind, RunKind::Custom);
        let parent = nested.parent().unwrap();
        assert_eq!((parent.run, parent.step.as_str()), (backup.run, "call"));

        for summary in [backup, nested] {
            let packed = rmp_serde::to_vec_named(&summary).unwrap();
            assert_eq!(rmp_serde::from_slice::<RunSummary>(&packed).unwrap(), summary);
        }
    }
}
