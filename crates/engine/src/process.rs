//! Processes as `/proc` shows them, and signals that reach exactly the intended process.

use std::fs;

use rekindle_model::process::ProcessId;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use rustix::process::Signal;

/// A process as `/proc` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The process.
    pub id: ProcessId,
    /// The id of its parent.
    pub parent: i32,
    /// The id of its process group.
    pub group: i32,
    /// Whether it has ended and waits for its parent to notice.
    pub ended: bool,
}

/// Returns every process of the machine that this user may see.
pub fn everyone() -> impl Iterator<Item = Seen> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?))
}

/// Returns the process that has this number now, if there is one.
pub fn look(pid: i32) -> Option<Seen> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Returns whether exactly this process is there and has not ended.
pub fn lives(id: ProcessId) -> bool {
    look(id.pid).is_some_and(|seen| seen.id == id && !seen.ended)
}

/// Sends a signal to exactly this process. Its number may belong to another one by now.
///
/// # Errors
/// `SRCH` if it is gone, `PERM` if it belongs to another user.
pub fn send(id: ProcessId, signal: Signal) -> Result<(), Errno> {
    let pid = Pid::from_raw(id.pid).ok_or(Errno::SRCH)?;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        // The process has ended. Or the kernel is older than 5.3: then only the number identifies the process.
        Err(Errno::NOSYS) => return rustix::process::kill_process(pid, signal),
        Err(error) => return Err(error),
    };
    if look(id.pid).is_none_or(|seen| seen.id != id) {
        return Err(Errno::SRCH);
    }
    pidfd_send_signal(handle, signal)
}

/// Reads a line of `/proc/<pid>/stat`; proc_pid_stat(5) has the fields.
fn parse(pid: i32, stat: &str) -> Option<Seen> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // State is field 3, the parent 4, the group 5, the start 22.
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Seen {
        id: ProcessId { pid, start_ticks },
        parent,
        group,
        ended: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "41 (a) (b) S 7 40 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        let seen = parse(41, stat).unwrap();
        assert_eq!(
            (seen.parent, seen.group, seen.id.start_ticks, seen.ended),
            (7, 40, 123_456, false)
        );
        assert!(parse(41, &stat.replace(" S ", " Z ")).unwrap().ended);
        assert!(parse(41, "41 (cut").is_none());
    }

    #[test]
    fn this_process_lives_and_one_that_had_its_number_before_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = look(pid).unwrap();
        assert!(own.id.start_ticks > 0 && lives(own.id));
        let start_ticks = own.id.start_ticks - 1;
        let before = ProcessId { pid, start_ticks };
        assert!(!lives(before));
        assert_eq!(send(before, Signal::KILL), Err(Errno::SRCH));
    }
}
