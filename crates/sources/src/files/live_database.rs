//! Recognises SQLite databases that a program may have open: a copy of their files may be of different moments.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rekindle_model::entry::TreePath;
use rustix::fs::{Mode, OFlags};

/// Returns the database that a file belongs to, if it is the log or the journal of a SQLite database beside it.
pub(super) fn database_of(folder: BorrowedFd<'_>, name: &CString, path: &TreePath) -> Option<TreePath> {
    let without = |bytes: &[u8]| {
        let of = |suffix: &[u8]| bytes.strip_suffix(suffix).map(<[u8]>::to_vec);
        of(b"-wal").or_else(|| of(b"-journal"))
    };
    let database = CString::new(without(name.as_bytes())?).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &database, flags, Mode::empty()).ok()?;
    let mut magic = [0; SQLITE_MAGIC.len()];
    let read = rustix::io::pread(&file, &mut magic, 0).ok()?;
    (read == magic.len() && magic == *SQLITE_MAGIC)
        .then(|| TreePath::new(&without(path.as_bytes())?).ok())
        .flatten()
}

/// The beginning of a SQLite database (<https://www.sqlite.org/fileformat.html#magic_header_string>).
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
