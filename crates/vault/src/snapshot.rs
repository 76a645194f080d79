//! A snapshot's sealed document, the records of its entry stream, and its content digest.

use rekindle_model::entry::{Entry, EntryKind, Unreadable};
use rekindle_model::id::{Hash32, SnapshotId};
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::ChunkRef;

/// The largest record of an entry stream that is read: the chunk list of a file of about 6 TB.
pub(crate) const RECORD_MAX: usize = 256 << 20;

/// One component's content at one instant, as a sealed document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// The component that was captured.
    pub component: String,
    /// The instant of this content, taken before the source is read. The next capture reads files again that
    /// changed within 2 s of it.
    pub consistency_point: Stamp,
    /// A name for people: the host or the process that captured.
    pub captured_by: String,
    /// The digest of the content, independent of the chunking; see [`ContentDigest`].
    pub content_digest: Hash32,
    /// Names of regular files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Those of `files` that are further names of a file (hard links).
    #[serde(default)]
    pub hard_links: u64,
    /// FIFOs and devices.
    #[serde(default)]
    pub nodes: u64,
    /// Bytes of all files; a file with several names counts once.
    pub bytes: u64,
    /// The paths of the source that could not be read. If there are any, the snapshot is incomplete.
    #[serde(default, skip_serializing_if = "Unreadable::is_empty")]
    pub unreadable: Unreadable,
    /// The chunks of the entry stream, in order.
    pub tree: Vec<ChunkRef>,
    /// Bytes of the entry stream.
    pub tree_bytes: u64,
    /// Bytes of file content that capturing read; the rest was unchanged since the parent.
    pub bytes_read: u64,
    /// Sealed bytes that capturing wrote to the spool.
    pub bytes_new: u64,
    /// The source's own description (a database's page count, say).
    pub metadata: Value,
    /// The snapshot that this capture compared with.
    pub parent: Option<SnapshotId>,
}

impl Snapshot {
    /// Returns the number of entries.
    pub fn entries(&self) -> u64 {
        self.files + self.dirs + self.symlinks + self.nodes
    }
}

/// One record of the entry stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// The entry.
    pub entry: Entry,
    /// A file's content: BLAKE3 of all its bytes. None for folders and links.
    pub content: Option<Hash32>,
    /// A file's content in order, empty for an empty file, a folder and a link.
    pub chunks: Vec<ChunkRef>,
}

/// The digest of a tree's content: two trees with the same digest hold the same.
///
/// It is BLAKE3 over the entries in the order of their paths. Each entry gives: path length (4 bytes LE),
/// path; its extended attributes, if it has any: `x`, their number (4 LE), and for each the name's length
/// (4 LE), the name, the value's length (4 LE) and the value; one byte for the type; permission bits (4 LE); then
/// for a file (`f`) its length (8 LE) and the BLAKE3 of its bytes (32), for a further name of a file (`h`) the
/// same and the length (4 LE) and bytes of the first name, for a link (`l`) the target's length (4 LE) and the
/// target, for a device (`c`, `b`) its major and minor number (4 LE each), for a folder (`d`) and a FIFO (`p`)
/// nothing. Owners, times and inodes are left out, so a tree that another user restored later has the same
/// digest.
#[derive(Clone, Debug, Default)]
pub struct ContentDigest(blake3::Hasher);

impl ContentDigest {
    /// Returns the digest of an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next entry. `content` is the BLAKE3 of a file's bytes; none for folders and links.
    pub fn add(&mut self, entry: &Entry, content: Option<&Hash32>) {
        self.text(entry.path.as_bytes());
        if !entry.xattrs.is_empty() {
            let number = u32::try_from(entry.xattrs.len()).unwrap_or(u32::MAX);
            self.0.update(b"x").update(&number.to_le_bytes());
            for xattr in &entry.xattrs {
                self.text(&xattr.name).text(&xattr.value);
            }
        }
        let kind = match (&entry.kind, &entry.first_name) {
            (EntryKind::File { .. }, None) => b"f",
            (EntryKind::File { .. }, Some(_)) => b"h",
            (EntryKind::Dir, _) => b"d",
            (EntryKind::Symlink { .. }, _) => b"l",
            (EntryKind::Fifo, _) => b"p",
            (EntryKind::CharDevice(_), _) => b"c",
            (EntryKind::BlockDevice(_), _) => b"b",
        };
        self.0.update(kind).update(&entry.mode.to_le_bytes());
        match &entry.kind {
            EntryKind::File { size } => {
                let content = content.copied().unwrap_or(Hash32::ZERO);
                self.0.update(&size.to_le_bytes()).update(&content.0);
                if let Some(first) = &entry.first_name {
                    self.text(first.as_bytes());
                }
            }
            EntryKind::Symlink { target } => {
                self.text(target);
            }
            EntryKind::CharDevice(number) | EntryKind::BlockDevice(number) => {
                self.0
                    .update(&number.major.to_le_bytes())
                    .update(&number.minor.to_le_bytes());
            }
            EntryKind::Dir | EntryKind::Fifo => {}
        }
    }

    /// Adds a length (4 bytes LE) and the bytes.
    fn text(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.update(&length.to_le_bytes()).update(bytes);
        self
    }

    /// Returns the digest of the entries added.
    pub fn finish(&self) -> Hash32 {
        Hash32(*self.0.finalize().as_bytes())
    }
}

/// Appends a record to an entry stream: its length (4 bytes LE), then MessagePack with named fields.
pub(crate) fn write_record(record: &EntryRecord, out: &mut Vec<u8>) -> Result<(), String> {
    let packed = rmp_serde::to_vec_named(record).map_err(|error| error.to_string())?;
    let len = u32::try_from(packed.len()).map_err(|_| "a record is longer than 4 GiB".to_owned())?;
    if packed.len() > RECORD_MAX {
        return Err(format!(
            "the record of {} is too long",
            record.entry.path.display()
        ));
    }
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&packed);
    Ok(())
}

/// Takes the first whole record off an entry stream; returns it and its length in bytes. None means that more
/// bytes are needed.
pub(crate) fn read_record(bytes: &[u8]) -> Result<Option<(EntryRecord, usize)>, String> {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*len) as usize;
    if len > RECORD_MAX {
        return Err(format!("a record claims {len} bytes"));
    }
    let Some(packed) = rest.get(..len) else {
        return Ok(None);
    };
    let record: EntryRecord = rmp_serde::from_slice(packed).map_err(|error| error.to_string())?;
    let total: u64 = record.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    record
        .entry
        .check()
        .map_err(|why| format!("{}: {why}", record.entry.path.display()))?;
    match record.entry.kind {
        EntryKind::File { size } if size != total || record.content.is_none() => Err(format!(
            "the chunks of {} do not make up its {size} bytes",
            record.entry.path.display()
        )),
        EntryKind::File { .. } => Ok(Some((record, 4 + len))),
        _ if total != 0 || record.content.is_some() => Err(format!(
            "{} has content and is not a file",
            record.entry.path.display()
        )),
        _ => Ok(Some((record, 4 + len))),
    }
}

#[cfg(test)]
mod tests;
