//! The errors of opening a journal.

use std::path::PathBuf;

use rekindle_journal::JournalError;

/// A journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process owns the workspace.
    #[error("open {}: held by {}", path.display(), holder(*pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The owner's process id, if the lock file has it.
        pid: Option<u32>,
    },
    /// The log was written by a newer Rekindle. Nothing was changed.
    #[error("open {}: log format {found}, this version reads up to {supported}; use a newer Rekindle", path.display())]
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The log was written by an older Rekindle, in a format that this version no longer reads. Nothing was changed.
    #[error(
        "open {}: log format {found}, this version reads {supported} and later; read it with the Rekindle that wrote \
         it, or begin a new workspace", path.display()
    )]
    OlderFormat {
        /// The segment.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The oldest format that this version reads.
        supported: u32,
    },
    /// sled could not be opened even in an empty folder.
    #[error("open the journal's index in {}: {why}", path.display())]
    Index {
        /// sled's folder.
        path: PathBuf,
        /// sled's message.
        why: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
