//! Segments: a run's journal, copied to a tier piece by piece.
//!
//! A segment is one sealed object, created only if its name is free. It has some of the run's records byte
//! for byte, the blobs that they are the first to refer to, and the hash of the segment before it. So the
//! segments of a run form a chain in each location, and this chain alone is enough to resume the run. The
//! process that creates a run's next segment continues the run. A process that finds the number taken has
//! lost the run. If segments are damaged, a new chain begins under the next number ([`walk`]). When a run has
//! been over for long, a prune closes its chain with a last segment and removes the others ([`mod@prune`]).
//!
//! ```text
//! magic 8 | version 4 | generation 4 | salt 32 | sealed: encoding 1 | length 4 | MessagePack
//! ```

mod chain;
pub mod prune;
mod store;
pub mod walk;

use chrono::{DateTime, Utc};
use rekindle_model::event::Outcome;
use rekindle_model::id::{Hash32, RunId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use crate::codec::{Fields, decompress};
use crate::document::Kind;
use crate::error::ObjectFault;
use crate::key::Keyring;
use crate::object::ObjectName;
use crate::seal::Part;
use crate::store::StoreError;

pub use chain::{Chain, Link, Plan, Weight, plan};
pub use store::{Created, SegmentStore};
pub use walk::Walked;

const MAGIC: [u8; 8] = *b"RKDLSLOT";
const RAW: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_LEVEL: i32 = 3;

/// How many bytes of records and blobs one segment takes: few enough to write them again after a broken
/// connection.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// The most bytes of a decompressed segment: its content, and what MessagePack adds.
const MOST_PLAIN: usize = 4 * SEGMENT_BYTES;
/// The most bytes of a stored segment: the above, the head, and what sealing adds.
pub(crate) const SEGMENT_MAX: u64 = MOST_PLAIN as u64 + 128;

/// A part of a run's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its description.
    pub head: SegmentHead,
    /// The values of records `first` to `last`, byte for byte as in the journal's log.
    pub records: Vec<ByteBuf>,
    /// The blobs that those records, or the first ones of a later segment, are the first to refer to.
    pub blobs: Vec<BlobPart>,
}

/// A segment's description of itself, and of the run's state after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// The run.
    pub run: RunId,
    /// Its number, from 1.
    pub n: u64,
    /// BLAKE3 of the stored bytes of the segment before it; zeros for one with which the chain begins.
    pub prev: Hash32,
    /// The number of its first record. If the chain has that record already, this segment replaces it and all after
    /// it.
    pub first: u64,
    /// The number of its last record; one less than `first` if it has none.
    pub last: u64,
    /// BLAKE3 of the value of record `last`; zeros where `last` is 0.
    pub newest: Hash32,
    /// The epoch under which it was written; it never falls in a chain.
    pub epoch: u64,
    /// The workspace that wrote it.
    pub workspace: Uuid,
    /// The host that it was written on.
    pub host: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The run's workflow.
    pub workflow: String,
    /// The run whose step started this run; none for a run of its own.
    pub parent: Option<RunId>,
    /// The run's outcome; none while it runs.
    pub outcome: Option<Outcome>,
}

impl SegmentHead {
    /// Returns whether the chain begins with it. Segments under lower numbers do not count then.
    pub fn begins(&self) -> bool {
        self.prev == Hash32::ZERO
    }

    /// Returns whether it says that the run is over and that a prune removed its records. Such a segment
    /// begins a chain after records that the chain does not have.
    pub fn closes(&self) -> bool {
        self.begins() && self.first > 1 && self.first == self.last + 1 && self.outcome.is_some()
    }
}

/// A piece of a blob, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPart {
    /// BLAKE3 of the whole blob.
    pub hash: Hash32,
    /// Its length in bytes.
    pub len: u64,
    /// The offset of these bytes in the blob.
    pub at: u64,
    /// The bytes.
    pub bytes: ByteBuf,
}

