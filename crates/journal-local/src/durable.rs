//! Files that only their owner may read, and folders whose names survive a power cut.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rekindle_journal::JournalError;
use rustix::fs::OFlags;

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

/// Opens a file for reading without waiting for a process at its other end, and refuses what is no regular file: a
/// FIFO in its place would otherwise hang every command, also those that only look.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    regular(path, OpenOptions::new().read(true))
}

/// Opens a file as [`open_regular`] does, with these options.
pub(crate) fn regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    }
}

/// Reads a whole file as [`open_regular`] opens it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| JournalError::io("sync", dir, error))
}
