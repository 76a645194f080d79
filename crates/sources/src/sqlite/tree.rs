//! The captured copy as a tree of one file that looks like the original.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rekindle_model::entry::{Entry, EntryKind, TreePath, TreeSource, Xattr};
use rekindle_model::failure::{Failure, code};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::capture::SqliteCapture;
use crate::failures::unreadable;
use crate::files::{Attributes, entry};

/// One entry: name, mode, owner, extended attributes and modification time of the original, content and size of
/// the copy.
///
/// Inode and change time are the copy's. A database in WAL mode changes while its main file does not. With
/// the original's inode and time, a later capture could take it for unchanged.
#[derive(Debug)]
pub struct SqliteTree {
    capture: SqliteCapture,
    given: bool,
}

impl SqliteTree {
    /// Returns the tree of a captured database.
    pub fn new(capture: SqliteCapture) -> Self {
        Self {
            capture,
            given: false,
        }
    }
}

impl SqliteTree {
    /// Returns the attributes of the original; none if it was replaced since. The database is not opened for this:
    /// closing it would drop the locks that this process has on it.
    fn xattrs(&self) -> Vec<Xattr> {
        let original = &self.capture.original;
        let (Some(folder), Some(name)) = (original.parent(), original.file_name()) else {
            return Vec::new();
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty());
        let (Ok(folder), Ok(name)) = (opened, CString::new(name.as_bytes())) else {
            return Vec::new();
        };
        let taken = &self.capture.stat;
        match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == (taken.st_dev, taken.st_ino) => {
                Attributes::of_name(folder.as_fd(), &name).read
            }
            _ => Vec::new(),
        }
    }
}

impl TreeSource for SqliteTree {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        let staged = &self.capture.path;
        let copy = rustix::fs::stat(staged).map_err(|why| unreadable("read", staged, &why.into()))?;
        let name = self.capture.original.file_name().unwrap_or_default().as_bytes();
        let path = TreePath::new(name)
            .map_err(|why| unreadable("name", &self.capture.original, &std::io::Error::other(why)))?;
        let size = u64::try_from(copy.st_size).unwrap_or(0);
        let original = entry(path, EntryKind::File { size }, &self.capture.stat);
        let fresh = entry(TreePath::ROOT, EntryKind::Dir, &copy);
        Ok(Some(Entry {
            ctime_ns: fresh.ctime_ns,
            inode: fresh.inode,
            names: 1,
            xattrs: self.xattrs(),
            ..original
        }))
    }

    fn open(&mut self, entry: &Entry) -> Result<Box<dyn Read + Send>, Failure> {
        if !self.given || !matches!(entry.kind, EntryKind::File { .. }) {
            let message = format!("{} was opened out of turn", entry.path.display());
            return Err(Failure::permanent(code::INTERNAL, message));
        }
        let staged = &self.capture.path;
        Ok(Box::new(
            File::open(staged).map_err(|why| unreadable("read", staged, &why))?,
        ))
    }
}
