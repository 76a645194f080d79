//! Cuts content into chunks: FastCDC (2020) with a gear table that each repository seeds.
//!
//! The crate allows one change: the seed is XORed into its gear table, and shifted left by one into the
//! doubled table. So boundaries differ between repositories, and chunk lengths alone do not match a known
//! file. This is no encryption; the lengths of packs stay visible.

use std::borrow::Cow;
use std::io::{self, Read};

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// The smallest chunk, except for the last of a file: 256 KiB.
pub(crate) const CHUNK_MIN: usize = 256 << 10;
/// The size that normalisation aims at: 1 MiB.
pub(crate) const CHUNK_AVG: usize = 1 << 20;
/// The largest chunk: 4 MiB.
pub(crate) const CHUNK_MAX: usize = 4 << 20;

/// Normalisation level 1, the crate's own default.
const LEVEL: Normalization = Normalization::Level1;

/// Cuts one stream after another; its buffer holds two largest chunks at most.
pub(crate) struct Chunker {
    gear: Cow<'static, [u64]>,
    gear_ls: Cow<'static, [u64]>,
    masks: (u64, u64),
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
}

impl Chunker {
    pub(crate) fn new(seed: u64) -> Self {
        let (gear, gear_ls) = get_gear_with_seed(seed);
        let masks = select_masks(CHUNK_AVG, LEVEL);
        Self {
            gear,
            gear_ls,
            masks,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            at_end: false,
        }
    }

    /// Begins a new stream.
    pub(crate) fn begin(&mut self) {
        (self.start, self.end, self.at_end) = (0, 0, false);
    }

    /// Returns the stream's next chunk; none at its end.
    pub(crate) fn next<R: Read + ?Sized>(&mut self, source: &mut R) -> io::Result<Option<&[u8]>> {
        self.fill(source)?;
        if self.start == self.end {
            return Ok(None);
        }
        let len = self.cut(self.buffer.get(self.start..self.end).unwrap_or_default());
        let chunk = self.start..self.start + len;
        self.start = chunk.end;
        Ok(self.buffer.get(chunk))
    }

    /// Returns the length of the first chunk of `bytes`. `bytes` holds a largest chunk, or all that is left.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        let (small, large) = self.masks;
        let (_, len) = cut_gear(
            bytes,
            CHUNK_MIN,
            CHUNK_AVG,
            CHUNK_MAX,
            small,
            large,
            small << 1,
            large << 1,
            &self.gear,
            &self.gear_ls,
        );
        len
    }

    /// Reads until the buffer has a largest chunk, or the stream ends.
    fn fill<R: Read + ?Sized>(&mut self, source: &mut R) -> io::Result<()> {
        if self.at_end || self.end - self.start >= CHUNK_MAX {
            return Ok(());
        }
        self.buffer.resize(2 * CHUNK_MAX, 0);
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < CHUNK_MAX {
            let Some(room) = self.buffer.get_mut(self.end..) else {
                break;
            };
            match source.read(room) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, mut state: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn lengths(seed: u64, bytes: &[u8]) -> Vec<usize> {
        let mut chunker = Chunker::new(seed);
        chunker.begin();
        let mut rest = bytes;
        let mut lengths = Vec::new();
        let mut at = 0;
        while let Some(chunk) = chunker.next(&mut rest).unwrap() {
            assert_eq!(
                chunk,
                &bytes[at..at + chunk.len()],
                "chunks are the stream, in order"
            );
            at += chunk.len();
            lengths.push(chunk.len());
        }
        assert_eq!(at, bytes.len());
        lengths
    }

    #[test]
    fn chunks_keep_to_their_limits_and_depend_on_the_seed() {
        let bytes = noise(24 << 20, 7);
        let one = lengths(1, &bytes);
        let inner = &one[..one.len() - 1];
        assert!(
            inner.iter().all(|len| (CHUNK_MIN..=CHUNK_MAX).contains(len)),
            "{one:?}"
        );
        assert!(one.len() > 8, "{one:?}");
        assert_ne!(one, lengths(0x1234_5678_9abc_def0, &bytes));
        assert!(lengths(1, b"").is_empty());
        assert_eq!(lengths(1, b"short"), [5]);
    }

    #[test]
    fn bytes_inserted_at_the_front_leave_later_boundaries_where_they_were() {
        let bytes = noise(16 << 20, 9);
        let moved = [b"some bytes before".as_slice(), &bytes].concat();
        let ends = |lengths: Vec<usize>, shift: usize| -> Vec<usize> {
            lengths
                .into_iter()
                .scan(0, |at, len| {
                    *at += len;
                    Some(*at)
                })
                .map(|end| end.wrapping_sub(shift))
                .collect()
        };
        let (a, b) = (ends(lengths(3, &bytes), 0), ends(lengths(3, &moved), 17));
        assert!(
            a.iter().filter(|end| b.contains(end)).count() * 2 > a.len(),
            "{a:?} {b:?}"
        );
    }
}
