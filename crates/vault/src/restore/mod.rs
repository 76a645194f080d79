//! Restoring a snapshot into a root folder, in windows that a kill costs at most one of.
//!
//! The entry stream is taken in bounded windows. A window's files are built beside their targets, made
//! durable with one `syncfs`, renamed, and made durable again; only then is the checkpoint handed out that
//! says so. Whatever a checkpoint covers is trusted after a resume; the window that was open is looked at
//! file by file, and what is already right is kept. Metadata of folders comes last, in a second pass.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | what restore needs of a snapshot: its records, and the bytes of a chunk |
//! | [`request`] | what is asked for, how far it got, and what came of it |
//! | [`error`] | why a restore stops |
//!
//! Nothing is written outside the root: every step below it is resolved by the kernel with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, and a stream whose entries do not form a tree is refused.

pub mod error;
pub mod request;
pub mod store;

pub use error::RestoreError;
pub use request::{LostFile, Position, RestoreCheckpoint, RestoreProgress, RestoreReport, RestoreRequest, Window};
pub use store::{ChunkSpan, ContentError, ContentStore, EntryCursor, FileRecord, Place};
