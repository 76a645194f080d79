//! The root folder, and the only way to touch anything beneath it.
//!
//! The root is opened from the folder that a person named, name by name, through no link. `openat2` with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` opens an entry's folder. The entry is then named relative to it by
//! its last name alone, never followed.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::{Entry, EntryKind, TreePath};
use rekindle_model::id::SnapshotId;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, openat2,
};
use rustix::io::Errno;

use super::error::RestoreError;
use super::include::parent_of;
use super::request::RestoreRoot;
use super::unheld::{Part, without_owner};
use super::xattrs::Bearer;
use crate::beneath::{self, FOLDER};

/// The prefix of the name of a file under construction.
pub const PARTIAL_PREFIX: &str = ".rekindle-partial-";

/// The longest path that is resolved in one call: the kernel takes 4096 bytes with the closing zero.
const PATH_PIECE: usize = 3800;

impl RestoreRoot {
    /// Makes the folder and its parents as a restore into it would, and refuses what that restore would
    /// refuse.
    pub fn make(&self) -> Result<(), RestoreError> {
        Target::make(self, SnapshotId(uuid::Uuid::nil())).map(drop)
    }
}

/// A root folder that is open.
#[derive(Debug)]
pub(super) struct Target {
    root: OwnedFd,
    shown: PathBuf,
    snapshot: SnapshotId,
    /// Whether owners are set.
    pub(super) owners: bool,
}

/// An entry's folder, its name there, and its path as people see it.
pub(super) struct Spot {
    pub(super) folder: OwnedFd,
    pub(super) name: CString,
    pub(super) shown: String,
}

/// Opens the named folder. It may lie behind links of this user or of root, and behind no other: another user may have
/// planted one since the caller looked.
fn open_named(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // A link is on the way, or the kernel is older than 5.6.
        Err(Errno::LOOP | Errno::NOSYS) if only_own_links(path) => {
            rustix::fs::open(path, flags, Mode::empty())
        }
        Err(Errno::NOSYS) => Err(Errno::LOOP),
        opened => opened,
    }
}

