//! The descendants of this process: finds them, and ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rekindle_engine::process::{Seen, Signal, everyone, look, send};
use rekindle_model::planted::{self, Fault};
use rekindle_model::process::ProcessId;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, wait};
use tokio::signal::unix::Signal as Arrivals;

/// How long descendants may take to end after SIGTERM before they are killed.
const GRACE: Duration = Duration::from_secs(2);
/// How often to look at the descendants while they end. SIGCHLD reports the end of the supervisor's own children
/// sooner; only a look shows the end of a grandchild.
const LOOK: Duration = Duration::from_millis(20);

/// Returns a living process with its start time; none if it is gone.
pub(super) fn id_of(pid: Pid) -> Option<ProcessId> {
    look(pid.as_raw_nonzero().get()).map(|seen| seen.id)
}

/// Ends all descendants: SIGTERM to each, then after [`GRACE`] SIGKILL until none is left. Descendants of another user
/// stay, since this user cannot end them.
pub(super) async fn end_all(children: &mut Arrivals) {
    if planted::is(Fault::ChildLeftAlive) {
        return;
    }
    let mut asked = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let grace = tokio::time::sleep(GRACE);
    tokio::pin!(grace);
    let mut kill = false;
    loop {
        reap();
        let mut left = living();
        left.retain(|id| !refused.contains(id));
        if left.is_empty() {
            return;
        }
        for id in left {
            let answer = if kill {
                send(id, Signal::KILL)
            } else if asked.insert(id) {
                send(id, Signal::TERM)
            } else {
                Ok(())
            };
            if answer == Err(Errno::PERM) {
                refused.insert(id);
            }
        }
        tokio::select! {
            () = &mut grace, if !kill => kill = true,
            _ = children.recv() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Reaps every child that has ended, also adopted ones.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Returns the descendants that have not ended.
fn living() -> Vec<ProcessId> {
    let mut children: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    for seen in everyone() {
        children.entry(seen.parent).or_default().push(seen);
    }
    let mut found = Vec::new();
    let mut parents = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            // The threads of an ended process may still have children.
            parents.push(child.id.pid);
            if !child.ended {
                found.push(child.id);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_start() {
        let own = id_of(getpid()).unwrap();
        assert_eq!(own.pid, getpid().as_raw_nonzero().get());
        assert!(own.start_ticks > 0);
    }
}
