//! Two trees compared to the last byte: paths, types, modes, times, contents.
//!
//! A database is captured by SQLite's backup API, whose copy may lay pages out otherwise than the live file:
//! of databases the integrity and every row of every table are compared.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use rekindle_workspace::Error;

/// The content of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    kind: Kind,
    mode: u32,
    /// Seconds and nanoseconds; none for what holds no time of its own (databases, folders around components).
    mtime: Option<(i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    File { size: u64, hash: blake3::Hash },
    Database { hash: blake3::Hash },
    Symlink { target: PathBuf },
    Other,
}

/// A tree, path by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
    /// Bytes of all files.
    pub(super) bytes: u64,
}

/// How two trees differ.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    /// Files with the same bytes, mode and time.
    pub(super) files: usize,
    /// Folders.
    pub(super) folders: usize,
    /// Symbolic links.
    pub(super) links: usize,
    /// Databases with the same integrity and rows.
    pub(super) databases: usize,
    /// Bytes of the tree that was compared with.
    pub(super) bytes: u64,
    /// What differs, in words.
    pub(super) differences: Vec<String>,
}

impl Tree {
    /// Reads the tree at `root` but for the paths in `without`; `frames` are folders that hold components and belong
    /// to none.
    pub(super) fn read(root: &Path, frames: &[PathBuf], without: &[PathBuf]) -> Result<Self, Error> {
        let mut tree = Self::default();
        let mut pending = vec![PathBuf::new()];
        while let Some(folder) = pending.pop() {
            let path = root.join(&folder);
            let failed = |error| Error::io(format_args!("read {}", path.display()), &error);
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let own = folder.join(entry.file_name());
                if is_side_file(&own) || without.contains(&own) {
                    continue;
                }
                let found = tree.entry(&root.join(&own), frames.contains(&own))?;
                if found.kind == Kind::Dir {
                    pending.push(own.clone());
                }
                tree.entries.insert(own, found);
            }
        }
        Ok(tree)
    }

    fn entry(&mut self, path: &Path, frame: bool) -> Result<Entry, Error> {
        let failed = |error| Error::io(format_args!("read {}", path.display()), &error);
        let meta = std::fs::symlink_metadata(path).map_err(failed)?;
        let kind = if meta.is_dir() {
            Kind::Dir
        } else if meta.is_symlink() {
            Kind::Symlink {
                target: std::fs::read_link(path).map_err(failed)?,
            }
        } else if meta.is_file() {
            self.bytes += meta.len();
            match is_database(path).map_err(failed)? {
                true => Kind::Database {
                    hash: super::database::content(path)?,
                },
                false => Kind::File {
                    size: meta.len(),
                    hash: hash(path).map_err(failed)?,
                },
            }
        } else {
            Kind::Other
        };
        let timeless = frame || matches!(kind, Kind::Database { .. } | Kind::Symlink { .. });
        let mtime = (!timeless).then(|| (meta.mtime(), meta.mtime_nsec()));
        // The first component that is restored makes its frame again, and no snapshot has the frame's mode.
        let mode = if frame { 0 } else { meta.mode() & 0o7777 };
        Ok(Entry { kind, mode, mtime })
    }

    /// Compares what came back with this tree.
    pub(super) fn compare(&self, back: &Self) -> Comparison {
        let mut found = Comparison {
            files: 0,
            folders: 0,
            links: 0,
            databases: 0,
            bytes: self.bytes,
            differences: Vec::new(),
        };
        for (path, was) in &self.entries {
            let name = path.display();
            match back.entries.get(path) {
                None => found.differences.push(format!("{name} is missing")),
                Some(is) if is == was => match was.kind {
                    Kind::Dir => found.folders += 1,
                    Kind::File { .. } => found.files += 1,
                    Kind::Database { .. } => found.databases += 1,
                    Kind::Symlink { .. } => found.links += 1,
                    Kind::Other => {}
                },
                Some(is) if is.kind != was.kind => {
                    found.differences.push(format!("{name} has another content"))
                }
                Some(is) if is.mode != was.mode => {
                    found
                        .differences
                        .push(format!("{name} has mode {:o}, had {:o}", is.mode, was.mode));
                }
                Some(_) => found
                    .differences
                    .push(format!("{name} has another modification time")),
            }
        }
        let new = back
            .entries
            .keys()
            .filter(|path| !self.entries.contains_key(*path));
        found
            .differences
            .extend(new.map(|path| format!("{} was not there before", path.display())));
        found
    }
}

/// The files that SQLite keeps beside an open database hold nothing that its backup does not.
fn is_side_file(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    [&b"-wal"[..], b"-shm", b"-journal"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn is_database(path: &Path) -> std::io::Result<bool> {
    let mut head = [0; 16];
    let mut file = std::fs::File::open(path)?;
    let mut read = 0;
    while read < head.len() {
        match file.read(&mut head[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(&head == b"SQLite format 3\0")
}

fn hash(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree(dir: &Path) -> Tree {
        Tree::read(dir, &[], &[PathBuf::from("d/grows")]).unwrap()
    }

    #[test]
    fn every_kind_of_difference_is_seen() {
        let was = tempfile::tempdir().unwrap();
        let root = was.path();
        fs::create_dir(root.join("d")).unwrap();
        for name in ["same", "content", "mode", "time", "gone", "grows"] {
            fs::write(root.join("d").join(name), name).unwrap();
        }
        symlink("same", root.join("d/link")).unwrap();
        let before = tree(root);
        fs::write(root.join("d/grows"), "judged elsewhere").unwrap();
        assert!(before.compare(&tree(root)).differences.is_empty());

        fs::write(root.join("d/content"), "CONTENT").unwrap();
        fs::set_permissions(root.join("d/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::open(root.join("d/time")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::remove_file(root.join("d/gone")).unwrap();
        fs::remove_file(root.join("d/link")).unwrap();
        symlink("elsewhere", root.join("d/link")).unwrap();
        fs::write(root.join("d/new"), "").unwrap();
        let found = before.compare(&tree(root));
        let differences = found.differences.join("\n");
        for part in [
            "content has another content",
            "mode has mode 600",
            "time has another modification",
            "gone is missing",
            "link has another content",
            "new was not there",
        ] {
            assert!(differences.contains(part), "{part:?} not in:\n{differences}");
        }
        assert_eq!(found.files, 1);
    }
}