/// Opens the named folder as [`open_named`] does; makes it and its parents if needed. The parent that exists is opened
/// first, and each folder is made in the one that is open. So nothing is made behind a link that another user planted.
fn make_named(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (parent, name) = match open_named(path, flags) {
        Err(Errno::NOENT) => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(Errno::NOENT),
        },
        opened => return opened,
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let above = make_named(parent, flags)?;
    match rustix::fs::mkdirat(&above, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(why) => return Err(why),
    }
    rustix::fs::openat(&above, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

fn only_own_links(path: &Path) -> bool {
    let own = [0, rustix::process::geteuid().as_raw()];
    let links = path.ancestors().filter_map(|place| place.symlink_metadata().ok());
    links
        .filter(std::fs::Metadata::is_symlink)
        .all(|link| own.contains(&link.uid()))
}

impl Target {
    /// Opens the root; makes it and its parents if needed.
    pub(super) fn make(root: &RestoreRoot, snapshot: SnapshotId) -> Result<Self, RestoreError> {
        Self::open(root, snapshot, true)?
            .ok_or_else(|| RestoreError::io("open", &root.path().display().to_string(), ErrorKind::NotFound))
    }

    /// Opens the root; none if there is no such folder.
    pub(super) fn open_existing(
        root: &RestoreRoot,
        snapshot: SnapshotId,
    ) -> Result<Option<Self>, RestoreError> {
        Self::open(root, snapshot, false)
    }

    fn open(root: &RestoreRoot, snapshot: SnapshotId, make: bool) -> Result<Option<Self>, RestoreError> {
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut shown = root.named.clone();
        let absent = |why: Errno| !make && matches!(why, Errno::NOENT | Errno::NOTDIR);
        let named = match make {
            true => make_named(&root.named, folder),
            false => open_named(&root.named, folder),
        };
        let mut opened = match named {
            Err(why) if absent(why) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(RestoreError::Obstructed {
                    path: shown.display().to_string(),
                    why: "another user has put a link on the way to it",
                });
            }
            opened => {
                let doing = if make { "make the folder" } else { "open" };
                opened.map_err(|why| RestoreError::io(doing, &shown.display().to_string(), why))?
            }
        };
        let mut parts = root.below.components().peekable();
        while let Some(part) = parts.next() {
            let std::path::Component::Normal(name) = part else {
                return Err(RestoreError::Obstructed {
                    path: root.path().display().to_string(),
                    why: "the path leaves the target",
                });
            };
            shown.push(name);
            let shown = || shown.display().to_string();
            if make {
                // The last folder holds the data: nobody else may look in before it has its own mode.
                let mode = match parts.peek() {
                    Some(_) => Mode::RWXU | Mode::RWXG | Mode::RWXO,
                    None => Mode::RWXU,
                };
                match rustix::fs::mkdirat(&opened, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(why) => return Err(RestoreError::io("make the folder", &shown(), why)),
                }
            }
            opened = match beneath::open(&opened, name.as_bytes(), FOLDER) {
                Ok(deeper) => deeper,
                Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                    if let Ok(leads_to) = rustix::fs::readlinkat(&opened, name, Vec::new()) {
                        let leads_to = leads_to.to_string_lossy().into_owned();
                        let path = shown();
                        return Err(RestoreError::Link { path, leads_to });
                    }
                    if !make {
                        return Ok(None);
                    }
                    return Err(RestoreError::Obstructed {
                        path: shown(),
                        why: "something other than a folder is there",
                    });
                }
                Err(why) if absent(why) => return Ok(None),
                Err(why) => return Err(RestoreError::io("open", &shown(), why)),
            };
        }
        // Below the named folder only a path handle was opened; this opens the same folder for reading.
        let opened = rustix::fs::openat(&opened, c".", folder, Mode::empty())
            .map_err(|why| RestoreError::io("open", &shown.display().to_string(), why))?;
        Ok(Some(Self {
            root: opened,
            shown,
            snapshot,
            owners: true,
        }))
    }

    /// Returns the same root, with or without the captured owners.
    pub(super) fn with_owners(self, owners: bool) -> Self {
        Self { owners, ..self }
    }

    /// Makes every write to the root's file system durable.
    pub(super) fn sync(&self) -> Result<(), RestoreError> {
        rustix::fs::syncfs(&self.root)
            .map_err(|why| RestoreError::io("sync", &self.shown.display().to_string(), why))
    }

    /// Returns an entry's folder and name. For the root itself, the name is `.`.
    pub(super) fn spot(&self, path: &TreePath) -> Result<Spot, RestoreError> {
        let shown = self.shown.join(path.display()).display().to_string();
        let folder = self.folder(parent_of(path)).map_err(|why| match why {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => RestoreError::Obstructed {
                path: shown.clone(),
                why: "something other than a folder is above it",
            },
            why => RestoreError::io("open the folder of", &shown, why),
        })?;
        let bytes = path.as_bytes();
        let name = bytes
            .rsplit(|byte| *byte == b'/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or(b".");
        let name = CString::new(name).map_err(|_| RestoreError::Hostile {
            path: path.display(),
            why: "its name has a zero byte in it",
        })?;
        Ok(Spot { folder, name, shown })
    }

    fn folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut folder = rustix::fs::openat(&self.root, c".", FOLDER, Mode::empty())?;
        let mut rest = path;
        while !rest.is_empty() {
            let cut = match rest.get(..PATH_PIECE) {
                None => rest.len(),
                Some(piece) => piece
                    .iter()
                    .rposition(|byte| *byte == b'/')
                    .unwrap_or(piece.len()),
            };
            folder = beneath::open(&folder, rest.get(..cut).unwrap_or_default(), FOLDER)?;
            rest = rest.get(cut + 1..).unwrap_or_default();
        }
        Ok(folder)
    }

    /// Returns the name under which a file is built. It depends on the snapshot, so no entry of an honest
    /// snapshot has this name, even if a capture took partial files.
    pub(super) fn partial_name(&self, path: &TreePath) -> Result<CString, RestoreError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.snapshot.as_bytes()).update(path.as_bytes());
        let hash = hasher.finalize().to_hex();
        CString::new(format!("{PARTIAL_PREFIX}{}", hash.get(..24).unwrap_or_default()))
            .map_err(|why| RestoreError::Broken(why.to_string()))
    }

    /// Makes a folder that its owner can write into; its own mode comes last.
    pub(super) fn make_folder(&self, path: &TreePath) -> Result<(), RestoreError> {
        let spot = self.spot(path)?;
        match rustix::fs::mkdirat(&spot.folder, &spot.name, Mode::RWXU) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(why) => return Err(RestoreError::io("make the folder", &spot.shown, why)),
        }
        let stat = spot.stat()?;
        if stat.is_some_and(|stat| kind(&stat) == FileType::Directory) {
            let closed = stat.is_some_and(|stat| stat.st_mode & 0o700 != 0o700);
            return if closed {
                spot.set_folder_mode(0o700)
            } else {
                Ok(())
            };
        }
        spot.remove()?;
        rustix::fs::mkdirat(&spot.folder, &spot.name, Mode::RWXU)
            .map_err(|why| RestoreError::io("make the folder", &spot.shown, why))
    }

    /// Makes a symbolic link, or keeps an equal one. Returns the parts of it that the target does not hold.
    pub(super) fn make_link(&self, entry: &Entry, target: &[u8]) -> Result<Vec<Part>, RestoreError> {
        let spot = self.spot(&entry.path)?;
        let found = rustix::fs::readlinkat(&spot.folder, &spot.name, Vec::new());
        if found.is_ok_and(|found| found.as_bytes() == target) {
            return spot.dress_link(&spot.name, entry, self.owners);
        }
        let partial = self.partial_name(&entry.path)?;
        spot.remove_name(&partial)?;
        let target = CString::new(target).map_err(|_| RestoreError::Hostile {
            path: entry.path.display(),
            why: "its target has a zero byte",
        })?;
        rustix::fs::symlinkat(&target, &spot.folder, &partial)
            .map_err(|why| RestoreError::io("make the link", &spot.shown, why))?;
        let parts = spot.dress_link(&partial, entry, self.owners)?;
        spot.rename_from(&partial)?;
        Ok(parts)
    }

    /// Gives a folder the metadata of its entry. Returns the parts that the target does not hold.
    pub(super) fn finish_folder(&self, entry: &Entry) -> Result<Vec<Part>, RestoreError> {
        let spot = self.spot(&entry.path)?;
        let failed = |why| RestoreError::io("set the attributes of", &spot.shown, why);
        let folder = rustix::fs::openat(&spot.folder, &spot.name, FOLDER, Mode::empty()).map_err(failed)?;
        let mut parts = Vec::new();
        if self.owners && !spot.set_owner(&spot.name, entry)? {
            parts = without_owner(entry);
        }
        let owned = parts.is_empty();
        let bearer = Bearer::handle(&folder);
        let removed = bearer.remove_others(entry).map_err(failed)?;
        spot.set_folder_mode(self.mode(entry, owned))?;
        if !(bearer.set(entry).map_err(failed)? && removed) {
            parts.push(Part::Attributes);
        }
        spot.set_times(&spot.name, entry)?;
        Ok(parts)
    }

    /// Returns the mode to give to a file or a folder. Without the right owner, a set-id bit would grant the rights of the user
    /// who restores.
    pub(super) fn mode(&self, entry: &Entry, owned: bool) -> u32 {
        match owned && self.owners {
            true => entry.mode & 0o7777,
            false => entry.mode & 0o1777,
        }
    }
}

