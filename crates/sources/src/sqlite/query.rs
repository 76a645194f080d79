//! Reads numbers from a database and leaves no file beside it.
//!
//! Reading a WAL database in the ordinary way creates `-wal` and `-shm` files next to it, even read-only
//! (<https://www.sqlite.org/wal.html#read_only_databases>). Then a measured database would differ from the
//! restored one. So: without a `-wal` nobody has the database open, and it is read as immutable. With `-wal`
//! and `-shm` it is read with both as they are. With a `-wal` alone, a copy is read elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rekindle_model::failure::{Failure, code};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};

use super::beside;
use crate::failures::unreadable;
use crate::private;

/// The code for a text that is not one reading query.
const BAD_QUERY: &str = "bad_query";

/// A database, open for reading numbers.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the database at `path`. If that needs a copy, it is made in the folder `scratch`, which the
    /// caller removes.
    ///
    /// # Errors
    /// `source_unreadable` if there is no database that can be opened.
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, Failure> {
        let failed = |why: &std::io::Error| unreadable("read", path, why);
        let meta = fs::metadata(path).map_err(|why| failed(&why))?;
        if !meta.is_file() {
            return Err(failed(&std::io::Error::other("it is no file")));
        }
        let (wal, shm) = (beside(path, "-wal"), beside(path, "-shm"));
        let opened = if !wal.exists() {
            connect(path, "mode=ro&immutable=1")
        } else if shm.exists() {
            connect(path, "mode=ro")
        } else {
            let copy = scratch.join("copy.sqlite");
            private::create_dir_all(scratch)
                .and_then(|()| private::copy(path, &copy))
                .and_then(|_| private::copy(&wal, &beside(&copy, "-wal")))
                .map_err(|why| failed(&why))?;
            connect(&copy, "mode=rw")
        };
        Ok(Self {
            connection: opened.map_err(|why| failed(&std::io::Error::other(why)))?,
        })
    }

    /// Returns a handle by which another thread ends a slow query.
    pub fn interrupter(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Runs one reading query and returns the numbers of its only row by column name. Leaves out columns that
    /// hold no number. A query without a row has no numbers.
    ///
    /// # Errors
    /// `bad_query` if it is not one reading query or gives a second row; `interrupted` if a handle ended it.
    pub fn numbers(&self, query: &str) -> Result<BTreeMap<String, f64>, Failure> {
        let failed = |error: &rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Failure::transient("interrupted", "the query was ended"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Failure::transient(code::SOURCE_UNREADABLE, error.to_string())
            }
            _ => Failure::permanent(BAD_QUERY, format!("the query fails: {error}")),
        };
        let mut statement = self.connection.prepare(query).map_err(|error| failed(&error))?;
        // ATTACH and its like count as reading, and have no columns.
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(Failure::permanent(BAD_QUERY, "the query does not only read")
                .with_hint("a probe only reads: write a SELECT"));
        }
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query([]).map_err(|error| failed(&error))?;
        let mut numbers = BTreeMap::new();
        let Some(row) = rows.next().map_err(|error| failed(&error))? else {
            return Ok(numbers);
        };
        for (at, name) in names.into_iter().enumerate() {
            let number = match row.get_ref(at).map_err(|error| failed(&error))? {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "measures are floating point; counts beyond 2^53 may lose their last digits"
                )]
                ValueRef::Integer(number) => number as f64,
                ValueRef::Real(number) => number,
                ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => continue,
            };
            numbers.insert(name, number);
        }
        if rows.next().map_err(|error| failed(&error))?.is_some() {
            return Err(Failure::permanent(BAD_QUERY, "the query gives more than one row")
                .with_hint("name each number: SELECT count(*) AS rows, max(id) AS newest FROM …"));
        }
        Ok(numbers)
    }
}

fn connect(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    let flags = if how == "mode=rw" {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    Connection::open_with_flags(
        format!("{uri}?{how}"),
        flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("a?b #1.db");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER, x REAL, s TEXT);
                 INSERT INTO t VALUES (1, 0.5, 'a'), (2, 1.5, 'b');",
            )
            .unwrap();
        path
    }

    fn beside_it(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn numbers_are_read_by_column_name_and_no_trace_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = database(dir.path());
        let before = beside_it(dir.path());
        let reader = Reader::open(&path, &dir.path().join("scratch")).unwrap();
        let numbers = reader
            .numbers("SELECT count(*) AS rows, avg(x) AS mean, max(s) AS name, NULL AS none FROM t")
            .unwrap();
        assert_eq!(
            numbers,
            BTreeMap::from([("rows".into(), 2.0), ("mean".into(), 1.0)])
        );
        assert!(reader.numbers("SELECT n FROM t WHERE n > 5").unwrap().is_empty());
        drop(reader);
        assert_eq!(beside_it(dir.path()), before);
    }

    #[test]
    fn what_is_in_use_is_read_with_its_newest_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = database(dir.path());
        let live = Connection::open(&path).unwrap();
        live.execute_batch("INSERT INTO t VALUES (3, 0, 'c')").unwrap();
        let scratch = dir.path().join("scratch");
        let count = |path: &Path| {
            Reader::open(path, &scratch)
                .unwrap()
                .numbers("SELECT count(*) AS c FROM t")
        };
        assert_eq!(count(&path).unwrap()["c"], 3.0);

        // The same without the `-shm`, as after a copy of the files.
        let other = dir.path().join("other.db");
        fs::copy(&path, &other).unwrap();
        fs::copy(beside(&path, "-wal"), beside(&other, "-wal")).unwrap();
        assert_eq!(count(&other).unwrap()["c"], 3.0);
        assert!(!beside(&other, "-shm").exists());
    }

    #[test]
    fn a_query_that_would_write_or_gives_two_rows_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::open(&database(dir.path()), dir.path()).unwrap();
        for (query, why) in [
            ("DELETE FROM t", "does not only read"),
            ("SELECT n FROM t", "more than one row"),
            ("SELECT nothing FROM nowhere", "the query fails"),
            ("SELECT 1; DELETE FROM t", "the query fails"),
            ("ATTACH '/tmp/x.db' AS x", "does not only read"),
        ] {
            let failure = reader.numbers(query).unwrap_err();
            assert_eq!(failure.code, BAD_QUERY, "{query}");
            assert!(failure.message.contains(why), "{query}: {failure}");
        }
        assert_eq!(
            Reader::open(&dir.path().join("none"), dir.path())
                .unwrap_err()
                .code,
            code::SOURCE_UNREADABLE
        );
    }

    #[test]
    fn a_query_without_end_can_be_ended() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::open(&database(dir.path()), dir.path()).unwrap();
        let interrupter = reader.interrupter();
        let query = std::thread::spawn(move || {
            reader.numbers(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
            )
        });
        // SQLite forgets an interrupt that comes before the query has begun.
        while !query.is_finished() {
            interrupter.interrupt();
            std::thread::yield_now();
        }
        assert_eq!(query.join().unwrap().unwrap_err().code, "interrupted");
    }
}
