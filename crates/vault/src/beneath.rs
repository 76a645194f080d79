//! Opens a path beneath a folder, through no symbolic link and never outside that folder.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A handle to a folder, for naming what is in it.
pub(crate) const FOLDER: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens a path beneath a folder. The path has no empty names; an empty path is the folder itself.
///
/// If the kernel or a sandbox has no `openat2`, it opens name by name. That is as safe, but slower.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` if a symbolic link is on the way or at the end, `EXDEV` if the path leads outside.
pub(crate) fn open(folder: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return rustix::fs::openat(folder, c".", flags, Mode::empty());
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            // Something on the way was renamed, and the kernel asks to try again. A file that another program
            // holds a lease of has the same error, for longer.
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => {}
            Err(Errno::NOSYS) => return name_by_name(&folder, path, flags),
            result => return result,
        }
    }
}

/// How often an open is tried again at once.
const TRIES: u32 = 64;

fn name_by_name(folder: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut deeper = rustix::fs::openat(folder, c".", FOLDER, Mode::empty())?;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if name == b".." {
            return Err(Errno::XDEV);
        }
        let flags = if names.peek().is_some() { FOLDER } else { flags };
        deeper = rustix::fs::openat(&deeper, name, flags, Mode::empty())?;
    }
    Ok(deeper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_of_opening_follows_a_link_or_leaves_the_folder() {
        let room = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(room.path().join("root/a/b")).unwrap();
        std::fs::create_dir(room.path().join("outside")).unwrap();
        std::os::unix::fs::symlink("../../outside", room.path().join("root/a/link")).unwrap();
        std::os::unix::fs::symlink("b", room.path().join("root/a/inner")).unwrap();
        let root = rustix::fs::open(room.path().join("root"), FOLDER, Mode::empty()).unwrap();
        for open in [open, name_by_name] {
            assert!(open(&root, b"a/b", FOLDER).is_ok());
            assert!(open(&root, b"a/link", FOLDER).is_err());
            assert!(open(&root, b"a/inner", FOLDER).is_err());
            assert!(open(&root, b"a/inner/c", FOLDER).is_err());
            assert!(open(&root, b"a/../..", FOLDER).is_err());
        }
    }
}
