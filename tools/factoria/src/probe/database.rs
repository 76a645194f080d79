//! Opens a database to look at it, leaving not a trace beside it.
//!
//! Reading a WAL database in the ordinary way creates `-wal` and `-shm` files next to it, even read-only
//! (<https://www.sqlite.org/wal.html#read_only_databases>), and a restored tree would differ from what was
//! backed up merely because it was measured. So:
//!
//! - no `-wal`: nobody has it open; it is read as immutable, which needs no companions;
//! - `-wal` and `-shm`: it may be in use; it is read with both as they are, and a read-only connection neither
//!   folds nor removes them;
//! - `-wal` alone: the `-shm` would have to be created, so a copy of both files is read elsewhere.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::regular;

/// The largest database, with its log, of which a copy is made, in bytes. What is left after a crash is smaller; a
/// sparse file can claim to be of any size.
const LARGEST_COPY: u64 = 16 << 30;

/// A database opened for reading.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    path: PathBuf,
    immutable: bool,
    /// Holds the copy, if one was needed, until the connection is closed.
    _copy: Option<TempDir>,
}

impl Opened {
    /// Opens the database, or returns `None` where there is none that can be opened.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        regular(path).ok()?;
        let (wal, shm) = (companion(path, "-wal"), companion(path, "-shm"));
        let (opened, copy, immutable) = if fs::symlink_metadata(&wal).is_err() {
            (connect(path, "mode=ro&immutable=1"), None, true)
        } else if fs::symlink_metadata(&shm).is_ok() {
            (connect(path, "mode=ro"), None, false)
        } else {
            let bytes = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
            if bytes(path).saturating_add(bytes(&wal)) > LARGEST_COPY || regular(&wal).is_err() {
                return None;
            }
            let folder = tempfile::tempdir().ok()?;
            let copy = folder.path().join("copy.sqlite");
            fs::copy(path, &copy).ok()?;
            fs::copy(&wal, companion(&copy, "-wal")).ok()?;
            (connect(&copy, "mode=rw"), Some(folder), false)
        };
        Some(Self {
            connection: opened.ok()?,
            path: path.to_owned(),
            immutable,
            _copy: copy,
        })
    }

    /// Returns whether somebody began to write while the database was read as immutable. The result may then
    /// be a mixture.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.immutable && fs::symlink_metadata(companion(&self.path, "-wal")).is_ok()
    }
}

fn connect(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    let access = if parameters.starts_with("mode=rw") {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    Connection::open_with_flags(
        uri,
        access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
