//! Who the descendants of this process are, and how they are ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait};
use tokio::signal::unix::Signal as Arrivals;

use super::report::ProcessId;

/// How long descendants may take to end after SIGTERM before they are killed.
const GRACE: Duration = Duration::from_secs(2);
/// How often the descendants are looked at while they end. SIGCHLD wakes sooner for the supervisor's own
/// children; a grandchild's end is seen by looking.
const LOOK: Duration = Duration::from_millis(20);

/// A process as `/proc` shows it.
#[derive(Clone, Copy)]
struct Seen {
    id: ProcessId,
    parent: i32,
    /// It has ended and waits for its parent to notice.
    ended: bool,
}

/// Returns a living process with its start, none when it is gone.
pub(super) fn id_of(pid: Pid) -> Option<ProcessId> {
    look(pid.as_raw_nonzero().get()).map(|seen| seen.id)
}

/// Ends all descendants: SIGTERM to each, SIGKILL after [`GRACE`] until none is left. Those that belong to
/// another user cannot be ended by this one and are left.
pub(super) async fn end_all(children: &mut Arrivals) {
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

/// Takes note of every child that has ended, adopted ones too.
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
            // Threads of one that has ended may still have children.
            parents.push(child.id.pid);
            if !child.ended {
                found.push(child.id);
            }
        }
    }
    found
}

fn everyone() -> impl Iterator<Item = Seen> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?))
}

fn look(pid: i32) -> Option<Seen> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of `/proc/<pid>/stat`; proc_pid_stat(5) has the fields.
fn parse(pid: i32, stat: &str) -> Option<Seen> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // State is field 3, the parent 4, the start 22.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Seen {
        id: ProcessId { pid, start_ticks },
        parent,
        ended: matches!(state, "Z" | "X"),
    })
}

/// Sends a signal to exactly this process: its number may belong to another one by now.
fn send(id: ProcessId, signal: Signal) -> Result<(), Errno> {
    let pid = Pid::from_raw(id.pid).ok_or(Errno::SRCH)?;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        // It ended; or the kernel is older than 5.3, and the number is all there is.
        Err(Errno::NOSYS) => return rustix::process::kill_process(pid, signal),
        Err(error) => return Err(error),
    };
    if look(id.pid).is_none_or(|seen| seen.id != id) {
        return Err(Errno::SRCH);
    }
    pidfd_send_signal(handle, signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "41 (a) (b) S 7 41 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        let seen = parse(41, stat).unwrap();
        assert_eq!(
            (seen.parent, seen.id.start_ticks, seen.ended),
            (7, 123_456, false)
        );
        assert!(parse(41, &stat.replace(" S ", " Z ")).unwrap().ended);
        assert!(parse(41, "41 (cut").is_none());
    }

    #[test]
    fn this_process_is_found_with_its_start() {
        let own = id_of(getpid()).unwrap();
        assert_eq!(own.pid, getpid().as_raw_nonzero().get());
        assert!(own.start_ticks > 0);
    }
}
