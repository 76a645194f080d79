//! Removing the slots of runs that have been over for long.
//!
//! The last thing that is created for a run says so: a slot that closes its chain, after the last number, where there is
//! none. Whoever goes on with the run at that very moment has taken that number, and then nothing is removed. Then
//! everything before it goes. It stays, a few hundred bytes: a workspace that had the run before it was over elsewhere,
//! and comes back after a year, finds by it that the run is not its own any more.

use rekindle_model::id::{Hash32, RunId};

use super::{Created, Link, Slot, SlotError, SlotHead, SlotPlace};
use crate::object::{JOURNAL, ObjectName};

/// What a location holds of a run, as far as the names of its slots and its last slot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last slot.
    pub tail: Link,
    /// How many slots there are beside one that closes the chain.
    pub slots: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl SlotPlace {
    /// Returns what is here of a run; none where it has no slot.
    ///
    /// # Errors
    /// A last slot that cannot be read.
    pub async fn held(&self, run: RunId) -> Result<Option<Held>, SlotError> {
        let listed = self.location.store.list(&format!("{JOURNAL}/{run}")).await?;
        let mut named: Vec<(u64, u64)> = listed
            .iter()
            .filter_map(|(path, len)| match ObjectName::from_path(path) {
                Some(ObjectName::Slot(of, n)) if of == run => Some((n, *len)),
                _ => None,
            })
            .collect();
        named.sort_unstable();
        let Some((last, _)) = named.last().copied() else {
            return Ok(None);
        };
        let (slot, hash) = self.read(run, last).await?;
        if slot.head.closes() {
            named.pop();
        }
        let tail = Link {
            head: slot.head,
            hash,
        };
        Ok(Some(Held {
            tail,
            slots: named.len() as u64,
            bytes: named.iter().map(|(_, len)| len).sum(),
        }))
    }

    /// Closes the chain of a run that is over, and removes its slots. Cut off, it is done again. Returns whether it was
    /// done: not where somebody has gone on with the run since `held` was looked at.
    ///
    /// # Errors
    /// [`SlotError::Store`].
    pub async fn close(&self, held: &Held) -> Result<bool, SlotError> {
        let end = &held.tail.head;
        let mut closing = end.n;
        if !end.closes() {
            let head = SlotHead {
                n: end.n + 1,
                prev: Hash32::ZERO,
                first: end.last + 1,
                ..end.clone()
            };
            closing = head.n;
            let slot = Slot {
                head,
                records: Vec::new(),
                blobs: Vec::new(),
            };
            if self.create(&slot).await? == Created::Taken {
                return Ok(false);
            }
        }
        for n in self.numbers(end.run).await? {
            if n < closing {
                let path = ObjectName::Slot(end.run, n).path();
                self.location.store.delete(&path).await?;
            }
        }
        Ok(true)
    }
}
