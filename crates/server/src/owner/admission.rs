//! Admission: the owner admits one submission at a time, and one caller at a time for each run. If two submitted runs
//! conflict, or two callers take up one run, the second sees the first. If a run's tier hangs, a caller that takes up
//! this run delays no caller of another run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekindle_model::id::RunId;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, OwnedMutexGuard};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Admission {
    /// Held by a submission from its first check until its run is created, and by an owner that leaves.
    door: AsyncMutex<()>,
    /// The lock of each run that a caller holds or waits for.
    runs: Mutex<BTreeMap<RunId, Arc<AsyncMutex<()>>>>,
}

impl Admission {
    /// Waits until no other caller holds the door.
    pub(super) async fn enter(&self) -> AsyncMutexGuard<'_, ()> {
        self.door.lock().await
    }

    /// Waits until no other caller adopts the run, or sends a request to it while no process drives it.
    pub(super) async fn alone_with(&self, run: RunId) -> Alone<'_> {
        let mut alone = Alone {
            admission: self,
            run,
            held: None,
        };
        let lock = Arc::clone(self.runs().entry(run).or_default());
        alone.held = Some(lock.lock_owned().await);
        alone
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<AsyncMutex<()>>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock of one run: no other caller takes the run up until this is dropped.
pub(super) struct Alone<'a> {
    admission: &'a Admission,
    run: RunId,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut runs = self.admission.runs();
        // A caller that waits for the lock has a reference to it as well.
        if runs
            .get(&self.run)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            runs.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_run_admits_one_caller_at_a_time_and_forgets_unused_locks() {
        let admission = Admission::default();
        let [one, other] = [1, 2].map(|number| RunId(Uuid::from_u128(number)));
        let first = admission.alone_with(one).await;
        let second = admission.alone_with(other).await;
        let waits = futures::poll!(Box::pin(admission.alone_with(one)));
        assert!(waits.is_pending(), "another caller holds the lock");
        drop(second);
        assert_eq!(
            admission.runs().len(),
            1,
            "a caller that stopped waiting is forgotten"
        );
        drop(first);
        assert!(admission.runs().is_empty());
        drop(admission.alone_with(one).await);
    }
}
