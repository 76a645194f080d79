//! Measures a system on disk. Every number is counted from the data there and then; nothing is assumed.
//!
//! | kind | what it measures |
//! |---|---|
//! | `security` | policies, permissions, keys, and the audit log's chain |
//! | `education` | each part of the educational frameworks, and the share of all checks passed |
//! | `content` | the databases: integrity, digests, references, and whether content can be generated |
//! | `performance` | the optimiser: times, tokens, and the facts that its contexts keep |
//! | `service` | the context service, started on the data and asked over HTTP |
//! | `files` | files against the manifests that were restored with them |
//!
//! Shares are between 0 and 1. What is missing or broken makes a number low; only a root that cannot be read
//! is an error, since then nothing was measured at all. A probe writes nothing below the root.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::FactoriaError;

mod content;
pub(crate) mod database;
mod education;
mod files;
mod performance;
pub(crate) mod required;
mod security;
mod service;
mod tally;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Policies, permissions, keys and the audit log
    Security,
    /// The educational frameworks and what depends on them
    Education,
    /// The content and user databases, and generating all 8 content types
    Content,
    /// The optimiser: loading times, speed-up, token reduction, facts retained
    Performance,
    /// The context service, started on the data and asked over HTTP
    Service,
    /// Files against the manifests restored with them
    Files,
}

/// Measures the system at `root`, with this program for what needs a new process.
///
/// # Errors
/// Those of [`probe_with`].
pub fn probe(
    kind: ProbeKind,
    root: &Path,
    component: Option<&Path>,
) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let program = std::env::current_exe().map_err(FactoriaError::io("find the program of", root))?;
    probe_with(kind, root, component, &program)
}

/// Measures the system at `root`.
///
/// `component` narrows `files` to one folder or file of the layout; the other kinds know their own places and
/// ignore it. `program` is started by `performance` and `service`: it must know `--json factoria context` and
/// `--json factoria serve`.
///
/// # Errors
/// [`FactoriaError::UnreadableRoot`], and [`FactoriaError::UnknownComponent`] for a path outside the layout.
pub fn probe_with(
    kind: ProbeKind,
    root: &Path,
    component: Option<&Path>,
    program: &Path,
) -> Result<BTreeMap<String, f64>, FactoriaError> {
    readable(root)?;
    match kind {
        ProbeKind::Security => Ok(security::measure(root)),
        ProbeKind::Education => Ok(education::measure(root)),
        ProbeKind::Content => Ok(content::measure(root)),
        ProbeKind::Performance => performance::measure(root, program),
        ProbeKind::Service => service::measure(root, program),
        ProbeKind::Files => files::measure(root, component),
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
    regular(path).ok()?;
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Refuses what is no regular file: opening a pipe would wait for ever.
pub(crate) fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}
