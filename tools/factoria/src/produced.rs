//! What the system produces from what it did: assessments, analytics, reports and summaries.
//!
//! | files | made from |
//! |---|---|
//! | `quality/assessments/*.jsonl` | items of the content database, assessed |
//! | `monitoring/summary.json` | the metrics log |
//! | `analytics/*` | audit log, metrics log, content database |
//! | `reporting/reports/*.md` | the same, period by period |
//!
//! All of it can be produced again from the same inputs, byte by byte. Inputs that grow while the system runs are cut
//! at the watermark in the folder's `produced.json` ([`Extent`]). So a probe produces everything again from a restored
//! copy and compares: a changed report shows, and so does a changed input.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::probe::{bounded, document, regular};

pub(crate) mod analytics;
pub(crate) mod assessments;
pub(crate) mod monitoring;
pub(crate) mod reports;

/// The document of a folder that says up to where its inputs were read.
pub(crate) const EXTENT: &str = "produced.json";
/// The longest line of a log that is read, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// The longest produced file that is compared, in bytes; what is longer was not produced by a system.
const LONGEST: u64 = 1 << 30;
/// The most reports or files of assessments that are produced.
const MOST_PARTS: u64 = 10_000;

/// Files by their path below a folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Up to where the inputs were read, and how the result is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// The newest line of the audit log.
    pub(crate) audit: u64,
    /// The newest line of the metrics log.
    pub(crate) metrics: u64,
    /// The newest item of the content database.
    pub(crate) items: u64,
    /// Bytes that are quoted of an item's text.
    pub(crate) excerpt_bytes: u64,
    /// Into how many files.
    pub(crate) parts: u64,
}

impl Extent {
    /// Reads the extent of a folder.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_value(document(&folder.join(EXTENT))?).ok()
    }

    /// Returns the number of files, within reason.
    fn parts(&self) -> u64 {
        self.parts.clamp(1, MOST_PARTS)
    }

    /// Returns the first and the last record of `newest` that belong in a file, counted from 0.
    fn range(&self, part: u64, newest: u64) -> (u64, u64) {
        let before = |part: u64| {
            let records = (u128::from(part) * u128::from(newest)).div_ceil(u128::from(self.parts()));
            u64::try_from(records).unwrap_or(u64::MAX)
        };
        (before(part).saturating_add(1), before(part + 1))
    }

    /// Returns in which of the files the record `seq` of `newest` belongs, from 0.
    fn part(&self, seq: u64, newest: u64) -> u64 {
        let before = u128::from(seq.saturating_sub(1)) * u128::from(self.parts());
        let part = before / u128::from(newest.max(1));
        u64::try_from(part).unwrap_or(u64::MAX).min(self.parts() - 1)
    }
}

/// A line of the audit log, as far as it is used.
#[derive(Debug, Deserialize)]
struct Action {
    seq: u64,
    at: String,
    actor: String,
    action: String,
    outcome: String,
    note: String,
}

/// A line of the metrics log.
#[derive(Debug, Deserialize)]
struct Metric {
    seq: u64,
    at: String,
    metric: String,
    value: f64,
    trace: Option<String>,
}

/// Calls `each` with the lines of a log. A log that is absent has none, a line that is none of its kind is left out,
/// and one that is longer than a line can be ends it.
fn lines<T: DeserializeOwned>(path: &Path, mut each: impl FnMut(T) -> Next) {
    let Some(file) = regular(path).ok().and_then(|()| File::open(path).ok()) else {
        return;
    };
    let mut log = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if !read.is_ok_and(|read| read > 0) || line.last() != Some(&b'\n') {
            return;
        }
        if let Ok(line) = serde_json::from_slice(&line)
            && each(line) == Next::Stop
        {
            return;
        }
    }
}

/// Whether lines go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

/// Calls `each` with the lines of the audit log up to the watermark.
fn actions(root: &Path, extent: &Extent, mut each: impl FnMut(Action)) {
    lines(&root.join(crate::layout::AUDIT_LOG), |action: Action| {
        if action.seq > extent.audit {
            return Next::Stop;
        }
        each(action);
        Next::Go
    });
}

/// Calls `each` with the lines of the metrics log up to the watermark.
fn metrics(root: &Path, extent: &Extent, mut each: impl FnMut(Metric)) {
    lines(&root.join(crate::layout::METRICS_LOG), |metric: Metric| {
        if metric.seq > extent.metrics {
            return Next::Stop;
        }
        each(metric);
        Next::Go
    });
}

/// An item of the content database, with its first assessment.
struct Stored {
    id: u64,
    content_type: String,
    title: String,
    audience: String,
    standard: String,
    created_at: String,
    body: String,
    overall: Option<f64>,
}

/// Calls `each` with the items from the first to the last; a database that cannot be read has none.
fn items(database: Option<&Connection>, (first, last): (u64, u64), mut each: impl FnMut(Stored)) {
    let mut walk = |database: &Connection| -> rusqlite::Result<()> {
        let mut statement = database.prepare(
            "SELECT id, content_type, title, audience, standard, created_at, substr(body, 1, 1048576),
             (SELECT score FROM assessments WHERE item_id = items.id AND dimension = 'overall_quality'
              ORDER BY id LIMIT 1)
             FROM items WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        )?;
        let id = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut rows = statement.query([id(first), id(last)])?;
        while let Some(row) = rows.next()? {
            each(Stored {
                id: crate::stamps::number(row.get(0)?),
                content_type: row.get(1)?,
                title: row.get(2)?,
                audience: row.get(3)?,
                standard: row.get(4)?,
                created_at: row.get(5)?,
                body: row.get(6)?,
                overall: row.get(7)?,
            });
        }
        Ok(())
    };
    // What was read until a fault was produced from; the rest is missing from the result, which then differs.
    let _ = database.map(&mut walk);
}

/// Returns the text of an item without its headings, up to about `bytes` bytes, ending with a word.
fn excerpt(body: &str, bytes: u64) -> String {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut out = String::new();
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    for word in lines.flat_map(str::split_whitespace) {
        if out.len() + word.len() >= bytes {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Returns the share of the files that stand on disk as they are produced. `found` is the number of files that are
/// there in their place: those that nothing produces count as wrong.
pub(crate) fn share(folder: &Path, produced: &Files, found: u64) -> f64 {
    let same = produced
        .iter()
        .filter(|(path, text)| bounded(&folder.join(path), LONGEST).as_ref() == Some(*text))
        .count();
    match found.max(produced.len() as u64) {
        0 => 0.0,
        all => same as f64 / all as f64,
    }
}

/// Counts the files of any kind in a folder.
pub(crate) fn files_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| entries.filter_map(Result::ok).count() as u64)
}

/// Returns a document as text, indented, ending in a line feed.
fn pretty(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_belongs_to_one_file_and_the_ranges_say_to_which() {
        for (newest, parts) in [(1, 1), (10, 3), (72, 4), (3, 8), (1_000, 7)] {
            let extent = Extent {
                parts,
                ..Extent::default()
            };
            let mut next = 1;
            for part in 0..parts {
                let (first, last) = extent.range(part, newest);
                assert_eq!(first, next, "{newest} in {parts}");
                for seq in first..=last {
                    assert_eq!(extent.part(seq, newest), part, "{seq} of {newest} in {parts}");
                }
                next = last + 1;
            }
            assert_eq!(next, newest + 1);
        }
    }
}
