//! Reads the extended attributes that a snapshot keeps.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rekindle_model::entry::Xattr;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Enough for the names of most files, so that one call lists them.
const FEW_NAMES: usize = 512;
/// The kernel's `XATTR_LIST_MAX`: no list is longer.
const MOST_NAMES: usize = 64 << 10;

/// The attributes of one entry.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// Those that were read, in the order of their names.
    pub(crate) read: Vec<Xattr>,
    /// Whether some were not: the system refused them, or they are longer than [`Xattr::TOTAL_MAX`].
    pub(crate) left_out: bool,
}

impl Attributes {
    /// Reads the attributes of an open file or folder.
    pub(crate) fn of(open: BorrowedFd<'_>) -> Self {
        Self::read(
            |list| rustix::fs::flistxattr(open, list),
            |name, value| rustix::fs::fgetxattr(open, name, value),
        )
    }

    /// Reads the attributes of a name in an open folder: of a symbolic link itself, a FIFO or a device, which are
    /// never opened.
    pub(crate) fn of_name(folder: BorrowedFd<'_>, name: &CString) -> Self {
        // No call takes a folder and a name. The link below /proc leads to the open folder itself.
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        let path = path.as_slice();
        Self::read(
            |list| rustix::fs::llistxattr(path, list),
            |name, value| rustix::fs::lgetxattr(path, name, value),
        )
    }

    fn read(
        list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
    ) -> Self {
        let mut found = Self::default();
        let mut names = vec![0; FEW_NAMES];
        let listed = match list(&mut names) {
            Err(Errno::RANGE) => {
                names.resize(MOST_NAMES, 0);
                list(&mut names)
            }
            listed => listed,
        };
        let length = match listed {
            Ok(length) => length,
            // The file system has none, or the entry is gone.
            Err(Errno::OPNOTSUPP | Errno::NOENT) => return found,
            Err(_) => {
                found.left_out = true;
                return found;
            }
        };
        let mut total = 0;
        let mut buffer = Vec::new();
        for name in Xattr::kept_names(names.get(..length).unwrap_or_default()) {
            buffer.resize(Xattr::VALUE_MAX, 0);
            match get(name, &mut buffer) {
                Ok(length) => {
                    let xattr = Xattr {
                        name: name.to_vec(),
                        value: buffer.get(..length).unwrap_or_default().to_vec(),
                    };
                    total += xattr.size();
                    if total > Xattr::TOTAL_MAX {
                        found.left_out = true;
                        break;
                    }
                    found.read.push(xattr);
                }
                // It was removed in between.
                Err(Errno::NODATA) => {}
                Err(_) => found.left_out = true,
            }
        }
        found
    }
}

/// Gives a file the attributes of another one. What the file system refuses is left out. The other file is on the
/// same file system, and has only what it takes.
pub(crate) fn copy_xattrs(like: &Path, file: &File) -> io::Result<()> {
    let wanted = Attributes::of(File::open(like)?.as_fd()).read;
    for there in Attributes::of(file.as_fd()).read {
        if wanted.iter().all(|xattr| xattr.name != there.name) {
            let _ = rustix::fs::fremovexattr(file, there.name.as_slice());
        }
    }
    for xattr in wanted {
        let (name, value) = (xattr.name.as_slice(), xattr.value.as_slice());
        let _ = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
    }
    Ok(())
}
