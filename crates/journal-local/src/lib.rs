//! The journal of a workspace, on a local disk.
//!
//! [`LocalJournal`] keeps the records in sled and makes them durable by a write-ahead log of its own. sled
//! finds records and never makes them durable: the log can rebuild everything in it. `FORMAT.md` beside this
//! crate gives every byte on disk.
//!
//! ```text
//! append ─► queue ─► writer: admit (CAS, fold) ─► log frame, fdatasync ─► acknowledge
//!                                                                      └─► index thread: sled batch
//! read   ─► sled, once it has what is durable ─► checked (seq, CRC, chain); a record that fails comes from
//!           the log, else the run is quarantined
//! open   ─► lock ─► scan the log ─► sled (or rebuild it) ─► apply frames that sled has not seen
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `journal`, `open`, `replay`, `read` | [`LocalJournal`] |
//! | `queue`, `writer` | which thread commits, and how |
//! | `index`, `progress` | the thread that applies durable commits to sled |
//! | `log`, `frame` | the write-ahead log |
//! | `mark` | the log's own entries: removed runs, imported runs |
//! | `head_file` | the journal's head, in a file of its own beside the log |
//! | `store` | sled: opened under watch, set aside if it cannot be opened |
//! | `shared`, `recent`, `report` | the state that the threads share; the run that was read last; the report of an open |
//! | `blobs`, `durable`, `lock` | large values; folders that survive a power cut; one owner of a workspace |
//! | `view` | [`LogView`]: the log, read beside its owner |
//! | `upkeep`, `import` | [`Upkeep`]: the journal open for imports, rebuilding, compacting |
//! | [`compact`] | removes old runs, with the segments and blobs that only they needed |
//! | [`verify`](mod@verify) | compares everything with everything else |
//! | `error` | why a journal cannot be opened |

mod blobs;
pub mod compact;
mod durable;
mod error;
mod frame;
mod head_file;
mod import;
mod index;
mod journal;
mod lock;
mod log;
mod mark;
mod open;
mod progress;
mod queue;
mod read;
mod recent;
mod replay;
mod report;
mod shared;
mod store;
mod upkeep;
pub mod verify;
mod view;
mod writer;

pub use error::OpenError;
pub use frame::LOG_FORMAT;
pub use journal::{LocalJournal, Stats};
pub use lock::{Holder, owner};
pub use mark::{ArchiveRef, Forgotten};
pub use open::OpenOptions;
pub use report::{Damage, OpenReport};
pub use upkeep::Upkeep;
pub use view::LogView;
