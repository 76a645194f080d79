//! Notes of a walk: entries that it left out or captured with a caveat. Each note is also a warning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_model::entry::TreePath;
use serde::Serialize;

/// How many notes are kept; more are only counted, so that a folder of a million sockets costs no memory.
const KEPT: usize = 1000;

/// The reason for a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A socket: left out.
    Socket,
    /// Some of its extended attributes could not be read, or are longer than a snapshot keeps: captured without them.
    Attributes,
    /// It vanished between listing and opening: left out.
    Vanished,
    /// It was written while it was read: captured up to the size in its entry.
    Changed,
    /// A SQLite database with a `-wal` or `-journal` beside it, so a program may have it open: captured, but its
    /// files may be of different moments. The source type `sqlite` captures it at one.
    LiveDatabase,
    /// It belongs to the workspace, to a tier or to a running recovery: left out.
    Own,
}

/// One noted entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Its path in the tree.
    pub path: TreePath,
    /// The reason.
    pub kind: NoteKind,
}

#[derive(Debug, Default)]
struct Kept {
    first: Vec<Note>,
    counts: BTreeMap<NoteKind, u64>,
}

/// The notes of one walk, still readable after the source was handed over.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Kept>>);

impl Notes {
    /// Returns how many entries were noted.
    pub fn total(&self) -> u64 {
        self.counts().values().sum()
    }

    /// Returns how many entries were noted, by kind.
    pub fn counts(&self) -> BTreeMap<NoteKind, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
            .clone()
    }

    /// Returns the notes, at most the first 1000.
    pub fn first(&self) -> Vec<Note> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .first
            .clone()
    }

    pub(super) fn add(&self, path: &TreePath, kind: NoteKind) {
        match kind {
            NoteKind::Own => tracing::info!(path = path.display(), "left out: it belongs to Rekindle"),
            NoteKind::Socket => {
                tracing::warn!(
                    path = path.display(),
                    "left out: only a running program makes a socket"
                );
            }
            NoteKind::Attributes => {
                tracing::warn!(path = path.display(), "captured without some extended attributes");
            }
            NoteKind::Vanished => {
                tracing::warn!(path = path.display(), "left out: it vanished during capture")
            }
            NoteKind::LiveDatabase => {
                tracing::warn!(
                    path = path.display(),
                    "a database that may be in use; capture it with type sqlite"
                );
            }
            NoteKind::Changed => tracing::warn!(path = path.display(), "it changed while it was captured"),
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept.counts.entry(kind).or_default() += 1;
        if kept.first.len() < KEPT {
            kept.first.push(Note {
                path: path.clone(),
                kind,
            });
        }
    }
}
