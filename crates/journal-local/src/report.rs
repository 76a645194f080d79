//! What opening a journal found and did.

use std::path::PathBuf;

use rekindle_model::id::RunId;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The journal's last commit.
    pub commit: u64,
    /// How many runs it holds.
    pub runs: usize,
    /// How many log segments there were.
    pub segments: usize,
    /// Commits that sled had not seen and that were applied to it from the log.
    pub replayed: u64,
    /// Bytes of an unacknowledged write that were cut off the log.
    pub torn_bytes: u64,
    /// Damage in the log.
    pub damage: Vec<Damage>,
    /// Records that the log had lost and that were logged again from sled.
    pub relogged: u64,
    /// Why sled was rebuilt, in order.
    pub rebuilt: Vec<String>,
    /// Where sled's old folders are now.
    pub set_aside: Vec<PathBuf>,
    /// Runs of which a record is lost, and why each must not be gone on with.
    pub quarantined: Vec<(RunId, String)>,
}

/// A place in the log that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was found.
    pub what: String,
    /// The newest commit that it may have cost.
    pub until: u64,
}
