//! Where a running system writes: three stores, each durable record by record and each numbered by itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use crate::error::FactoriaError;

pub(super) mod audit;
pub(super) mod content;
mod log;
pub(super) mod metrics;

/// A store that records are appended to.
pub(super) trait Store: Send {
    /// Returns the newest stamp in it.
    fn newest(&self) -> Option<u64>;

    /// Appends the record of a turn; it is durable when this returns, and not there at all after an error.
    fn append(&mut self, turn: &Turn<'_>) -> Result<(), FactoriaError>;

    /// Ends the work, leaving nothing beside the store's own files.
    fn close(self: Box<Self>) -> Result<(), FactoriaError>;
}

/// How one store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The newest stamp that is durable; `None` where no running system wrote to it yet.
    pub newest: Option<u64>,
    /// When that was, in UTC, RFC 3339; `None` where it was before the start.
    pub newest_at: Option<String>,
    /// Records written since the start.
    pub written: u64,
    /// Why it is not written, if it is not.
    pub fault: Option<String>,
}

/// One record's turn.
pub(super) struct Turn<'a> {
    /// Its stamp.
    pub(super) stamp: u64,
    /// UTC time in RFC 3339.
    pub(super) at: String,
    /// What the system is doing.
    pub(super) live: &'a Live,
}

/// What the running system counts and measures of itself; the metrics log is made of it.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// HTTP requests answered.
    pub(super) requests: AtomicU64,
    /// How long the newest context took to load, in microseconds; 0 before the first.
    pub(super) context_us: AtomicU64,
    /// How long the newest record took to become durable, in microseconds.
    pub(super) write_us: AtomicU64,
    /// Records that were due and not yet written when the newest one was.
    pub(super) behind: AtomicU64,
    /// Content items written since the start.
    pub(super) items: AtomicU64,
    /// What the content database recorded last, which is what the audit log then tells.
    pub(super) act: Mutex<Option<Act>>,
}

/// What a user did.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) role: &'static str,
    pub(super) user: i64,
    pub(super) action: &'static str,
    pub(super) note: String,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(about: &fs::Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
        }
    }

    /// Checks that `path` still is the file that was opened. A recovery puts another file there, and nothing may
    /// be written into what it is still putting down.
    fn check(self, path: &Path) -> Result<(), FactoriaError> {
        let why = match fs::symlink_metadata(path) {
            Ok(about) if Self::of(&about) == self => return Ok(()),
            Ok(_) => "another file is there".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(FactoriaError::Replaced {
            path: path.to_owned(),
            why,
        })
    }
}
