//! Folders whose names survive a power cut.

use std::fs::{self, File};
use std::path::Path;

use rekindle_journal::JournalError;

/// Creates a folder durably, if it does not exist.
pub(crate) fn make_dir(dir: &Path) -> Result<(), JournalError> {
    fs::create_dir_all(dir).map_err(|error| JournalError::io("create", dir, error))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| JournalError::io("sync", dir, error))
}
