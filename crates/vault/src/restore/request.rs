//! What a restore is asked for, how far it got, and what came of it.

use std::path::{Path, PathBuf};

use rekindle_model::entry::TreePath;
use rekindle_model::id::SnapshotId;
use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::elsewhere::Elsewhere;

/// How much is restored between two checkpoints: what a kill costs at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes of content; a window may exceed it by less than one chunk.
    pub bytes: u64,
    /// Entries, whose records are held in memory together.
    pub entries: usize,
}

impl Default for Window {
    /// 64 MiB is about a third of a second of a fast disk, so that two `syncfs` per window do not dominate;
    /// 4096 records of small files are about 1 MiB of memory.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            entries: 4096,
        }
    }
}

/// The folder that becomes the root of a tree: one that a person named, and a path below it.
///
/// The named folder is opened wherever links lead to. Below it none is followed: what is restored would land
/// somewhere that nobody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRoot {
    pub(super) named: PathBuf,
    pub(super) below: PathBuf,
}

impl RestoreRoot {
    /// Returns `path`, which lies in or is the folder `named`. One that does not lie there counts as named itself.
    pub fn beneath(named: &Path, path: &Path) -> Self {
        match path.strip_prefix(named) {
            Ok(below) => Self {
                named: named.to_owned(),
                below: below.to_owned(),
            },
            Err(_) => Self::from(path),
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> PathBuf {
        // Joined to nothing, a path would end in a slash.
        match self.below.as_os_str().is_empty() {
            true => self.named.clone(),
            false => self.named.join(&self.below),
        }
    }
}

impl From<&Path> for RestoreRoot {
    /// The path itself was named.
    fn from(path: &Path) -> Self {
        Self {
            named: path.to_owned(),
            below: PathBuf::new(),
        }
    }
}

/// What is to be restored, and where to.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The snapshot; names of partial files derive from it.
    pub snapshot: SnapshotId,
    /// The folder that becomes the root of the tree; created if it is missing.
    pub root: RestoreRoot,
    /// Globs of what to restore; all if empty. One without `/` matches a name at any depth, one with `/` a
    /// path from the root of the tree; a folder that matches is restored with its content.
    pub include: Vec<String>,
    /// How far an earlier attempt with the same snapshot, root and globs got. Where what it covers is not there
    /// any more, it is dropped.
    pub checkpoint: Option<RestoreCheckpoint>,
    /// How much is restored between two checkpoints.
    pub window: Window,
    /// The tier that all should come from; the report lists what comes from another. None: it lists nothing.
    pub prefer: Option<String>,
}

/// A place in the entry stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Where in the stream the next record begins, as the snapshot's reader counts.
    pub stream: u64,
    /// The folder that the place is in; the folders above it were checked to be folders.
    pub inside: TreePath,
    /// Bytes of the next record's file that are in its partial file; 0 unless it is larger than a window.
    pub offset: u64,
}

/// How far a restore got: all before `position` is durable on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreCheckpoint {
    /// The place in the stream.
    pub position: Position,
    /// Files complete.
    pub files: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Bytes of the files that were started.
    pub bytes_total: u64,
    /// Bytes of content that are on disk, those of the partial file too.
    pub bytes_done: u64,
    /// Entries whose owner could not be set.
    pub owners_unset: u64,
    /// Files lost so far; grows with each, since none may be forgotten.
    pub lost: Vec<LostFile>,
    /// What came from another tier than the preferred one so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

impl RestoreCheckpoint {
    /// Returns the checkpoint of a restore that has done nothing.
    pub(super) fn beginning() -> Self {
        Self {
            position: Position {
                stream: 0,
                inside: TreePath::ROOT,
                offset: 0,
            },
            files: 0,
            symlinks: 0,
            bytes_total: 0,
            bytes_done: 0,
            owners_unset: 0,
            lost: Vec::new(),
            elsewhere: Vec::new(),
        }
    }
}

/// A file of which some content is in no tier. A restore changes nothing at its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostFile {
    /// Its path in the tree.
    pub path: TreePath,
    /// Its size in bytes.
    pub size: u64,
    /// What is missing of it.
    pub why: String,
}

/// What a restore did. Where nothing is lost, `bytes_written + bytes_kept` = `bytes_total`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files that are complete, those of earlier calls too.
    pub files: u64,
    /// Folders that are there.
    pub dirs: u64,
    /// Symbolic links that are there.
    pub symlinks: u64,
    /// Bytes of content in the included part of the snapshot.
    pub bytes_total: u64,
    /// Bytes of content that this call put into files; runs of zeros are left as holes and count, and
    /// so do bytes of a file that turned out to be lost, or had to be made twice.
    pub bytes_written: u64,
    /// Bytes of content that were there already: before the checkpoint, or found right.
    pub bytes_kept: u64,
    /// Entries whose owner could not be set, for want of privilege.
    pub owners_unset: u64,
    /// The difference from what the request's checkpoint covers, if there was one. Then the restore dropped the
    /// checkpoint, looked at every file, and kept what was right.
    pub checkpoint_refuted: Option<Difference>,
    /// Files that no location could give.
    pub lost: Vec<LostFile>,
    /// What came from another tier than the preferred one, in earlier calls too.
    pub elsewhere: Vec<Elsewhere>,
}
