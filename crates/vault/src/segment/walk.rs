//! One pass over a run's segments in a location, with one segment in memory at a time. It finds which
//! segments follow each other, and the faults of the others.
//!
//! A chain begins with a segment that names none before it. Any later segment may be such a beginning. Then
//! all segments under lower numbers are retired, damaged or whole: the pass neither follows them nor reports
//! their faults. In this way a chain with damaged segments continues. No process ever overwrites a segment
//! that another may have written. All processes that continue the run still compete for one next number.

use std::collections::BTreeMap;

use rekindle_model::id::Hash32;

use super::{BlobPart, Link, Segment, SegmentError, hash};

/// The result of a pass over a run's segments.
///
/// Memory: 40 bytes for each record, and the names of the segments.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The highest number that is there; 0 if the run has no segment.
    pub last: u64,
    /// The last segment that can be read. It is the end of the chain if it has the number [`Walked::last`].
    pub tail: Option<Link>,
    /// The faults since the chain began, in order.
    pub faults: Vec<SegmentError>,
    /// Whether the records were removed once the run was over ([`super::SegmentHead::closes`]).
    pub closed: bool,
    /// The hash of each record's value, and the segment that has it.
    pub records: Vec<(Hash32, u64)>,
    /// How many segments were read.
    pub segments: u64,
}

impl Walked {
    /// Returns whether the newest segment can be read. If not, this location does not show who wrote it.
    pub fn ends_readably(&self) -> bool {
        self.tail.as_ref().map_or(0, |tail| tail.head.n) == self.last
    }
}

/// The state of a chain after some of its segments.
#[derive(Default)]
pub(super) struct Walk {
    tail: Option<Link>,
    records: Vec<(Hash32, u64)>,
    closed: bool,
    parts: Parts,
    /// The newest epoch of any segment that could be read, retired ones included.
    epoch: u64,
}

impl Walk {
    /// Adds the next segment, or returns why it cannot be the next.
    pub(super) fn add(&mut self, segment: &Segment, stored: Hash32) -> Result<(), String> {
        let head = &segment.head;
        if head.epoch < self.epoch {
            return Err(format!("its epoch is {}, after epoch {}", head.epoch, self.epoch));
        }
        if head.begins() {
            (self.tail, self.closed) = (None, false);
            (self.records, self.parts) = (Vec::new(), Parts::default());
        } else {
            match &self.tail {
                Some(tail) if tail.head.n + 1 != head.n => {
                    return Err(format!("segment {} is expected there", tail.head.n + 1));
                }
                Some(tail) if tail.hash == head.prev => {}
                _ => return Err("it names another segment before it".to_owned()),
            }
        }
        if head.last + 1 - head.first.min(head.last + 1) != segment.records.len() as u64 {
            return Err(format!(
                "it has {} records for {} to {}",
                segment.records.len(),
                head.first,
                head.last
            ));
        }
        if head.closes() {
            self.closed = true;
        } else {
            self.follow(segment)?;
        }
        self.epoch = head.epoch;
        self.tail = Some(Link {
            head: head.clone(),
            hash: stored,
        });
        Ok(())
    }

    fn follow(&mut self, segment: &Segment) -> Result<(), String> {
        let head = &segment.head;
        let known = self.records.len() as u64;
        if self.closed {
            return Err("the segment before it says that the records were removed".to_owned());
        }
        if head.first == 0 || head.first > known + 1 {
            return Err(format!(
                "it begins with record {}, after record {known}",
                head.first
            ));
        }
        if head.first <= known
            && self
                .tail
                .as_ref()
                .is_some_and(|tail| tail.head.epoch == head.epoch)
        {
            return Err(format!("its epoch is {}, after epoch {}", head.epoch, head.epoch));
        }
        self.records
            .truncate(usize::try_from(head.first - 1).unwrap_or(usize::MAX));
        let values = segment.records.iter();
        self.records.extend(values.map(|value| (hash(value), head.n)));
        let newest = self.records.last().map_or(Hash32::ZERO, |(hash, _)| *hash);
        if self.records.len() as u64 != head.last || newest != head.newest {
            return Err("its last record is not the one that it names".to_owned());
        }
        segment.blobs.iter().try_for_each(|part| self.parts.add(part))
    }

    /// Returns the result, without the faults.
    pub(super) fn end(self) -> Walked {
        Walked {
            tail: self.tail,
            closed: self.closed,
            records: self.records,
            ..Walked::default()
        }
    }

    /// Notes a readable segment that follows nothing: one before it is missing or damaged.
    pub(super) fn pass_over(&mut self, segment: &Segment, stored: Hash32) {
        self.epoch = self.epoch.max(segment.head.epoch);
        self.tail = Some(Link {
            head: segment.head.clone(),
            hash: stored,
        });
    }
}

/// Blobs that are incomplete so far: how many bytes were seen, and their hash.
#[derive(Default)]
struct Parts(BTreeMap<Hash32, (u64, blake3::Hasher)>);

impl Parts {
    /// Takes a piece, and checks the blob if the piece completes it. Pieces come in order. If a blob is written again,
    /// its pieces begin at 0 again.
    fn add(&mut self, part: &BlobPart) -> Result<(), String> {
        let (len, mut hasher) = match part.at {
            0 => (0, blake3::Hasher::new()),
            _ => self.0.remove(&part.hash).unwrap_or_default(),
        };
        if len != part.at {
            return Err(format!("a piece of blob {} is not where it belongs", part.hash));
        }
        hasher.update(&part.bytes);
        let len = len + part.bytes.len() as u64;
        if len < part.len {
            self.0.insert(part.hash, (len, hasher));
            return Ok(());
        }
        match Hash32(*hasher.finalize().as_bytes()) == part.hash {
            true => Ok(()),
            false => Err(format!("blob {} is not what its hash says", part.hash)),
        }
    }
}
