//! How far a system, or a copy of it, reaches.
//!
//! A running system gives each record that it writes a stamp, from one counter over its three stores, and a
//! number within its store. So of a restored copy it can be said per store: the newest stamp is N, and nothing is
//! missing before it. The difference to the newest stamp before the disaster is what was lost.
//!
//! | store | where | numbers |
//! |---|---|---|
//! | `audit` | `security/audit.log` | `seq`, from the first line on |
//! | `content` | `db/content.sqlite`, table `activity` | `seq`; each row names the item or assessment it stands for |
//! | `metrics` | `monitoring/metrics.log` | `seq`, from the first line on |
//!
//! Records that were generated and not written by a running system have a number and no stamp.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::error::FactoriaError;
use crate::layout::{AUDIT_LOG, CONTENT_DB, METRICS_LOG};
use crate::probe::database::Opened;
use crate::probe::{readable, regular};

/// The store of the audit log's lines.
pub const AUDIT: &str = "audit";
/// The store of the content database's rows.
pub const CONTENT: &str = "content";
/// The store of the metrics log's lines.
pub const METRICS: &str = "metrics";
/// How often a database is read again because someone began to write meanwhile.
const ATTEMPTS: u32 = 3;

/// How far one store reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMark {
    /// Whether the store could be read to its end; without that, nothing of it is known.
    pub readable: bool,
    /// The newest stamp; `None` where no running system wrote to it yet.
    pub newest: Option<u64>,
    /// The UTC time of the record with that stamp, in RFC 3339.
    pub newest_at: Option<String>,
    /// The newest number within the store.
    pub seq: u64,
    /// Records that are not there, or not readable, though a later one is.
    pub missing: u64,
    /// Records whose number or stamp does not come after the one before it.
    pub doubled: u64,
    /// Whether the last line of a log is cut off: a write that was under way. It is not counted anywhere.
    pub torn_tail: bool,
}

/// Returns how far each store of the system at `root` reaches, by its name.
///
/// It reads the logs and the database to their ends and writes nothing; the system may be running.
///
/// # Errors
/// [`FactoriaError::UnreadableRoot`]. A store that is absent or damaged is told in its mark.
pub fn watermark(root: &Path) -> Result<BTreeMap<String, StoreMark>, FactoriaError> {
    readable(root)?;
    Ok(BTreeMap::from([
        (AUDIT.to_owned(), log(&root.join(AUDIT_LOG))),
        (CONTENT.to_owned(), content(&root.join(CONTENT_DB))),
        (METRICS.to_owned(), log(&root.join(METRICS_LOG))),
    ]))
}

/// Returns, for each store of the system at `root`, the newest number that was durable at `instant` for certain: any
/// later copy holds the records up to it.
///
/// A store's records are written one after the other: one was durable when the next was begun, whose time says when
/// that was.
///
/// # Errors
/// [`FactoriaError::UnreadableRoot`]. Of a store that is absent or damaged nothing is certain.
pub fn durable_at(root: &Path, instant: DateTime<Utc>) -> Result<BTreeMap<String, u64>, FactoriaError> {
    readable(root)?;
    let (mut audit, mut content_rows, mut metrics) =
        (Certain::at(instant), Certain::at(instant), Certain::at(instant));
    for (path, certain) in [(AUDIT_LOG, &mut audit), (METRICS_LOG, &mut metrics)] {
        let Ok(log) = File::open(root.join(path)) else {
            continue;
        };
        for line in BufReader::with_capacity(1 << 20, log)
            .split(b'\n')
            .map_while(Result::ok)
        {
            certain.record(Numbers::of_line(&line));
        }
    }
    if let Some(opened) = Opened::open(&root.join(CONTENT_DB))
        && let Ok(mut rows) = opened
            .connection
            .prepare("SELECT seq, at FROM activity ORDER BY seq")
        && let Ok(rows) = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
    {
        for (seq, at) in rows.map_while(Result::ok) {
            let seq = number(seq);
            content_rows.record(Some(Numbers { seq, stamp: None, at }));
        }
    }
    Ok(BTreeMap::from([
        (AUDIT.to_owned(), audit.newest),
        (CONTENT.to_owned(), content_rows.newest),
        (METRICS.to_owned(), metrics.newest),
    ]))
}

/// What of one store was durable at an instant.
struct Certain {
    instant: DateTime<Utc>,
    before: u64,
    newest: u64,
}

impl Certain {
    fn at(instant: DateTime<Utc>) -> Self {
        // Times are written in whole milliseconds, cut off: what says the same one may have been later.
        Self {
            instant: instant - Duration::from_millis(1),
            before: 0,
            newest: 0,
        }
    }

    fn record(&mut self, record: Option<Numbers>) {
        let Some(Numbers { seq, at, .. }) = record else {
            return;
        };
        let at = at.and_then(|at| DateTime::parse_from_rfc3339(&at).ok());
        if at.is_some_and(|at| at <= self.instant) {
            self.newest = self.before;
        }
        self.before = seq;
    }
}

