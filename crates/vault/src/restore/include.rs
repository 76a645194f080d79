//! Selects the entries to restore, and checks that the stream is a tree.

use rekindle_model::entry::{EntryKind, TreePath};
use rekindle_model::globs::{BadGlob, Globs};

use crate::snapshot::EntryRecord;

use super::error::RestoreError;

/// The globs of a request; none includes everything.
#[derive(Clone, Debug)]
pub(super) struct Include(Option<Globs>);

impl Include {
    pub(super) fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Globs::new(patterns)?)))
    }

    /// Returns whether everything is included.
    pub(super) fn all(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether a path is included, itself or by a folder above it.
    fn takes(&self, path: &TreePath) -> bool {
        let Some(set) = &self.0 else {
            return true;
        };
        path.as_path()
            .ancestors()
            .filter(|above| !above.as_os_str().is_empty())
            .any(|above| set.matches(above))
    }

    fn matches(&self, path: &TreePath) -> bool {
        self.0.as_ref().is_none_or(|set| set.matches(path.as_path()))
    }
}

/// The folders on the current path of the stream.
///
/// An entry is admitted only beneath a folder of the same stream. If a stream gives a link and then a file
/// beneath it, the file is refused before any of it is written. This does not rely on the file system's own
/// checks.
#[derive(Debug)]
pub(super) struct Outline {
    include: Include,
    folders: Vec<Folder>,
    last: Option<TreePath>,
}

#[derive(Debug)]
struct Folder {
    path: TreePath,
    /// Whether a glob matched the folder, and so all its content.
    taken: bool,
    /// Whether it was created already.
    made: bool,
}

impl Outline {
    /// Returns the outline at a place whose upper folders were checked before.
    pub(super) fn at(include: Include, inside: &TreePath) -> Self {
        let mut outline = Self {
            include,
            folders: Vec::new(),
            last: None,
        };
        let bytes = inside.as_bytes();
        let ends = bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end);
        for end in ends.chain((!bytes.is_empty()).then_some(bytes.len())) {
            if let Ok(path) = TreePath::new(bytes.get(..end).unwrap_or_default()) {
                outline.enter(path);
            }
        }
        outline
    }

    /// Checks that a record belongs at this place of the stream; returns whether to restore it.
    pub(super) fn admit(&mut self, record: &EntryRecord) -> Result<bool, RestoreError> {
        let path = &record.entry.path;
        let hostile = |why| RestoreError::Hostile {
            path: path.display(),
            why,
        };
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err(hostile("it does not follow the entry before it"));
        }
        self.last = Some(path.clone());
        record.entry.check().map_err(hostile)?;
        if path.is_root() {
            return match record.entry.kind {
                EntryKind::Dir => Ok(self.include.all()),
                _ => Err(hostile("the root of the tree is not a folder")),
            };
        }
        let parent = parent_of(path);
        while self
            .folders
            .last()
            .is_some_and(|folder| !is_within(parent, folder.path.as_bytes()))
        {
            self.folders.pop();
        }
        if self
            .folders
            .last()
            .map_or(&b""[..], |folder| folder.path.as_bytes())
            != parent
        {
            return Err(hostile(
                "it is below something that is not a folder of the snapshot",
            ));
        }
        if let EntryKind::File { size } = record.entry.kind {
            let sum: u64 = record.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            if sum != size || record.content.is_none() {
                return Err(hostile("its content does not add up to its size"));
            }
        }
        let taken = self.folders.last().is_some_and(|folder| folder.taken) || self.include.matches(path);
        if record.entry.kind == EntryKind::Dir {
            self.folders.push(Folder {
                path: path.clone(),
                taken,
                made: false,
            });
        }
        Ok(taken)
    }

    /// Returns the first name of a record's file, if this is a further name and the first one is restored too.
    pub(super) fn first_name<'a>(&self, record: &'a EntryRecord) -> Option<&'a TreePath> {
        let first = record.entry.first_name.as_ref();
        first.filter(|first| self.include.takes(first))
    }

    fn enter(&mut self, path: TreePath) {
        let taken = self.folders.last().is_some_and(|folder| folder.taken) || self.include.matches(&path);
        self.folders.push(Folder {
            path,
            taken,
            made: false,
        });
    }

    /// Returns the folders on the path that were not created yet, upper ones first, and counts them as
    /// created.
    pub(super) fn unmade(&mut self) -> Vec<TreePath> {
        let mut unmade = Vec::new();
        for folder in &mut self.folders {
            if !std::mem::replace(&mut folder.made, true) {
                unmade.push(folder.path.clone());
            }
        }
        unmade
    }

    /// Returns the deepest folder.
    pub(super) fn inside(&self) -> TreePath {
        self.folders
            .last()
            .map_or(TreePath::ROOT, |folder| folder.path.clone())
    }
}

/// Returns the bytes of a path's parent folder; empty for the root.
pub(super) fn parent_of(path: &TreePath) -> &[u8] {
    let bytes = path.as_bytes();
    bytes
        .iter()
        .rposition(|byte| *byte == b'/')
        .and_then(|end| bytes.get(..end))
        .unwrap_or_default()
}

/// Returns whether a path is a folder or lies within it.
pub(super) fn is_within(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    }
}
