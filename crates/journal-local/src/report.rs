//! The report of opening a journal.

use std::path::PathBuf;

use rekindle_model::id::RunId;

/// The findings and repairs of an open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The journal's last commit.
    pub commit: u64,
    /// How many runs it holds.
    pub runs: usize,
    /// How many log segments there were.
    pub segments: usize,
    /// Commits from the log that sled had not seen.
    pub replayed: u64,
    /// Bytes of an unacknowledged write, cut off the log.
    pub torn_bytes: u64,
    /// Damage in the log.
    pub damage: Vec<Damage>,
    /// Records that the log had lost; they were logged again from sled.
    pub relogged: u64,
    /// Why sled was rebuilt, in order.
    pub rebuilt: Vec<String>,
    /// The new names of sled's old folders.
    pub set_aside: Vec<PathBuf>,
    /// Runs with a lost record, and why each must not continue.
    pub quarantined: Vec<(RunId, String)>,
}

/// A damaged place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: PathBuf,
    /// Its position in bytes.
    pub offset: u64,
    /// The finding.
    pub what: String,
    /// The newest commit that may be lost.
    pub until: u64,
}
