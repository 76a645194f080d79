//! Moves existing content away from the place that a recovery in place is going to write to.
//!
//! Each move is one rename that replaces nothing. A folder moves as a whole if everything in it belongs to the
//! component and no other component may write there. So a kill between two moves leaves every file in one of two
//! known places. Files that no component claims, the workspace, the tiers and the key stay where they are. The
//! system's own file stays too, since nothing works without it; as the restore may replace it, a copy goes aside.

mod aside;
mod renames;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::TreePath;
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::source::Claim;
use rekindle_sources::ComponentSource;
use rekindle_sources::files::Excludes;
use rekindle_sources::place::below;
use serde::{Deserialize, Serialize};

pub use aside::{aside_folder, asides};
pub(crate) use aside::{aside_places, unescaped};
pub(crate) use renames::{set_aside, sync};

use aside::mount;
use renames::unmoved;

use crate::failures;

/// The paths that are never moved, even if a component claims them.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Not even read: the workspace, the tiers, the key's folder.
    pub never: Vec<PathBuf>,
    /// Copied aside and left in place: the system's file.
    pub copied: Vec<PathBuf>,
}

/// One path that goes aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Its path below the root, which is also its path below the aside folder.
    pub(crate) path: TreePath,
    /// The aside folder, on the same file system.
    pub(crate) aside: PathBuf,
    /// Whether it is copied aside and also stays in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) copied: bool,
}

impl Move {
    pub(crate) fn from(&self, root: &Path) -> PathBuf {
        root.join(self.path.as_path())
    }

    pub(crate) fn to(&self) -> PathBuf {
        self.aside.join(self.path.as_path())
    }

    /// Returns whether the move is still to be done.
    pub(crate) fn is_left(&self, root: &Path) -> bool {
        is_there(&self.from(root)) && !(self.copied && is_there(&self.to()))
    }
}

/// Returns the moves that must precede the restore of a component: as few renames as possible, without moving anything
/// else.
///
/// `others` say where the system's other components may write. They may be restored at the same time, so a folder that
/// one of them may write to is never moved as a whole.
pub(crate) fn moves(
    root: &Path,
    run: RunId,
    source: &dyn ComponentSource,
    others: &[Reach],
    kept: &Kept,
) -> Result<Vec<Move>, Failure> {
    let found = source.existing(root, &kept.never)?;
    let copied: Vec<PathBuf> = kept
        .copied
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let stays = |path: &Path| {
        copied.iter().any(|copied| copied.file_name() == path.file_name())
            && root
                .join(path)
                .canonicalize()
                .is_ok_and(|path| copied.contains(&path))
    };
    let (copies, files): (Vec<PathBuf>, Vec<PathBuf>) = found.files.into_iter().partition(|path| stays(path));
    let claimed: HashSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut whole: HashSet<&Path> = HashSet::new();
    // Each folder comes before its content. Read from the end, each comes after all its content.
    for folder in found.folders.iter().rev() {
        if others.iter().any(|other| other.enters(&root.join(folder))) {
            continue;
        }
        if is_whole(root, folder, &claimed, &whole).map_err(|error| unmoved(&root.join(folder), &error))? {
            whole.insert(folder);
        }
    }
    let above = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut covered: HashSet<&Path> = HashSet::new();
    let mut found_moves = Vec::new();
    let mut add = |path: &Path, copied: bool| {
        let aside = aside_folder(root, run, &root.join(above(path)));
        let path = TreePath::new(path.as_os_str().as_bytes())
            .map_err(|error| failures::io(&path.display().to_string(), &io::Error::other(error)))?;
        found_moves.push(Move { path, aside, copied });
        Ok::<(), Failure>(())
    };
    for folder in &found.folders {
        if covered.contains(above(folder).as_path()) && !folder.as_os_str().is_empty() {
            covered.insert(folder);
        } else if whole.contains(folder.as_path())
            && !folder.as_os_str().is_empty()
            && mount(&root.join(folder)) == mount(&root.join(above(folder)))
        {
            add(folder, false)?;
            covered.insert(folder);
        }
    }
    for file in files
        .iter()
        .filter(|file| !covered.contains(above(file).as_path()))
    {
        add(file, false)?;
    }
    for file in &copies {
        add(file, true)?;
    }
    Ok(found_moves)
}

/// The paths that a component may write to when it is restored.
pub(crate) struct Reach {
    /// Its absolute place.
    own: PathBuf,
    excludes: Excludes,
}

impl Reach {
    /// Returns the reach of a source that claims files below `root`.
    pub(crate) fn of(root: &Path, claim: &Claim) -> Result<Self, Failure> {
        Ok(Self {
            own: below(root, &claim.path),
            excludes: Excludes::new(&claim.exclude)?,
        })
    }

    /// Returns whether the component may write into a folder, at any depth.
    fn enters(&self, folder: &Path) -> bool {
        match folder.strip_prefix(&self.own) {
            Ok(below) => !self.excludes.leaves_out(below),
            Err(_) => self.own.starts_with(folder),
        }
    }
}

/// Returns whether everything in a folder, at any depth, is claimed and on the folder's own file system.
fn is_whole(root: &Path, folder: &Path, files: &HashSet<&Path>, whole: &HashSet<&Path>) -> io::Result<bool> {
    let here = mount(&root.join(folder));
    for entry in fs::read_dir(root.join(folder))? {
        let path = folder.join(entry?.file_name());
        let taken = files.contains(path.as_path())
            || (whole.contains(path.as_path()) && mount(&root.join(&path)) == here);
        if !taken {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