impl Spot {
    /// Returns what is here without following links; none if nothing is.
    pub(super) fn stat(&self) -> Result<Option<Stat>, RestoreError> {
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(RestoreError::io("look at", &self.shown, why)),
        }
    }

    /// Removes the entry here, unless it is a folder with content.
    pub(super) fn remove(&self) -> Result<(), RestoreError> {
        self.remove_name(&self.name)
    }

    pub(super) fn remove_name(&self, name: &CString) -> Result<(), RestoreError> {
        let removed = match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.folder, name, AtFlags::REMOVEDIR),
            result => result,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(RestoreError::Obstructed {
                path: self.shown.clone(),
                why: "a folder with content is where the snapshot has something else",
            }),
            Err(why) => Err(RestoreError::io("replace", &self.shown, why)),
        }
    }

    /// Renames `partial` to this name. Removes an empty folder in the way.
    pub(super) fn rename_from(&self, partial: &CString) -> Result<(), RestoreError> {
        let rename = || rustix::fs::renameat(&self.folder, partial, &self.folder, &self.name);
        match rename() {
            Err(Errno::ISDIR) => {
                self.remove()?;
                rename().map_err(|why| RestoreError::io("rename to", &self.shown, why))
            }
            result => result.map_err(|why| RestoreError::io("rename to", &self.shown, why)),
        }
    }

    /// Sets the mode through the handle, since a folder may be closed even to its owner.
    fn set_folder_mode(&self, mode: u32) -> Result<(), RestoreError> {
        let set = rustix::fs::openat(&self.folder, &self.name, FOLDER, Mode::empty()).and_then(|folder| {
            let handle = format!("/proc/self/fd/{}", folder.as_raw_fd());
            rustix::fs::chmod(handle, Mode::from_raw_mode(mode & 0o7777))
        });
        set.map_err(|why| RestoreError::io("set the mode of", &self.shown, why))
    }

    fn dress_link(&self, name: &CString, entry: &Entry, owners: bool) -> Result<Vec<Part>, RestoreError> {
        let mut parts = Vec::new();
        if owners && !self.set_owner(name, entry)? {
            parts.push(Part::Owner);
        }
        let bearer = Bearer::name(&self.folder, name);
        let failed = |why| RestoreError::io("set the attributes of", &self.shown, why);
        let removed = bearer.remove_others(entry).map_err(failed)?;
        if !(bearer.set(entry).map_err(failed)? && removed) {
            parts.push(Part::Attributes);
        }
        self.set_times(name, entry)?;
        Ok(parts)
    }

    /// Returns whether the entry then has the right owner.
    pub(super) fn set_owner(&self, name: &CString, entry: &Entry) -> Result<bool, RestoreError> {
        let (owner, group) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        let set = rustix::fs::chownat(&self.folder, name, owner, group, AtFlags::SYMLINK_NOFOLLOW);
        owner_set(set, &self.shown)
    }

    pub(super) fn set_times(&self, name: &CString, entry: &Entry) -> Result<(), RestoreError> {
        rustix::fs::utimensat(&self.folder, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|why| RestoreError::io("set the time of", &self.shown, why))
    }
}

