//! How many steps of all runs of a process may be at work at once, and who is next where more want to be: the most
//! urgent step, in whatever run it stands; of equally urgent ones, that of the run which has waited longest.
//!
//! A slot that becomes free is handed to whoever waits for it, so that none is free while anybody waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many steps of all runs of a process may be at work at once, unless told otherwise. Steps wait for disks and
/// networks more than they compute; a plan's own `max_parallel` is what usually decides.
const DEFAULT: usize = 16;

/// The slots of a process. Share one among its engines.
#[derive(Debug)]
pub struct Slots {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    free: usize,
    /// Who waits, by the priority of the step and the ticket of its run.
    waiting: BTreeMap<Place, oneshot::Sender<Slot>>,
    next_ticket: u64,
}

/// A place in the queue: the least is served first.
type Place = (i64, u64);

impl Default for Slots {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

impl Slots {
    /// Returns so many slots, at least one.
    pub fn new(count: usize) -> Self {
        let inner = Inner {
            free: count.max(1),
            waiting: BTreeMap::new(),
            next_ticket: 0,
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Takes a slot that nobody waits for.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Slot> {
        let mut inner = self.inner();
        inner.free = inner.free.checked_sub(1)?;
        drop(inner);
        Some(Slot(Arc::clone(self)))
    }

    /// Returns a ticket, which tells how long a run has waited.
    pub(crate) fn ticket(&self) -> u64 {
        let mut inner = self.inner();
        inner.next_ticket += 1;
        inner.next_ticket
    }

    /// Waits for a slot. Whoever stops waiting and comes again with the same ticket has lost no place.
    pub(crate) async fn take(self: &Arc<Self>, priority: i64, ticket: u64) -> Slot {
        loop {
            let place = (priority, ticket);
            let (_waits, handed) = {
                let mut inner = self.inner();
                if let Some(left) = inner.free.checked_sub(1) {
                    inner.free = left;
                    drop(inner);
                    return Slot(Arc::clone(self));
                }
                let (hand, handed) = oneshot::channel();
                inner.waiting.insert(place, hand);
                let waits = Waits { slots: self, place };
                (waits, handed)
            };
            // A slot that comes as the waiting ends goes on to the next, as any that is dropped.
            if let Ok(slot) = handed.await {
                return slot;
            }
        }
    }

    /// Returns the priority of the most urgent step that waits for a slot.
    pub(crate) fn most_urgent(&self) -> Option<i64> {
        let inner = self.inner();
        let first = inner.waiting.first_key_value();
        first.map(|((priority, _), _)| *priority)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, until this is dropped.
struct Waits<'a> {
    slots: &'a Slots,
    place: Place,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.slots.inner().waiting.remove(&self.place);
    }
}

/// One slot, until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        match inner.waiting.pop_first() {
            None => inner.free += 1,
            Some((_, hand)) => {
                drop(inner);
                // One that comes back, because nobody waits there any more, is dropped and goes on to the next.
                drop(hand.send(Slot(Arc::clone(&self.0))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Lets a future run as far as it can.
    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_slot_goes_to_the_most_urgent_and_then_to_who_waited_longest() {
        let slots = Arc::new(Slots::new(1));
        let held = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        let (early, late) = (slots.ticket(), slots.ticket());
        let mut second = pin!(slots.take(5, late));
        let mut first = pin!(slots.take(5, early));
        let mut urgent = pin!(slots.take(1, slots.ticket()));
        assert!(poll(second.as_mut()).is_none() && poll(first.as_mut()).is_none());
        assert_eq!(slots.most_urgent(), Some(5));
        assert!(poll(urgent.as_mut()).is_none());
        assert_eq!(slots.most_urgent(), Some(1));
        drop(held);
        assert!(slots.try_take().is_none(), "none is free while anybody waits");
        let held = poll(urgent.as_mut()).unwrap();
        assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
        drop(held);
        let held = poll(first.as_mut()).unwrap();
        assert!(poll(second.as_mut()).is_none());
        drop(held);
        assert!(poll(second.as_mut()).is_some());
    }

    #[test]
    fn a_slot_is_not_lost_on_one_who_has_stopped_waiting() {
        let slots = Arc::new(Slots::new(1));
        let held = slots.try_take().unwrap();
        {
            let mut gone = pin!(slots.take(1, slots.ticket()));
            assert!(poll(gone.as_mut()).is_none());
            drop(held);
            // It was handed over and never looked at.
        }
        assert_eq!(slots.most_urgent(), None);
        assert!(slots.try_take().is_some());
    }
}
