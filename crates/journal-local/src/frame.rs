//! The bytes of a log segment: a header, then one frame per commit.
//!
//! ```text
//! segment  magic "RKJLOG\r\n" (8) ‖ version (4) ‖ number (8) ‖ head before it: commit (8), hash (32) ‖ CRC (4)
//! frame    magic "RKFR" (4) ‖ body length (4) ‖ records (4) ‖ head after it: commit (8), hash (32)
//!          ‖ body CRC (4) ‖ header CRC (4) ‖ body
//! body     per record: key (24) ‖ value length (4) ‖ value; then the end mark 0xED (1)
//! ```
//! Integers are big-endian, checksums CRC32C. Zeros may follow the last frame: room that was reserved for those to
//! come. A frame is written with one call and synced before the next, so a crash can leave at most the last one
//! torn: cut short, by the end of the file or by zeros, or with sectors that never reached the disk and read as
//! zeros. A frame begins with its magic and ends with its end mark. Neither reads as zeros after one flipped bit, so
//! a first or last sector of zeros was never written, however few of its bytes are the frame's. All else that does
//! not check is damage, and is named.

use rekindle_journal::bytes::ByteReader;
use rekindle_journal::codec::{self, KEY_LEN, Key};
use rekindle_model::event::JournalHead;
use rekindle_model::id::Hash32;
use rekindle_model::planted::{self, Fault};

use crate::mark::{self, Entry};

/// The newest log format that this version reads: that of a segment which may hold marks.
pub const LOG_FORMAT: u32 = 4;
/// The format of a segment that holds nothing but runs' records, and the oldest that this version reads.
pub(crate) const PLAIN_FORMAT: u32 = 3;
/// The length of a segment's header in bytes.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// The length of a frame's header in bytes.
pub(crate) const FRAME_HEADER: usize = 60;

const SEGMENT_MAGIC: &[u8; 8] = b"RKJLOG\r\n";
const FRAME_MAGIC: &[u8; 4] = b"RKFR";
/// A device writes at least this many bytes whole or not at all: the smallest sector in use.
const SECTOR: usize = 512;
/// The last byte of a frame. Several of its bits are set, so that one flipped bit does not make it 0.
const END_MARK: u8 = 0xED;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u32,
    pub(crate) number: u64,
    /// The journal's head before the segment's first frame.
    pub(crate) base: JournalHead,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.extend(SEGMENT_MAGIC);
        bytes.extend(self.version.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.base.commit.to_be_bytes());
        bytes.extend(self.base.hash.0);
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// Returns none for a header that is cut short or whose checksum fails.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        let mut input = ByteReader(checked(bytes)?);
        (input.take(8)? == SEGMENT_MAGIC).then_some(())?;
        let version = input.u32()?;
        let number = input.u64()?;
        Some(Self {
            version,
            number,
            base: head(&mut input)?,
        })
    }
}

/// A part of a segment after its header, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A commit.
    Frame {
        offset: usize,
        end: usize,
        head: JournalHead,
        entries: Vec<Entry<'a>>,
    },
    /// Bytes whose checksum fails. The records among them that check one by one, and the keys of those that
    /// do not (the keys may be damaged too). `head` is known if only the body is damaged.
    Damage {
        offset: usize,
        head: Option<JournalHead>,
        salvaged: Vec<Entry<'a>>,
        hurt: Vec<Key>,
    },
    /// A write that a crash interrupted. Nothing follows it, and it was not acknowledged.
    Torn { offset: usize },
}

