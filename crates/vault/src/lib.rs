//! The content-addressed, encrypted repository that a tier holds. FORMAT.md describes its bytes.
//!
//! [`capture()`] reads a tree once into the [`Spool`] and skips what every due tier holds. [`store()`] copies
//! to one [`Tier`] what it lacks. [`verify()`] reads a tier's stored copies back. [`SnapshotReader`] reads a
//! snapshot from any tier that has it whole, and [`restore`] writes it out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`key`] | the keyring and its wrapping |
//! | [`object`] | names of stored objects |
//! | [`mod@store`] | storage: whole objects, durable when written; its kinds by URL scheme |
//! | `seal`, `pack`, `index`, `document` | the bytes of objects |
//! | [`snapshot`], [`set`] | the content of documents |
//! | [`segment`] | the segments of a journal replica: a run's journal, copied to a tier |
//! | `location`, [`tier`], [`spool`] | places that hold objects |
//! | `marker`, `mend` | what says which location it is, and its repair |
//! | [`regular`] | opens small files that may have been replaced by something else |
//! | `tier_access` | how a workspace opens its tiers |
//! | [`probe`] | a trial of such a place |
//! | [`catalog`], `lacking` | what a location must hold, so that a loss is noticed |
//! | `chunker`, [`mod@capture`], [`copy`], [`mod@verify`], [`repair`](mod@repair), [`clean`] | the operations |
//!
//! **Order.** Packs are durable before the index that lists them, the index before the snapshot, the snapshot
//! before a set, the set before the head that states it. So a reader that sees a document can read all of it. If a call is interrupted, make it
//! again.
//!
//! **Later additions** have their place: further kinds of storage ([`store::StoreFactory`]), healing
//! ([`Fault`] names object and chunk), prune (documents are listed, packs are immutable), rotation
//! (every object names its key generation).

mod beneath;
pub mod capture;
pub mod catalog;
mod chunker;
pub mod clean;
mod codec;
pub mod copy;
mod document;
pub mod error;
mod fault;
mod index;
mod injected;
pub mod key;
mod lacking;
mod location;
mod marker;
mod mend;
pub mod object;
mod pack;
pub mod probe;
pub mod progress;
pub mod reader;
pub mod regular;
mod remembered;
pub mod repair;
pub mod restore;
mod seal;
pub mod segment;
pub mod set;
pub mod snapshot;
pub mod spool;
pub mod store;
pub mod tier;
mod tier_access;
pub mod verify;

pub use capture::{CaptureRequest, capture};
pub use catalog::{Catalog, CatalogCheck, KnownHead};
pub use clean::{CleanReport, clean};
pub use copy::{StoreReport, store};
pub use error::{ObjectFault, TierError, VaultError};
pub use fault::Fault;
pub use injected::{FaultyStore, Injected};
pub use lacking::{Lacking, lacking};
pub use mend::{Mended, mend, separate};
pub use object::{ChunkId, ChunkRef, ObjectName};
pub use progress::ProgressSink;
pub use reader::{EntryStream, Fetched, SnapshotReader};
pub use remembered::Remembered;
pub use repair::{RepairReport, repair};
pub use segment::{Created, Segment, SegmentError, SegmentHead, SegmentStore};
pub use set::{Member, Proof, RecoverySet};
pub use snapshot::{ContentDigest, EntryRecord, Snapshot};
pub use spool::Spool;
pub use store::Store;
pub use tier::{Catalogs, Tier, TierMode, catalogs};
pub use tier_access::TierAccess;
/// A caller's request to stop; checked between chunks and between objects.
pub use tokio_util::sync::CancellationToken;
pub use verify::{VerifyLevel, VerifyReport, verify};
