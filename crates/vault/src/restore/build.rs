//! Builds files beside their targets, or finds that they are right already.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use rekindle_model::entry::{Entry, EntryKind, Xattr};
use rekindle_model::id::Hash32;
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::snapshot::EntryRecord;

use super::error::RestoreError;
use super::target::{Spot, Target, kind, owner_set, times};
use super::unheld::{Part, without_owner};
use super::xattrs::Bearer;

/// How many bytes are hashed between two looks at the stop token.
const READ_AT_ONCE: usize = 1 << 20;

const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// How much of a file exists before it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// The whole file, under its name and with its metadata, but for the parts that the target does not hold.
    Whole(Vec<Part>),
    /// All of its bytes, in the partial file of an attempt that did not rename it.
    Built,
    /// Nothing usable.
    Nothing,
}

impl Target {
    /// Returns whether a file is there already, by size and content. If so, corrects its metadata.
    pub(super) fn existing(
        &self,
        record: &EntryRecord,
        stop: &CancellationToken,
    ) -> Result<Existing, RestoreError> {
        let spot = self.spot(&record.entry.path)?;
        if let Some(file) = open_if_file(&spot, &spot.name)?
            && holds(&file, record, &spot, stop)?
        {
            let parts = self.dress(&file, &record.entry, &spot)?;
            spot.remove_name(&self.partial_name(&record.entry.path)?)?;
            return Ok(Existing::Whole(parts));
        }
        match self.built(record, stop)? {
            true => Ok(Existing::Built),
            false => Ok(Existing::Nothing),
        }
    }

    /// Returns whether the partial file has the bytes of the record.
    pub(super) fn built(&self, record: &EntryRecord, stop: &CancellationToken) -> Result<bool, RestoreError> {
        let spot = self.spot(&record.entry.path)?;
        match open_if_file(&spot, &self.partial_name(&record.entry.path)?)? {
            Some(file) => holds(&file, record, &spot, stop),
            None => Ok(false),
        }
    }

    /// Begins a partial file, empty and of full length. Drops what an earlier attempt left of it.
    pub(super) fn begin(&self, entry: &Entry) -> Result<(), RestoreError> {
        let spot = self.spot(&entry.path)?;
        let partial = self.partial_name(&entry.path)?;
        spot.remove_name(&partial)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFELY;
        let made =
            rustix::fs::openat(&spot.folder, &partial, flags, Mode::RUSR | Mode::WUSR).and_then(|file| {
                // A capture leaves the unfinished file out by this mark. Without it, the name has to do.
                let _ = rustix::fs::fsetxattr(&file, Xattr::TEMPORARY, b"1", XattrFlags::empty());
                rustix::fs::ftruncate(&file, size_of(entry))
            });
        made.map_err(|why| RestoreError::io("begin", &spot.shown, why))
    }

