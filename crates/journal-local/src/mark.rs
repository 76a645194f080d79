//! Marks: the log's own entries, between the records of runs.
//!
//! ```text
//! key    zeros (16) ‖ zeros (8)
//! value  version (1) ‖ mark (MessagePack, named fields) ‖ CRC32C (4) of key and all of the value before it
//! ```
//! No run has that id. Only segments of format 2 hold marks. A program that does not know marks refuses such
//! a log, so it does not take a removed run for a lost one.

use chrono::{DateTime, Utc};
use rekindle_journal::JournalError;
use rekindle_journal::RunSummary;
use rekindle_journal::codec::{self, KEY_LEN, Key};
use rekindle_model::event::JournalHead;
use rekindle_model::id::{Hash32, RunId};
use serde::{Deserialize, Serialize};

const MARK_FORMAT: u8 = 1;
const KEY: Key = [0; KEY_LEN];

/// One entry as the log holds it: a run's record or a mark.
pub(crate) type Entry<'a> = (Key, &'a [u8]);

/// An entry about the log itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    /// A compact removed a run: its records before this commit do not count.
    Forgotten(Box<Forgotten>),
    /// The commit's records came from an archive: the heads in them belong to another journal or time.
    Imported(Imported),
    /// Segments are deleted; all their runs are forgotten.
    Cut(Cut),
}

/// A run that a compact removed: how it ended, and which archive has its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The run as it was listed.
    pub summary: RunSummary,
    /// The hash of its newest record; through the chain it identifies all records.
    pub newest: Hash32,
    /// The archive with its records; none if the run was not exported.
    pub archive: Option<ArchiveRef>,
    /// When it was removed.
    pub at: DateTime<Utc>,
}

/// An archive of removed runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRef {
    /// The file's name at that time.
    pub file: String,
    /// The hash at the end of the archive.
    pub hash: Hash32,
}

/// A run that came from an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Imported {
    pub(crate) run: RunId,
    /// The number of its records.
    pub(crate) records: u64,
    /// The hash at the end of the archive.
    pub(crate) archive: Hash32,
}

/// The deleted segments `first` to `last`, and the heads before and after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) from: JournalHead,
    pub(crate) to: JournalHead,
}

impl Mark {
    /// Returns the mark as an entry of a commit.
    pub(crate) fn entry(&self) -> Result<(Key, Vec<u8>), JournalError> {
        let mut value = vec![MARK_FORMAT];
        rmp_serde::encode::write_named(&mut value, self)
            .map_err(|error| JournalError::Backend(format!("write a mark: {error}")))?;
        value.extend(codec::crc(&KEY, &value).to_be_bytes());
        Ok((KEY, value))
    }

    fn parse(value: &[u8]) -> Option<Self> {
        is_intact(&KEY, value).then_some(())?;
        let body = value.get(1..value.len() - 4)?;
        (*value.first()? == MARK_FORMAT).then_some(())?;
        rmp_serde::from_slice(body).ok()
    }

    /// Returns the run that the mark removes.
    pub(crate) fn forgets(&self) -> Option<RunId> {
        match self {
            Self::Forgotten(forgotten) => Some(forgotten.summary.run),
            Self::Imported(_) | Self::Cut(_) => None,
        }
    }
}

/// Returns whether an entry of the log is as it was written under its key: a mark, or a run's record.
pub(crate) fn is_intact(key: &Key, value: &[u8]) -> bool {
    /// A version and the checksum.
    const LEAST: usize = 1 + 4;
    match is_mark(key) {
        true => value.len() >= LEAST && codec::ends_with_crc(key, value),
        false => codec::is_intact(key, value),
    }
}

/// Returns whether a key belongs to a mark.
pub(crate) fn is_mark(key: &Key) -> bool {
    *key == KEY
}

/// Splits a commit into its marks and its records. An unreadable mark becomes none.
pub(crate) fn split(entries: Vec<Entry<'_>>) -> (Vec<Option<Mark>>, Vec<Entry<'_>>) {
    if !entries.iter().any(|(key, _)| is_mark(key)) {
        return (Vec::new(), entries);
    }
    let (marks, records): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_mark(key));
    (
        marks.into_iter().map(|(_, value)| Mark::parse(value)).collect(),
        records,
    )
}
