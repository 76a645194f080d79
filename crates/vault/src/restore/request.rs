//! The request, the checkpoint and the report of a restore.

use std::path::{Path, PathBuf};

use rekindle_model::entry::TreePath;
use rekindle_model::id::SnapshotId;
use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::elsewhere::Elsewhere;
use super::unheld::Unheld;

/// How much is restored between two checkpoints; a kill costs at most this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes of content; a window may exceed it by less than one chunk.
    pub bytes: u64,
    /// Entries, whose records are in memory together.
    pub entries: usize,
}

impl Default for Window {
    /// 64 MiB takes a fast disk about a third of a second, so two `syncfs` per window do not dominate. 4096
    /// records of small files take about 1 MiB of memory.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            entries: 4096,
        }
    }
}

/// The folder that becomes the root of a tree: a folder that a person named, and a path below it.
///
/// Links on the way to the named folder are followed. Links below it are not: a restore would write where
/// nobody asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRoot {
    pub(super) named: PathBuf,
    pub(super) below: PathBuf,
}

impl RestoreRoot {
    /// Returns `path` beneath the folder `named`. If `path` is not in it, `path` counts as named itself.
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
        // A path joined to nothing would end in a slash.
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

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The snapshot; names of partial files derive from it.
    pub snapshot: SnapshotId,
    /// The folder that becomes the root of the tree; created if it is missing.
    pub root: RestoreRoot,
    /// Globs of what to restore; empty means all. A glob without `/` matches a name at any depth. A glob with
    /// `/` matches a path from the root of the tree. A folder that matches is restored with its content.
    pub include: Vec<String>,
    /// The checkpoint of an earlier attempt with the same snapshot, root and globs. If its content is no
    /// longer there, it is dropped.
    pub checkpoint: Option<RestoreCheckpoint>,
    /// How much is restored between two checkpoints.
    pub window: Window,
    /// The preferred tier; the report lists what comes from another. None: it lists nothing.
    pub prefer: Option<String>,
    /// Whether to set owners. Without it, everything belongs to the user who restores, set-id bits are left out,
    /// and neither is reported.
    pub owners: bool,
}

/// A place in the entry stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The offset of the next record in the stream, as the snapshot's reader counts.
    pub stream: u64,
    /// The folder of the place; the folders above it were checked.
    pub inside: TreePath,
    /// Bytes of the next record's file that are in its partial file; 0 unless it is larger than a window.
    pub offset: u64,
}

/// How far a restore got: everything before `position` is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreCheckpoint {
    /// The place in the stream.
    pub position: Position,
    /// Files complete.
    pub files: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Bytes of all files begun so far.
    pub bytes_total: u64,
    /// Bytes of content on disk, including the partial file.
    pub bytes_done: u64,
    /// FIFOs and devices made.
    #[serde(default)]
    pub nodes: u64,
    /// What the target could not hold so far, folders aside.
    #[serde(default, skip_serializing_if = "Unheld::is_empty")]
    pub unheld: Unheld,
    /// Files lost so far; the list is not cut, since none may be forgotten.
    pub lost: Vec<LostFile>,
    /// Content from another tier than the preferred one so far.
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
            nodes: 0,
            unheld: Unheld::default(),
            lost: Vec::new(),
            elsewhere: Vec::new(),
        }
    }
}

/// A file with content that no tier has. A restore changes nothing at its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostFile {
    /// Its path in the tree.
    pub path: TreePath,
    /// Its size in bytes.
    pub size: u64,
    /// The content that is missing.
    pub why: String,
}

/// The result of a restore. If nothing is lost, `bytes_written + bytes_kept` = `bytes_total`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Complete files, including those of earlier calls.
    pub files: u64,
    /// Existing folders.
    pub dirs: u64,
    /// Existing symbolic links.
    pub symlinks: u64,
    /// Existing FIFOs and devices.
    pub nodes: u64,
    /// Bytes of content in the included part of the snapshot.
    pub bytes_total: u64,
    /// Bytes of content that this call wrote. Runs of zeros left as holes count, and so do the bytes of a
    /// file that proved lost or had to be written twice.
    pub bytes_written: u64,
    /// Bytes of content that were there already: before the checkpoint, or found right.
    pub bytes_kept: u64,
    /// What the target could not hold.
    pub unheld: Unheld,
    /// The difference that refuted the request's checkpoint. If there is one, the restore dropped the
    /// checkpoint, looked at every file, and kept what was right.
    pub checkpoint_refuted: Option<Difference>,
    /// Files that no location could give.
    pub lost: Vec<LostFile>,
    /// Content from another tier than the preferred one, in earlier calls too.
    pub elsewhere: Vec<Elsewhere>,
}
