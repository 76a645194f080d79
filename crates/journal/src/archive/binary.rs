//! The binary archive.
//!
//! ```text
//! header  magic "RKARCH\r\n" (8) ‖ version (4) ‖ runs (8) ‖ records (8) ‖ blobs (8) ‖ CRC32C (4)
//! run     run id (16) ‖ records (8) ‖ per record: length (4) ‖ value
//! blob    hash (32) ‖ length (8) ‖ bytes
//! end     BLAKE3 (32) of everything before it
//! ```
//! Runs and blobs come in the order of their ids, so that the same runs give the same bytes.

use rekindle_model::id::{Hash32, RunId};
use uuid::Uuid;

use super::{ArchiveError, Bundle, Counts};
use crate::bytes::ByteReader;
use crate::codec;

/// The newest format that this version reads, and the one it writes.
pub const ARCHIVE_FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"RKARCH\r\n";
const HASH: usize = 32;

pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(crate) fn encode(bundle: &Bundle) -> (Vec<u8>, Hash32) {
    let Counts { runs, records, blobs } = bundle.counts();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(ARCHIVE_FORMAT.to_be_bytes());
    for count in [runs, records, blobs] {
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    for (run, values) in &bundle.runs {
        bytes.extend(run.as_bytes());
        bytes.extend((values.len() as u64).to_be_bytes());
        for value in values {
            // A value has at most MAX_RECORD bytes.
            bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend(value);
        }
    }
    for (hash, blob) in &bundle.blobs {
        bytes.extend(hash.0);
        bytes.extend((blob.len() as u64).to_be_bytes());
        bytes.extend(blob);
    }
    let hash = codec::hash(&bytes);
    bytes.extend(hash.0);
    (bytes, hash)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Bundle, Hash32), ArchiveError> {
    let damaged = |at: usize, why: &str| ArchiveError::Damaged {
        at,
        why: why.to_owned(),
    };
    let mut input = ByteReader(bytes);
    let header = input.take(36).zip(input.u32());
    let (header, sum) = header.ok_or_else(|| damaged(bytes.len(), "it ends in its header"))?;
    if crc32c::crc32c(header) != sum {
        return Err(damaged(0, "its header does not check"));
    }
    let mut fields = ByteReader(&header[MAGIC.len()..]);
    let cut = || damaged(bytes.len(), "it is cut short");
    let version = fields.u32().ok_or_else(cut)?;
    if version > ARCHIVE_FORMAT {
        return Err(ArchiveError::NewerFormat {
            found: version,
            supported: ARCHIVE_FORMAT,
        });
    }
    let counts = Counts {
        runs: fields.u64().ok_or_else(cut)?,
        records: fields.u64().ok_or_else(cut)?,
        blobs: fields.u64().ok_or_else(cut)?,
    };
    // The hash is checked before the lengths below are trusted.
    let (body, hash) = bytes.split_last_chunk::<HASH>().ok_or_else(cut)?;
    let hash = Hash32(*hash);
    if codec::hash(body) != hash {
        return Err(damaged(
            body.len(),
            "its hash is not that of the bytes before it: it is cut short or changed",
        ));
    }
    let mut input = ByteReader(body.get(40..).ok_or_else(cut)?);
    let mut bundle = Bundle::default();
    for _ in 0..counts.runs {
        let run = RunId(Uuid::from_bytes(input.array().ok_or_else(cut)?));
        let records = input.u64().ok_or_else(cut)?;
        let mut values = Vec::new();
        for _ in 0..records {
            let len = input
                .u32()
                .and_then(|len| usize::try_from(len).ok())
                .ok_or_else(cut)?;
            values.push(input.take(len).ok_or_else(cut)?.to_vec());
        }
        bundle.runs.insert(run, values);
    }
    for _ in 0..counts.blobs {
        let hash = Hash32(input.array().ok_or_else(cut)?);
        let len = input
            .u64()
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(cut)?;
        bundle
            .blobs
            .insert(hash, input.take(len).ok_or_else(cut)?.to_vec());
    }
    if !input.0.is_empty() || bundle.counts() != counts {
        return Err(damaged(
            body.len() - input.0.len(),
            "it holds another number of things than its header says",
        ));
    }
    Ok((bundle, hash))
}