/// Encodes one commit.
pub(crate) fn encode<'a>(head: JournalHead, entries: impl Iterator<Item = Entry<'a>>) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_HEADER];
    let mut records: u32 = 0;
    for (key, value) in entries {
        bytes.extend(key);
        // A value has at most MAX_RECORD bytes, a frame at most a few MiB.
        bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(value);
        records += 1;
    }
    bytes.push(END_MARK);
    let body = &bytes[FRAME_HEADER..];
    let mut header = Vec::with_capacity(FRAME_HEADER);
    header.extend(FRAME_MAGIC);
    header.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    header.extend(records.to_be_bytes());
    header.extend(head.commit.to_be_bytes());
    header.extend(head.hash.0);
    header.extend(crc32c::crc32c(body).to_be_bytes());
    header.extend(crc32c::crc32c(&header).to_be_bytes());
    bytes[..FRAME_HEADER].copy_from_slice(&header);
    bytes
}

/// Splits a segment into its pieces. `last` says whether a crash may have cut it off.
pub(crate) fn scan(bytes: &[u8], last: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let written = written(bytes);
    let mut offset = SEGMENT_HEADER.min(bytes.len());
    while offset < written {
        let rest = &bytes[offset..];
        let header = FrameHeader::parse(rest);
        let end = header
            .as_ref()
            .map(|header| offset + FRAME_HEADER + header.body_len);
        if let (Some(header), Some(end)) = (&header, end)
            && let Some(body) = bytes.get(offset + FRAME_HEADER..end)
            && let Some(entries) = header.entries(body)
        {
            pieces.push(Piece::Frame {
                offset,
                end,
                head: header.head,
                entries,
            });
            offset = end;
            continue;
        }
        // A frame whose header fails its check ends with the last written byte: its end mark.
        let until = end.unwrap_or(written).min(bytes.len());
        let (salvaged, hurt, walked) = salvage(&bytes[..until], (offset + FRAME_HEADER).min(until));
        let next = match end {
            Some(end) if end <= bytes.len() => end,
            Some(_) => bytes.len(),
            None => find_frame(bytes, walked.max(offset + 1)),
        };
        let cut_short = written - offset < FRAME_HEADER || end.is_some_and(|end| end > written);
        if last && next >= written && (cut_short || lacks_a_sector(&bytes[..until], offset)) {
            pieces.push(Piece::Torn { offset });
        } else {
            pieces.push(Piece::Damage {
                offset,
                head: header.map(|header| header.head),
                salvaged,
                hurt,
            });
        }
        offset = next;
    }
    pieces
}

struct FrameHeader {
    body_len: usize,
    records: usize,
    head: JournalHead,
    body_crc: u32,
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = ByteReader(checked(bytes.get(..FRAME_HEADER)?)?);
        (input.take(4)? == FRAME_MAGIC).then_some(())?;
        let body_len = usize::try_from(input.u32()?).ok()?;
        let records = usize::try_from(input.u32()?).ok()?;
        Some(Self {
            body_len,
            records,
            head: head(&mut input)?,
            body_crc: input.u32()?,
        })
    }

    /// Returns the body's records; none if any of it fails its check.
    fn entries<'a>(&self, body: &'a [u8]) -> Option<Vec<Entry<'a>>> {
        let intact = crc32c::crc32c(body) == self.body_crc || planted::is(Fault::CrcUnchecked);
        intact.then_some(())?;
        let (mark, records) = body.split_last()?;
        (*mark == END_MARK).then_some(())?;
        let mut input = ByteReader(records);
        let mut entries = Vec::new();
        while !input.0.is_empty() {
            entries.push(entry(&mut input)?);
        }
        (entries.len() == self.records).then_some(entries)
    }
}

fn entry<'a>(input: &mut ByteReader<'a>) -> Option<Entry<'a>> {
    let key: Key = input.array()?;
    let len = usize::try_from(input.u32()?).ok()?;
    Some((key, input.take(len)?))
}

