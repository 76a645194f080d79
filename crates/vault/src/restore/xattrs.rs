//! Extended attributes of what is restored.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use rekindle_model::entry::{Entry, Xattr};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The kernel's `XATTR_LIST_MAX`: no list is longer.
const MOST_NAMES: usize = 64 << 10;
/// Enough for the names of most files, so that one call lists them.
const FEW_NAMES: usize = 512;

/// A path to what has the attributes: the path of its handle, or of a name in a folder's handle.
///
/// A handle of `O_PATH` takes no attribute call itself. Its link below /proc leads to the same inode, and the
/// last name is never followed.
pub(super) struct Bearer {
    path: Vec<u8>,
    follow: bool,
}

impl Bearer {
    /// What the handle is open on.
    pub(super) fn handle(handle: impl AsFd) -> Self {
        Self {
            path: format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()).into_bytes(),
            follow: true,
        }
    }

    /// A name in a folder; a symbolic link itself.
    pub(super) fn name(folder: impl AsFd, name: &CString) -> Self {
        let mut path = format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        Self { path, follow: false }
    }

    /// Removes the kept kinds of attributes that the entry does not have, and the mark of an unfinished file. A new file gets a folder's default ACL,
    /// and an ACL changes what the mode means: so this comes before the mode is set.
    pub(super) fn remove_others(&self, entry: &Entry) -> Result<bool, Errno> {
        let mut removed = true;
        let list = self.list()?;
        let temporary = list
            .split(|byte| *byte == 0)
            .filter(|name| *name == Xattr::TEMPORARY);
        for name in Xattr::kept_names(&list).into_iter().chain(temporary) {
            if entry.xattrs.iter().any(|xattr| xattr.name == name) {
                continue;
            }
            let result = match self.follow {
                true => rustix::fs::removexattr(&*self.path, name),
                false => rustix::fs::lremovexattr(&*self.path, name),
            };
            removed &= unless_refused(result)?;
        }
        Ok(removed)
    }

    /// Sets the attributes of the entry that are not there yet. Returns whether all are there then.
    pub(super) fn set(&self, entry: &Entry) -> Result<bool, Errno> {
        let mut set = true;
        for xattr in &entry.xattrs {
            if self.has(xattr)? {
                continue;
            }
            let (path, name, value) = (&*self.path, xattr.name.as_slice(), xattr.value.as_slice());
            let result = match self.follow {
                true => rustix::fs::setxattr(path, name, value, XattrFlags::empty()),
                false => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()),
            };
            set &= unless_refused(result)?;
        }
        Ok(set)
    }

    /// Returns whether the attributes are those of the entry. Attributes that only root can set count only for root.
    pub(super) fn agrees(&self, entry: &Entry) -> Result<bool, Errno> {
        let root = rustix::process::geteuid().is_root();
        let counts = |name: &[u8]| root || !is_privileged(name);
        let list = self.list()?;
        let there: Vec<&[u8]> = Xattr::kept_names(&list)
            .into_iter()
            .filter(|name| counts(name))
            .collect();
        let mut expected = 0;
        for xattr in entry.xattrs.iter().filter(|xattr| counts(&xattr.name)) {
            expected += 1;
            if !there.contains(&xattr.name.as_slice()) || !self.has(xattr)? {
                return Ok(false);
            }
        }
        Ok(there.len() == expected)
    }

    fn has(&self, xattr: &Xattr) -> Result<bool, Errno> {
        // One byte more than expected shows a longer value.
        let mut value = vec![0; xattr.value.len() + 1];
        let (path, name) = (&*self.path, xattr.name.as_slice());
        let got = match self.follow {
            true => rustix::fs::getxattr(path, name, &mut value),
            false => rustix::fs::lgetxattr(path, name, &mut value),
        };
        match got {
            Ok(length) => Ok(value.get(..length) == Some(xattr.value.as_slice())),
            Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(false),
            Err(why) => Err(why),
        }
    }

    fn list(&self) -> Result<Vec<u8>, Errno> {
        let mut names = vec![0; FEW_NAMES];
        let list = |names: &mut Vec<u8>| match self.follow {
            true => rustix::fs::listxattr(&*self.path, names),
            false => rustix::fs::llistxattr(&*self.path, names),
        };
        let listed = match list(&mut names) {
            Err(Errno::RANGE) => {
                names.resize(MOST_NAMES, 0);
                list(&mut names)
            }
            listed => listed,
        };
        match listed {
            Ok(length) => {
                names.truncate(length);
                Ok(names)
            }
            Err(Errno::OPNOTSUPP | Errno::ACCESS) => Ok(Vec::new()),
            Err(why) => Err(why),
        }
    }
}

/// Returns whether only root sets the attribute.
pub(super) fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"trusted.") || name == b"security.capability"
}

/// Separates an attribute that the target does not take, which is reported, from an error, which stops the restore.
fn unless_refused(set: Result<(), Errno>) -> Result<bool, Errno> {
    match set {
        Ok(()) => Ok(true),
        // ENOSPC and E2BIG: ext4 keeps all attributes of a file in one block. EINVAL: an ACL that it cannot store.
        Err(
            Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::NOSPC
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::NODATA,
        ) => Ok(false),
        Err(why) => Err(why),
    }
}
