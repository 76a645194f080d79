//! The index maps each chunk to its place: immutable sealed lists in storage, one map in memory.
//!
//! An index lists whole packs with their chunks in pack order, so a chunk's ordinal is its position. In
//! memory a known chunk takes about 70 bytes: a terabyte of unique data (a million chunks) takes about 70 MB.
//! If that is too much, a sorted file on disk can replace the map behind [`Index::find`].

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slotted;

use bytes::Bytes;
use rekindle_model::id::Hash32;

use crate::codec::{Fields, check_head};
use crate::error::ObjectFault;
use crate::key::{Generation, Keyring, random};
use crate::object::{ChunkId, FORMAT_VERSION};
use crate::pack::{PACK_MAX, PackInfo, PackKind, SLOT_LEN, Slot};
use crate::seal::{ObjectKey, Part, Place};

const MAGIC: [u8; 8] = *b"RKDLINDX";

/// Bytes of a pack in a list, before its slots.
const PACK_HEAD: usize = 84;

/// A list is closed once it has this many bytes, so that nobody needs much memory to read one.
const INDEX_TARGET: usize = 8 << 20;

/// The most bytes of a list: one more pack, whose slots are at most as many as fit into a pack.
pub(crate) const INDEX_MAX: u64 = (INDEX_TARGET + PACK_HEAD) as u64 + PACK_MAX;

/// A pack and all its chunks, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackListing {
    pub(crate) info: PackInfo,
    pub(crate) slots: Vec<Slot>,
}

/// The place of one chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) pack: &'a PackInfo,
    pub(crate) ordinal: u32,
    pub(crate) slot: Slot,
}

/// The chunks of a location, as its indexes list them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    packs: Vec<PackInfo>,
    by_pack: HashMap<Hash32, u32>,
    chunks: HashMap<ChunkId, Entry>,
    /// The other places of a chunk. Few chunks have any: those that were stored again after damage.
    others: HashMap<ChunkId, Vec<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    pack: u32,
    ordinal: u32,
    offset: u32,
    sealed_len: u32,
    plain_len: u32,
}

impl Index {
    /// Adds a pack, unless it is known already. The chunks of a doubted pack are looked for there last.
    /// The order in which packs are added does not matter.
    pub(crate) fn add(&mut self, listing: PackListing, doubted: bool) {
        if self.by_pack.contains_key(&listing.info.id) {
            return;
        }
        let pack = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.by_pack.insert(listing.info.id, pack);
        self.packs.push(listing.info);
        for (ordinal, slot) in (0..).zip(listing.slots) {
            let Slot {
                id,
                offset,
                sealed_len,
                plain_len,
            } = slot;
            let entry = Entry {
                pack,
                ordinal,
                offset,
                sealed_len,
                plain_len,
            };
            match self.chunks.entry(id) {
                Slotted::Vacant(first) => {
                    first.insert(entry);
                }
                Slotted::Occupied(mut first) => {
                    let later = if doubted { entry } else { first.insert(entry) };
                    self.others.entry(id).or_default().push(later);
                }
            }
        }
    }

    pub(crate) fn holds_pack(&self, id: &Hash32) -> bool {
        self.by_pack.contains_key(id)
    }

    /// Returns the likeliest place of a chunk.
    pub(crate) fn find<'a>(&'a self, id: &'a ChunkId) -> Option<Found<'a>> {
        self.all(id).next()
    }

    /// Returns every place of a chunk, the likeliest first. The index does not check that packs exist. If one
    /// has vanished, another pack may hold its chunks again.
    pub(crate) fn all<'a>(&'a self, id: &'a ChunkId) -> impl Iterator<Item = Found<'a>> {
        let others = self.others.get(id).into_iter().flatten();
        let places = self.chunks.get(id).into_iter().chain(others);
        places.filter_map(move |entry| self.place(id, *entry))
    }