/// Reads the records of a damaged body one by one, as far as their lengths are plausible. Returns those that
/// check, the keys of the others, and the end of the last one that checks.
fn salvage(bytes: &[u8], start: usize) -> (Vec<Entry<'_>>, Vec<Key>, usize) {
    let mut input = ByteReader(&bytes[start..]);
    let (mut salvaged, mut hurt, mut walked) = (Vec::new(), Vec::new(), start);
    // No run's id begins with the end mark for some thousand years, since ids begin with a time stamp.
    while input.0.len() > KEY_LEN && !input.0.starts_with(&[END_MARK]) {
        let before = input.0;
        match entry(&mut input) {
            Some((key, value)) if mark::is_intact(&key, value) => {
                salvaged.push((key, value));
                walked = bytes.len() - input.0.len();
            }
            Some((key, value)) if value.len() <= codec::MAX_RECORD => hurt.push(key),
            _ => {
                hurt.extend(ByteReader(before).array::<KEY_LEN>());
                break;
            }
        }
    }
    (salvaged, hurt, walked)
}

fn find_frame(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len())
        .find(|&at| bytes[at..].starts_with(FRAME_MAGIC) && FrameHeader::parse(&bytes[at..]).is_some())
        .unwrap_or(bytes.len())
}

/// Returns the position of the zeros that end a segment.
pub(crate) fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// Returns whether a sector of the frame from `offset` to the end reads as zeros. Then a crash kept the file's length
/// and not all of its content. Only a value with 512 aligned zeros could look like that, and then sled still has the
/// commit.
fn lacks_a_sector(bytes: &[u8], offset: usize) -> bool {
    let mut at = offset;
    while at < bytes.len() {
        let end = ((at / SECTOR + 1) * SECTOR).min(bytes.len());
        if written(&bytes[at..end]) == 0 {
            return true;
        }
        at = end;
    }
    false
}

/// Returns the bytes before a trailing CRC, if the CRC is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let intact = crc32c::crc32c(body).to_be_bytes() == *crc || planted::is(Fault::CrcUnchecked);
    intact.then_some(body)
}

