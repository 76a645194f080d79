//! What others see and get while one process owns the workspace: as it begins, works, waits for somebody, and leaves.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::{Child, Stdio};

use rekindle_tests::sandbox::{NOTES, Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Over at once.
const QUICK: &str = "workflow: quick\nsteps:\n  - {id: only, uses: noop}\n";

#[test]
fn whoever_submits_or_watches_as_an_owner_leaves_is_served() {
    /// In each, three submit and two watch; every second one went wrong before owners took leave of those who came.
    const ROUNDS: usize = 12;
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    fs::write(sandbox.path("quick.yaml"), QUICK).expect("write a workflow");
    sandbox.ok(&["run", "quick.yaml"]);
    for round in 0..ROUNDS {
        let lines: [&[&str]; 5] = [
            &["run", "quick.yaml"],
            &["watch", "latest"],
            &["run", "quick.yaml"],
            &["watch", "latest"],
            &["run", "quick.yaml"],
        ];
        let started: Vec<Child> = lines
            .iter()
            .map(|args| {
                let mut command = sandbox.command(args);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().expect("start the product")
            })
            .collect();
        for (args, child) in lines.iter().zip(started) {
            let ended = child.wait_with_output().expect("wait for it");
            assert!(
                ended.status.success(),
                "round {round}, {args:?}: {}",
                said(&ended)
            );
        }
    }
    assert_eq!(sandbox.ok(&["runs", "--status", "interrupted"]), "");
    let runs = sandbox.ok(&["runs", "--json"]);
    assert_eq!(runs.lines().count(), 1 + 3 * ROUNDS, "{runs}");
}
