//! The locks of `concurrency` groups. Of the steps that name a group, one is at work at a time, across all runs of a
//! process. Of the runs whose workflow names a group, one is at work at a time.
//!
//! One process drives all runs of a workspace, so it keeps the locks in memory. A crash frees them all, and a resumed
//! run takes its lock again. Groups of steps and groups of runs are separate, even if they have the same name: else a
//! run would wait for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekindle_model::event::Waits;
use rekindle_model::id::RunId;
use tokio::sync::watch;

use crate::deadlock::{self, WaitsFor};

/// The locks of all groups. Share one among the engines of a process.
#[derive(Debug, Default)]
pub struct Groups {
    /// The groups in which a step is at work.
    steps: Mutex<BTreeSet<String>>,
    runs: Mutex<Runs>,
    /// Changes when a lock or a place in line is given back, or when a deadlock closes. Then waiters ask again.
    freed: watch::Sender<u64>,
}

/// Which runs have a lock, and which wait for one.
#[derive(Debug, Default)]
struct Runs {
    groups: BTreeMap<String, Line>,
    /// For each driven run that is the work of another run's step, that other run.
    parents: BTreeMap<RunId, RunId>,
}

/// The runs of one group.
#[derive(Debug, Default)]
struct Line {
    /// The runs that have the lock: one run, then the runs of its own steps. Each is the work of the one before it.
    at_work: Vec<RunId>,
    /// The runs that wait. The oldest is next, so that a line that forms again after a crash has the same order.
    waiting: BTreeSet<RunId>,
}

impl Groups {
    /// Takes the lock of a group of steps, unless another step has it.
    pub(crate) fn take(self: &Arc<Self>, group: &str) -> Option<GroupLock> {
        self.steps().insert(group.to_owned()).then(|| GroupLock {
            groups: Arc::clone(self),
            group: group.to_owned(),
        })
    }

    /// Lets a driven run take part in the locks of groups of runs.
    pub(crate) fn join(self: &Arc<Self>, run: RunId, parent: Option<RunId>) -> Member {
        if let Some(parent) = parent {
            self.runs().parents.insert(run, parent);
        }
        Member {
            groups: Arc::clone(self),
            run,
            group: None,
        }
    }

    /// Returns a receiver that sees a change whenever a waiter should ask for its lock again.
    pub(crate) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    fn steps(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.freed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Why it is not a run's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// This run gets the lock first.
    After(RunId),
    /// Runs wait for each other, and this one must give way. Else the run that it waits for never ends.
    Deadlock(Vec<Waits>),
}

impl Runs {
    /// Returns whether `run` is the work of `other`, at whatever distance.
    fn is_below(&self, run: RunId, other: RunId) -> bool {
        let parents = std::iter::successors(self.parents.get(&run), |run| self.parents.get(run));
        // No run is its own ancestor. There is a bound all the same, since a person may have edited the journal.
        parents.take(self.parents.len()).any(|parent| *parent == other)
    }

    /// Returns the runs that a driven run waits for: those with the lock that it wants, and those of its own steps.
    fn waits_for(&self, run: RunId) -> Vec<WaitsFor> {
        let mut found = Vec::new();
        for (group, line) in &self.groups {
            if line.waiting.contains(&run) {
                let before = line.at_work.iter().filter(|other| !self.is_below(run, **other));
                found.extend(before.map(|other| (*other, Some(group.clone()))));
            }
        }
        let own = self.parents.iter().filter(|(_, parent)| **parent == run);
        found.extend(own.map(|(child, _)| (*child, None)));
        found
    }
}

/// The lock of a group of steps, until this is dropped.
#[derive(Debug)]
pub(crate) struct GroupLock {
    groups: Arc<Groups>,
    group: String,
}

impl Drop for GroupLock {
    fn drop(&mut self) {
        self.groups.steps().remove(&self.group);
        self.groups.tell();
    }
}

/// A driven run as a member of its group. When this is dropped, it gives back the run's lock or its place in line.
#[derive(Debug)]
pub(crate) struct Member {
    groups: Arc<Groups>,
    run: RunId,
    /// The group in which it is at work or waits.
    group: Option<String>,
}

impl Member {
    /// Takes the run's lock, or its place in line.
    ///
    /// # Errors
    /// Why the run does not get the lock. The caller asks again whenever [`Groups::freed`] changes.
    pub(crate) fn take_lock(&mut self, group: &str) -> Result<(), NotNow> {
        let mut runs = self.groups.runs();
        self.group = Some(group.to_owned());
        let mut line = runs.groups.remove(group).unwrap_or_default();
        let begins_to_wait = line.waiting.insert(self.run);
        // A run that is the work of a run's step shares that run's lock.
        let mut outer = line.at_work.iter();
        let next = match line.at_work.is_empty() {
            true => line.waiting.first().copied().filter(|first| *first != self.run),
            false => outer.find(|other| !runs.is_below(self.run, **other)).copied(),
        };
        if next.is_none() {
            line.waiting.remove(&self.run);
            line.at_work.push(self.run);
        }
        runs.groups.insert(group.to_owned(), line);
        let Some(next) = next else {
            return Ok(());
        };
        let Some(cycle) = deadlock::cycle(self.run, |run| runs.waits_for(run)) else {
            return Err(NotNow::After(next));
        };
        drop(runs);
        if deadlock::who_gives_way(&cycle) == Some(self.run) {
            return Err(NotNow::Deadlock(cycle));
        }
        if begins_to_wait {
            // The run that must give way waits already, and looks again only when `freed` changes.
            self.groups.tell();
        }
        Err(NotNow::After(next))
    }

