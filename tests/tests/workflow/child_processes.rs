//! A step's program is in the journal before it does anything. After a crash, the next attempt begins only
//! once all programs of the interrupted attempt are gone, even if no supervisor was left to end them.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};
use rekindle_tests::wait::{LIMIT, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Goes on for ever the first time, and says so where it meets its predecessor.
const FLOW: &str = r#"
workflow: linger
steps:
  - id: it
    uses: command
    with:
      run:
        - sh
        - "-c"
        - |
          if [ -e pid ]; then
            case "$(cat /proc/$(cat pid)/stat 2>/dev/null)" in ""|*") Z "*) ;; *) touch met ;; esac
            exit 0
          fi
          echo $$ > new; mv new pid; exec sleep 1000
"#;

fn pid_in(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Returns a process's parent, none where it is gone or a zombie.
fn parent_of(pid: i32) -> Option<i32> {
    let (state, parent) = stat_of(pid)?;
    (state != 'Z').then_some(parent)
}

/// Returns the letter of a process's state.
fn state_of(pid: i32) -> Option<char> {
    stat_of(pid).map(|(state, _)| state)
}

/// Returns a process's state and its parent.
fn stat_of(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("send a signal");
}

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("linger.yaml", FLOW)
}

fn of<'h>(history: &'h [Value], event: &str) -> &'h Value {
    let found = history.iter().find(|record| record["event"] == event);
    found.unwrap_or_else(|| panic!("no {event}: {history:#?}"))
}

#[test]
fn a_program_that_nothing_was_left_to_end_is_ended_before_its_step_goes_on() {
    let sandbox = sandbox();
    let mut owner = sandbox
        .command(&["run", "linger.yaml"])
        .spawn()
        .expect("start the product");
    let program = poll("the program begins", LIMIT, || pid_in(&sandbox.path("pid")));
    let supervisor = parent_of(program).expect("a program has a supervisor");
    // An owner that stands still does not see the supervisor die. The other way round the kernel would wake the
    // supervisor: its process group is an orphan once its owner has died.
    let owner_pid = i32::try_from(owner.id()).expect("a process id");
    signal(owner_pid, Signal::STOP);
    poll("the owner stands still", LIMIT, || {
        (state_of(owner_pid)? == 'T').then_some(())
    });
    signal(supervisor, Signal::KILL);
    owner.kill().expect("kill the product");
    owner.wait().expect("reap the product");
    poll("the program is an orphan", LIMIT, || {
        (parent_of(program)? != supervisor).then_some(())
    });

    sandbox.ok(&["resume"]);
    assert!(!sandbox.path("met").exists(), "two of them were at work at once");
    assert_eq!(parent_of(program), None, "it is gone");
    let history = sandbox.history();
    let child = &of(&history, "child_started")["child"];
    assert_eq!(child["program"]["pid"], json!(program));
    assert_eq!(child["supervisor"]["pid"], json!(supervisor));
    let evidence = &of(&history, "step_reconciled")["evidence"];
    assert_eq!(
        evidence["children"],
        json!([{ "pid": program, "found": "still there, ended" }])
    );
    assert!(
        evidence["why"].is_string(),
        "the action's own evidence stays: {evidence}"
    );
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("still there, ended"), "{shown}");
}

/// Kills around the append that names the program: before it nothing of the program is known, after it the program
/// is known and was not let run yet.
#[test]
fn no_program_does_anything_before_it_is_journaled() {
    for (place, last) in [
        (Place::BeforeAppend, "step_started"),
        (Place::AfterAppend, "child_started"),
    ] {
        let sandbox = sandbox();
        // The run and its first step come before it.
        sandbox
            .killed(&["run", "linger.yaml"], place, 3)
            .expect("it dies there");
        let history = sandbox.history();
        let found = history.last().expect("a history");
        assert_eq!(found["event"], last, "{history:#?}");
        if let Some(pid) = found["child"]["program"]["pid"].as_i64() {
            let pid = i32::try_from(pid).expect("a process id");
            poll("the held program ends with its owner", LIMIT, || {
                parent_of(pid).is_none().then_some(())
            });
        }
        assert!(!sandbox.path("pid").exists(), "{}: it has run", place.name());
    }
}
