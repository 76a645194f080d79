//! The durable, ordered record of every transition of every run.
//!
//! A [`Journal`] appends events to runs by compare-and-swap and reads them back checked. [`SledJournal`]
//! keeps them in sled and makes them durable by a write-ahead log of its own; [`MemoryJournal`] has the same
//! semantics without a disk. `FORMAT.md` beside this crate gives every byte on disk.
//!
//! ```text
//! append ─► queue ─► writer thread: admit (CAS, fold) ─► log frame, fdatasync ─► acknowledge
//!                                                                            └─► index thread: sled batch
//! read   ─► sled, once it has what is durable ─► checked (seq, CRC, chain); what fails is taken from the log, else
//!            the run is quarantined
//! open   ─► lock ─► scan the log ─► sled (or rebuild it) ─► apply frames that sled has not seen
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | the trait, what is appended, how runs are listed |
//! | [`error`] | what can go wrong, and what to do next |
//! | [`codec`] | a record's bytes |
//! | `admit` | the one place that decides whether an append fits a run |
//! | `frame`, `log` | the write-ahead log |
//! | `kept` | the journal's head, apart from the log |
//! | `store` | sled: opened under watch, set aside when it cannot be |
//! | `queue`, `writer` | who commits, and how |
//! | `index` | the thread that brings sled up to the log |
//! | `open`, `replay`, `read`, `disk` | [`SledJournal`] |
//! | `mark` | what the log says of itself: what was removed, what was imported |
//! | `view` | [`LogView`]: the log, read beside its owner |
//! | [`archive`] | runs outside of a journal, as an archive or JSON lines |
//! | [`compact`] | old runs are removed, with the segments and blobs that only they needed |
//! | `upkeep` | [`Upkeep`]: the journal open for imports, rebuilding, compacting |
//! | [`verify`](mod@verify) | everything compared with everything else |
//! | `blobs`, `lock` | large values; one owner of a workspace |
//! | [`memory`] | [`MemoryJournal`] |
//! | [`contract`] | what every backend must do |

mod admit;
pub mod api;
pub mod archive;
mod base64;
mod blobs;
pub mod codec;
pub mod compact;
pub mod contract;
mod disk;
pub mod error;
mod frame;
mod index;
mod kept;
mod lock;
mod log;
mod mark;
pub mod memory;
mod open;
mod queue;
mod read;
mod refers;
mod replay;
mod store;
mod upkeep;
pub mod verify;
mod view;
mod writer;

pub use api::{Append, Journal, RunFilter, RunSummary};
pub use disk::{SledJournal, Stats};
pub use error::{JournalError, OpenError};
pub use lock::{Holder, owner};
pub use mark::{ArchiveRef, Forgotten};
pub use memory::MemoryJournal;
pub use open::{Damage, OpenOptions, OpenReport};
pub use refers::blobs_of;
pub use upkeep::Upkeep;
pub use view::LogView;
