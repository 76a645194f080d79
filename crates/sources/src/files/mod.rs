//! A folder, or a single file, as a tree to capture.
//!
//! The walk is sorted name by name and holds one folder's names per level. It goes from open folder to open
//! name (`openat` with `O_NOFOLLOW`), so a link planted meanwhile leads nowhere. It opens a file before it
//! returns the entry, and the entry is the `fstat` of the open file. So nothing can vanish between entry and
//! content.
//!
//! A file may change while it is read:
//! - it grew: the walk captures the bytes up to the size in its entry. For an append-only log this is exactly
//!   its state when the entry was taken. Noted as [`NoteKind::Changed`];
//! - it was written in place: its bytes may come from two moments. The walk captures them and notes the same,
//!   since no file source can do better without a file system's snapshot;
//! - it shrank: bytes are missing. The read fails with code `source_changed`, retryable;
//! - it cannot be read, and neither can a folder: the walk leaves it out and counts it ([`TreeSource::unreadable`]),
//!   if the caller asked for that, and fails otherwise;
//! - it vanished before it was opened: the walk leaves it out and notes [`NoteKind::Vanished`].
//!
//! Of a file with several names, the first name in path order comes as the file, and each further name refers to
//! it. The walk remembers only files with names still to come.

#[cfg(doc)]
use rekindle_model::entry::TreeSource;

mod globs;
mod live_database;
mod notes;
mod own;
mod read;
mod source;
mod walk;
mod xattrs;

pub use globs::Excludes;
pub use notes::{Note, NoteKind, Notes};
pub use own::mark_temporary;
pub(crate) use own::{mark, unmark};
pub(crate) use source::TYPE;
pub use walk::FilesTree;
pub(crate) use walk::entry;
pub(crate) use xattrs::{Attributes, copy_xattrs};
