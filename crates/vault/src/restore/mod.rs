//! Restoring a snapshot into a root folder, in windows, of which a kill costs at most one.
//!
//! The entry stream is taken in bounded windows. A window's files are built beside their targets, made durable with
//! one `syncfs`, renamed, and made durable again. Only then is the window's checkpoint handed out. Before a restore
//! resumes from a checkpoint, it compares by metadata everything that the checkpoint covers, and reads only a file
//! whose time differs. If anything differs, it drops the checkpoint. After the point of resumption, it looks at every
//! file and keeps what is already right. Metadata of folders comes last, in a second pass.
//!
//! | module | what it holds |
//! |---|---|
//! | [`request`] | what is asked for, how far it got, and what came of it |
//! | [`error`] | why a restore stops |
//! | [`store`] | what restore needs of a snapshot: its records, and the bytes of a chunk |
//! | `include` | which entries are restored, and whether the stream is a tree at all |
//! | `plan` | cutting the stream into windows, and large files into pieces |
//! | `run` | the windows, one after the other |
//! | `target`, `build` | everything that touches the root: links and folders, and files |
//! | `folders` | the second pass |
//! | `elsewhere` | what came from another tier than the one that it should come from |
//! | `inspect`, `difference` | whether a root holds the snapshot already, and in what it differs |
//!
//! Nothing is written outside the root: the kernel resolves every folder beneath it without links, as it does the
//! way to it from the folder that a person named ([`RestoreRoot`]), and a
//! stream whose entries do not form a tree is refused. `syncfs` covers the root's own file system; a root
//! with another one mounted inside is outside the promise.

mod blocking;
mod build;
mod difference;
mod elsewhere;
pub mod error;
mod folders;
mod include;
mod inspect;
mod plan;
pub mod request;
mod run;
pub mod store;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vault_tests;

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
