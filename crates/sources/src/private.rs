//! Files and folders that nobody but their owner may open, under any umask.
//!
//! A copy of a user's data begins as one of these, and gets the mode of the original when it is whole.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rekindle_model::planted;

/// The mode of a private file.
const FILE: u32 = 0o600;
/// The mode of a private folder.
const FOLDER: u32 = 0o700;
/// The bits of a mode that a file may have.
const MODE: u32 = 0o7777;

/// Creates a private file for writing.
///
/// # Errors
/// It exists: another user may have planted it, or it may be a link.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if planted::is(planted::Fault::ModeSetLate) {
            0o644
        } else {
            FILE
        })
        .open(path)
}

/// Makes a private folder, and those above it. A folder that exists keeps its mode.
///
/// # Errors
/// It cannot be made.
pub fn create_dir_all(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(folder)
}

/// Copies a file's bytes into a private file, which replaces one that an earlier attempt has left.
///
/// # Errors
/// One of them cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> io::Result<File> {
    match fs::remove_file(to) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut source = File::open(from)?;
    let mut copy = create_new(to)?;
    io::copy(&mut source, &mut copy)?;
    Ok(copy)
}

/// Gives a file the owner, time and mode of another, the mode last: until then, nobody else may open it. Without
/// privilege the owner stays.
///
/// # Errors
/// A time or mode cannot be set.
pub fn dress(like: &fs::Metadata, file: &File, path: &Path) -> io::Result<()> {
    if let Err(why) = std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid())) {
        tracing::warn!(path = %path.display(), %why, "the owner of a copy could not be set");
    }
    file.set_modified(like.modified()?)?;
    file.set_permissions(Permissions::from_mode(like.mode() & MODE))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & MODE
    }

    #[test]
    fn a_copy_is_private_until_it_gets_its_mode() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("a/b/to"));
        fs::write(&from, "rows").unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o664)).unwrap();
        create_dir_all(to.parent().unwrap()).unwrap();
        assert_eq!(mode(&temp.path().join("a/b")), FOLDER);
        for _ in 0..2 {
            let copied = copy(&from, &to).unwrap();
            assert_eq!(mode(&to), FILE);
            dress(&fs::metadata(&from).unwrap(), &copied, &to).unwrap();
            assert_eq!(mode(&to), 0o664);
        }
        assert_eq!(fs::read(&to).unwrap(), b"rows");
    }

    #[test]
    fn a_link_that_was_planted_is_replaced_and_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        fs::write(path("from"), "rows").unwrap();
        fs::write(path("victim"), "kept").unwrap();
        std::os::unix::fs::symlink(path("victim"), path("to")).unwrap();
        assert!(create_new(&path("to")).is_err());
        copy(&path("from"), &path("to")).unwrap();
        assert_eq!(fs::read(path("victim")).unwrap(), b"kept");
        assert_eq!(fs::read(path("to")).unwrap(), b"rows");
    }
}