impl StoreMark {
    /// Counts the next record; `None` is one that cannot be read, which is as if it were not there.
    fn record(&mut self, record: Option<Numbers>) {
        let next = self.seq.saturating_add(1);
        let Some(Numbers { seq, stamp, at }) = record else {
            self.missing += 1;
            self.seq = next;
            return;
        };
        if seq < next {
            self.doubled += 1;
            return;
        }
        self.missing += seq - next;
        self.seq = seq;
        if let Some(stamp) = stamp {
            if self.newest.is_some_and(|newest| newest >= stamp) {
                self.doubled += 1;
                return;
            }
            self.newest = Some(stamp);
            self.newest_at = at;
        }
    }
}

/// What a record of any store says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) seq: u64,
    pub(crate) stamp: Option<u64>,
    at: Option<String>,
}

impl Numbers {
    /// Reads a log's line, given without its line feed.
    pub(crate) fn of_line(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

fn log(path: &Path) -> StoreMark {
    let read = || -> io::Result<StoreMark> {
        regular(path)?;
        lines(BufReader::with_capacity(1 << 20, File::open(path)?))
    };
    read().unwrap_or_default()
}

fn lines(mut log: impl BufRead) -> io::Result<StoreMark> {
    let mut mark = StoreMark {
        readable: true,
        ..StoreMark::default()
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line)? == 0 {
            return Ok(mark);
        }
        if line.pop() != Some(b'\n') {
            mark.torn_tail = true;
            return Ok(mark);
        }
        mark.record(Numbers::of_line(&line));
    }
}

fn content(path: &Path) -> StoreMark {
    for _ in 0..ATTEMPTS {
        let Some(opened) = Opened::open(path) else {
            return StoreMark::default();
        };
        let mark = rows(&opened.connection);
        if !opened.was_disturbed() {
            return mark.unwrap_or_default();
        }
    }
    StoreMark::default()
}

fn rows(database: &Connection) -> rusqlite::Result<StoreMark> {
    database.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut mark = StoreMark {
        readable: true,
        ..StoreMark::default()
    };
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'activity'";
    if database.query_row(sql, [], |row| row.get::<_, u32>(0))? == 0 {
        return Ok(mark);
    }
    // A row of the table without the item or assessment that it stands for is not there.
    let mut statement = database.prepare(
        "SELECT seq, stamp, at, CASE kind WHEN 'item' THEN EXISTS (SELECT 1 FROM items WHERE id = row_id)
         ELSE EXISTS (SELECT 1 FROM assessments WHERE id = row_id) END FROM activity ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let stands: bool = row.get(3)?;
        let numbers = Numbers {
            seq: number(row.get(0)?),
            stamp: Some(number(row.get(1)?)),
            at: row.get(2)?,
        };
        // Rows before this one that are missing are counted by the next one that is there.
        if stands {
            mark.record(Some(numbers));
        } else {
            mark.missing += numbers.seq.saturating_sub(mark.seq);
            mark.seq = numbers.seq;
        }
    }
    Ok(mark)
}

/// Returns a number as SQLite keeps it; what is written here is never negative.
pub(crate) fn number(kept: i64) -> u64 {
    u64::try_from(kept).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, newest: Option<u64>, seq: u64, missing: u64, doubled: u64, torn_tail: bool) {
        let mark = lines(text.as_bytes()).unwrap();
        assert_eq!(
            (mark.newest, mark.seq, mark.missing, mark.doubled, mark.torn_tail),
            (newest, seq, missing, doubled, torn_tail),
            "{text:?}"
        );
    }

    #[test]
    fn a_record_is_certain_once_the_next_one_was_begun_a_millisecond_before() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("security")).unwrap();
        let line = |seq: u64| format!("{{\"seq\":{seq},\"at\":\"2027-01-15T08:00:00.00{seq}Z\"}}\n");
        let log: String = (1..=4).map(line).collect();
        std::fs::write(root.path().join(AUDIT_LOG), log).unwrap();
        for (millis, certain) in [(0, 0), (3, 1), (4, 2), (5, 3), (900, 3)] {
            let instant = format!("2027-01-15T08:00:00.{millis:03}Z").parse().unwrap();
            let found = durable_at(root.path(), instant).unwrap();
            assert_eq!(
                (found[AUDIT], found[CONTENT], found[METRICS]),
                (certain, 0, 0),
                "{millis}"
            );
        }
    }

    #[test]
    fn gaps_doubles_and_torn_ends_are_told_apart() {
        let line = |seq: u64, stamp: u64| format!("{{\"seq\":{seq},\"stamp\":{stamp},\"at\":\"t\"}}\n");
        let old = "{\"seq\":1,\"at\":\"t\"}\n{\"seq\":2,\"at\":\"t\"}\n";
        check("", None, 0, 0, 0, false);
        check(old, None, 2, 0, 0, false);
        check(&[old, &line(3, 7), &line(4, 9)].concat(), Some(9), 4, 0, 0, false);
        check(&[old, &line(4, 9)].concat(), Some(9), 4, 1, 0, false);
        check(&[&line(1, 2), &*line(1, 2)].concat(), Some(2), 1, 0, 1, false);
        check(&[&line(1, 2), &*line(2, 2)].concat(), Some(2), 2, 0, 1, false);
        check(
            &[&line(1, 2), "not JSON\n", &line(3, 4)].concat(),
            Some(4),
            3,
            1,
            0,
            false,
        );
        check(&[&line(1, 2), "not JSON\n"].concat(), Some(2), 2, 1, 0, false);
        check(&[&line(1, 2), "{\"seq\":2,"].concat(), Some(2), 1, 0, 0, true);
    }
}