/// Separates a refused owner, which is reported, from an error, which stops the restore.
pub(super) fn owner_set(set: Result<(), Errno>, shown: &str) -> Result<bool, RestoreError> {
    match set {
        Ok(()) => Ok(true),
        // EINVAL comes from file systems without owners, and for ids outside a user namespace.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => Ok(false),
        Err(why) => Err(RestoreError::io("set the owner of", shown, why)),
    }
}

pub(super) fn times(entry: &Entry) -> Timestamps {
    let modified = Timespec {
        tv_sec: entry.mtime_s,
        tv_nsec: entry.mtime_ns.into(),
    };
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: modified,
    }
}

/// Returns the type of what was looked at.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns whether the entry is of this type, and the same device if it is one.
pub(super) fn is_kind(stat: &Stat, entry: &EntryKind) -> bool {
    let expected = match entry {
        EntryKind::File { .. } => FileType::RegularFile,
        EntryKind::Dir => FileType::Directory,
        EntryKind::Symlink { .. } => FileType::Symlink,
        EntryKind::Fifo => FileType::Fifo,
        EntryKind::CharDevice(_) => FileType::CharacterDevice,
        EntryKind::BlockDevice(_) => FileType::BlockDevice,
    };
    let same_device = match entry {
        EntryKind::CharDevice(number) | EntryKind::BlockDevice(number) => {
            (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (number.major, number.minor)
        }
        _ => true,
    };
    kind(stat) == expected && same_device
}
