//! Seals the parts of an object with AES-256-GCM, and binds each to its place.
//!
//! Every object draws a 32-byte random salt. Its key is keyed BLAKE3 of that salt under the generation's pack
//! or document key. A key seals one object only, so positions serve as nonces.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use uuid::Uuid;

use crate::error::ObjectFault;

/// Bytes that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

/// The kind of a sealed part; the first byte of the additional data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    DataChunk = 1,
    TreeChunk = 2,
    Table = 3,
    Index = 4,
    Snapshot = 5,
    Set = 6,
    Segment = 7,
    Head = 8,
}

/// The place that a sealed part is bound to: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) repository: Uuid,
    pub(crate) part: Part,
    pub(crate) generation: u32,
    /// The position in a pack; 0 in other objects.
    pub(crate) ordinal: u32,
    /// A chunk's id, a document's UUID and 16 zero bytes, a segment's run and number, a head's location and number; zero for a table and an index.
    pub(crate) name: [u8; 32],
}

impl Place {
    /// The additional data: repository 16, part 1, generation 4 LE, ordinal 4 LE, name 32.
    fn aad(&self) -> [u8; 57] {
        let mut aad = [0; 57];
        aad[..16].copy_from_slice(self.repository.as_bytes());
        aad[16] = self.part as u8;
        aad[17..21].copy_from_slice(&self.generation.to_le_bytes());
        aad[21..25].copy_from_slice(&self.ordinal.to_le_bytes());
        aad[25..].copy_from_slice(&self.name);
        aad
    }

    /// The nonce: the part's byte, seven zero bytes, the ordinal 4 LE. The part's byte separates a table from
    /// the chunks of its pack.
    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[0] = self.part as u8;
        nonce[8..].copy_from_slice(&self.ordinal.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Returns the 16 bytes of an id as the name of a place.
pub(crate) fn document_name(id: &[u8; 16]) -> [u8; 32] {
    let mut name = [0; 32];
    name[..16].copy_from_slice(id);
    name
}

/// The key of one object.
pub(crate) struct ObjectKey(LessSafeKey);

impl ObjectKey {
    /// Returns the key of the object with that salt.
    pub(crate) fn new(generation_key: &[u8; 32], salt: &[u8; 32]) -> Self {
        let key = blake3::keyed_hash(generation_key, salt);
        #[expect(
            clippy::expect_used,
            reason = "AES-256 takes every key of 32 bytes, and this is one"
        )]
        let key = UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("32 bytes are an AES-256 key");
        Self(LessSafeKey::new(key))
    }

    /// Seals `buffer` in place and appends the tag.
    pub(crate) fn seal(&self, place: &Place, buffer: &mut Vec<u8>) {
        #[expect(
            clippy::expect_used,
            reason = "ring refuses only more than 64 GiB at once; parts are far smaller"
        )]
        self.0
            .seal_in_place_append_tag(place.nonce(), Aad::from(place.aad()), buffer)
            .expect("a part is small");
    }

    /// Opens `sealed`, which ends in its tag; `what` names it in the error.
    pub(crate) fn open(
        &self,
        place: &Place,
        mut sealed: Vec<u8>,
        what: &str,
    ) -> Result<Vec<u8>, ObjectFault> {
        let opened = self
            .0
            .open_in_place(place.nonce(), Aad::from(place.aad()), &mut sealed);
        let len = opened
            .map_err(|_| ObjectFault::SealBroken {
                what: what.to_owned(),
            })?
            .len();
        sealed.truncate(len);
        Ok(sealed)
    }
}
