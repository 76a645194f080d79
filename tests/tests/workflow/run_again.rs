//! A run is run again from a step, or from its failures: the same run with its pinned definitions, and no
//! earlier step runs twice.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Two branches, of which one fails as long as `broken` is there, and what comes after both.
const FLOW: &str = r#"
workflow: it
steps:
  - id: first
    uses: command
    with: {run: [sh, -c, "echo first >> log"]}
  - id: left
    needs: [first]
    uses: command
    with: {run: [sh, -c, "echo left >> log; [ ! -e broken ]"]}
  - id: right
    needs: [first]
    uses: command
    with: {run: [sh, -c, "echo right >> log"]}
  - id: last
    needs: [left, right]
    uses: command
    with: {run: [sh, -c, "echo last >> log"]}
"#;

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", FLOW)
}

/// Returns what ran since this was asked last, in the order of names.
fn ran(sandbox: &Sandbox) -> Vec<String> {
    let log = fs::read_to_string(sandbox.path("log")).unwrap_or_default();
    fs::write(sandbox.path("log"), "").expect("empty the log");
    let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn one_command_runs_a_step_that_succeeded_and_all_after_it_again_in_the_same_run() {
    let sandbox = sandbox();
    sandbox.ok(&["run", "it.yaml"]);
    assert_eq!(ran(&sandbox), ["first", "last", "left", "right"]);
    let before = sandbox.history();
    let (code, said) = sandbox.code(&["resume", "latest", "--from", "right", "--why", "a new disk"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(ran(&sandbox), ["last", "right"]);
    let after = sandbox.history();
    assert_eq!(after[0]["run"], before[0]["run"]);
    assert_eq!(after.last().expect("a record")["outcome"], "succeeded");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("asked for it to run again: a new disk"), "{shown}");

    let (code, said) = sandbox.code(&["resume", "latest", "--from", "rihgt"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("did you mean `right`?"), "{said}");
    let (code, said) = sandbox.code(&["resume", "latest", "--failed"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("no step has failed"), "{said}");
}

#[test]
fn what_failed_runs_again_once_its_cause_is_gone_and_nothing_else_does() {
    let sandbox = sandbox();
    fs::write(sandbox.path("broken"), "").expect("break it");
    assert_eq!(sandbox.code(&["run", "it.yaml"]).0, 1);
    assert_eq!(ran(&sandbox), ["first", "left", "right"]);
    let (code, said) = sandbox.code(&["resume", "latest"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--failed` runs again what failed of it"), "{said}");
    fs::remove_file(sandbox.path("broken")).expect("mend it");
    sandbox.ok(&["resume", "latest", "--failed"]);
    assert_eq!(ran(&sandbox), ["last", "left"]);

    // This request does not continue the run; the next driver honours it.
    let asked = sandbox.ok(&["retry", "latest", "last"]);
    assert!(
        asked.contains("once a process drives the run: rekindle resume"),
        "{asked}"
    );
    assert_eq!(ran(&sandbox), [] as [&str; 0]);
    sandbox.ok(&["resume"]);
    assert_eq!(ran(&sandbox), ["last"]);
    assert_eq!(sandbox.code(&["retry", "latest"]).0, 2, "a step, or --failed");
}

#[test]
fn a_run_goes_on_with_the_definition_that_it_began_with_also_where_the_file_has_changed_or_is_gone() {
    let sandbox = sandbox();
    // Dies after the first step; then the file says something else.
    sandbox
        .killed(&["run", "it.yaml"], Place::AfterAct, 1)
        .expect("it dies");
    assert_eq!(ran(&sandbox), ["first"]);
    fs::write(sandbox.path("it.yaml"), FLOW.replace("echo right", "echo other")).expect("change it");
    sandbox.ok(&["resume"]);
    assert_eq!(ran(&sandbox), ["first", "last", "left", "right"]);
    fs::remove_file(sandbox.path("it.yaml")).expect("remove it");
    sandbox.ok(&["resume", "latest", "--from", "right"]);
    assert_eq!(ran(&sandbox), ["last", "right"]);
}
