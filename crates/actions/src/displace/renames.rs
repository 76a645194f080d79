//! Does the planned moves: each is one rename that replaces nothing. Then syncs them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rekindle_model::failure::Failure;
use rekindle_sources::private;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Move, is_there};
use crate::failures;

/// Does one move. If it was done before, that is no error.
pub(crate) fn set_aside(root: &Path, it: &Move) -> Result<(), Failure> {
    let (from, to) = (it.from(root), it.to());
    let mut made = Vec::new();
    let done = make_above(root, it, &mut made).and_then(|()| match it.copied {
        true => copy(&from, &to),
        false => take(&from, &to),
    });
    // Removes the made folders that stayed empty. A folder that holds a moved one stays, even if the moved one is
    // empty.
    for folder in made.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
    done.map_err(|error| unmoved(&from, &error))
}

/// Makes all renames durable, in the old and the new folders.
pub(crate) fn sync(root: &Path, moves: &[Move]) -> Result<(), Failure> {
    let asides: HashSet<&Path> = moves.iter().map(|it| it.aside.as_path()).collect();
    for folder in asides.into_iter().chain([root]) {
        File::open(folder)
            .and_then(|folder| rustix::fs::syncfs(folder).map_err(io::Error::from))
            .map_err(|error| unmoved(folder, &error))?;
    }
    Ok(())
}

pub(super) fn unmoved(path: &Path, error: &io::Error) -> Failure {
    let failure = failures::io(&format!("move {} aside", path.display()), error);
    match failure.hint {
        Some(_) => failure,
        None => failure.with_hint(
            "nothing was overwritten; clear the cause and recover again, or recover into another folder",
        ),
    }
}

/// Makes the aside folder, and in it the parents of a moved path, each like its original. Adds them to `added`.
fn make_above(root: &Path, it: &Move, added: &mut Vec<PathBuf>) -> io::Result<()> {
    if !it.aside.is_dir() {
        fs::create_dir_all(it.aside.parent().unwrap_or(Path::new("/")))?;
        make_like(root, &it.aside)?;
        rekindle_sources::files::mark_temporary(&it.aside);
        added.push(it.aside.clone());
    }
    let (mut original, mut made) = (root.to_owned(), it.aside.clone());
    let path = it.from(Path::new(""));
    for name in path.parent().into_iter().flat_map(Path::components) {
        original.push(name);
        made.push(name);
        if !made.is_dir() {
            make_like(&original, &made)?;
            added.push(made.clone());
        }
    }
    Ok(())
}

/// Makes a folder with the mode of another and, where this user may, its owner.
fn make_like(original: &Path, folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        made => made?,
    }
    if let Ok(like) = fs::metadata(original) {
        let _ = std::os::unix::fs::chown(folder, Some(like.uid()), Some(like.gid()));
        fs::set_permissions(folder, like.permissions())?;
    }
    Ok(())
}

/// Renames without replacing. If an earlier move has taken the name, a file gets a number, and folders are merged.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let mut target = to.to_owned();
    for n in 2_u32.. {
        match rename(from, &target) {
            Err(Errno::NOENT) if !is_there(from) => return Ok(()),
            Err(Errno::EXIST) if is_folder(from) && is_folder(&target) => return join(from, &target),
            // Some layered file systems can rename files, but not folders.
            Err(Errno::XDEV) if is_folder(from) => {
                make_like(from, &target)?;
                return join(from, &target);
            }
            Err(Errno::EXIST) => {
                let mut name = to.as_os_str().to_owned();
                name.push(format!(".{n}"));
                target = PathBuf::from(name);
            }
            result => return result.map_err(io::Error::from),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

fn rename(from: &Path, to: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag.
        Err(Errno::INVAL) if is_there(to) => Err(Errno::EXIST),
        Err(Errno::INVAL) => rustix::fs::rename(from, to),
        result => result,
    }
}

fn join(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        take(&from.join(&name), &to.join(&name))?;
    }
    fs::remove_dir(from)
}

/// Copies under a temporary name first, so that a file with the final name is complete.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut passing = to.as_os_str().to_owned();
    passing.push(".part");
    let passing = PathBuf::from(passing);
    let copied = private::copy(from, &passing)?;
    private::dress(&from.metadata()?, &copied, &passing)?;
    fs::rename(&passing, to)
}
