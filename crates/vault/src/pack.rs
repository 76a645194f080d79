//! Packs: many sealed chunks in one immutable object, with a sealed table at the end.
//!
//! ```text
//! "RKDLPACK" 8 | version 4 | kind 4 | generation 4 | salt 32 | sealed chunk … | sealed table | its length 4
//! ```
//! All numbers are little-endian; FORMAT.md has the bytes. A pack is built in memory and written whole; one
//! that is not finished is dropped, and the next attempt draws a new salt.

use bytes::Bytes;
use rekindle_model::id::Hash32;

use crate::chunker::CHUNK_MAX;
use crate::codec::{Fields, check_head, decompress};
use crate::error::ObjectFault;
use crate::key::{Generation, Keyring, random};
use crate::object::{ChunkId, FORMAT_VERSION};
use crate::seal::{ObjectKey, Part, Place, TAG_LEN};

/// A pack is closed once its chunks and its table have this many bytes: large enough that objects are few,
/// small enough to build in memory.
pub(crate) const PACK_TARGET: usize = 32 << 20;

/// The most bytes of a pack: one more chunk with its slot, and the seal and the length of the table.
pub(crate) const PACK_MAX: u64 =
    (PACK_TARGET + (1 + CHUNK_MAX + TAG_LEN) + SLOT_LEN + (4 + TAG_LEN) + FOOTER_LEN) as u64;

/// Bytes before the first chunk.
pub(crate) const HEADER_LEN: usize = 52;

/// The end of a pack: the length of its sealed table.
pub(crate) const FOOTER_LEN: usize = 4;

/// Bytes of one chunk in a table or an index.
pub(crate) const SLOT_LEN: usize = 44;

const MAGIC: [u8; 8] = *b"RKDLPACK";

/// zstd's level: a higher one gains little on text and databases and costs much time.
const ZSTD_LEVEL: i32 = 3;

/// How many bytes of a chunk's middle are compressed to decide whether compression pays.
const PROBE_LEN: usize = 16 << 10;

/// The content of a pack's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(crate) enum PackKind {
    /// Content of files.
    Data = 1,
    /// Entry streams of snapshots.
    Tree = 2,
}

impl PackKind {
    pub(crate) fn from_number(number: u32) -> Result<Self, ObjectFault> {
        match number {
            1 => Ok(Self::Data),
            2 => Ok(Self::Tree),
            other => Err(ObjectFault::Malformed {
                why: format!("there is no pack kind {other}"),
            }),
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Data => Part::DataChunk,
            Self::Tree => Part::TreeChunk,
        }
    }
}

/// The facts about a pack that opening a chunk needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackInfo {
    /// Its name: BLAKE3 of the stored bytes.
    pub(crate) id: Hash32,
    /// What its chunks are.
    pub(crate) kind: PackKind,
    /// The key generation that it is sealed under.
    pub(crate) generation: u32,
    /// The salt of its key.
    pub(crate) salt: [u8; 32],
    /// Its stored length in bytes.
    pub(crate) len: u64,
}

/// One chunk inside its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The chunk's id.
    pub(crate) id: ChunkId,
    /// The offset of its sealed bytes from the start of the pack.
    pub(crate) offset: u32,
    /// Sealed length in bytes, tag included.
    pub(crate) sealed_len: u32,
    /// Plain length in bytes.
    pub(crate) plain_len: u32,
}

impl Slot {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        for number in [self.offset, self.sealed_len, self.plain_len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, ObjectFault> {
        Ok(Self {
            id: ChunkId(fields.array()?),
            offset: fields.u32()?,
            sealed_len: fields.u32()?,
            plain_len: fields.u32()?,
        })
    }

    /// Reads `count` slots. Checks the count against the bytes that are there before it reserves memory.
    pub(crate) fn read_list(fields: &mut Fields<'_>, count: u32) -> Result<Vec<Self>, ObjectFault> {
        let bytes = fields.take((count as usize).saturating_mul(SLOT_LEN))?;
        let mut slots = Fields::new(bytes);
        (0..count).map(|_| Self::read(&mut slots)).collect()
    }
}

/// A pack that is being filled.
pub(crate) struct PackBuilder {
    info: PackInfo,
    repository: uuid::Uuid,
    key: ObjectKey,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

/// A pack that is complete.
pub(crate) struct BuiltPack {
    pub(crate) info: PackInfo,
    pub(crate) slots: Vec<Slot>,
    pub(crate) bytes: Bytes,
}

impl PackBuilder {
    pub(crate) fn new(repository: uuid::Uuid, generation: &Generation, kind: PackKind) -> Self {
        let salt = random();
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(kind as u32).to_le_bytes());
        bytes.extend_from_slice(&generation.number.to_le_bytes());
        bytes.extend_from_slice(&salt);
        let info = PackInfo {
            id: Hash32::ZERO,
            kind,
            generation: generation.number,
            salt,
            len: 0,
        };
        Self {
            info,
            repository,
            key: ObjectKey::new(&generation.pack, &salt),
            bytes,
            slots: Vec::new(),
        }
    }

