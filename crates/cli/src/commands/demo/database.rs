//! What a database holds, whatever the layout of its pages.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::error::CliError;
use crate::exit::Exit;

/// Returns a hash over the schema and all rows, after SQLite's own integrity check.
///
/// Values carry their types and lengths into the hash, so that no two contents collide by concatenation.
pub(super) fn content(path: &Path) -> Result<blake3::Hash, CliError> {
    read(path).map_err(|error| {
        CliError::new(
            Exit::DataLost,
            "bad_database",
            format!("database {} cannot be read: {error}", path.display()),
        )
    })
}

fn read(path: &Path) -> Result<blake3::Hash, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let database = Connection::open_with_flags(uri(path), flags)?;
    let mut hasher = blake3::Hasher::new();
    let integrity: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    text(&mut hasher, integrity.as_bytes());
    let mut tables =
        database.prepare("SELECT name, COALESCE(sql, ''), type FROM sqlite_schema ORDER BY type, name")?;
    let schema: Vec<(String, String, String)> = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (name, sql, kind) in schema {
        text(&mut hasher, name.as_bytes());
        text(&mut hasher, sql.as_bytes());
        if kind != "table" {
            continue;
        }
        let mut rows = database.prepare(&format!("SELECT * FROM \"{}\"", name.replace('"', "\"\"")))?;
        let columns = rows.column_count();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                value(&mut hasher, row.get_ref(column)?);
            }
        }
    }
    Ok(hasher.finalize())
}

/// Without a -wal the file is all there is: opened as immutable, SQLite makes nothing beside it.
fn uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if !Path::new(&wal).exists() {
        uri.push_str("?immutable=1");
    }
    uri
}

fn value(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => {
            hasher.update(&[0]);
        }
        ValueRef::Integer(number) => {
            hasher.update(&[1]).update(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            hasher.update(&[2]).update(&number.to_bits().to_le_bytes());
        }
        ValueRef::Text(bytes) => {
            hasher.update(&[3]);
            text(hasher, bytes);
        }
        ValueRef::Blob(bytes) => {
            hasher.update(&[4]);
            text(hasher, bytes);
        }
    }
}

fn text(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}
