//! Measures a system on disk. Every number is counted from the data there and then; nothing is assumed.
//!
//! | kind | what it measures |
//! |---|---|
//! | `security` | policies, permissions, keys, and the audit log's chain |
//! | `education` | each part of the educational frameworks, and the share of all checks passed |
//! | `content` | the databases: integrity, digests, references |
//! | `performance` | the optimiser: times, tokens, and the facts that its contexts keep |
//! | `service` | the context service, started on the data and asked over HTTP |
//! | `files` | files against the manifests that were restored with them |
//! | `models` | the trained models: their predictions, and whether they go on learning |
//! | `quality` | stored content, assessed again by the restored rules |
//! | `generate` | the service, started on the data: whether it makes all 8 content types, how good, how fast |
//! | `analytics` | analytics, reports and summaries, produced again from the logs and the database |
//!
//! A measure that compares with a [`Baseline`] is given only where there is one: nothing compared is not "kept".
//! An exact identity is a measure too: the first 48 bits of a BLAKE3 as an integer, which a number holds exactly.
//!
//! Shares are between 0 and 1. What is missing or broken makes a number low; only a root that cannot be read
//! is an error, since then nothing was measured at all. A probe writes nothing below the root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::FactoriaError;

mod analytics;
mod baseline;
mod content;
pub(crate) mod database;
mod digest;
mod education;
mod files;
mod generate;
mod models;
mod performance;
mod quality;
pub(crate) mod required;
mod security;
mod service;
mod tally;

pub(crate) use service::Service;

pub use baseline::Baseline;
pub(crate) use digest::Digest;

/// The longest document that is read, in bytes; those of a system have less than 1 MB.
const LONGEST_DOCUMENT: u64 = 16 << 20;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Policies, permissions, keys and the audit log
    Security,
    /// The educational frameworks and what depends on them
    Education,
    /// The content and user databases
    Content,
    /// The optimiser: loading times, speed-up, token reduction, facts retained
    Performance,
    /// The context service, started on the data and asked over HTTP
    Service,
    /// Files against the manifests restored with them
    Files,
    /// The trained models
    Models,
    /// Stored content, assessed again
    Quality,
    /// Generating all 8 content types with the service
    Generate,
    /// Analytics, reports and summaries, produced again
    Analytics,
}

/// Measures the system at `root`, with this program for what needs a new process.
///
/// # Errors
/// Those of [`probe_with`].
pub fn probe(
    kind: ProbeKind,
    root: &Path,
    component: Option<&Path>,
    baseline: &Baseline,
) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let program = std::env::current_exe().map_err(FactoriaError::io("find the program of", root))?;
    probe_with(kind, root, component, baseline, &program)
}

/// Measures the system at `root`.
///
/// `component` narrows `files` to one folder or file of the layout; the other kinds know their own places and
/// ignore it. `baseline` is what the same probe measured when the backup was made. `program` is started by `performance`
/// and `service`: it must know `--json factoria context` and `--json factoria serve`.
///
/// # Errors
/// [`FactoriaError::UnreadableRoot`], and [`FactoriaError::UnknownComponent`] for a path outside the layout.
pub fn probe_with(
    kind: ProbeKind,
    root: &Path,
    component: Option<&Path>,
    baseline: &Baseline,
    program: &Path,
) -> Result<BTreeMap<String, f64>, FactoriaError> {
    readable(root)?;
    match kind {
        ProbeKind::Security => Ok(security::measure(root, baseline)),
        ProbeKind::Education => Ok(education::measure(root, baseline)),
        ProbeKind::Content => Ok(content::measure(root)),
        ProbeKind::Performance => performance::measure(root, program),
        ProbeKind::Service => service::measure(root, program),
        ProbeKind::Files => files::measure(root, component),
        ProbeKind::Models => Ok(models::measure(root, baseline)),
        ProbeKind::Quality => Ok(quality::measure(root, baseline)),
        ProbeKind::Generate => generate::measure(root),
        ProbeKind::Analytics => Ok(analytics::measure(root, baseline)),
    }
}

pub(crate) fn readable(root: &Path) -> Result<(), FactoriaError> {
    let unreadable = |source| FactoriaError::UnreadableRoot {
        root: root.to_owned(),
        source,
    };
    let mut entries = fs::read_dir(root).map_err(unreadable)?;
    match entries.next() {
        Some(Err(source)) => Err(unreadable(source)),
        // An empty folder was read: everything is missing, which is a measurement.
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Returns the JSON document at `path`, or `None` where it is absent, no regular file or malformed.
pub(crate) fn document(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&bounded(path, LONGEST_DOCUMENT)?).ok()
}

/// Returns the content of a regular file of at most `longest` bytes, or `None` for any other.
pub(crate) fn bounded(path: &Path, longest: u64) -> Option<Vec<u8>> {
    regular(path).ok()?;
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() > longest {
        return None;
    }
    let mut bytes = Vec::new();
    // One more than allowed: a file may grow after its length was looked at.
    file.take(longest + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= longest).then_some(bytes)
}

/// Refuses what is no regular file: opening a pipe would wait for ever.
pub(crate) fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}
