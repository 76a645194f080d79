//! The journal of a workspace, on a local disk.
//!
//! [`LocalJournal`] keeps the records in sled and makes them durable by a write-ahead log of its own. sled finds records
//! and never makes them durable: everything in it can be made again from the log. `FORMAT.md` beside this crate gives
//! every byte on disk.
//!
//! ```text
//! append ─► queue ─► writer: admit (CAS, fold) ─► log frame, fdatasync ─► acknowledge
//!                                                                    └─► index thread: sled batch
//! read   ─► sled, once it has what is durable ─► checked (seq, CRC, chain); what fails is taken from the log, else
//!            the run is quarantined
//! open   ─► lock ─► scan the log ─► sled (or rebuild it) ─► apply frames that sled has not seen
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `disk`, `open`, `replay`, `read` | [`LocalJournal`] |
//! | `queue`, `writer` | who commits, and how |
//! | `index` | the thread that brings sled up to the log |
//! | `log`, `frame` | the write-ahead log |
//! | `mark` | what the log says of itself: what was removed, what was imported |
//! | `kept` | the journal's head, apart from the log |
//! | `store` | sled: opened under watch, set aside when it cannot be |
//! | `blobs`, `lock` | large values; one owner of a workspace |
//! | `view` | [`LogView`]: the log, read beside its owner |
//! | `upkeep`, `import` | [`Upkeep`]: the journal open for imports, rebuilding, compacting |
//! | [`compact`] | old runs are removed, with the segments and blobs that only they needed |
//! | [`verify`](mod@verify) | everything compared with everything else |
//! | `error` | why a journal cannot be opened |

mod blobs;
pub mod compact;
mod disk;
mod error;
mod frame;
mod import;
mod index;
mod kept;
mod lock;
mod log;
mod mark;
mod open;
mod queue;
mod read;
mod replay;
mod store;
mod upkeep;
pub mod verify;
mod view;
mod writer;

pub use disk::{LocalJournal, Stats};
pub use error::OpenError;
pub use lock::{Holder, owner};
pub use mark::{ArchiveRef, Forgotten};
pub use open::{Damage, OpenOptions, OpenReport};
pub use upkeep::Upkeep;
pub use view::LogView;
