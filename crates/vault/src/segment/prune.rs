//! Removing the segments of runs that have been over for long.
//!
//! The last object that a prune creates for a run is a segment that closes its chain, under the next number, if that
//! is free. If another process continues the run at that moment, it has taken that number, and the prune removes
//! nothing. Otherwise the prune removes every segment before the closing one. The closing segment stays, a few hundred
//! bytes. A workspace that had the run before it ended elsewhere may come back after a year: it finds this segment,
//! and knows that the run is not its own any more.

use rekindle_model::id::{Hash32, RunId};

use super::{Created, Link, Segment, SegmentError, SegmentHead, SegmentStore};
use crate::object::{JOURNAL, ObjectName};

/// A location's part of a run, from the names of its segments and its last segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last segment.
    pub tail: Link,
    /// The number of segments, without one that closes the chain.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl SegmentStore {
    /// Returns the part of a run that is here; none if the run has no segment here.
    ///
    /// # Errors
    /// A last segment that cannot be read.
    pub async fn held(&self, run: RunId) -> Result<Option<Held>, SegmentError> {
        let listed = self.location.store.list(&format!("{JOURNAL}/{run}")).await?;
        let mut named: Vec<(u64, u64)> = listed
            .iter()
            .filter_map(|(path, len)| match ObjectName::from_path(path) {
                Some(ObjectName::Segment(of, n)) if of == run => Some((n, *len)),
                _ => None,
            })
            .collect();
        named.sort_unstable();
        let Some((last, _)) = named.last().copied() else {
            return Ok(None);
        };
        let (segment, hash) = self.read(run, last).await?;
        if segment.head.closes() {
            named.pop();
        }
        let tail = Link {
            head: segment.head,
            hash,
        };
        Ok(Some(Held {
            tail,
            segments: named.len() as u64,
            bytes: named.iter().map(|(_, len)| len).sum(),
        }))
    }

    /// Closes the chain of a run that is over, and removes its segments. If it was interrupted, it can be called
    /// again. Returns whether it did so: if another process has continued the run since `held` was read, it removes
    /// nothing.
    ///
    /// # Errors
    /// [`SegmentError::Store`].
    pub async fn close(&self, held: &Held) -> Result<bool, SegmentError> {
        let end = &held.tail.head;
        let mut closing = end.n;
        if !end.closes() {
            let head = SegmentHead {
                n: end.n + 1,
                prev: Hash32::ZERO,
                first: end.last + 1,
                ..end.clone()
            };
            closing = head.n;
            let segment = Segment {
                head,
                records: Vec::new(),
                blobs: Vec::new(),
            };
            if self.create(&segment).await? == Created::Taken {
                return Ok(false);
            }
        }
        for n in self.numbers(end.run).await? {
            if n < closing {
                let path = ObjectName::Segment(end.run, n).path();
                self.location.store.delete(&path).await?;
            }
        }
        Ok(true)
    }
}
