//! The content of a run's segments together, and the layout of records in segments. [`super::walk`] decides which
//! segments follow each other.

use std::collections::BTreeMap;

use rekindle_model::id::Hash32;
use serde_bytes::ByteBuf;

use super::{BlobPart, SEGMENT_BYTES, Segment, SegmentHead};

/// A run's journal as the segments of one location have it. Whether its records follow each other is the journal's to
/// say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Each record's value, oldest first.
    pub values: Vec<Vec<u8>>,
    /// The blobs that are whole.
    pub blobs: BTreeMap<Hash32, Vec<u8>>,
    /// The last segment, and the hash of its stored bytes.
    pub tail: Option<Link>,
}

/// A segment as the one after it refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says of itself.
    pub head: SegmentHead,
    /// BLAKE3 of its stored bytes.
    pub hash: Hash32,
}

impl Chain {
    /// Adds the next segment, which is in order; `begins` says that the chain begins again with it.
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

/// What goes into one segment: how many of the records that are left, after these pieces of blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many records.
    pub records: usize,
    /// The pieces of blobs.
    pub blobs: Vec<BlobPart>,
}

/// A record that is to be copied: its length, and the blobs that it is the first to refer to.
pub type Weight = (usize, Vec<(Hash32, Vec<u8>)>);

/// Lays records out in segments of at most [`SEGMENT_BYTES`]: each after the blobs that it is the first to refer to.
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
