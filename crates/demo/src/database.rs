//! What a database holds, whatever the layout of its pages.

use rekindle_model::problem::ProblemKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use rekindle_workspace::Error;

/// Returns a hash over the schema and all rows, after SQLite's own integrity check.
///
/// Values carry their types and lengths into the hash, so that no two contents collide by concatenation.
pub(super) fn content(path: &Path) -> Result<blake3::Hash, Error> {
    read(path).map_err(|error| {
        Error::new(
            ProblemKind::DataLost,
            "bad_database",
            format!("database {} cannot be read: {error}", path.display()),
        )
    })
}

/// Returns whether each table of the database `part` holds the first rows of the same table of `whole`, which only
/// ever grew, after SQLite's own integrity check of both.
pub(super) fn begins(whole: &Path, part: &Path) -> Result<bool, Error> {
    let compare = || -> Result<bool, rusqlite::Error> {
        let (whole, part) = (open(whole)?, open(part)?);
        let of = |database: &Connection| -> Result<(String, Vec<Table>), rusqlite::Error> {
            Ok((integrity(database)?, tables(database)?))
        };
        let (sound, schema) = of(&part)?;
        if (&sound, &schema) != (&"ok".to_owned(), &of(&whole)?.1) || integrity(&whole)? != "ok" {
            return Ok(false);
        }
        for table in schema.iter().filter(|table| table.grows()) {
            let (rows, found) = first_rows(&part, &table.name, u64::MAX)?;
            if first_rows(&whole, &table.name, rows)? != (rows, found) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    compare().map_err(|error| {
        Error::new(
            ProblemKind::DataLost,
            "bad_database",
            format!(
                "databases {} and {} cannot be compared: {error}",
                whole.display(),
                part.display()
            ),
        )
        .with_advice("look at it yourself: rekindle demo --keep DIR")
    })
}

/// One entry of a database's schema.
#[derive(Debug, PartialEq)]
struct Table {
    name: String,
    sql: String,
    kind: String,
}

impl Table {
    /// Whether rows are only ever added to it; SQLite's own counters are overwritten.
    fn grows(&self) -> bool {
        self.kind == "table" && !self.name.starts_with("sqlite_")
    }
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri(path), flags)
}

fn integrity(database: &Connection) -> Result<String, rusqlite::Error> {
    database.query_row("PRAGMA integrity_check", [], |row| row.get(0))
}

fn tables(database: &Connection) -> Result<Vec<Table>, rusqlite::Error> {
    let mut tables =
        database.prepare("SELECT name, COALESCE(sql, ''), type FROM sqlite_schema ORDER BY type, name")?;
    tables
        .query_map([], |row| {
            Ok(Table {
                name: row.get(0)?,
                sql: row.get(1)?,
                kind: row.get(2)?,
            })
        })?
        .collect()
}

/// Returns how many of the first rows of a table there are, up to a limit, and the hash of their values.
fn first_rows(
    database: &Connection,
    table: &str,
    limit: u64,
) -> Result<(u64, blake3::Hash), rusqlite::Error> {
    let mut hasher = blake3::Hasher::new();
    let mut rows = database.prepare(&format!("SELECT * FROM \"{}\"", table.replace('"', "\"\"")))?;
    let columns = rows.column_count();
    let mut rows = rows.query([])?;
    let mut found = 0;
    while found < limit
        && let Some(row) = rows.next()?
    {
        for column in 0..columns {
            value(&mut hasher, row.get_ref(column)?);
        }
        found += 1;
    }
    Ok((found, hasher.finalize()))
}

fn read(path: &Path) -> Result<blake3::Hash, rusqlite::Error> {
    let database = open(path)?;
    let mut hasher = blake3::Hasher::new();
    text(&mut hasher, integrity(&database)?.as_bytes());
    for table in tables(&database)? {
        text(&mut hasher, table.name.as_bytes());
        text(&mut hasher, table.sql.as_bytes());
        if table.kind == "table" {
            let (rows, found) = first_rows(&database, &table.name, u64::MAX)?;
            hasher.update(&rows.to_le_bytes()).update(found.as_bytes());
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
