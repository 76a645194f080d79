//! A step that takes too long is ended with a message, and the steps for a failure run after it.

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn sandbox(flow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", flow)
}

fn record(sandbox: &Sandbox, event: &str, step: &str) -> Value {
    let history = sandbox.history();
    let found = history
        .iter()
        .find(|record| record["event"] == event && record["step"] == step);
    found
        .unwrap_or_else(|| panic!("no {event} of {step}: {history:#?}"))
        .clone()
}

#[test]
fn an_attempt_that_stalls_and_a_step_and_a_run_past_their_deadlines_are_ended() {
    let limited = |limits: &str, more: &str| {
        format!(
            "workflow: it\n{more}steps:\n  - id: a\n    uses: command\n    with: {{run: [sleep, \"1000\"]}}\n{limits}"
        )
    };
    for (limits, more, code) in [
        ("    stall_timeout: 100ms\n", "", "stalled"),
        (
            "    deadline: 100ms\n    retry: {max_attempts: 5}\n",
            "",
            "deadline",
        ),
        ("", "deadline: 100ms\n", "deadline"),
    ] {
        let sandbox = sandbox(&limited(limits, more));
        assert_eq!(sandbox.code(&["run", "it.yaml"]).0, 1);
        let failed = record(&sandbox, "step_failed", "a");
        assert_eq!(failed["error"]["code"], code, "{failed:#}");
        assert!(failed["retry_at"].is_null(), "{failed:#}");
    }
}

#[test]
fn a_program_that_says_something_has_not_stalled() {
    let talks = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done";
    let sandbox = sandbox(&format!(
        "workflow: it\nsteps:\n  - id: a\n    uses: command\n    with: {{run: [sh, \"-c\", \"{talks}\"]}}\n    stall_timeout: 2s\n"
    ));
    sandbox.ok(&["run", "it.yaml"]);
}

const AFTER: &str = r#"
workflow: it
params:
  fail: {type: boolean}
steps:
  - id: a
    uses: command
    with: {run: [sh, "-c", "exit ${{ 1 if params.fail else 0 }}"]}
  - id: b
    needs: [a]
    uses: noop
on_failure:
  - id: told
    uses: command
    with: {run: [sh, "-c", "echo told >> log"]}
  - id: then
    needs: [told]
    uses: command
    with: {run: [sh, "-c", "echo then >> log"]}
"#;

#[test]
fn what_stands_under_on_failure_runs_after_a_failure_and_only_then() {
    let sandbox = sandbox(AFTER);
    sandbox.ok(&["lint", "it.yaml"]);
    sandbox.ok(&["run", "it.yaml", "-p", "fail=false"]);
    assert!(!sandbox.path("log").exists());
    record(&sandbox, "step_skipped", "told");
    record(&sandbox, "step_skipped", "then");
    assert_eq!(sandbox.code(&["run", "it.yaml", "-p", "fail=true"]).0, 1);
    let log = fs::read_to_string(sandbox.path("log")).expect("what was told");
    assert_eq!(log, "told\nthen\n");
    record(&sandbox, "step_skipped", "b");
}

#[test]
fn what_is_wrong_under_on_failure_is_found_at_its_place() {
    for (bad, words) in [
        (
            AFTER.replace("needs: [told]", "needs: [a]"),
            ["it.yaml:17:12", "is in another list"],
        ),
        (
            AFTER.replace("needs: [a]", "needs: [told]"),
            ["it.yaml:10:12", "is in another list"],
        ),
        (
            AFTER.replace("  - id: told\n", "  - id: told\n    for_each: component\n"),
            ["it.yaml:14:15", "has no loop"],
        ),
        (
            AFTER.replace("  - id: told\n", "  - id: told\n    run_if: always\n"),
            ["it.yaml:14:13", "runs if the run failed"],
        ),
        (
            AFTER.replace(
                "  - id: told\n    uses: command",
                "  - id: told\n    uses: comand",
            ),
            ["it.yaml:14:11", "did you mean `command`?"],
        ),
        (
            AFTER.replace("    uses: noop\n", "    uses: noop\n    deadline: soon\n"),
            ["it.yaml:12:15", "soon"],
        ),
    ] {
        let sandbox = sandbox(&bad);
        let output = sandbox.run(&["lint", "it.yaml"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

#[test]
fn a_step_that_waits_for_its_lock_in_a_group_is_shown_to_wait() {
    let flow = |uses: &str| {
        format!(
            "workflow: it\nsteps:\n  - id: a\n    concurrency: disk\n    uses: command\n    with: {{run: [sh, \"-c\", \"touch begun; read line < gate\"]}}\n  - id: b\n    concurrency: disk\n    uses: {uses}\n"
        )
    };
    let sandbox = sandbox(&flow("noop")).with_gate("gate");
    let mut owner = sandbox
        .command(&["run", "it.yaml"])
        .spawn()
        .expect("start the product");
    while !sandbox.path("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(
        shown.contains("b waits for its group lock: one step of disk at a time"),
        "{shown}"
    );
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    assert!(owner.wait().expect("it ends").success());
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(!shown.contains("waits"), "{shown}");

    fs::write(sandbox.path("it.yaml"), flow("approve\n    with: {message: x}")).expect("write a workflow");
    let output = sandbox.run(&["lint", "it.yaml"]);
    let said = said(&output);
    assert!(
        said.contains("it.yaml:8:18") && said.contains("only waits"),
        "{said}"
    );
}
