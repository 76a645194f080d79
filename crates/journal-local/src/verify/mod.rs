//! Verifying a journal: reads everything, compares it with everything else, and changes nothing.
//!
//! The log and the blobs are read in place, also beside an owner. sled writes when it is opened, so a copy of it is opened
//! in a temporary folder, and only if no process owns the workspace.

mod findings;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_journal::blobs_of;
use rekindle_model::id::{Hash32, RunId};
use serde::Serialize;

use self::findings::Findings;
use self::sources::{Logged, Sled};
use crate::error::OpenError;
use crate::mark::Forgotten;

/// The counts and findings of a verification.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The log's last commit.
    pub commit: u64,
    /// How many log segments there are.
    pub segments: usize,
    /// How many commits were read.
    pub commits: u64,
    /// How many runs there are.
    pub runs: usize,
    /// How many of their records are intact.
    pub records: u64,
    /// How many heads in records were compared with the log.
    pub heads: u64,
    /// How many blobs the records refer to.
    pub blobs: usize,
    /// Why sled was not read; none if it was.
    pub without_sled: Option<String>,
    /// The runs that a compact removed.
    pub removed: Vec<Forgotten>,
    /// The faults.
    pub findings: Vec<Finding>,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its cost.
    pub cost: Cost,
    /// The file.
    pub file: PathBuf,
    /// Its position in bytes, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The run with the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The finding.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// The cost of a finding, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// It costs a rebuild or a repair, and no record.
    Repairable,
    /// This machine could not check whether it costs a record.
    Unproven,
    /// A record or a blob is lost, or a history is illegal.
    Lost,
}

impl Verification {
    /// Returns the cost of the worst finding; none if there are no findings.
    pub fn worst(&self) -> Option<Cost> {
        self.findings.iter().map(|finding| finding.cost).max()
    }
}

/// Reads all of the journal in a workspace's folder, and changes nothing.
///
/// # Errors
/// [`OpenError::NewerFormat`] or [`OpenError::OlderFormat`], or a file that cannot be read. Damage is no error: the findings name it.
pub fn verify(dir: &Path) -> Result<Verification, OpenError> {
    let sled = Sled::read(dir)?;
    let log = Logged::read(dir)?;
    let mut findings = Findings {
        dir,
        found: Vec::new(),
    };
    findings.of_log(&log, &sled);
    findings.of_sled(&log, &sled);
    let mut union = log.values.clone();
    for (run, values) in sled.values() {
        // sled may still hold records of a removed run for a moment.
        if !log.scanned.forgotten.contains_key(run) {
            let known = union.entry(*run).or_default();
            for (seq, value) in values {
                known.entry(*seq).or_insert_with(|| value.clone());
            }
        }
    }
    let mut referred: BTreeMap<Hash32, (RunId, u64)> = BTreeMap::new();
    let (mut records, mut heads) = (0, 0);
    for (run, values) in &union {
        let read = findings.of_run(*run, values, log.hurt.get(run), sled.top(*run));
        records += values.len() as u64;
        for record in &read {
            if let (Some(head), false) = (record.head, log.imported.contains(run)) {
                heads += 1;
                findings.of_head(record, head, &log);
            }
            for hash in blobs_of(&record.event) {
                referred.entry(hash).or_insert((*run, record.seq));
            }
        }
    }
    findings.of_blobs(&referred);
    Ok(Verification {
        commit: log.scanned.head.commit,
        segments: log.scanned.segments,
        commits: log.commits,
        runs: union.len(),
        records,
        heads,
        blobs: referred.len(),
        without_sled: match sled {
            Sled::Read(_) | Sled::Broken(_) => None,
            Sled::Unread(why) => Some(why),
        },
        removed: log.scanned.forgotten.into_values().collect(),
        findings: findings.found,
    })
}
