//! The content of a run's segments together, and the layout of records in segments. [`super::walk`] decides which
//! segments follow each other.

use std::collections::BTreeMap;

use rekindle_model::id::Hash32;
use serde_bytes::ByteBuf;

use super::{BlobPart, SEGMENT_BYTES, Segment, SegmentHead};

/// A run's journal from the segments of one location. Only the journal checks that its records follow each
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Each record's value, oldest first.
    pub values: Vec<Vec<u8>>,
    /// The blobs of which all pieces are there.
    pub blobs: BTreeMap<Hash32, Vec<u8>>,
    /// The last segment, and the hash of its stored bytes.
    pub tail: Option<Link>,
}

/// A segment as the one after it refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its head.
    pub head: SegmentHead,
    /// BLAKE3 of its stored bytes.
    pub hash: Hash32,
}

impl Chain {
    /// Adds the next segment, which is in order; `begins` says that it begins the chain again.
    pub(super) fn take(&mut self, segment: Segment, begins: bool, building: &mut BTreeMap<Hash32, Vec<u8>>) {
        let Segment { head, records, blobs } = segment;
        if begins {
            (self.values, self.blobs) = (Vec::new(), BTreeMap::new());
            building.clear();
        }
        self.values
            .truncate(usize::try_from(head.first - 1).unwrap_or(usize::MAX));
        self.values.extend(records.into_iter().map(ByteBuf::into_vec));
        for part in blobs {
            let mut blob = match part.at {
                0 => Vec::new(),
                _ => building.remove(&part.hash).unwrap_or_default(),
            };
            blob.extend_from_slice(&part.bytes);
            match (blob.len() as u64) < part.len {
                true => building.insert(part.hash, blob),
                false => self.blobs.insert(part.hash, blob),
            };
        }
    }
}

/// The content of one segment: pieces of blobs, then a number of the records that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many records.
    pub records: usize,
    /// The pieces of blobs.
    pub blobs: Vec<BlobPart>,
}

/// A record to copy: its length, and the blobs that it is the first to refer to.
pub type Weight = (usize, Vec<(Hash32, Vec<u8>)>);

/// Divides records among segments of at most [`SEGMENT_BYTES`]; a record follows the blobs that it is the
/// first to refer to.
pub fn plan(records: &[Weight]) -> Vec<Plan> {
    let mut plans = Vec::new();
    let (mut open, mut room) = (Plan::default(), SEGMENT_BYTES);
    let close = |open: &mut Plan, room: &mut usize, plans: &mut Vec<Plan>| {
        if *open != Plan::default() {
            plans.push(std::mem::take(open));
        }
        *room = SEGMENT_BYTES;
    };
    for (len, blobs) in records {
        for (hash, blob) in blobs {
            let mut at = 0;
            loop {
                if room == 0 {
                    close(&mut open, &mut room, &mut plans);
                }
                let end = blob.len().min(at + room);
                let bytes = blob.get(at..end).unwrap_or_default();
                open.blobs.push(BlobPart {
                    hash: *hash,
                    len: blob.len() as u64,
                    at: at as u64,
                    bytes: ByteBuf::from(bytes),
                });
                room -= bytes.len();
                at = end;
                if at == blob.len() {
                    break;
                }
            }
        }
        if *len > room {
            close(&mut open, &mut room, &mut plans);
        }
        open.records += 1;
        room = room.saturating_sub(*len);
    }
    close(&mut open, &mut room, &mut plans);
    plans
}
