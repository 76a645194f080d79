//! What stands where a recovery in place is going to write: found, and moved out of the way.
//!
//! Each move is one rename that replaces nothing, of a whole folder where everything in it belongs to the
//! component and no other one may write there, so a kill between two leaves every file in one of two known
//! places. What no component claims, the workspace, the tiers and the key stay where they are. The system's own
//! file stays too, since nothing works without it; as the restore may replace it, a copy goes aside.

mod aside;
mod renames;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::{EntryKind, TreePath, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::system::Source;
use rekindle_sources::files::{Excludes, FilesSource};
use serde::{Deserialize, Serialize};

pub use aside::{aside_folder, asides};
pub(crate) use renames::{set_aside, sync};

use aside::mount;
use renames::unmoved;

use crate::failures;

/// The files that SQLite keeps beside a database; they belong to the one that moves.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What stands at a target, as paths below the root.
#[derive(Debug, Default)]
pub struct Standing {
    /// Files and links.
    pub files: Vec<PathBuf>,
    /// Folders, each before what is in it.
    folders: Vec<PathBuf>,
}

impl Standing {
    /// Returns all of it that could be moved: the root itself never is.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.folders.iter().chain(&self.files).map(PathBuf::as_path);
        all.filter(|path| !path.as_os_str().is_empty())
    }
}

/// What is never moved, though a component may claim it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Not even looked at: the workspace, the tiers, the key's folder.
    pub never: Vec<PathBuf>,
    /// Copied aside and left in place: the system's file.
    pub copied: Vec<PathBuf>,
}

/// One thing that goes aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Where it stands below the root, and will stand below the aside folder.
    pub(crate) path: TreePath,
    /// The aside folder: the one of the file system that it stands on.
    pub(crate) aside: PathBuf,
    /// Whether it is copied, and stays where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) copied: bool,
}

impl Move {
    pub(crate) fn from(&self, root: &Path) -> PathBuf {
        root.join(OsStr::from_bytes(self.path.as_bytes()))
    }

    pub(crate) fn to(&self) -> PathBuf {
        self.aside.join(OsStr::from_bytes(self.path.as_bytes()))
    }

    /// Returns whether it has yet to be done.
    pub(crate) fn stands(&self, root: &Path) -> bool {
        is_there(&self.from(root)) && !(self.copied && is_there(&self.to()))
    }
}

/// Returns the files and links at a component's target, relative to `root`, and its folders, outermost first.
pub fn standing(root: &Path, source: &Source, never: &[PathBuf]) -> Result<Standing, Failure> {
    let mut found = Standing::default();
    let Some(own) = own_path(source) else {
        return Ok(found);
    };
    let place = root.join(&own);
    match source {
        Source::Sqlite { .. } => {
            let sidecars = SIDECARS.iter().map(|suffix| {
                let mut name: OsString = own.clone().into_os_string();
                name.push(suffix);
                PathBuf::from(name)
            });
            found.files.extend(
                std::iter::once(own.clone())
                    .chain(sidecars)
                    .filter(|path| is_there(&root.join(path))),
            );
        }
        Source::Files { include, exclude, .. } if is_there(&place) => {
            // A link is moved as the link that it is; the root itself is where things stand, link or not.
            if !own.as_os_str().is_empty() && (place.is_symlink() || !place.is_dir()) {
                found.files.push(own);
                return Ok(found);
            }
            let mut walk = FilesSource::open(&place, include, exclude, never)?;
            while let Some(entry) = walk.next_entry()? {
                // Of the tree's root the name is empty, and to join it would end the path with a slash.
                let path = match entry.path.is_root() {
                    true => own.clone(),
                    false => own.join(OsStr::from_bytes(entry.path.as_bytes())),
                };
                match entry.kind {
                    EntryKind::Dir => found.folders.push(path),
                    EntryKind::File { .. } | EntryKind::Symlink { .. } => found.files.push(path),
                }
            }
        }
        Source::Files { .. } | Source::Command { .. } => {}
    }
    Ok(found)
}

/// Returns what has to be moved for a component to be restored, the fewest renames that take nothing else along.
///
/// `others` are the sources of the system's other components: they may be restored at the same time, and a folder
/// in which one of them may write is never moved as a whole.
pub(crate) fn moves(
    root: &Path,
    run: RunId,
    source: &Source,
    others: &[Source],
    kept: &Kept,
) -> Result<Vec<Move>, Failure> {
    let found = standing(root, source, &kept.never)?;
    let others: Vec<Reach> = others
        .iter()
        .filter_map(|other| Some((own_path(other)?, other)))
        .map(|(own, other)| Reach::of(own, other))
        .collect::<Result<_, _>>()?;
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
    // Folders stand before what is in them: from the end, each comes after all that is in it.
    for folder in found.folders.iter().rev() {
        if others.iter().any(|other| other.enters(folder)) {
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

/// What one component may write to when it is restored.
struct Reach {
    own: PathBuf,
    /// What a folder's component leaves out; none for a single database.
    excludes: Option<Excludes>,
}

impl Reach {
    fn of(own: PathBuf, source: &Source) -> Result<Self, Failure> {
        let excludes = match source {
            Source::Files { exclude, .. } => Some(Excludes::new(exclude)?),
            Source::Sqlite { .. } | Source::Command { .. } => None,
        };
        Ok(Self { own, excludes })
    }

    /// Returns whether it may write into a folder, at any depth.
    fn enters(&self, folder: &Path) -> bool {
        match (&self.excludes, folder.strip_prefix(&self.own)) {
            (Some(excludes), Ok(below)) => !excludes.leaves_out(below),
            _ => self.own.starts_with(folder),
        }
    }
}

/// Returns where a source's data stand below the root: empty for the root itself, none where only programs know.
fn own_path(source: &Source) -> Option<PathBuf> {
    let parts = Path::new(source.path()?).components();
    Some(
        parts
            .filter(|part| !matches!(part, std::path::Component::CurDir))
            .collect(),
    )
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
