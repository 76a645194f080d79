//! A folder, or a single file, as a tree to capture.
//!
//! The walk is sorted name by name and holds one folder's names per level. It goes from open folder to open
//! name (`openat` with `O_NOFOLLOW`), so that a link planted while it runs leads nowhere. A file is opened
//! before its entry is returned, and its entry is the `fstat` of what was opened: between entry and content
//! nothing can vanish.
//!
//! What happens to a file that changes while it is read:
//! - it grew: the bytes up to the size in its entry are captured, which for an append-only log is exactly
//!   its state when the entry was taken; noted as [`NoteKind::Changed`];
//! - it was written in place: its bytes may be of two moments; captured, and noted the same way, since no
//!   file source can do better without a file system's snapshot;
//! - it shrank: the promised bytes are not there; the read fails with code `source_changed`, retryable;
//! - it vanished before it was opened: it is left out and noted as [`NoteKind::Vanished`].

mod globs;
mod notes;
mod read;
mod source;
mod walk;

pub use globs::Excludes;
pub use notes::{Note, NoteKind, Notes};
pub(crate) use source::TYPE;
pub use walk::FilesTree;
pub(crate) use walk::entry;
