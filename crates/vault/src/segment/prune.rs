//! Removing the segments of runs that have been over for long.
//!
//! The last thing that is created for a run says so: a segment that closes its chain, after the last number, where there is
//! none. Whoever goes on with the run at that very moment has taken that number, and then nothing is removed. Then
//! everything before it goes. It stays, a few hundred bytes: a workspace that had the run before it was over elsewhere,
//! and comes back after a year, finds by it that the run is not its own any more.

use rekindle_model::id::{Hash32, RunId};

use super::{Created, Link, Segment, SegmentError, SegmentHead, SegmentStore};
use crate::object::{JOURNAL, ObjectName};

/// What a location holds of a run, as far as the names of its segments and its last segment tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last segment.
    pub tail: Link,
    /// How many segments there are beside one that closes the chain.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl SegmentStore {
    /// Returns what is here of a run; none where it has no segment.
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

    /// Closes the chain of a run that is over, and removes its segments. Cut off, it is done again. Returns whether it was
    /// done: not where somebody has gone on with the run since `held` was looked at.
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
