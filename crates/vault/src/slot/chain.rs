//! What a run's slots say together, and how records are laid out in slots.

use std::collections::BTreeMap;

use rekindle_model::id::Hash32;
use serde_bytes::ByteBuf;

use super::{BlobPart, SLOT_BYTES, Slot, SlotHead, hash};

/// A run's journal as the slots of one location have it. Whether its records follow each other is the journal's to
/// say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Each record's value, oldest first.
    pub values: Vec<Vec<u8>>,
    /// The blobs that are whole.
    pub blobs: BTreeMap<Hash32, Vec<u8>>,
    /// The last slot, and the hash of its stored bytes.
    pub tail: Option<Link>,
}

/// A slot as the one after it refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says of itself.
    pub head: SlotHead,
    /// BLAKE3 of its stored bytes.
    pub hash: Hash32,
}

impl Chain {
    /// Adds the next slot, or says why it cannot be the next.
    pub(super) fn add(&mut self, slot: Slot, stored: Hash32, parts: &mut Parts) -> Result<(), String> {
        let Slot { head, records, blobs } = slot;
        let (n, prev) = match &self.tail {
            None => (1, Hash32::ZERO),
            Some(tail) => (tail.head.n + 1, tail.hash),
        };
        if head.n != n {
            return Err(format!("slot {n} is expected there"));
        }
        if head.prev != prev {
            return Err("it names another slot before it".to_owned());
        }
        let known = self.values.len() as u64;
        if head.first == 0 || head.first > known + 1 {
            return Err(format!(
                "it begins with record {}, after record {known}",
                head.first
            ));
        }
        if head.last + 1 - head.first.min(head.last + 1) != records.len() as u64 {
            return Err(format!(
                "it has {} records for {} to {}",
                records.len(),
                head.first,
                head.last
            ));
        }
        let before = self.tail.as_ref().map_or(0, |tail| tail.head.epoch);
        if head.epoch < before || (head.first <= known && head.epoch == before) {
            return Err(format!("its epoch is {}, after epoch {before}", head.epoch));
        }
        self.values
            .truncate(usize::try_from(head.first - 1).unwrap_or(usize::MAX));
        self.values.extend(records.into_iter().map(ByteBuf::into_vec));
        let newest = self.values.last().map_or(Hash32::ZERO, |value| hash(value));
        if self.values.len() as u64 != head.last || newest != head.newest {
            return Err("its last record is not the one that it names".to_owned());
        }
        for part in blobs {
            if let Some((hash, blob)) = parts.add(part)? {
                self.blobs.insert(hash, blob);
            }
        }
        self.tail = Some(Link { head, hash: stored });
        Ok(())
    }
}

/// Blobs of which not all pieces were seen yet.
#[derive(Default)]
pub(super) struct Parts(BTreeMap<Hash32, Vec<u8>>);

impl Parts {
    /// Returns the blob that a piece completes. Pieces come in order; one that was begun anew begins at 0 again.
    fn add(&mut self, part: BlobPart) -> Result<Option<(Hash32, Vec<u8>)>, String> {
        let mut blob = match part.at {
            0 => Vec::new(),
            _ => self.0.remove(&part.hash).unwrap_or_default(),
        };
        if blob.len() as u64 != part.at {
            return Err(format!("a piece of blob {} is not where it belongs", part.hash));
        }
        blob.extend_from_slice(&part.bytes);
        if (blob.len() as u64) < part.len {
            self.0.insert(part.hash, blob);
            return Ok(None);
        }
        match hash(&blob) == part.hash {
            true => Ok(Some((part.hash, blob))),
            false => Err(format!("blob {} is not what its hash says", part.hash)),
        }
    }
}

/// What goes into one slot: how many of the records that are left, after these pieces of blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many records.
    pub records: usize,
    /// The pieces of blobs.
    pub blobs: Vec<BlobPart>,
}

/// A record that is to be copied: its length, and the blobs that it is the first to refer to.
pub type Weight = (usize, Vec<(Hash32, Vec<u8>)>);

/// Lays records out in slots of at most [`SLOT_BYTES`]: each after the blobs that it is the first to refer to.
pub fn plan(records: &[Weight]) -> Vec<Plan> {
    let mut plans = Vec::new();
    let (mut open, mut room) = (Plan::default(), SLOT_BYTES);
    let close = |open: &mut Plan, room: &mut usize, plans: &mut Vec<Plan>| {
        if *open != Plan::default() {
            plans.push(std::mem::take(open));
        }
        *room = SLOT_BYTES;
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
