//! A hash of a tree: every path with its type, mode, modification time and content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every path below a root, with what there is to know of it.
pub type Tree = BTreeMap<PathBuf, String>;

/// Returns the content below `root`, without the root itself. Times of folders are left out: if a folder holds several
/// components, its time changes when another of them is restored.
pub fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    walk(root, root, &mut tree)?;
    Ok(tree)
}

fn walk(root: &Path, dir: &Path, tree: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        let what = if meta.is_dir() {
            walk(root, &path, tree)?;
            format!("dir {:o}", meta.mode() & 0o7777)
        } else if meta.is_symlink() {
            format!(
                "symlink {}",
                blake3::hash(fs::read_link(&path)?.as_os_str().as_bytes())
            )
        } else {
            let content = blake3::hash(&fs::read(&path)?);
            format!(
                "file {:o} {}.{:09} {content}",
                meta.mode() & 0o7777,
                meta.mtime(),
                meta.mtime_nsec()
            )
        };
        tree.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), what);
    }
    Ok(())
}

/// Returns the paths that differ, with the content on either side, at most ten.
pub fn differences(left: &Tree, right: &Tree) -> Vec<String> {
    let paths = left
        .keys()
        .chain(right.keys().filter(|path| !left.contains_key(*path)));
    paths
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| format!("{}: {:?} / {:?}", path.display(), left.get(path), right.get(path)))
        .take(10)
        .collect()
}

/// Copies a tree with modes and times, for a fresh start of each case.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("cp -a {} failed", from.display())))
    }
}

/// Returns every file below a folder.
///
/// # Panics
/// A folder cannot be listed.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .collect()
}
