//! Steps of which only one is at work at a time, in whichever runs of a process they stand: `concurrency: NAME`.
//!
//! One process drives all runs of a workspace, so its memory is where the turns are kept; a crash frees them all, and
//! whoever resumes takes them anew.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The turns of all groups. Share one among the engines of a process.
#[derive(Debug, Default)]
pub struct Groups {
    taken: Mutex<BTreeSet<String>>,
    /// Counts how often a turn ended.
    freed: watch::Sender<u64>,
}

impl Groups {
    /// Takes the turn of a group, unless somebody has it.
    pub(crate) fn take(self: &Arc<Self>, group: &str) -> Option<Turn> {
        self.taken().insert(group.to_owned()).then(|| Turn {
            groups: Arc::clone(self),
            group: group.to_owned(),
        })
    }

    /// Returns what changes whenever a turn ends.
    pub(crate) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of a group, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    groups: Arc<Groups>,
    group: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.groups.taken().remove(&self.group);
        self.groups
            .freed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}
