//! Restores a snapshot into a root folder, window by window. A kill costs at most one window.
//!
//! Each window of the entry stream is bounded. The restore builds a window's files beside their targets,
//! makes them durable with one `syncfs`, renames them, and syncs again. Only then does it hand out the
//! window's checkpoint. Before it resumes from a checkpoint, it compares by metadata everything that the
//! checkpoint covers, and reads only a file whose time differs. If anything differs, it drops the checkpoint.
//! After the point of resumption, it looks at every file and keeps what is already right. Metadata of folders
//! comes last, in a second pass.
//!
//! | module | what it holds |
//! |---|---|
//! | [`request`] | the request, the checkpoint and the report |
//! | [`error`] | why a restore stops |
//! | [`store`] | what restore needs of a snapshot: its records, and the bytes of a chunk |
//! | `include` | the entries to restore, and the check that the stream is a tree |
//! | `plan` | cuts the stream into windows, and large files into pieces |
//! | `run` | the windows, one after the other |
//! | `target`, `build` | everything that touches the root: links and folders, and files |
//! | `folders` | the second pass |
//! | `links`, `xattrs` | further names of a file, FIFOs and devices; extended attributes |
//! | `unheld` | what the target could not hold |
//! | `elsewhere` | content from another tier than the preferred one |
//! | `inspect`, `difference` | compares a root with a snapshot |
//!
//! A further name of a file (a hard link) is made when its window is closed, so its first name is in place. Its
//! record has the content too. If the first name is not restored, or the target has no hard links, the name gets
//! a file of its own.
//!
//! Nothing is written outside the root. The kernel resolves every folder beneath the folder that a person
//! named ([`RestoreRoot`]) without following links, and a stream whose entries do not form a tree is refused.
//! `syncfs` covers the root's own file system only: if another one is mounted inside the root, its content is
//! not synced.

mod blocking;
mod build;
mod difference;
mod elsewhere;
pub mod error;
mod folders;
mod include;
mod inspect;
mod links;
mod plan;
pub mod request;
mod run;
pub mod store;
mod target;
#[cfg(test)]
mod tests;
mod unheld;
#[cfg(test)]
mod vault_tests;
mod xattrs;

pub use difference::{Aspect, Difference};
pub use elsewhere::Elsewhere;
pub use error::RestoreError;
pub use inspect::{Depth, Inspection, first_difference, first_difference_from, inspect, inspect_from};
pub use request::{
    LostFile, Position, RestoreCheckpoint, RestoreReport, RestoreRequest, RestoreRoot, Window,
};
pub use run::{restore, restore_from};
pub use store::{ContentError, ContentStore, EntryCursor};
pub use target::PARTIAL_PREFIX;
pub use unheld::{Counted, Part, UNHELD_NAMED, Unheld};
