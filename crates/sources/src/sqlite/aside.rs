//! Moves old files out of the way. Nothing is overwritten or lost, even after a kill.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{SIDECARS, beside, folder_of, sync_folder};
use crate::private;

/// The folder for old files. A database and its sidecars get matching names, so that they still belong
/// together.
pub(super) struct Aside {
    folder: PathBuf,
    name: OsString,
}

impl Aside {
    /// Makes the folder, durably.
    pub(super) fn open(folder: &Path, name: &OsStr) -> io::Result<Self> {
        private::create_dir_all(folder)?;
        sync_folder(folder_of(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Moves the database, if it exists, to a name that no file or sidecar has.
    pub(super) fn take_database(&self, from: &Path) -> io::Result<Option<PathBuf>> {
        if !present(from)? {
            return Ok(None);
        }
        // If a kill comes between copying and removing across file systems, both places have the same bytes.
        // If there are sidecars, it is an older database that happens to be equal, and its sidecars stay with
        // it.
        let last = self.last()?;
        let copied = self.numbered(last);
        if present(&copied)? && !self.has_sidecars(last)? && same(from, &copied)? {
            fs::remove_file(from)?;
            return Ok(Some(copied));
        }
        let mut n = last;
        while present(&self.numbered(n))? || self.has_sidecars(n)? {
            n += 1;
        }
        let to = self.numbered(n);
        move_to(from, &to)?;
        Ok(Some(to))
    }

    /// Moves a sidecar, if it exists, beside the database that was moved last.
    pub(super) fn take_sidecar(&self, from: &Path, suffix: &str) -> io::Result<Option<PathBuf>> {
        if !present(from)? {
            return Ok(None);
        }
        let mut n = self.last()?;
        loop {
            let to = beside(&self.numbered(n), suffix);
            if !present(&to)? {
                move_to(from, &to)?;
                return Ok(Some(to));
            }
            if same(from, &to)? {
                fs::remove_file(from)?;
                return Ok(Some(to));
            }
            n += 1;
        }
    }

    /// Makes the moves durable on the receiving side.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }

    /// Returns the number of the database that was moved last; 0 also if there is none.
    fn last(&self) -> io::Result<u32> {
        let mut n = 0;
        while present(&self.numbered(n + 1))? {
            n += 1;
        }
        Ok(n)
    }

    fn has_sidecars(&self, n: u32) -> io::Result<bool> {
        let base = self.numbered(n);
        let mut any = false;
        for suffix in SIDECARS {
            any |= present(&beside(&base, suffix))?;
        }
        Ok(any)
    }

    fn numbered(&self, n: u32) -> PathBuf {
        let base = self.folder.join(&self.name);
        if n == 0 {
            base
        } else {
            beside(&base, &format!(".{n}"))
        }
    }
}

fn present(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

/// Renames the file. Across file systems it copies to a temporary name, syncs, renames, and removes the
/// original.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(why) if why.kind() == io::ErrorKind::CrossesDevices => {
            let passing = beside(to, ".part");
            let copy = private::copy(from, &passing)?;
            private::dress(&from.metadata()?, &copy, &passing)?;
            fs::rename(&passing, to)?;
            sync_folder(folder_of(to))?;
            fs::remove_file(from)
        }
        result => result,
    }
}

/// Returns whether two files hold the same bytes.
pub(super) fn same(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = a.read(&mut left)?;
        let Some(left) = left.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(true);
        };
        let Some(right) = right.get_mut(..read) else {
            return Ok(false);
        };
        match b.read_exact(right) {
            Ok(()) if left == &*right => {}
            Ok(()) => return Ok(false),
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(why) => return Err(why),
        }
    }
}
