//! How many steps of all runs of a process may be at work at once, and which step is next when more want to be. The
//! most urgent step of all runs is next. Of equally urgent steps, the one whose run has waited longest is next.
//!
//! When a permit becomes free, it goes straight to the next waiter. So no permit is free while a run waits for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The permits of a process. Share one among its engines.
#[derive(Debug)]
pub struct Permits {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    free: usize,
    /// The waiters, by the priority of the step and the ticket of its run.
    waiting: BTreeMap<Place, oneshot::Sender<Permit>>,
    next_ticket: u64,
}

/// A place in the queue: the least is served first.
type Place = (i64, u64);

impl Default for Permits {
    fn default() -> Self {
        Self::new(Self::USUAL)
    }
}

impl Permits {
    /// The default for how many steps of all runs of a process may be at work at once. Steps wait for disks and
    /// networks more than they compute. Usually a plan's own `max_parallel` is the limit.
    pub const USUAL: usize = 16;

    /// Returns so many permits, at least one.
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

    /// Takes a permit that nobody waits for.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let mut inner = self.inner();
        inner.free = inner.free.checked_sub(1)?;
        drop(inner);
        Some(Permit(Arc::clone(self)))
    }

    /// Returns a ticket. A lower ticket means that the run has waited longer.
    pub(crate) fn ticket(&self) -> u64 {
        let mut inner = self.inner();
        inner.next_ticket += 1;
        inner.next_ticket
    }

    /// Waits for a permit. If a caller stops waiting and comes again with the same ticket, it keeps its place.
    pub(crate) async fn take(self: &Arc<Self>, priority: i64, ticket: u64) -> Permit {
        loop {
            let place = (priority, ticket);
            let (_waits, handed) = {
                let mut inner = self.inner();
                if let Some(left) = inner.free.checked_sub(1) {
                    inner.free = left;
                    drop(inner);
                    return Permit(Arc::clone(self));
                }
                let (hand, handed) = oneshot::channel();
                inner.waiting.insert(place, hand);
                let waits = Waits { permits: self, place };
                (waits, handed)
            };
            // If a permit arrives just as the caller stops waiting, it is dropped and so passes to the next waiter.
            if let Ok(permit) = handed.await {
                return permit;
            }
        }
    }

    /// Returns the priority of the most urgent step that waits for a permit.
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
    permits: &'a Permits,
    place: Place,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.permits.inner().waiting.remove(&self.place);
    }
}

/// One permit, until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        match inner.waiting.pop_first() {
            None => inner.free += 1,
            Some((_, hand)) => {
                drop(inner);
                // If that waiter has stopped waiting, the permit comes back; its drop passes it to the next waiter.
                drop(hand.send(Permit(Arc::clone(&self.0))));
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
    fn a_permit_goes_to_the_most_urgent_and_then_to_who_waited_longest() {
        let permits = Arc::new(Permits::new(1));
        let held = permits.try_take().unwrap();
        assert!(permits.try_take().is_none());
        let (early, late) = (permits.ticket(), permits.ticket());
        let mut second = pin!(permits.take(5, late));
        let mut first = pin!(permits.take(5, early));
        let mut urgent = pin!(permits.take(1, permits.ticket()));
        assert!(poll(second.as_mut()).is_none() && poll(first.as_mut()).is_none());
        assert_eq!(permits.most_urgent(), Some(5));
        assert!(poll(urgent.as_mut()).is_none());
        assert_eq!(permits.most_urgent(), Some(1));
        drop(held);
        assert!(permits.try_take().is_none(), "none is free while anybody waits");
        let held = poll(urgent.as_mut()).unwrap();
        assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
        drop(held);
        let held = poll(first.as_mut()).unwrap();
        assert!(poll(second.as_mut()).is_none());
        drop(held);
        assert!(poll(second.as_mut()).is_some());
    }

    #[test]
    fn a_permit_is_not_lost_on_one_who_has_stopped_waiting() {
        let permits = Arc::new(Permits::new(1));
        let held = permits.try_take().unwrap();
        {
            let mut gone = pin!(permits.take(1, permits.ticket()));
            assert!(poll(gone.as_mut()).is_none());
            drop(held);
            // The waiter got the permit and never took it.
        }
        assert_eq!(permits.most_urgent(), None);
        assert!(permits.try_take().is_some());
    }
}
