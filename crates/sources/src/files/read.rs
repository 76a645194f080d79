//! Reads exactly the bytes that an entry promises.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rekindle_model::entry::TreePath;
use rustix::fs::Stat;

use super::notes::{NoteKind, Notes};
use crate::failures::changed;

/// The content of one file, up to the size in its entry. An error carries a
/// [`rekindle_model::failure::Failure`] inside.
pub(super) struct Promised {
    pub(super) file: File,
    pub(super) left: u64,
    pub(super) taken: Stat,
    pub(super) path: TreePath,
    pub(super) shown: PathBuf,
    pub(super) notes: Notes,
    pub(super) ended: bool,
}

impl Read for Promised {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if self.left == 0 {
            self.note_a_change()?;
            return Ok(0);
        }
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.file.read(buffer)?;
        if read == 0 {
            return Err(io::Error::other(changed(&self.shown, "shrank")));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Promised {
    /// Compares the file, once, with its entry.
    fn note_a_change(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        let now = rustix::fs::fstat(&self.file)?;
        let written = (now.st_mtime, now.st_mtime_nsec, now.st_size)
            != (self.taken.st_mtime, self.taken.st_mtime_nsec, self.taken.st_size);
        if written {
            self.notes.add(&self.path, NoteKind::Changed);
        }
        Ok(())
    }
}