    /// Continues a partial file: keeps its first `offset` bytes and drops the rest. Returns whether the file
    /// had that many bytes.
    pub(super) fn go_on(&self, entry: &Entry, offset: u64) -> Result<bool, RestoreError> {
        let spot = self.spot(&entry.path)?;
        let partial = self.partial_name(&entry.path)?;
        let gone_on = rustix::fs::openat(&spot.folder, &partial, OFlags::WRONLY | SAFELY, Mode::empty())
            .and_then(|file| {
                let stat = rustix::fs::fstat(&file)?;
                if kind(&stat) != FileType::RegularFile || u64::try_from(stat.st_size).unwrap_or(0) < offset {
                    return Ok(false);
                }
                rustix::fs::ftruncate(&file, offset)?;
                rustix::fs::ftruncate(&file, size_of(entry))?;
                Ok(true)
            });
        match gone_on {
            Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NXIO) => Ok(false),
            result => result.map_err(|why| RestoreError::io("continue", &spot.shown, why)),
        }
    }

    /// Writes a piece of a partial file. Zeros stay a hole, since the file is empty there.
    pub(super) fn write(&self, entry: &Entry, offset: u64, bytes: &[u8]) -> Result<(), RestoreError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let spot = self.spot(&entry.path)?;
        let partial = self.partial_name(&entry.path)?;
        let file = rustix::fs::openat(&spot.folder, &partial, OFlags::WRONLY | SAFELY, Mode::empty())
            .map_err(|why| RestoreError::io("write", &spot.shown, why))?;
        File::from(file)
            .write_all_at(bytes, offset)
            .map_err(|why| RestoreError::io("write", &spot.shown, why))
    }

    /// Gives the finished partial file its metadata. Returns the parts that the target does not hold.
    pub(super) fn dress_built(&self, entry: &Entry) -> Result<Vec<Part>, RestoreError> {
        let spot = self.spot(&entry.path)?;
        let file = open_if_file(&spot, &self.partial_name(&entry.path)?)?;
        let file = file.ok_or_else(|| RestoreError::io("finish", &spot.shown, ErrorKind::NotFound))?;
        self.dress(&file, entry, &spot)
    }

    /// The owner comes first, since setting it clears set-uid bits and file capabilities. The attributes come after
    /// the mode, since an ACL refines it. The time comes last.
    fn dress(&self, file: &File, entry: &Entry, spot: &Spot) -> Result<Vec<Part>, RestoreError> {
        let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let owned =
            !self.owners || owner_set(rustix::fs::fchown(file, Some(owner), Some(group)), &spot.shown)?;
        let mut parts = match owned {
            true => Vec::new(),
            false => without_owner(entry),
        };
        let bearer = Bearer::handle(file);
        let failed = |why| RestoreError::io("set the attributes of", &spot.shown, why);
        let removed = bearer.remove_others(entry).map_err(failed)?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode(entry, owned)))
            .map_err(|why| RestoreError::io("set the mode of", &spot.shown, why))?;
        if !(bearer.set(entry).map_err(failed)? && removed) {
            parts.push(Part::Attributes);
        }
        rustix::fs::futimens(file, &times(entry))
            .map_err(|why| RestoreError::io("set the time of", &spot.shown, why))?;
        Ok(parts)
    }

    /// Renames the finished, durable partial file to its name.
    pub(super) fn place(&self, entry: &Entry) -> Result<(), RestoreError> {
        self.spot(&entry.path)?
            .rename_from(&self.partial_name(&entry.path)?)
    }

    /// Drops the partial file of a lost file.
    pub(super) fn drop_partial(&self, entry: &Entry) -> Result<(), RestoreError> {
        self.spot(&entry.path)?
            .remove_name(&self.partial_name(&entry.path)?)
    }
}

/// Opens a regular file that may be read; none for anything else.
pub(super) fn open_if_file(spot: &Spot, name: &std::ffi::CString) -> Result<Option<File>, RestoreError> {
    // Look before opening: opening a FIFO or a device can have side effects.
    match rustix::fs::statat(&spot.folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if kind(&stat) == FileType::RegularFile => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(why) => return Err(RestoreError::io("look at", &spot.shown, why)),
    }
    match rustix::fs::openat(&spot.folder, name, OFlags::RDONLY | SAFELY, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS) => Ok(None),
        Err(why) => Err(RestoreError::io("open", &spot.shown, why)),
    }
}

/// Returns whether a file has the size and the bytes of a record.
pub(super) fn holds(
    file: &File,
    record: &EntryRecord,
    spot: &Spot,
    stop: &CancellationToken,
) -> Result<bool, RestoreError> {
    let failed = |why| RestoreError::io("read", &spot.shown, why);
    if file.metadata().map_err(failed)?.len() != size_of(&record.entry) {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut file = file;
    loop {
        if stop.is_cancelled() {
            return Err(RestoreError::Interrupted { checkpoint: None });
        }
        let read = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..read) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            _ => break,
        };
    }
    Ok(record.content == Some(Hash32(*hasher.finalize().as_bytes())))
}

fn size_of(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size } => size,
        _ => 0,
    }
}
