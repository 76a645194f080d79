//! Copies a live database.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_model::failure::{Failure, code};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::Stat;

use super::{SIDECARS, beside, check, folder_of, sync_folder};
use crate::failures::unreadable;
use crate::private;

/// Pages per step: 4 MiB at the usual page size. A step holds a lock for a few milliseconds.
const PAGES_PER_STEP: i32 = 1024;

/// Pause after each step on a database in rollback mode, so that its writers get a turn.
const PAUSE: Duration = Duration::from_millis(2);

/// How often a writer may force the copy to start over. After that the copy runs in one go, and writers wait.
const RESTARTS: u32 = 5;

/// The pause while another process locks the database, and the number of pauses: 30 s together.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_TIMES: u32 = 1500;

/// A copy of a live database, whole, durable and checked.
#[derive(Debug)]
pub struct SqliteCapture {
    /// The copy.
    pub path: PathBuf,
    /// Its pages.
    pub pages: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The path of the original.
    pub original: PathBuf,
    /// What the original looked like when the capture began.
    pub(super) stat: Stat,
}

/// Copies a database that others may be writing to into `staging`, which is replaced.
///
/// In WAL mode one read transaction pins the copied state and nobody waits. In rollback mode the copy goes in
/// steps and starts over if a writer comes between, at most five times. Then it runs in one go, and writers
/// wait. This changes nothing in the database, makes no checkpoint of others' work, and leaves no file beside it
/// that was not there. What a crash left unfinished is copied to `staging-source` with its `-wal` or `-journal`,
/// repaired there, and captured from there. When this returns, the copy is fsynced and has passed
/// `integrity_check`.
///
/// It blocks; call it where blocking is allowed. The consistency point is not earlier than the call. Between
/// steps the copy asks `stopped`, and fails as `interrupted` once the answer is true. A failed call leaves
/// nothing behind.
pub fn capture(
    database: &Path,
    staging: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<SqliteCapture, Failure> {
    let stat = rustix::fs::stat(database).map_err(|why| unreadable("read", database, &why.into()))?;
    clear(staging)?;
    let captured = capture_like(stat, database, staging, stopped).map_err(|why| or_full(staging, why));
    if captured.is_err()
        && let Err(failure) = clear(staging)
    {
        tracing::warn!(path = %staging.display(), %failure, "an unfinished copy stays behind");
    }
    captured
}

fn capture_like(
    stat: Stat,
    database: &Path,
    staging: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<SqliteCapture, Failure> {
    let copied = match left_by_a_crash(database) {
        true => from_a_copy(database, staging, stopped)?,
        false => match read_into(database, database, staging, stopped) {
            Err(Trouble::Sqlite(why)) if needs_a_copy(&why) => from_a_copy(database, staging, stopped)?,
            copied => copied.map_err(|trouble| trouble.of(database, staging))?,
        },
    };
    keep_header(staging, &copied).map_err(|why| staging_failure(staging, &why.to_string(), &why))?;
    let pages = copied.pages;

    check::integrity(staging)?;
    let durable = File::open(staging).and_then(|file| {
        file.sync_all()?;
        sync_folder(folder_of(staging))?;
        file.metadata()
    });
    let bytes = durable
        .map_err(|why| staging_failure(staging, &why.to_string(), &why))?
        .len();
    Ok(SqliteCapture {
        path: staging.to_owned(),
        pages,
        bytes,
        original: database.to_owned(),
        stat,
    })
}

/// Why a database could not be read into the staging file.
enum Trouble {
    Sqlite(rusqlite::Error),
    Other(Failure),
}

impl From<rusqlite::Error> for Trouble {
    fn from(why: rusqlite::Error) -> Self {
        Self::Sqlite(why)
    }
}

impl Trouble {
    fn of(self, database: &Path, staging: &Path) -> Failure {
        match self {
            Self::Sqlite(why) => not_copied(database, staging, &why),
            Self::Other(failure) => failure,
        }
    }
}

/// Reads the database at `from`, which is `database` or a copy of it, into the staging file.
fn read_into(
    database: &Path,
    from: &Path,
    staging: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<Copied, Trouble> {
    // SQLite makes a -wal and a -shm for a database in WAL mode that nobody has open. Only a connection that may write
    // removes them again. It changes nothing else, and if others have opened the database meanwhile, they stay.
    let closed_wal = SIDECARS.iter().all(|suffix| !beside(from, suffix).exists());
    let may_write = from != database || closed_wal && is_in_wal_mode(from);
    let access = match may_write {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let from = Connection::open_with_flags(from, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    from.busy_timeout(BUSY_PAUSE * BUSY_TIMES)?;
    // SQLite does not report why it cannot create a file.
    clear(staging).map_err(Trouble::Other)?;
    private::create_new(staging)
        .map_err(|why| Trouble::Other(staging_failure(staging, &why.to_string(), &why)))?;
    let mut to = Connection::open(staging).map_err(|why| Trouble::Other(not_staged(staging, &why)))?;
    let copied = copy(&from, &mut to, stopped)?.ok_or_else(|| {
        let message = format!("the copy of {} was stopped", database.display());
        Trouble::Other(Failure::transient("interrupted", message))
    })?;
    to.close()
        .map_err(|(_, why)| Trouble::Other(not_staged(staging, &why)))?;
    Ok(copied)
}

/// Returns whether the header says that the database is in WAL mode: bytes 18 and 19 are 2
/// (<https://www.sqlite.org/fileformat.html#file_format_version_numbers>).
fn is_in_wal_mode(database: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(database).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
    read.is_ok() && header[18..] == [2, 2]
}

/// Returns whether a process died with the database open in WAL mode, and nobody has opened it since: a live one has a
/// `-shm`. To open such a database is to repair it, and a capture changes nothing.
fn left_by_a_crash(database: &Path) -> bool {
    let has = |suffix| std::fs::metadata(beside(database, suffix)).is_ok_and(|file| file.len() > 0);
    has("-wal") && !beside(database, "-shm").exists()
}

/// Returns whether SQLite would have to write beside the database, and may not: to roll back what a crash left, or
/// because the folder cannot be written.
fn needs_a_copy(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        why.sqlite_error_code(),
        Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied)
    )
}

/// How often a copy is made again because the database changed meanwhile.
const COPIES: u32 = 3;

/// Captures a database from a copy of all its files. The copy is repaired, and the original stays as it is.
fn from_a_copy(database: &Path, staging: &Path, stopped: &dyn Fn() -> bool) -> Result<Copied, Failure> {
    let aside = beside(staging, "-source");
    let captured = copy_files(database, &aside).and_then(|()| {
        read_into(database, &aside, staging, stopped).map_err(|trouble| trouble.of(database, staging))
    });
    clear(&aside)?;
    captured
}

/// Copies a database with the files that belong to it, while nobody changes one of them.
fn copy_files(database: &Path, to: &Path) -> Result<(), Failure> {
    for _ in 0..COPIES {
        let before = look(database);
        clear(to)?;
        for suffix in ["", "-wal", "-journal"] {
            let (from, to) = (beside(database, suffix), beside(to, suffix));
            if from.exists() {
                let copied = private::copy(&from, &to).and_then(|copy| copy.sync_all());
                copied.map_err(|why| match why.kind() {
                    std::io::ErrorKind::StorageFull => staging_failure(&to, &why.to_string(), &why),
                    _ => unreadable("read", &from, &why),
                })?;
            }
        }
        if look(database) == before {
            return Ok(());
        }
    }
    let message = format!("the database {} changes while it is copied", database.display());
    Err(Failure::transient(code::SOURCE_UNREADABLE, message).with_hint("try again when its writers rest"))
}

/// Returns what tells one state of a database's files from another.
fn look(database: &Path) -> Vec<Option<(u64, u64, i64, i64)>> {
    use std::os::unix::fs::MetadataExt;
    let state = |suffix: &str| {
        let file = std::fs::metadata(beside(database, suffix)).ok()?;
        Some((file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
    };
    ["", "-wal", "-shm", "-journal"]
        .iter()
        .map(|suffix| state(suffix))
        .collect()
}

/// The facts of a copy that the copy itself does not keep.
struct Copied {
    pages: u64,
    /// The original's schema cookie, by which programs notice a changed schema.
    schema_version: u32,
}

/// The place of the schema cookie in the header, big-endian (<https://www.sqlite.org/fileformat.html#the_database_header>).
const SCHEMA_COOKIE: u64 = 40;

/// Puts back what SQLite's backup writes anew into the header: it counts the schema cookie from 1, and makes a page where
/// the original is empty.
fn keep_header(staging: &Path, copied: &Copied) -> std::io::Result<()> {
    let copy = File::options().write(true).open(staging)?;
    match copied.pages {
        0 => copy.set_len(0),
        _ => copy.write_all_at(&copied.schema_version.to_be_bytes(), SCHEMA_COOKIE),
    }
}

/// Returns what was copied; none if the copy was stopped.
fn copy(
    from: &Connection,
    to: &mut Connection,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Copied>, rusqlite::Error> {
    let mode: String = from.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let pinned = mode.eq_ignore_ascii_case("wal");
    if pinned {
        // The transaction begins with its first read, and ends with the connection.
        from.execute_batch("BEGIN")?;
        from.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
            row.get::<_, i64>(0)
        })?;
    }
    let backup = Backup::new(from, to)?;
    let (mut restarts, mut busy, mut remaining) = (0, 0, i32::MAX);
    loop {
        if stopped() {
            return Ok(None);
        }
        let pages = if restarts < RESTARTS { PAGES_PER_STEP } else { -1 };
        match backup.step(pages)? {
            StepResult::Done => break,
            StepResult::More => {
                let left = backup.progress().remaining;
                restarts += u32::from(left > remaining);
                remaining = left;
                if !pinned {
                    std::thread::sleep(PAUSE);
                }
            }
            result if busy >= BUSY_TIMES => return Err(still_held(result)),
            _ => {
                busy += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }
    let pages = u64::try_from(backup.progress().pagecount).unwrap_or(0);
    drop(backup);
    // In rollback mode the schema may have changed a moment ago. Then this is too high, which costs readers one look at
    // the schema.
    let schema_version = from.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    Ok(Some(Copied {
        pages,
        schema_version,
    }))
}

fn still_held(result: StepResult) -> rusqlite::Error {
    let code = match result {
        StepResult::Locked => rusqlite::ffi::SQLITE_LOCKED,
        _ => rusqlite::ffi::SQLITE_BUSY,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

/// Removes an earlier attempt's file at the staging path.
fn clear(staging: &Path) -> Result<(), Failure> {
    for path in std::iter::once(staging.to_owned()).chain(SIDECARS.map(|suffix| beside(staging, suffix))) {
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => return Err(staging_failure(&path, &why.to_string(), &why)),
        }
    }
    Ok(())
}

/// Returns why a copy failed. If SQLite cannot create a file beside the copy, it reports only that it could
/// not open a database. So this tries whether there is room for a file.
fn not_copied(database: &Path, staging: &Path, why: &rusqlite::Error) -> Failure {
    let room = beside(staging, "-room");
    if why.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
        && let Err(refused) = private::create_new(&room).and_then(|_| std::fs::remove_file(&room))
    {
        return staging_failure(staging, &refused.to_string(), &refused);
    }
    refused(database, why)
}

fn refused(database: &Path, why: &rusqlite::Error) -> Failure {
    use rusqlite::ErrorCode as Code;
    let message = format!("could not copy the database {}: {why}", database.display());
    let hint = match why.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            "another process holds it locked; end that transaction, or try again"
        }
        Some(Code::NotADatabase) => {
            "check the source's `path` in system.yaml; an encrypted database cannot be read"
        }
        Some(Code::CannotOpen | Code::ReadOnly) => {
            "check its permissions; after a crash, open it once with its own application, which repairs it"
        }
        Some(Code::DiskFull) => {
            return Failure::transient(code::DISK_FULL, message).with_hint("free some space");
        }
        _ => "check the disk and the database with `PRAGMA integrity_check`",
    };
    match why.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            Failure::transient(code::SOURCE_UNREADABLE, message)
        }
        _ => Failure::permanent(code::SOURCE_UNREADABLE, message),
    }
    .with_hint(hint)
}

/// Returns the failure of a copy, or that the disk has no room for another file. SQLite creates files beside
/// the copy. If there is no room for them, it reports that it cannot open the database.
fn or_full(staging: &Path, failure: Failure) -> Failure {
    let mut beside = staging.as_os_str().to_owned();
    beside.push("-room");
    let beside = PathBuf::from(beside);
    match private::create_new(&beside) {
        Err(why) if why.kind() == std::io::ErrorKind::StorageFull => {
            staging_failure(staging, &why.to_string(), &why)
        }
        Err(_) => failure,
        Ok(_) => {
            // It was empty, and the folder is the step's own.
            let _ = std::fs::remove_file(&beside);
            failure
        }
    }
}

fn not_staged(staging: &Path, why: &rusqlite::Error) -> Failure {
    let full = why.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let kind = if full {
        std::io::ErrorKind::StorageFull
    } else {
        std::io::ErrorKind::Other
    };
    staging_failure(staging, &why.to_string(), &std::io::Error::from(kind))
}

fn staging_failure(staging: &Path, said: &str, why: &std::io::Error) -> Failure {
    let message = format!("could not write the copy {}: {said}", staging.display());
    match why.kind() {
        std::io::ErrorKind::StorageFull => {
            Failure::transient(code::DISK_FULL, message).with_hint("free some space")
        }
        _ => Failure::transient("staging_unwritable", message).with_hint("check the workspace's folder"),
    }
}
