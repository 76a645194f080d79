//! A wall clock of a test's own. The product sees it set ahead or back while it runs; CLOCK_BOOTTIME and
//! CLOCK_MONOTONIC are not affected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A clock that libfaketime reads from a file at every look.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// Makes a clock that shows the machine's time.
    ///
    /// # Errors
    /// The reason why this machine cannot: it has no libfaketime.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let clock = Self {
            library: library().ok_or("no libfaketime; Debian's package is called faketime")?,
            file: dir.join("wall-clock"),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it this many seconds ahead of the machine's clock, or behind it.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<(), String> {
        // Nobody must read half a line.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|error| format!("set the clock: {error}"))
    }

    /// Lets a command see this clock.
    pub fn shown_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            // Files keep the times that they have.
            .env("NO_FAKE_STAT", "1")
    }
}

impl Drop for WallClock {
    /// Removes the shared memory that the library leaves if its process was killed.
    fn drop(&mut self) {
        let left = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        for left in left {
            let name = left.file_name();
            let name = name.to_string_lossy();
            let pid = name
                .strip_prefix("faketime_shm_")
                .or_else(|| name.strip_prefix("sem.faketime_sem_"));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                // Another test may be faster.
                let _ = fs::remove_file(left.path());
            }
        }
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists())
}