fn head(input: &mut ByteReader<'_>) -> Option<JournalHead> {
    Some(JournalHead {
        commit: input.u64()?,
        hash: Hash32(input.array()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_journal::admit::EMPTY;
    use rekindle_journal::contract::{created, stamp, started};
    use rekindle_model::event::Record;
    use rekindle_model::id::RunId;

    /// Returns a segment of three commits, and their offsets.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let run = RunId::new(&stamp(0));
        let mut bytes = SegmentHeader {
            version: LOG_FORMAT,
            number: 1,
            base: EMPTY,
        }
        .encode();
        let mut offsets = Vec::new();
        for commit in 1..=3 {
            let event = if commit == 1 {
                created("w")
            } else {
                started("s", 1)
            };
            let (time, prev) = (stamp(commit), Hash32::ZERO);
            let record = Record {
                run,
                seq: commit,
                epoch: 1,
                time,
                prev,
                head: None,
                event,
            };
            let value = codec::encode(&record).unwrap();
            let head = JournalHead {
                commit,
                hash: codec::hash(&value),
            };
            offsets.push(bytes.len());
            bytes.extend(encode(
                head,
                [(codec::key(run, commit), value.as_slice())].into_iter(),
            ));
        }
        (bytes, offsets)
    }

    #[test]
    fn each_flipped_bit_is_damage_where_it_is_and_nothing_else_is_lost() {
        let (bytes, offsets) = segment();
        let whole = scan(&bytes, true);
        assert!(whole.iter().all(|piece| matches!(piece, Piece::Frame { .. })) && whole.len() == 3);
        for (at, reserved) in (SEGMENT_HEADER..bytes.len()).flat_map(|at| [(at, 0), (at, 3 * SECTOR)]) {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                flipped.resize(bytes.len() + reserved, 0);
                let hurt = offsets.iter().rposition(|offset| *offset <= at).unwrap();
                let found = scan(&flipped, true);
                let case = format!("bit {bit} of byte {at}, {reserved} reserved: {found:?}");
                assert_eq!(found.len(), 3, "{case}");
                for (n, (found, whole)) in found.iter().zip(&whole).enumerate() {
                    match found {
                        Piece::Damage { offset, .. } => {
                            assert_eq!((n, *offset), (hurt, offsets[n]), "{case}")
                        }
                        piece => assert_eq!(piece, whole, "{case}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_flipped_header_loses_no_record() {
        let (mut bytes, offsets) = segment();
        bytes[offsets[1] + 5] ^= 1;
        let found = scan(&bytes, true);
        let salvaged = matches!(&found[1], Piece::Damage { salvaged, hurt, .. } if salvaged.len() == 1 && hurt.is_empty());
        assert!(salvaged, "{found:?}");
    }

    #[test]
    fn a_cut_is_torn_in_the_last_segment_and_damage_in_any_other() {
        let (bytes, offsets) = segment();
        for end in offsets[2] + 1..bytes.len() {
            assert_eq!(
                scan(&bytes[..end], true)[2],
                Piece::Torn { offset: offsets[2] },
                "cut at {end}"
            );
            assert!(
                matches!(scan(&bytes[..end], false)[2], Piece::Damage { .. }),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn a_cut_within_reserved_room_is_torn_in_the_last_segment_and_damage_in_any_other() {
        let (bytes, offsets) = segment();
        for end in offsets[2] + 1..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            cut.resize(bytes.len() + 3 * SECTOR, 0);
            let torn = Piece::Torn { offset: offsets[2] };
            assert_eq!(scan(&cut, true)[2], torn, "cut at {end}");
            let other = scan(&cut, false);
            assert!(
                matches!(other[2], Piece::Damage { .. }),
                "cut at {end}: {other:?}"
            );
        }
    }

    /// A frame may begin or end anywhere in a sector, so a lost sector may hold as little as one byte of it.
    #[test]
    fn whichever_sectors_of_the_last_frame_are_lost_it_is_torn() {
        let (before, _) = segment();
        let run = RunId::new(&stamp(0));
        let of = |commit: u64, text: &str| {
            let record = Record {
                run,
                seq: commit,
                epoch: 1,
                time: stamp(commit),
                prev: Hash32::ZERO,
                head: None,
                event: created(text),
            };
            let value = codec::encode(&record).unwrap();
            let head = JournalHead {
                commit,
                hash: codec::hash(&value),
            };
            encode(head, [(codec::key(run, commit), value.as_slice())].into_iter())
        };
        for shift in 0..SECTOR {
            let mut bytes = before.clone();
            bytes.extend(of(4, &"x".repeat(shift)));
            let offset = bytes.len();
            bytes.extend(of(5, &"y".repeat(SECTOR + shift / 2)));
            let (first, last) = (offset / SECTOR, (bytes.len() - 1) / SECTOR);
            let end = bytes.len();
            bytes.resize(end + 3 * SECTOR, 0);
            for lost in 1..1_u32 << (last - first + 1) {
                let mut torn = bytes.clone();
                for sector in (first..=last).filter(|sector| lost & (1 << (sector - first)) != 0) {
                    torn[(sector * SECTOR).max(offset)..((sector + 1) * SECTOR).min(end)].fill(0);
                }
                let found = scan(&torn, true);
                match found.get(4) {
                    None => assert_eq!(written(&torn), offset, "shifted by {shift}, lost {lost:b}"),
                    Some(piece) => assert_eq!(
                        piece,
                        &Piece::Torn { offset },
                        "shifted by {shift}, lost {lost:b}"
                    ),
                }
            }
        }
    }

    #[test]
    fn reserved_room_is_neither_torn_nor_damage_in_any_segment() {
        let (mut bytes, _) = segment();
        let whole = bytes.clone();
        for reserved in [1, 59, 60, 511, 512, 9000] {
            bytes.resize(whole.len() + reserved, 0);
            for last in [true, false] {
                assert_eq!(
                    scan(&bytes, last),
                    scan(&whole, last),
                    "{reserved} bytes reserved"
                );
            }
        }
    }
}