    /// Compresses where it pays, seals and appends a chunk; returns its sealed length in bytes.
    pub(crate) fn add(&mut self, id: ChunkId, plain: &[u8]) -> Result<u32, ObjectFault> {
        let too_long = || ObjectFault::Malformed {
            why: "a chunk or pack is longer than 4 GiB".to_owned(),
        };
        let mut part = encode(plain);
        let ordinal = u32::try_from(self.slots.len()).map_err(|_| too_long())?;
        let place = place(self.repository, &self.info, ordinal, id);
        self.key.seal(&place, &mut part);
        let slot = Slot {
            id,
            offset: u32::try_from(self.bytes.len()).map_err(|_| too_long())?,
            sealed_len: u32::try_from(part.len()).map_err(|_| too_long())?,
            plain_len: u32::try_from(plain.len()).map_err(|_| too_long())?,
        };
        self.bytes.extend_from_slice(&part);
        self.slots.push(slot);
        Ok(slot.sealed_len)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() + self.slots.len() * SLOT_LEN >= PACK_TARGET
    }

    /// Seals the table, names the pack and returns it.
    pub(crate) fn finish(mut self) -> BuiltPack {
        let mut table = Vec::with_capacity(4 + self.slots.len() * SLOT_LEN + TAG_LEN);
        table.extend_from_slice(&u32::try_from(self.slots.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.slots.iter().for_each(|slot| slot.write(&mut table));
        self.key
            .seal(&table_place(self.repository, self.info.generation), &mut table);
        self.bytes.extend_from_slice(&table);
        self.bytes
            .extend_from_slice(&u32::try_from(table.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.info.len = self.bytes.len() as u64;
        self.info.id = Hash32(*blake3::hash(&self.bytes).as_bytes());
        BuiltPack {
            info: self.info,
            slots: self.slots,
            bytes: self.bytes.into(),
        }
    }
}

fn place(repository: uuid::Uuid, info: &PackInfo, ordinal: u32, id: ChunkId) -> Place {
    Place {
        repository,
        part: info.kind.part(),
        generation: info.generation,
        ordinal,
        name: id.0,
    }
}

fn table_place(repository: uuid::Uuid, generation: u32) -> Place {
    Place {
        repository,
        part: Part::Table,
        generation,
        ordinal: 0,
        name: [0; 32],
    }
}

/// Reads a pack's header; `id` and `len` are what storage says of it.
pub(crate) fn read_header(id: Hash32, len: u64, header: &[u8]) -> Result<PackInfo, ObjectFault> {
    let mut fields = Fields::new(header);
    check_head(&mut fields, MAGIC)?;
    let kind = PackKind::from_number(fields.u32()?)?;
    Ok(PackInfo {
        id,
        kind,
        generation: fields.u32()?,
        salt: fields.array()?,
        len,
    })
}

/// Returns the offset and length of a pack's sealed table, from the last four bytes.
pub(crate) fn table_range(len: u64, footer: &[u8]) -> Result<(u64, u64), ObjectFault> {
    let table_len = u64::from(Fields::new(footer).u32()?);
    let need = (HEADER_LEN + FOOTER_LEN) as u64 + table_len;
    if len > PACK_MAX {
        return Err(ObjectFault::TooLarge { len });
    }
    match len.checked_sub(need) {
        Some(chunks) => Ok((HEADER_LEN as u64 + chunks, table_len)),
        None => Err(ObjectFault::Truncated { have: len, need }),
    }
}

/// Opens a pack's sealed table and checks that its chunks fill the space between header and table.
pub(crate) fn open_table(
    keyring: &Keyring,
    info: &PackInfo,
    sealed: &[u8],
) -> Result<Vec<Slot>, ObjectFault> {
    let key = pack_key(keyring, info)?;
    let place = table_place(keyring.repository(), info.generation);
    let plain = key.open(&place, sealed.to_vec(), "the table")?;
    let mut fields = Fields::new(&plain);
    let count = fields.u32()?;
    let slots = Slot::read_list(&mut fields, count)?;
    fields.end()?;
    let mut next = HEADER_LEN as u64;
    for slot in &slots {
        if u64::from(slot.offset) != next {
            return Err(ObjectFault::Malformed {
                why: "its chunks do not lie back to back".to_owned(),
            });
        }
        next += u64::from(slot.sealed_len);
    }
    if next + (sealed.len() + FOOTER_LEN) as u64 != info.len {
        return Err(ObjectFault::Malformed {
            why: "its length is not that of its parts".to_owned(),
        });
    }
    Ok(slots)
}

/// Opens one sealed chunk, decompresses it, and checks its length and its id.
pub(crate) fn open_chunk(
    keyring: &Keyring,
    info: &PackInfo,
    ordinal: u32,
    slot: &Slot,
    sealed: &[u8],
) -> Result<Vec<u8>, ObjectFault> {
    if sealed.len() != slot.sealed_len as usize {
        let need = u64::from(slot.offset) + u64::from(slot.sealed_len);
        return Err(ObjectFault::Truncated {
            have: u64::from(slot.offset) + sealed.len() as u64,
            need,
        });
    }
    let key = pack_key(keyring, info)?;
    let what = format!("chunk {}", slot.id);
    let part = key.open(
        &place(keyring.repository(), info, ordinal, slot.id),
        sealed.to_vec(),
        &what,
    )?;
    let plain = decode(&part, slot.plain_len as usize)?;
    if !keyring.chunk_matches(&slot.id, &plain) {
        return Err(ObjectFault::Malformed {
            why: format!("{what} does not have the content of its id"),
        });
    }
    Ok(plain)
}

fn pack_key(keyring: &Keyring, info: &PackInfo) -> Result<ObjectKey, ObjectFault> {
    let generation = keyring
        .generation(info.generation)
        .ok_or(ObjectFault::UnknownGeneration(info.generation))?;
    Ok(ObjectKey::new(&generation.pack, &info.salt))
}

/// The first byte of a chunk: how the other bytes are encoded.
const RAW: u8 = 0;
const ZSTD: u8 = 1;

fn encode(plain: &[u8]) -> Vec<u8> {
    if worth_compressing(plain)
        && let Ok(packed) = zstd::bulk::compress(plain, ZSTD_LEVEL)
        && packed.len() < plain.len()
    {
        return std::iter::once(ZSTD).chain(packed).collect();
    }
    let mut part = Vec::with_capacity(1 + plain.len() + TAG_LEN);
    part.push(RAW);
    part.extend_from_slice(plain);
    part
}

/// Returns whether zstd's fastest level shrinks the chunk's middle by more than a sixteenth. A short chunk is
/// always compressed.
fn worth_compressing(plain: &[u8]) -> bool {
    let middle = plain.len() / 2;
    match plain.get(middle..middle + PROBE_LEN) {
        Some(probe) => {
            zstd::bulk::compress(probe, 1).is_ok_and(|packed| packed.len() < PROBE_LEN - PROBE_LEN / 16)
        }
        None => true,
    }
}

fn decode(part: &[u8], plain_len: usize) -> Result<Vec<u8>, ObjectFault> {
    let malformed = |why: String| ObjectFault::Malformed { why };
    let plain = match part.split_first() {
        Some((&RAW, plain)) => plain.to_vec(),
        Some((&ZSTD, packed)) => decompress(packed, plain_len)
            .map_err(|error| malformed(format!("a chunk does not decompress: {error}")))?,
        Some((other, _)) => return Err(malformed(format!("there is no chunk encoding {other}"))),
        None => return Err(malformed("a chunk has no encoding".to_owned())),
    };
    if plain.len() != plain_len {
        return Err(malformed(format!(
            "a chunk has {} bytes instead of {plain_len}",
            plain.len()
        )));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;