    /// Gives back the run's lock, or its place in line.
    pub(crate) fn leave(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        let mut runs = self.groups.runs();
        if let Some(line) = runs.groups.get_mut(&group) {
            line.waiting.remove(&self.run);
            line.at_work.retain(|run| *run != self.run);
            if line.waiting.is_empty() && line.at_work.is_empty() {
                runs.groups.remove(&group);
            }
        }
        drop(runs);
        self.groups.tell();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
        self.groups.runs().parents.remove(&self.run);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    fn after(number: u128) -> NotNow {
        NotNow::After(run(number))
    }

    #[test]
    fn one_run_of_a_group_has_the_lock_and_the_oldest_that_waits_is_next() {
        let groups = Arc::new(Groups::default());
        let [mut first, mut late, mut early] = [5, 9, 7].map(|number| groups.join(run(number), None));
        assert_eq!(first.take_lock("g"), Ok(()));
        assert_eq!(late.take_lock("g"), Err(after(5)));
        assert_eq!(early.take_lock("g"), Err(after(5)));
        assert_eq!(groups.join(run(1), None).take_lock("other"), Ok(()));
        drop(first);
        assert_eq!(late.take_lock("g"), Err(after(7)), "an older one waits");
        assert_eq!(early.take_lock("g"), Ok(()));
        early.leave();
        assert_eq!(late.take_lock("g"), Ok(()));
    }

    #[test]
    fn a_run_that_stops_waiting_delays_no_other() {
        let groups = Arc::new(Groups::default());
        let [mut first, mut gone, mut last] = [1, 2, 3].map(|number| groups.join(run(number), None));
        assert_eq!(first.take_lock("g"), Ok(()));
        assert_eq!(gone.take_lock("g"), Err(after(1)));
        assert_eq!(last.take_lock("g"), Err(after(1)));
        let mut freed = groups.freed();
        drop(gone);
        assert!(freed.has_changed().unwrap());
        freed.borrow_and_update();
        drop(first);
        assert!(freed.has_changed().unwrap(), "the waiting runs are notified");
        assert_eq!(last.take_lock("g"), Ok(()));
    }

    #[test]
    fn what_a_step_runs_has_the_lock_of_its_run_and_its_siblings_wait() {
        let groups = Arc::new(Groups::default());
        let mut outer = groups.join(run(1), None);
        let _between = groups.join(run(2), Some(run(1)));
        let [mut inner, mut sibling] = [3, 4].map(|number| groups.join(run(number), Some(run(2))));
        assert_eq!(outer.take_lock("g"), Ok(()));
        assert_eq!(inner.take_lock("g"), Ok(()));
        assert_eq!(sibling.take_lock("g"), Err(after(3)));
        drop(inner);
        assert_eq!(sibling.take_lock("g"), Ok(()));
        drop((outer, sibling));
        assert_eq!(groups.join(run(9), None).take_lock("g"), Ok(()));
    }

    #[test]
    fn of_runs_that_wait_for_each_other_the_youngest_that_waits_is_told_to_give_way() {
        let groups = Arc::new(Groups::default());
        let [mut one, mut other] = [1, 2].map(|number| groups.join(run(number), None));
        assert_eq!(one.take_lock("g"), Ok(()));
        assert_eq!(other.take_lock("h"), Ok(()));
        let mut young = groups.join(run(4), Some(run(1)));
        let mut old = groups.join(run(3), Some(run(2)));
        assert_eq!(young.take_lock("h"), Err(after(2)), "no run waits for it yet");
        let mut freed = groups.freed();
        freed.borrow_and_update();
        assert_eq!(old.take_lock("g"), Err(after(1)), "it is the older of the two");
        assert!(freed.has_changed().unwrap(), "the younger one is told");
        freed.borrow_and_update();
        assert_eq!(old.take_lock("g"), Err(after(1)));
        assert!(!freed.has_changed().unwrap(), "once");
        let waits = |number, group: Option<&str>| Waits {
            run: run(number),
            group: group.map(str::to_owned),
        };
        let cycle = vec![
            waits(4, Some("h")),
            waits(2, None),
            waits(3, Some("g")),
            waits(1, None),
        ];
        assert_eq!(young.take_lock("h"), Err(NotNow::Deadlock(cycle)));
        drop(young);
        drop(one);
        assert_eq!(old.take_lock("g"), Ok(()));
    }

    #[test]
    fn a_run_and_the_work_of_its_own_steps_are_no_deadlock_in_one_group() {
        let groups = Arc::new(Groups::default());
        let mut outer = groups.join(run(1), None);
        let [mut first, mut second] = [2, 3].map(|number| groups.join(run(number), Some(run(1))));
        assert_eq!(outer.take_lock("g"), Ok(()));
        assert_eq!(first.take_lock("g"), Ok(()));
        assert_eq!(second.take_lock("g"), Err(after(2)));
    }
}
