//! Sealed documents: JSON for one snapshot or one recovery set, bound to its name.
//!
//! ```text
//! magic 8 | version 4 | generation 4 | salt 32 | sealed JSON
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Fields, check_head};
use crate::error::ObjectFault;
use crate::key::{Keyring, random};
use crate::object::{FORMAT_VERSION, ObjectName};
use crate::seal::{ObjectKey, Part, Place, document_name};

/// The most bytes of a stored document. A snapshot's has some 100 for each chunk of its entry stream (about
/// 1 MiB, or 4,000 files), a set's some 500 for each component.
pub(crate) const DOCUMENT_MAX: u64 = 16 << 20;

/// The kind of an object that is sealed as a whole, and its name.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    pub(crate) part: Part,
    pub(crate) name: [u8; 32],
}

impl Kind {
    /// Returns the kind of a document's name; none for packs and indexes.
    pub(crate) fn of(name: &ObjectName) -> Option<Self> {
        match name {
            ObjectName::Snapshot(id) => Some(Self {
                magic: *b"RKDLSNAP",
                part: Part::Snapshot,
                name: document_name(id.as_bytes()),
            }),
            ObjectName::Set(id) => Some(Self {
                magic: *b"RKDLSETS",
                part: Part::Set,
                name: document_name(id.as_bytes()),
            }),
            ObjectName::Marker
            | ObjectName::Key
            | ObjectName::Pack(_)
            | ObjectName::Index(_)
            | ObjectName::Head(_)
            | ObjectName::Segment(..) => None,
        }
    }

    fn place(&self, keyring: &Keyring, generation: u32) -> Place {
        let Self { part, name, .. } = *self;
        Place {
            repository: keyring.repository(),
            part,
            generation,
            ordinal: 0,
            name,
        }
    }

    /// Seals an object's body with the newest key for documents.
    pub(crate) fn seal(&self, keyring: &Keyring, mut body: Vec<u8>) -> Vec<u8> {
        let generation = keyring.newest();
        let salt = random();
        ObjectKey::new(&generation.document, &salt).seal(&self.place(keyring, generation.number), &mut body);
        let mut bytes = Vec::with_capacity(48 + body.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&generation.number.to_le_bytes());
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Returns the body that [`Kind::seal`] sealed; `what` is the object, in faults.
    pub(crate) fn open(&self, keyring: &Keyring, bytes: &[u8], what: &str) -> Result<Vec<u8>, ObjectFault> {
        let mut fields = Fields::new(bytes);
        check_head(&mut fields, self.magic)?;
        let number = fields.u32()?;
        let salt = fields.array()?;
        let generation = keyring
            .generation(number)
            .ok_or(ObjectFault::UnknownGeneration(number))?;
        let sealed = bytes.get(48..).unwrap_or_default().to_vec();
        ObjectKey::new(&generation.document, &salt).open(&self.place(keyring, number), sealed, what)
    }
}

/// Seals a document under its name.
pub(crate) fn seal<T: Serialize>(keyring: &Keyring, kind: Kind, document: &T) -> Result<Bytes, ObjectFault> {
    let body = serde_json::to_vec(document).map_err(|error| ObjectFault::Malformed {
        why: format!("it cannot be written as JSON: {error}"),
    })?;
    let bytes: Bytes = kind.seal(keyring, body).into();
    match bytes.len() as u64 {
        len if len > DOCUMENT_MAX => Err(ObjectFault::TooLarge { len }),
        _ => Ok(bytes),
    }
}

/// Opens a document that is stored under its name.
pub(crate) fn open<T: DeserializeOwned>(
    keyring: &Keyring,
    kind: Kind,
    bytes: &[u8],
) -> Result<T, ObjectFault> {
    let body = kind.open(keyring, bytes, "the document")?;
    serde_json::from_slice(&body).map_err(|error| ObjectFault::Malformed {
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
