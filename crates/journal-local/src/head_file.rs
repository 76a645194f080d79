//! The journal's head in a file beside the log. It shows when the log has lost its end.
//!
//! ```text
//! .rekindle/head   version (1) ‖ commit (8) ‖ head hash (32) ‖ CRC32C (4)
//! ```
//! The writer writes it after it has synced the frame that it names, and does not sync it. After a power cut
//! it may be older than the log, or empty. It is newer than the log only if the log has lost something.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rekindle_journal::admit;
use rekindle_journal::bytes::ByteReader;
use rekindle_model::event::JournalHead;
use rekindle_model::id::Hash32;

use crate::durable;

const HEAD_FORMAT: u8 = 1;
const FILE: &str = "head";

/// The file, open for writing; none if it cannot be opened. That loses no record.
#[derive(Debug)]
pub(crate) struct HeadFile(Option<File>);

impl HeadFile {
    /// Opens the file in a workspace's folder, and creates it if needed.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let mut options = durable::private();
        options.write(true).create(true).truncate(false);
        let opened = durable::regular(&path, &mut options);
        if let Err(error) = &opened {
            tracing::warn!(path = %path.display(), %error, "the journal's head file cannot be opened");
        }
        Self(opened.ok())
    }

    /// Returns the head that was noted last; if it cannot be read, that of an empty journal.
    pub(crate) fn read(dir: &Path) -> JournalHead {
        let bytes = durable::read(&dir.join(FILE)).unwrap_or_default();
        parse(&bytes).unwrap_or(admit::EMPTY)
    }

    /// Notes that a commit is durable.
    pub(crate) fn note(&self, head: JournalHead) {
        let Some(file) = &self.0 else { return };
        if let Err(error) = file.write_all_at(&encode(head), 0) {
            tracing::warn!(%error, "the journal's head file cannot be written");
        }
    }
}

fn encode(head: JournalHead) -> Vec<u8> {
    let mut bytes = vec![HEAD_FORMAT];
    bytes.extend(head.commit.to_be_bytes());
    bytes.extend(head.hash.0);
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<JournalHead> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c(body).to_be_bytes() == *crc).then_some(())?;
    let mut input = ByteReader(body);
    (input.u8()? == HEAD_FORMAT).then_some(())?;
    Some(JournalHead {
        commit: input.u64()?,
        hash: Hash32(input.array()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_bytes_and_what_is_not_whole_says_nothing() {
        let head = JournalHead {
            commit: 9,
            hash: Hash32([3; 32]),
        };
        let bytes = encode(head);
        assert_eq!(parse(&bytes), Some(head));
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(parse(&vec![0; bytes.len()]), None);
    }
}
