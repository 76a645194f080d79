//! One owner of a workspace at a time, by `flock` on its lock file.
//!
//! The kernel releases the lock when its owner ends, however that ends. The process id in the file is only
//! for the message.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use rekindle_journal::JournalError;
use rustix::fs::{FlockOperation, flock};

use crate::durable;
use crate::error::OpenError;

/// Returns the owner of the journal in a workspace's folder, or none. Changes nothing, and holds the lock
/// only while it asks.
///
/// # Errors
/// The lock exists and cannot be read.
pub fn owner(dir: &Path) -> Result<Option<Holder>, JournalError> {
    let path = dir.join(NAME);
    let mut file = match durable::open_regular(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::io("open the lock", &path, error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(Holder {
            pid: named_in(&mut file),
        })),
        Err(error) => Err(JournalError::io("lock", &path, error.into())),
    }
}

/// The process that owns a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id, if the lock file has it already.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// The lock's name in a workspace's folder.
pub(crate) const NAME: &str = "lock";

/// Returns the process id in the lock file; none while its owner is still writing it.
fn named_in(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Lock {
    /// Takes the lock shared, which keeps owners away. Changes nothing. Returns the reason if there is an
    /// owner, or if the lock cannot be opened. A workspace that never had an owner needs no lock.
    pub(crate) fn look(path: &Path) -> Result<Result<Option<Self>, String>, JournalError> {
        let file = match durable::open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(None)),
            Err(error) => return Ok(Err(format!("the lock cannot be opened: {error}"))),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Ok(Some(Self(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Ok(Err("another process works in this workspace".to_owned()))
            }
            Err(error) => Err(JournalError::io("lock", path, error.into())),
        }
    }

    /// Takes the lock. The error names its holder.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let io = |error| JournalError::io("open the lock", path, error);
        let mut options = durable::private();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = durable::regular(path, &mut options).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Held {
                    path: path.to_owned(),
                    pid: named_in(&mut file),
                });
            }
            Err(error) => return Err(JournalError::io("lock", path, error.into()).into()),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(|error| JournalError::io("write the lock", path, error))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_named_as_long_as_it_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(owner(dir.path()).unwrap(), None);
        let lock = Lock::take(&dir.path().join(NAME)).unwrap();
        let pid = Some(std::process::id());
        assert_eq!(owner(dir.path()).unwrap(), Some(Holder { pid }));
        drop(lock);
        assert_eq!(owner(dir.path()).unwrap(), None);
    }
}
