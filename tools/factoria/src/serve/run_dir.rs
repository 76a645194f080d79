//! `<root>/run/`: what belongs to the process that runs a system and not to the system.
//!
//! ```text
//! run/lock       held with flock by the process, whose end frees it however that comes; holds its pid
//! run/address    {"listening":"http://127.0.0.1:PORT","pid":N,"started":"…"}; removed at a clean end
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::SecondsFormat;
use rekindle_model::time::Clock;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::FactoriaError;
use crate::layout::RUN;

/// The holder writes its pid right after it has got the lock; another process waits for it this often, and so long.
const PID_TRIES: u32 = 20;
const PID_PAUSE: Duration = Duration::from_millis(10);

/// Where a running system is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its URL.
    pub listening: String,
    /// The process that runs it.
    pub pid: u32,
    /// When it was started, in UTC.
    pub started: String,
}

impl Address {
    /// Returns the address of this process.
    pub(super) fn new(socket: SocketAddr, clock: &dyn Clock) -> Self {
        Self {
            listening: format!("http://{socket}"),
            pid: std::process::id(),
            started: clock.now().utc.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }

    /// Reads the address of the system at `root`. Returns none if the system does not run, or if its process was
    /// killed before it wrote one. After a kill, the address of the dead process is still there.
    pub fn read(root: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(root.join(RUN).join("address")).ok()?).ok()
    }
}

/// The folder of a running system, locked.
#[derive(Debug)]
pub(super) struct RunDir {
    address: PathBuf,
    /// The lock lasts as long as this is open.
    _lock: File,
}

impl RunDir {
    /// Makes the folder and takes the lock.
    pub(super) fn lock(root: &Path) -> Result<Self, FactoriaError> {
        let folder = root.join(RUN);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FactoriaError::io("create", &folder)(error));
            }
            _ => {}
        }
        let path = folder.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FactoriaError::io("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(FactoriaError::AlreadyServed {
                    root: root.to_owned(),
                    pid: holder(&mut lock),
                });
            }
            Err(error) => return Err(FactoriaError::io("lock", &path)(error.into())),
        }
        let pid = std::process::id().to_string();
        // The number of a killed process may be there, and may be longer.
        lock.set_len(0)
            .and_then(|()| lock.write_all(format!("{pid}\n").as_bytes()))
            .map_err(FactoriaError::io("write", &path))?;
        Ok(Self {
            address: folder.join("address"),
            _lock: lock,
        })
    }

    /// Writes the address for others to read: all of it or nothing.
    pub(super) fn announce(&self, address: &Address) -> Result<(), FactoriaError> {
        let mut text = serde_json::to_vec(address).map_err(FactoriaError::json("the address"))?;
        text.push(b'\n');
        let new = self.address.with_extension("new");
        fs::write(&new, text).map_err(FactoriaError::io("write", &new))?;
        fs::rename(&new, &self.address).map_err(FactoriaError::io("write", &self.address))
    }

    /// Removes the address. The lock's file stays: removing it would let two processes hold two locks.
    pub(super) fn leave(self) -> Result<(), FactoriaError> {
        match fs::remove_file(&self.address) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FactoriaError::io("delete", &self.address)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the process that holds the lock, as it says itself.
fn holder(lock: &mut File) -> Option<u32> {
    for _ in 0..PID_TRIES {
        let mut text = String::new();
        let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
        if let (Ok(_), Some(number)) = (read, text.strip_suffix('\n')) {
            return number.parse().ok();
        }
        std::thread::sleep(PID_PAUSE);
    }
    None
}
