//! Makes the further names of a file, and FIFOs and devices.

use std::os::fd::AsRawFd;

use rekindle_model::entry::{Entry, EntryKind, TreePath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::snapshot::EntryRecord;

use super::build::{holds, open_if_file};
use super::error::RestoreError;
use super::target::{Spot, Target, is_kind, kind};
use super::unheld::{Part, without_owner};
use super::xattrs::Bearer;

impl Target {
    /// Makes a further name of a file whose first name is restored already. Returns false if that is not possible:
    /// the first name has another content now, or the file system has no such links. Then the name needs a file
    /// of its own.
    pub(super) fn make_name(
        &self,
        record: &EntryRecord,
        first: &TreePath,
        stop: &CancellationToken,
    ) -> Result<bool, RestoreError> {
        let Some((from, found)) = self.first_name(record, first, stop)? else {
            return Ok(false);
        };
        let spot = self.spot(&record.entry.path)?;
        let partial = self.partial_name(&record.entry.path)?;
        spot.remove_name(&partial)?;
        if spot.stat()?.is_some_and(|there| same(&there, &found)) {
            return Ok(true);
        }
        match rustix::fs::linkat(&from.folder, &from.name, &spot.folder, &partial, AtFlags::empty()) {
            Ok(()) => {}
            Err(
                Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::XDEV | Errno::NOENT,
            ) => return Ok(false),
            Err(why) => return Err(RestoreError::io("link", &spot.shown, why)),
        }
        // Somebody may have replaced the first name in between.
        let linked = rustix::fs::statat(&spot.folder, &partial, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|why| RestoreError::io("look at", &spot.shown, why))?;
        if !same(&linked, &found) {
            spot.remove_name(&partial)?;
            return Ok(false);
        }
        spot.rename_from(&partial)?;
        Ok(true)
    }

    /// Returns the place of a first name if it has the content of the record. As for a checkpoint, the size and the
    /// time that the restore has set are evidence enough; otherwise the file is read.
    fn first_name(
        &self,
        record: &EntryRecord,
        first: &TreePath,
        stop: &CancellationToken,
    ) -> Result<Option<(Spot, Stat)>, RestoreError> {
        let spot = match self.spot(first) {
            Ok(spot) => spot,
            Err(RestoreError::Obstructed { .. }) => return Ok(None),
            Err(RestoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let entry = &record.entry;
        let Some(stat) = spot.stat()?.filter(|stat| is_kind(stat, &entry.kind)) else {
            return Ok(None);
        };
        let size = match entry.kind {
            EntryKind::File { size } => size,
            _ => return Ok(None),
        };
        let time = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let right = u64::try_from(stat.st_size).unwrap_or(0) == size
            && (time == (entry.mtime_s, entry.mtime_ns)
                || match open_if_file(&spot, &spot.name)? {
                    Some(file) => holds(&file, record, &spot, stop)?,
                    None => false,
                });
        Ok(right.then_some((spot, stat)))
    }

    /// Returns whether two names are names of one file.
    pub(super) fn is_same_file(&self, there: &Stat, first: &TreePath) -> Result<bool, RestoreError> {
        match self.spot(first) {
            Ok(spot) => Ok(spot.stat()?.is_some_and(|first| same(there, &first))),
            Err(RestoreError::Obstructed { .. } | RestoreError::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a FIFO or a device, or keeps an equal one. Returns the parts of it that the target does not hold.
    pub(super) fn make_node(&self, entry: &Entry) -> Result<Vec<Part>, RestoreError> {
        let (file_type, device) = match &entry.kind {
            EntryKind::Fifo => (FileType::Fifo, 0),
            EntryKind::CharDevice(number) => (
                FileType::CharacterDevice,
                rustix::fs::makedev(number.major, number.minor),
            ),
            EntryKind::BlockDevice(number) => (
                FileType::BlockDevice,
                rustix::fs::makedev(number.major, number.minor),
            ),
            _ => return Ok(Vec::new()),
        };
        let spot = self.spot(&entry.path)?;
        if spot.stat()?.is_some_and(|stat| is_kind(&stat, &entry.kind)) {
            return self.dress_node(&spot, &spot.name, entry);
        }
        let partial = self.partial_name(&entry.path)?;
        spot.remove_name(&partial)?;
        match rustix::fs::mknodat(&spot.folder, &partial, file_type, Mode::RUSR | Mode::WUSR, device) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(vec![Part::Node]),
            Err(why) => return Err(RestoreError::io("make", &spot.shown, why)),
        }
        let parts = self.dress_node(&spot, &partial, entry)?;
        spot.rename_from(&partial)?;
        Ok(parts)
    }

    /// Sets the metadata of a FIFO or a device without opening it, which can have side effects.
    fn dress_node(
        &self,
        spot: &Spot,
        name: &std::ffi::CString,
        entry: &Entry,
    ) -> Result<Vec<Part>, RestoreError> {
        let failed = |why| RestoreError::io("set the metadata of", &spot.shown, why);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(&spot.folder, name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&node).map_err(failed)?;
        if !is_kind(&stat, &entry.kind) {
            return Err(RestoreError::Obstructed {
                path: spot.shown.clone(),
                why: "it was replaced while it was restored",
            });
        }
        let owned = !self.owners || spot.set_owner(name, entry)?;
        let mut parts = match owned {
            true => Vec::new(),
            false => without_owner(entry),
        };
        let bearer = Bearer::handle(&node);
        let removed = bearer.remove_others(entry).map_err(failed)?;
        let handle = format!("/proc/self/fd/{}", node.as_raw_fd());
        let mode = Mode::from_raw_mode(self.mode(entry, owned));
        rustix::fs::chmod(handle, mode).map_err(failed)?;
        if !(bearer.set(entry).map_err(failed)? && removed) {
            parts.push(Part::Attributes);
        }
        spot.set_times(name, entry)?;
        Ok(parts)
    }
}

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) && kind(a) == kind(b)
}
