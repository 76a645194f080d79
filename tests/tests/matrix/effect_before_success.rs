//! A workflow whose steps leave marks is killed at every record. If the journal says that a step is done, its
//! mark exists, at whichever record the process died.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::faults::{KILL, Place};
use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const CHAIN: &str = r#"
workflow: marks
steps:
  - id: a
    uses: command
    with: {run: [sh, -c, "echo done > a"]}
  - id: b
    needs: [a]
    uses: command
    with: {run: [sh, -c, "cat a > b"]}
"#;

/// Fails once, waits, and succeeds.
const RETRIED: &str = r#"
workflow: marks
steps:
  - id: a
    uses: command
    with: {run: [sh, -c, "[ -e tried ] && echo done > a || { touch tried; exit 1; }"]}
    retry: {max_attempts: 2, backoff: {initial: 1s, factor: 1, max: 1s, jitter: 0}}
"#;

fn sandbox(flow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("marks.yaml", flow)
}

/// Runs a command to its end; kills it if it hangs.
fn ends(command: &mut Command, limit: Duration) -> Option<ExitStatus> {
    let mut child = command.spawn().expect("start the product");
    let begun = SystemClock.now();
    while SystemClock.now().since(&begun).duration < limit {
        if let Some(status) = child.try_wait().expect("look at the product") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("kill the product");
    child.wait().expect("reap the product");
    None
}

#[test]
fn what_the_journal_says_is_done_has_left_its_mark_whenever_the_process_dies() {
    let (mut kills, mut done) = (0, 0);
    let fresh = sandbox(CHAIN);
    for place in Place::ALL {
        for number in 1.. {
            let sandbox = fresh.fork();
            let case = format!("{} {number}", place.name());
            if sandbox.killed(&["run", "marks.yaml"], place, number).is_err() {
                break;
            }
            kills += 1;
            for record in sandbox.history() {
                if record["event"] == "step_succeeded" {
                    let step = record["step"].as_str().expect("a step");
                    assert!(sandbox.path(step).exists(), "{case}: {step} has left no mark");
                    done += 1;
                }
            }
            if sandbox.ok(&["runs", "--json"]).is_empty() {
                continue;
            }
            sandbox.ok(&["resume"]);
            for step in ["a", "b"] {
                let mark = fs::read_to_string(sandbox.path(step)).unwrap_or_default();
                assert_eq!(mark, "done\n", "{case}: the mark of {step}");
            }
        }
    }
    assert!(kills >= 6 && done >= 4, "{kills} kills, {done} steps were done");
}

#[test]
fn a_wait_for_the_next_attempt_comes_to_its_end_also_where_a_kill_cuts_it_off() {
    let sandbox = sandbox(RETRIED);
    // The attempt's failure is durable, and its process is gone.
    let failed = (1..)
        .find(|number| {
            let mut command = sandbox.command(&["run", "marks.yaml"]);
            command.env(KILL, format!("{}:{number}", Place::AfterAppend.name()));
            ends(&mut command, Duration::from_secs(30)).expect("it dies");
            let history = sandbox.history();
            let waits = history
                .last()
                .is_some_and(|record| record["event"] == "step_failed");
            if !waits {
                // Not there yet: a run of its own for each number.
                let _ = fs::remove_file(sandbox.path("tried"));
            }
            waits
        })
        .expect("some number");
    assert!(failed > 2, "{failed}");
    let mut command = sandbox.command(&["resume", "latest"]);
    // Far longer than the wait of a second.
    let ended = ends(&mut command, Duration::from_secs(15));
    assert!(
        ended.is_some_and(|status| status.success()),
        "the wait did not end: {ended:?}"
    );
    assert!(sandbox.path("a").exists());
}