    fn place(&self, id: &ChunkId, entry: Entry) -> Option<Found<'_>> {
        let Entry {
            pack,
            ordinal,
            offset,
            sealed_len,
            plain_len,
        } = entry;
        let pack = self.packs.get(pack as usize)?;
        Some(Found {
            pack,
            ordinal,
            slot: Slot {
                id: *id,
                offset,
                sealed_len,
                plain_len,
            },
        })
    }
}

/// Splits packs into lists of at most [`INDEX_MAX`] bytes.
pub(crate) fn lists(listings: &[PackListing]) -> impl Iterator<Item = &[PackListing]> {
    let mut rest = listings;
    std::iter::from_fn(move || {
        let mut len = 0;
        let full = |listing: &PackListing| {
            let closed = len >= INDEX_TARGET;
            len += PACK_HEAD + listing.slots.len() * SLOT_LEN;
            closed
        };
        let end = rest.iter().position(full).unwrap_or(rest.len());
        let list = rest.split_off(..end)?;
        (!list.is_empty()).then_some(list)
    })
}

/// Seals an index of the packs; returns its name and its bytes.
pub(crate) fn seal(keyring: &Keyring, listings: &[PackListing]) -> (Hash32, Bytes) {
    let generation = keyring.newest();
    let salt = random();
    let mut body = Vec::new();
    body.extend_from_slice(&u32::try_from(listings.len()).unwrap_or(u32::MAX).to_le_bytes());
    for PackListing { info, slots } in listings {
        body.extend_from_slice(&info.id.0);
        body.extend_from_slice(&(info.kind as u32).to_le_bytes());
        body.extend_from_slice(&info.generation.to_le_bytes());
        body.extend_from_slice(&info.salt);
        body.extend_from_slice(&info.len.to_le_bytes());
        body.extend_from_slice(&u32::try_from(slots.len()).unwrap_or(u32::MAX).to_le_bytes());
        slots.iter().for_each(|slot| slot.write(&mut body));
    }
    index_key(generation, &salt).seal(&place(keyring, generation.number), &mut body);
    let mut bytes = Vec::with_capacity(48 + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&generation.number.to_le_bytes());
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&body);
    (Hash32(*blake3::hash(&bytes).as_bytes()), bytes.into())
}

/// Opens a stored index.
pub(crate) fn open(keyring: &Keyring, id: Hash32, bytes: &[u8]) -> Result<Vec<PackListing>, ObjectFault> {
    let mut fields = Fields::new(bytes);
    check_head(&mut fields, MAGIC)?;
    let number = fields.u32()?;
    let salt = fields.array()?;
    if *blake3::hash(bytes).as_bytes() != id.0 {
        return Err(ObjectFault::NameMismatch);
    }
    let generation = keyring
        .generation(number)
        .ok_or(ObjectFault::UnknownGeneration(number))?;
    let sealed = bytes.get(48..).unwrap_or_default().to_vec();
    let body = index_key(generation, &salt).open(&place(keyring, number), sealed, "the list")?;
    let mut fields = Fields::new(&body);
    let count = fields.u32()?;
    let mut listings = Vec::new();
    for _ in 0..count {
        let id = Hash32(fields.array()?);
        let kind = PackKind::from_number(fields.u32()?)?;
        let info = PackInfo {
            id,
            kind,
            generation: fields.u32()?,
            salt: fields.array()?,
            len: fields.u64()?,
        };
        let chunks = fields.u32()?;
        listings.push(PackListing {
            info,
            slots: Slot::read_list(&mut fields, chunks)?,
        });
    }
    fields.end()?;
    Ok(listings)
}

fn index_key(generation: &Generation, salt: &[u8; 32]) -> ObjectKey {
    ObjectKey::new(&generation.document, salt)
}

fn place(keyring: &Keyring, generation: u32) -> Place {
    Place {
        repository: keyring.repository(),
        part: Part::Index,
        generation,
        ordinal: 0,
        name: [0; 32],
    }
}

#[cfg(test)]
mod tests;
