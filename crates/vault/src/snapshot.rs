//! A snapshot's sealed document, the records of its entry stream, and its content digest.

use rekindle_model::entry::{Entry, EntryKind};
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
    /// Regular files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of all files.
    pub bytes: u64,
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
/// path; one byte `f`, `d` or `l`; permission bits (4 LE); then for a file its length (8 LE) and the BLAKE3
/// of its bytes (32), for a link the target's length (4 LE) and the target. Owners, times and inodes are left
/// out, so a tree that another user restored later has the same digest.
#[derive(Clone, Debug, Default)]
pub struct ContentDigest(blake3::Hasher);

impl ContentDigest {
    /// Returns the digest of an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next entry. `content` is the BLAKE3 of a file's bytes; none for folders and links.
    pub fn add(&mut self, entry: &Entry, content: Option<&Hash32>) {
        let path = entry.path.as_bytes();
        self.0.update(&length(path)).update(path);
        match &entry.kind {
            EntryKind::File { size } => {
                let content = content.copied().unwrap_or(Hash32::ZERO);
                self.0.update(b"f").update(&entry.mode.to_le_bytes());
                self.0.update(&size.to_le_bytes()).update(&content.0);
            }
            EntryKind::Dir => {
                self.0.update(b"d").update(&entry.mode.to_le_bytes());
            }
            EntryKind::Symlink { target } => {
                self.0.update(b"l").update(&entry.mode.to_le_bytes());
                self.0.update(&length(target)).update(target);
            }
        }
    }

    /// Returns the digest of the entries added.
    pub fn finish(&self) -> Hash32 {
        Hash32(*self.0.finalize().as_bytes())
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
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
    match record.entry.kind {
        EntryKind::File { size } if size != total || record.content.is_none() => Err(format!(
            "the chunks of {} do not make up its {size} bytes",
            record.entry.path.display()
        )),
        EntryKind::Dir | EntryKind::Symlink { .. } if total != 0 || record.content.is_some() => Err(format!(
            "{} has content and is not a file",
            record.entry.path.display()
        )),
        _ => Ok(Some((record, 4 + len))),
    }
}

#[cfg(test)]
mod tests;
