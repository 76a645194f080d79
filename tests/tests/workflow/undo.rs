//! A failed run undoes its steps from the last to the first, each once for good, wherever the owner dies. If
//! an undo fails, the run says that it is stuck, and a person retries it.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::process::ExitStatusExt;

use rekindle_tests::faults::{KILL, Place};
use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Makes two folders, one in the other, and fails. A folder that is not empty cannot be taken away.
const FLOW: &str = r#"
workflow: make
steps:
  - id: outer
    uses: command
    with: {run: [sh, "-c", "mkdir -p made; echo made"]}
    compensate:
      uses: command
      with: {run: [sh, "-c", "{ [ ! -d ${{ output.text }} ] || rmdir ${{ output.text }}; } && echo outer >> undone"]}
  - id: inner
    needs: [outer]
    uses: command
    with: {run: [sh, "-c", "mkdir -p made/inner; echo made/inner"]}
    compensate:
      uses: command
      with: {run: [sh, "-c", "{ [ ! -d ${{ output.text }} ] || rmdir ${{ output.text }}; } && echo inner >> undone"]}
  - id: fails
    needs: [inner]
    uses: command
    with: {run: ["false"]}
"#;

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("make.yaml", FLOW)
}

/// Runs the workflow and dies at a place; returns whether it came that far.
fn dies(sandbox: &Sandbox, place: Place, number: u64) -> bool {
    let mut command = sandbox.command(&["run", "make.yaml"]);
    let output = command.env(KILL, format!("{}:{number}", place.name())).output();
    output.expect("start the product").status.signal() == Some(9)
}

fn events(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let history = sandbox.history();
    let of = history.iter().filter(|record| record["event"] == name);
    of.map(|record| record["step"].as_str().expect("a step").to_owned())
        .collect()
}

fn outcome(sandbox: &Sandbox) -> Value {
    let history = sandbox.history();
    history.last().expect("a history")["outcome"].clone()
}

#[test]
fn a_run_that_fails_takes_back_what_it_did_from_its_end() {
    let sandbox = sandbox();
    sandbox.ok(&["lint", "make.yaml"]);
    let (code, said) = sandbox.code(&["run", "make.yaml"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("inner: undone"), "{said}");
    assert!(!sandbox.path("made").exists());
    let undone = fs::read_to_string(sandbox.path("undone")).expect("what was undone");
    assert_eq!(undone, "inner\nouter\n");
    assert_eq!(outcome(&sandbox), "failed");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(
        shown.contains("inner was undone") && shown.contains("outer was undone"),
        "{shown}"
    );
}

#[test]
fn killed_at_any_record_what_was_done_is_taken_back_once() {
    for place in [Place::BeforeAppend, Place::AfterAppend] {
        for number in 1.. {
            let sandbox = sandbox();
            if !dies(&sandbox, place, number) {
                assert!(number > 10, "{}: {number}", place.name());
                break;
            }
            if sandbox.ok(&["runs", "--json"]).is_empty() {
                continue;
            }
            let at = format!("{}:{number}", place.name());
            if outcome(&sandbox).is_null() {
                let (code, said) = sandbox.code(&["resume"]);
                assert_eq!(code, 1, "{at}: {said}");
            }
            assert!(!sandbox.path("made").exists(), "{at}");
            assert_eq!(events(&sandbox, "undo_succeeded"), ["inner", "outer"], "{at}");
            assert_eq!(outcome(&sandbox), "failed", "{at}");
        }
    }
}

#[test]
fn an_undo_that_fails_is_named_and_goes_on_when_a_person_says_so() {
    let sandbox = sandbox();
    let keep = FLOW.replace(
        "mkdir -p made/inner;",
        "mkdir -p made/inner; touch made/inner/kept;",
    );
    fs::write(sandbox.path("make.yaml"), keep).expect("write a workflow");
    assert_eq!(sandbox.code(&["run", "make.yaml"]).0, 1);
    assert_eq!(outcome(&sandbox), "stuck");
    assert_eq!(events(&sandbox, "undo_stuck"), ["inner"]);
    assert!(sandbox.path("made/inner").exists(), "what rests on it stays too");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("inner could not be undone"), "{shown}");
    let run = sandbox.history()[0]["run"].as_str().expect("a run").to_owned();
    assert!(shown.contains(&format!("rekindle retry {run} inner")), "{shown}");
    let listed = sandbox.ok(&["runs", "--json", "--status", "stuck"]);
    assert!(listed.contains(&run), "{listed}");

    fs::remove_file(sandbox.path("made/inner/kept")).expect("see to the cause");
    sandbox.ok(&["retry", "latest", "inner"]);
    assert_eq!(sandbox.code(&["resume"]).0, 1);
    assert_eq!(events(&sandbox, "undo_succeeded"), ["inner", "outer"]);
    assert_eq!(outcome(&sandbox), "failed");
    assert!(!sandbox.path("made").exists());
}

#[test]
fn what_is_wrong_with_a_compensation_is_found_at_its_place() {
    let sandbox = sandbox();
    let write = |compensate: &str| {
        let text = format!("workflow: w\nsteps:\n  - id: a\n    uses: noop\n    compensate: {compensate}\n");
        fs::write(sandbox.path("it.yaml"), text).expect("write a workflow");
    };
    for (compensate, words) in [
        ("{uses: nope}", "it.yaml:5:24: error: unknown action `nope`"),
        (
            "{uses: approve, with: {message: x}}",
            "`approve` cannot take back",
        ),
        ("{uses: noop, with: {sleep: long}}", "it.yaml:5:44"),
        ("{with: {}}", "uses"),
        ("{uses: noop, wit: {}}", "did you mean `with`?"),
    ] {
        write(compensate);
        let output = sandbox.run(&["lint", "it.yaml"]);
        let said = rekindle_tests::sandbox::said(&output);
        assert_eq!(output.status.code(), Some(2), "{compensate}: {said}");
        assert!(said.contains(words), "{compensate}: {said}");
    }
}
