//! One owner of a workspace at a time, by `flock` on its lock file.
//!
//! The lock dies with its owner, however that ends; the process id in the file is only for the message.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{JournalError, OpenError};

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Lock {
    /// Keeps owners away while something is read, and changes nothing. Says why where there is an owner already, or no
    /// lock to take; none is needed where nobody ever owned the workspace.
    pub(crate) fn look(path: &Path) -> Result<Result<Option<Self>, String>, JournalError> {
        let file = match File::open(path) {
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

    /// Takes the lock, or says who holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let io = |error| JournalError::io("open the lock", path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The owner may be just writing it; then its id is not told.
                let _ = file.read_to_string(&mut text);
                return Err(OpenError::Held {
                    path: path.to_owned(),
                    pid: text.trim().parse().ok(),
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
