//! The objects of a location: their kinds, their names, and their paths.

use std::fmt;

use rekindle_model::id::{Hash32, RunId, SetId, SnapshotId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The newest format of sealed objects that this program reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 3;

/// The marker that identifies a location; plain text, so that anyone can read it.
pub const FORMAT_MARKER: &str = "format";

/// The most bytes of the marker. It has some 300.
pub(crate) const MARKER_MAX: u64 = 64 << 10;

/// The keyring, wrapped with `age`.
pub const WRAPPED_KEY: &str = "key.age";

/// The most bytes of the wrapped keyring: each of its recipients takes about 200.
pub(crate) const WRAPPED_KEY_MAX: u64 = 1 << 20;

/// The id of a chunk: keyed BLAKE3 of its plain bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hash32(self.0).fmt(f)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hexadecimal in documents that people read (JSON), 32 bytes in the entry stream (MessagePack).
impl Serialize for ChunkId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for ChunkId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Hash32::deserialize(deserializer).map(|hash| Self(hash.0));
        }
        let bytes: serde_bytes::ByteArray<32> = Deserialize::deserialize(deserializer)?;
        Ok(Self(bytes.into_array()))
    }
}

/// A chunk as a file's content refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The chunk's id.
    pub id: ChunkId,
    /// Its plain length in bytes.
    pub len: u32,
}

/// The name of one stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// The marker that says which location it is.
    Marker,
    /// The wrapped keyring.
    Key,
    /// Sealed chunks, named by the BLAKE3 of the stored bytes.
    Pack(Hash32),
    /// A list chunk → pack, named by the BLAKE3 of the stored bytes.
    Index(Hash32),
    /// A snapshot's document.
    Snapshot(SnapshotId),
    /// A recovery set's document.
    Set(SetId),
    /// A link of the chain that states what the location must hold, by its number from 1.
    Head(u64),
    /// A part of a run's journal: the run, and the number of the segment, from 1.
    Segment(RunId, u64),
}

/// The folder of the segments, with one folder a run.
pub(crate) const JOURNAL: &str = "journal";

/// The folder of the heads.
pub(crate) const HEADS: &str = "heads";

impl ObjectName {
    /// Returns the path of the object, relative to its location. Packs fan out over 256 folders.
    pub fn path(&self) -> String {
        match self {
            Self::Marker => FORMAT_MARKER.to_owned(),
            Self::Key => WRAPPED_KEY.to_owned(),
            Self::Pack(hash) => {
                let name = hash.to_string();
                format!("packs/{}/{name}", name.get(..2).unwrap_or_default())
            }
            Self::Index(hash) => format!("index/{hash}"),
            Self::Snapshot(id) => format!("snapshots/{id}"),
            Self::Set(id) => format!("sets/{id}"),
            Self::Head(n) => format!("{HEADS}/{n:010}"),
            // Ten digits, so that the names of a run's segments sort by number.
            Self::Segment(run, n) => format!("{JOURNAL}/{run}/{n:010}"),
        }
    }

    /// Returns the name of a path in one of the folders; none for a stray file.
    pub fn from_path(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        let found = match folder.split('/').next()? {
            "packs" => Self::Pack(name.parse().ok()?),
            "index" => Self::Index(name.parse().ok()?),
            "snapshots" => Self::Snapshot(name.parse().ok()?),
            "sets" => Self::Set(name.parse().ok()?),
            HEADS => Self::Head(name.parse().ok()?),
            JOURNAL => Self::Segment(folder.split('/').nth(1)?.parse().ok()?, name.parse().ok()?),
            _ => return None,
        };
        (found.path() == path).then_some(found)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker => write!(f, "`{FORMAT_MARKER}`"),
            Self::Key => write!(f, "`{WRAPPED_KEY}`"),
            Self::Pack(hash) => write!(f, "pack {hash}"),
            Self::Index(hash) => write!(f, "index {hash}"),
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Set(id) => write!(f, "recovery set {id}"),
            Self::Head(n) => write!(f, "head {n}"),
            Self::Segment(run, n) => write!(f, "segment {n} of run {run}"),
        }
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_object_and_a_stray_file_names_none() {
        let pack = ObjectName::Pack(Hash32([0xab; 32]));
        assert_eq!(ObjectName::from_path(&pack.path()), Some(pack));
        let segment = ObjectName::Segment(RunId(uuid::Uuid::from_u128(7)), 12);
        assert_eq!(
            segment.path(),
            "journal/00000000-0000-0000-0000-000000000007/0000000012"
        );
        assert_eq!(ObjectName::from_path(&segment.path()), Some(segment));
        for stray in [
            "packs/00/".to_owned() + &"ab".repeat(32),
            "lost+found/x".to_owned(),
            "journal/00000000-0000-0000-0000-000000000007/12".to_owned(),
            "journal/0000000012".to_owned(),
            "format".to_owned(),
        ] {
            assert_eq!(ObjectName::from_path(&stray), None, "{stray}");
        }
    }
}
