//! Files that only their owner may read, and folders whose names survive a power cut.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rekindle_journal::JournalError;

/// Creates a folder durably, if it does not exist.
pub(crate) fn make_dir(dir: &Path) -> Result<(), JournalError> {
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder
        .create(dir)
        .map_err(|error| JournalError::io("create", dir, error))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Returns options that create a file with mode 0600 under any umask: a journal holds values of its users.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| JournalError::io("sync", dir, error))
}