/// A run's segments cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Segments are missing before later ones.
    #[error(
        "{} of run {run} {} missing in {location}; another location of the run's tiers may have all of them",
        numbers(*n, *to),
        if n == to { "is" } else { "are" }
    )]
    Missing {
        /// The location.
        location: String,
        /// The run.
        run: RunId,
        /// The first that is missing.
        n: u64,
        /// The last missing one in a row.
        to: u64,
    },
    /// Its stored bytes are damaged.
    #[error(
        "segment {n} of run {run} in {location} {fault}; another location of the run's tiers may have it whole"
    )]
    Damaged {
        /// The location.
        location: String,
        /// The run.
        run: RunId,
        /// The segment.
        n: u64,
        /// What is wrong with it.
        fault: ObjectFault,
    },
    /// It does not follow the segments before it.
    #[error(
        "segment {n} of run {run} in {location} does not follow the segments before it: {why}; another location of the \
         run's tiers may have them as they were written"
    )]
    Unchained {
        /// The location.
        location: String,
        /// The run.
        run: RunId,
        /// The segment.
        n: u64,
        /// What does not fit.
        why: String,
    },
    /// The run has been over for long, and a prune removed its records.
    #[error("the segments of run {run} were removed from {location} once it was over for long")]
    Removed {
        /// The location.
        location: String,
        /// The run.
        run: RunId,
    },
    /// The location failed to do what was asked.
    #[error("{0}")]
    Store(#[from] std::sync::Arc<StoreError>),
}

impl From<StoreError> for SegmentError {
    fn from(error: StoreError) -> Self {
        Self::Store(std::sync::Arc::new(error))
    }
}

impl SegmentError {
    /// Returns whether the stored segments are at fault, and not the way to them, this program or its
    /// keyring.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { fault, .. } => fault.is_damage(),
            Self::Missing { .. } | Self::Unchained { .. } => true,
            Self::Store(_) | Self::Removed { .. } => false,
        }
    }

    /// Returns the first segment that cannot be read or does not follow; none if the location cannot be read.
    pub fn segment(&self) -> Option<u64> {
        match self {
            Self::Missing { n, .. } | Self::Damaged { n, .. } | Self::Unchained { n, .. } => Some(*n),
            Self::Removed { .. } | Self::Store(_) => None,
        }
    }
}

fn numbers(from: u64, to: u64) -> String {
    match from == to {
        true => format!("segment {from}"),
        false => format!("segments {from} to {to}"),
    }
}

/// Returns the kind of a segment, which opens under no other run and no other number.
fn kind(run: RunId, n: u64) -> Kind {
    let mut name = [0; 32];
    name[..16].copy_from_slice(run.as_bytes());
    name[16..24].copy_from_slice(&n.to_le_bytes());
    Kind {
        magic: MAGIC,
        part: Part::Segment,
        name,
    }
}

/// Seals a segment under its run and its number.
fn seal(keyring: &Keyring, segment: &Segment) -> Result<Vec<u8>, ObjectFault> {
    let malformed = |why: String| ObjectFault::Malformed { why };
    let plain = rmp_serde::to_vec_named(segment)
        .map_err(|error| malformed(format!("it cannot be written as MessagePack: {error}")))?;
    let len = u32::try_from(plain.len())
        .ok()
        .filter(|_| plain.len() <= MOST_PLAIN);
    let len = len.ok_or_else(|| malformed(format!("it would have {} bytes", plain.len())))?;
    let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).ok();
    let (encoding, content) = match packed.filter(|packed| packed.len() < plain.len()) {
        Some(packed) => (ZSTD, packed),
        None => (RAW, plain),
    };
    let mut body = vec![encoding];
    body.extend(len.to_le_bytes());
    body.extend(content);
    Ok(kind(segment.head.run, segment.head.n).seal(keyring, body))
}

/// Opens the segment of a run and a number.
fn open(keyring: &Keyring, run: RunId, n: u64, bytes: &[u8]) -> Result<Segment, ObjectFault> {
    let malformed = |why: String| ObjectFault::Malformed { why };
    let body = kind(run, n).open(keyring, bytes, "the segment")?;
    let mut fields = Fields::new(&body);
    let [encoding] = fields.array::<1>()?;
    let len = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
    if len > MOST_PLAIN {
        return Err(malformed(format!("it would have {len} bytes")));
    }
    let content = body.get(5..).unwrap_or_default();
    let plain = match encoding {
        RAW => content.to_vec(),
        ZSTD => {
            decompress(content, len).map_err(|error| malformed(format!("it does not decompress: {error}")))?
        }
        other => return Err(malformed(format!("there is no encoding {other}"))),
    };
    if plain.len() != len {
        return Err(malformed(format!(
            "it has {} bytes instead of {len}",
            plain.len()
        )));
    }
    let segment: Segment = rmp_serde::from_slice(&plain).map_err(|error| malformed(error.to_string()))?;
    match segment.head.run == run && segment.head.n == n {
        true => Ok(segment),
        false => Err(malformed(format!(
            "it says that it is {}",
            ObjectName::Segment(segment.head.run, segment.head.n)
        ))),
    }
}

fn hash(bytes: &[u8]) -> Hash32 {
    Hash32(*blake3::hash(bytes).as_bytes())
}

#[cfg(test)]
mod tests;
