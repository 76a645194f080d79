//! Programs that an earlier attempt started. The engine makes sure that they are gone before their step continues.
//!
//! Each program was journaled before it could do anything. If its owner died, its supervisor ends the program and all
//! that it started. If the supervisor died too, this module ends the program's process group.

use std::time::Duration;

use rekindle_model::failure::Failure;
use rekindle_model::process::{Child, ProcessId};
use rekindle_model::time::boot_id;
use rustix::io::Errno;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::process::{self, Signal};

/// The code of a program of an earlier attempt that cannot be ended.
const CHILD_ALIVE: &str = "child_alive";
/// How long a supervisor is waited for: it gives 2 s to what it ends, and killing takes a moment.
const SUPERVISOR: Duration = Duration::from_secs(4);
/// How long a process group may take to end after SIGTERM, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone: one that waits for a disk takes its time.
const KILLED: Duration = Duration::from_secs(3);
/// How often this module looks at the programs.
const LOOK: Duration = Duration::from_millis(20);

/// Makes sure that these programs are gone, and returns how it found each of them, for the evidence.
///
/// # Errors
/// When a program cannot be ended; the failure is retryable.
pub(crate) async fn end(children: &[Child]) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::with_capacity(children.len());
    for child in children {
        found.push(json!({ "pid": child.program.pid, "found": end_one(child).await? }));
    }
    Ok(found)
}

async fn end_one(child: &Child) -> Result<&'static str, Failure> {
    if child.boot_id != boot_id() {
        return Ok("of another boot, gone");
    }
    // Its number is known to be its own from here on: a group keeps its number as long as it has members.
    let lived = process::lives(child.program);
    let supervised = || child.supervisor.is_some_and(process::lives);
    let until = Instant::now() + SUPERVISOR;
    while supervised() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    if !lived {
        return Ok("gone");
    }
    let (mut signal, mut until) = (Signal::TERM, Instant::now() + GRACE);
    let mut asked = Vec::new();
    loop {
        let left = group(child.program.pid);
        if left.is_empty() {
            return Ok("still there, ended");
        }
        for &id in left
            .iter()
            .filter(|id| signal == Signal::KILL || !asked.contains(*id))
        {
            if process::send(id, signal) == Err(Errno::PERM) {
                return Err(alive(id, "it belongs to another user"));
            }
        }
        asked = left;
        if Instant::now() >= until {
            if signal == Signal::KILL {
                return Err(alive(child.program, "it does not end, although it was killed"));
            }
            (signal, until) = (Signal::KILL, Instant::now() + KILLED);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the members of a process group that have not ended.
fn group(group: i32) -> Vec<ProcessId> {
    let members = process::everyone().filter(|seen| seen.group == group && !seen.ended);
    members.map(|seen| seen.id).collect()
}

fn alive(id: ProcessId, why: &str) -> Failure {
    let message = format!("process {} of an earlier attempt is still there: {why}", id.pid);
    Failure::transient(CHILD_ALIVE, message).with_hint(format!(
        "end it (`kill -9 {}`), then let the step run again",
        id.pid
    ))
}

/// Returns an action's evidence with what was found of the programs beside it.
pub(crate) fn with_found(evidence: Value, found: Vec<Value>) -> Value {
    if found.is_empty() {
        return evidence;
    }
    let mut whole = match evidence {
        Value::Object(fields) => fields,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("found".to_owned(), other)]),
    };
    whole.insert("children".to_owned(), Value::Array(found));
    Value::Object(whole)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child as Started, Command};

    use uuid::Uuid;

    use super::*;

    /// Starts a shell that leads a group of its own.
    fn shell(script: &str) -> (Started, Child) {
        let started = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .spawn()
            .unwrap();
        let program = process::look(i32::try_from(started.id()).unwrap()).unwrap().id;
        let child = Child {
            program,
            supervisor: None,
            boot_id: boot_id(),
        };
        (started, child)
    }

    #[tokio::test]
    async fn a_program_is_ended_with_its_group_and_named() {
        let (mut started, child) = shell("sleep 1000 & exec sleep 1000");
        while group(child.program.pid).len() < 2 {
            tokio::task::yield_now().await;
        }
        let found = end(&[child]).await.unwrap();
        assert_eq!(
            found,
            [json!({ "pid": child.program.pid, "found": "still there, ended" })]
        );
        assert!(group(child.program.pid).is_empty());
        started.wait().unwrap();
        assert_eq!(end(&[child]).await.unwrap()[0]["found"], "gone");
    }

    #[tokio::test]
    async fn one_that_ignores_being_asked_is_killed() {
        let (mut started, child) = shell("trap '' TERM; while :; do sleep 0.01; done");
        // It is the shell that must have the trap, not this process's copy of it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        end(&[child]).await.unwrap();
        assert!(begun.elapsed() >= GRACE, "it was asked first");
        started.wait().unwrap();
    }

    #[tokio::test]
    async fn another_process_with_its_number_is_left_alone() {
        let (mut started, child) = shell("exec sleep 1000");
        let other = |child: Child| Child {
            program: ProcessId {
                start_ticks: child.program.start_ticks - 1,
                ..child.program
            },
            ..child
        };
        let rebooted = Child {
            boot_id: Uuid::nil(),
            ..child
        };
        let found = end(&[other(child), rebooted]).await.unwrap();
        assert_eq!(
            (&found[0]["found"], &found[1]["found"]),
            (&json!("gone"), &json!("of another boot, gone"))
        );
        assert!(process::lives(child.program));
        started.kill().unwrap();
        started.wait().unwrap();
    }

    #[test]
    fn what_was_found_stands_beside_what_the_action_says() {
        let found = || vec![json!({ "pid": 7, "found": "gone" })];
        assert_eq!(
            with_found(json!({ "why": "x" }), Vec::new()),
            json!({ "why": "x" })
        );
        assert_eq!(with_found(json!({ "why": "x" }), found())["why"], "x");
        assert_eq!(
            with_found(json!("x"), found()),
            json!({ "found": "x", "children": found() })
        );
    }
}
