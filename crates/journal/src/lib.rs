//! The durable, ordered record of every transition of every run.
//!
//! A [`Journal`] appends events to runs by compare-and-swap and checks them when it reads them. This crate
//! holds the trait and the parts that all backends share. [`MemoryJournal`] is the backend without a disk;
//! `rekindle-journal-local` keeps a journal on a local disk. Only binaries and tests choose a backend.
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | the trait, appends, lists of runs |
//! | [`error`] | what can go wrong |
//! | [`admit`] | the one rule that decides whether an append fits a run |
//! | [`codec`], [`bytes`] | a record's bytes |
//! | [`archive`] | runs outside of a journal: as an archive or as JSON lines |
//! | [`memory`] | [`MemoryJournal`] |
//! | [`contract`] | the claims that every backend must fulfil |

pub mod admit;
pub mod api;
pub mod archive;
mod blob_refs;
pub mod bytes;
pub mod codec;
pub mod contract;
pub mod error;
pub mod memory;

pub use api::{Append, Journal, RunFilter, RunSummary};
pub use blob_refs::blobs_of;
pub use error::JournalError;
pub use memory::MemoryJournal;
