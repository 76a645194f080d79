//! Asks SQLite whether a file is a whole database, and leaves no file beside it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rekindle_model::failure::{Failure, code};
use rusqlite::{Connection, OpenFlags};

/// Runs `PRAGMA integrity_check` on a file that nobody writes to.
///
/// It opens the file as immutable, so SQLite neither creates nor reads a `-wal` or `-shm` beside it.
pub(super) fn integrity(path: &Path) -> Result<(), Failure> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let verdict = Connection::open_with_flags(immutable_uri(path), flags).and_then(|database| {
        let mut statement = database.prepare("PRAGMA integrity_check(5)")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<Result<Vec<_>, _>>()
    });
    let fault = match verdict {
        Ok(lines) if lines == ["ok"] => return Ok(()),
        Ok(lines) => lines.join("; "),
        Err(why) if says_nothing(&why) => {
            let message = format!("could not check {}: {why}", path.display());
            return Err(Failure::transient("sqlite_failed", message)
                .with_hint("see whether memory and disk suffice, then resume"));
        }
        Err(why) => why.to_string(),
    };
    let message = format!("{} is not a whole SQLite database: {fault}", path.display());
    Err(Failure::permanent(code::INVALID, message)
        .with_hint("take it from another tier or an older snapshot"))
}

/// Returns whether an error is of this process or its host, and says nothing about the file.
fn says_nothing(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        why.sqlite_error_code(),
        Some(Code::OutOfMemory | Code::CannotOpen | Code::SystemIoFailure | Code::DiskFull)
    )
}

/// Returns the URI of a file; escapes each byte that is not plain.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    // A relative path needs the prefix. Without it, its first name could pass for an authority.
    if path.is_relative() {
        uri.push_str("./");
    }
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}
