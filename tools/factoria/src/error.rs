//! The errors of making, running, measuring or damaging a system, with their remedies.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use crate::lacking::Lacking;

/// Why an operation on a La Factoria system was not done.
#[derive(Debug, thiserror::Error)]
pub enum FactoriaError {
    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb that fits before a path.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The root to probe is absent, is not a folder, or may not be read.
    #[error("cannot read the system at {}: {source}; give the folder that holds education, security, db …", root.display())]
    UnreadableRoot {
        /// The folder that was given.
        root: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Numbers of a probe are not as `--expect` asks.
    #[error("{0}; recover the component that the probe measures")]
    Unmet(String),
    /// A system is only generated into a new or empty folder.
    #[error("{} is not empty; give a new folder, nothing is overwritten", root.display())]
    RootNotEmpty {
        /// The folder that was given.
        root: PathBuf,
    },
    /// The frameworks alone need more than the size asked for.
    #[error("a size of {size} bytes is too small; the smallest system is {minimum} bytes")]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// The smallest size, in bytes.
        minimum: u64,
    },
    /// Damage is refused where the marker is missing or not ours.
    #[error("{} carries no La Factoria marker ({}): {why}; nothing was touched", root.display(), crate::layout::MARKER)]
    NotFactoria {
        /// The folder that was given.
        root: PathBuf,
        /// What is wrong with the marker.
        why: String,
    },
    /// A component path is not in the layout.
    #[error("{} is no part of a La Factoria system; known parts: {known}", path.display())]
    UnknownComponent {
        /// The path that was given.
        path: PathBuf,
        /// The parts there are, joined with commas.
        known: String,
    },
    /// A part of the layout that does not exist in this system.
    #[error("{} does not exist, so it cannot be damaged; it may be damaged already", path.display())]
    Absent {
        /// The full path.
        path: PathBuf,
    },
    /// A database could not be written while a system was generated.
    #[error("cannot write the database {}: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A log cannot be continued, since how it ends is not known.
    #[error("cannot continue the log {}: {why}; recover it first, nothing was written to it", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What a running system wrote to has been deleted or replaced under it.
    #[error("{} is not the file that was opened: {why}; start the system again when its data is back", path.display())]
    Replaced {
        /// Where the file stood.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// The service has no authentication, so it listens on this machine only.
    #[error(
        "refusing to listen on {address}: contexts are served without authentication, so only a loopback address such as 127.0.0.1:0 or [::1]:0 is accepted"
    )]
    NotLoopback {
        /// The address that was given.
        address: SocketAddr,
    },
    /// A key that signs is absent, or is none.
    #[error("cannot sign with {}: it is no readable file of 32 bytes; recover the component that holds security/", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
    },
    /// A piece of content could not be made.
    #[error("cannot make content below {}: {source}", root.display())]
    Content {
        /// The system's folder.
        root: PathBuf,
        /// What it was made without.
        source: Lacking,
    },
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}; give another port, or 0 for any free one")]
    Bind {
        /// The address that was given.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// One process runs a system; a second one would give the same stamps again.
    #[error("{} is running already{}; stop that process first", root.display(), process(*pid))]
    AlreadyServed {
        /// The system's folder.
        root: PathBuf,
        /// The process that runs it; `None` while that process has not said so yet.
        pid: Option<u32>,
    },
    /// The thread that writes ended before it was asked to.
    #[error(
        "the writer of {} ended by itself, which is a defect; everything that it wrote before is durable",
        root.display()
    )]
    WriterEnded {
        /// The system's folder.
        root: PathBuf,
    },
    /// The tokenizer's vocabulary, which is compiled in, cannot be read: a defect of this library.
    #[error("cannot load the vocabulary {name}: {why}")]
    Vocabulary {
        /// Its name.
        name: &'static str,
        /// The tokenizer's reason.
        why: String,
    },
    /// A context was asked for that no system has.
    #[error(transparent)]
    Request(#[from] crate::optimise::refused::RequestError),
    /// The configuration does not say what the cache holds.
    #[error(
        "{} does not say which documents have cache entries; recover performance/ first, nothing was changed",
        path.display()
    )]
    CacheNotConfigured {
        /// The algorithm's parameters.
        path: PathBuf,
    },
    /// Nothing runs at the root, or nothing answers at the address.
    #[error("no running system {at}: {why}; start one with `rekindle factoria serve --root DIR`")]
    NotServed {
        /// The root or the address that was given.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// A document could not be turned into JSON, or built-in data is malformed: a defect of this library.
    #[error("cannot encode or decode {what}: {source}")]
    Json {
        /// Which document.
        what: String,
        /// The reason.
        source: serde_json::Error,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" in process {pid}"))
}

impl FactoriaError {
    /// Returns a conversion of an I/O error, for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Returns a conversion of a database error, for `map_err`.
    pub(crate) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Database {
            path: path.clone(),
            source,
        }
    }

    /// Returns a conversion of what content lacks, for `map_err`.
    pub(crate) fn content(root: &Path) -> impl FnOnce(Lacking) -> Self + use<> {
        let root = root.to_owned();
        move |source| Self::Content { root, source }
    }

    /// Returns a conversion of a JSON error, for `map_err`.
    pub(crate) fn json(what: &str) -> impl FnOnce(serde_json::Error) -> Self + use<> {
        let what = what.to_owned();
        move |source| Self::Json { what, source }
    }
}
