//! What runs after the steps: `on_failure`, `on_cancel` and `finally`. No handler is lost to the failure that it is for.

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use rekindle_tests::wait::{LIMIT, poll};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const HANDLERS: &str = r#"
on_failure:
  - {id: alarm, uses: command, with: {run: [sh, -c, "echo alarm >> log"]}}
on_cancel:
  - {id: note, uses: command, with: {run: [sh, -c, "echo note >> log"]}}
finally:
  - {id: tidy, uses: command, with: {run: [sh, -c, "echo tidy >> log"]}}
"#;

fn sandbox(flow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", &format!("workflow: it\n{flow}{HANDLERS}"))
}

fn log(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("log")).unwrap_or_default()
}

#[test]
fn a_run_that_fails_by_its_deadline_raises_its_alarm() {
    let sandbox = sandbox("deadline: 300ms\nsteps: [{id: a, uses: noop, with: {sleep: 1000s}}]\n");
    assert_eq!(sandbox.code(&["run", "it.yaml"]).0, 1);
    assert_eq!(log(&sandbox), "alarm\ntidy\n");
}

#[test]
fn the_lock_before_a_loop_is_released_before_the_alarm() {
    let sandbox = sandbox(
        r#"
steps:
  - id: lock
    uses: command
    with: {run: [touch, lock]}
    compensate: {uses: command, with: {run: [sh, -c, "rm lock; echo undone >> log"]}}
  - {id: each, for_each: component, needs: [lock], uses: noop}
  - {id: bad, needs: [each], uses: command, with: {run: ["false"]}}
"#,
    );
    let (code, said) = sandbox.code(&["run", "it.yaml"]);
    assert_eq!(code, 1, "{said}");
    assert!(!sandbox.path("lock").exists());
    assert_eq!(log(&sandbox), "undone\nalarm\ntidy\n");
    assert_eq!(sandbox.history().last().unwrap()["outcome"], "failed");
}

#[test]
fn a_cancelled_run_runs_what_is_for_that_and_a_second_cancel_ends_it() {
    let sandbox =
        sandbox("steps: [{id: a, uses: command, with: {run: [sh, -c, \"touch begun; sleep 1000\"]}}]\n");
    let begin = || {
        let _ = fs::remove_file(sandbox.path("begun"));
        let owner = sandbox.command(&["run", "it.yaml"]).spawn().unwrap();
        poll("the step", LIMIT, || sandbox.path("begun").exists().then_some(()));
        owner
    };
    let mut owner = begin();
    sandbox.ok(&["cancel", "latest"]);
    owner.wait().unwrap();
    assert_eq!(log(&sandbox), "note\ntidy\n");

    let hangs = fs::read_to_string(sandbox.path("it.yaml")).unwrap();
    let hangs = hangs.replace("echo note >> log", "echo hangs >> log; sleep 1000");
    fs::write(sandbox.path("it.yaml"), hangs).unwrap();
    let mut owner = begin();
    let mut first = sandbox.command(&["cancel", "latest"]).spawn().unwrap();
    poll("the handler", LIMIT, || {
        log(&sandbox).contains("hangs").then_some(())
    });
    sandbox.ok(&["cancel", "latest"]);
    owner.wait().unwrap();
    first.wait().unwrap();
    assert_eq!(log(&sandbox), "note\ntidy\nhangs\n", "nothing else begins");
}

#[test]
fn a_second_cancel_ends_the_run_that_a_handler_waits_for() {
    let sandbox = sandbox("steps: [{id: a, uses: command, with: {run: [sh, -c, \"touch begun; sleep 1000\"]}}]\n")
        .with(
            "inner.yaml",
            "workflow: inner\nsteps: [{id: b, uses: command, with: {run: [sh, -c, \"echo inside >> log; sleep 1000\"]}}]\n",
        );
    let calls = fs::read_to_string(sandbox.path("it.yaml")).unwrap().replace(
        r#"uses: command, with: {run: [sh, -c, "echo note >> log"]}"#,
        "uses: workflow, with: {workflow: inner.yaml}",
    );
    fs::write(sandbox.path("it.yaml"), calls).unwrap();
    let mut owner = sandbox.command(&["run", "it.yaml"]).spawn().unwrap();
    poll("the step", LIMIT, || sandbox.path("begun").exists().then_some(()));
    let run = sandbox.history()[0]["run"].as_str().unwrap().to_owned();
    let mut first = sandbox.command(&["cancel", &run]).spawn().unwrap();
    poll("the run inside", LIMIT, || {
        log(&sandbox).contains("inside").then_some(())
    });

    sandbox.ok(&["cancel", &run]);
    owner.wait().unwrap();
    first.wait().unwrap();
    assert_eq!(log(&sandbox), "inside\n", "nothing else begins");
    for run in ["latest", &run] {
        let records = sandbox.history_of(run).unwrap();
        assert_eq!(records.last().unwrap()["outcome"], "cancelled", "{run}");
    }
}

#[test]
fn a_handler_that_hangs_is_ended_by_its_own_limit_and_the_next_one_runs() {
    let sandbox =
        sandbox("handler_timeout: 300ms\nsteps: [{id: a, uses: command, with: {run: [\"false\"]}}]\n");
    let hangs = fs::read_to_string(sandbox.path("it.yaml")).unwrap();
    let hangs = hangs.replace("echo alarm >> log", "sleep 1000");
    fs::write(sandbox.path("it.yaml"), hangs).unwrap();
    let (code, said) = sandbox.code(&["run", "it.yaml"]);
    assert_eq!(code, 1, "{said}");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("or `handler_timeout` of the workflow"), "{shown}");
    assert_eq!(log(&sandbox), "tidy\n");
}

#[test]
fn what_is_wrong_with_a_handler_is_found_at_its_place() {
    for (from, to, words) in [
        (
            "{id: note,",
            "{id: note, for_each: component,",
            ["it.yaml:7:", "under `on_cancel` has no loop"],
        ),
        (
            "{id: tidy,",
            "{id: tidy, run_if: success,",
            ["it.yaml:9:", "under `finally` runs always"],
        ),
        (
            "{id: note,",
            "{id: note, compensate: {uses: noop},",
            ["it.yaml:7:", "it runs after all undos"],
        ),
        (
            "{id: tidy,",
            "{id: tidy, needs: [note],",
            ["it.yaml:9:", "`note` is in another list"],
        ),
        (
            "{id: tidy,",
            "{id: note,",
            ["it.yaml:9:", "the step `note` is there twice"],
        ),
        (
            "{id: tidy,",
            "{id: tidy, max_parallel: 2,",
            ["it.yaml:9:", "is for a loop"],
        ),
    ] {
        let sandbox = sandbox("steps: [{id: a, uses: noop}]\n");
        let text = fs::read_to_string(sandbox.path("it.yaml")).unwrap();
        fs::write(sandbox.path("it.yaml"), text.replace(from, to)).unwrap();
        let output = sandbox.run(&["lint", "it.yaml"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        for word in words {
            assert!(said.contains(word), "{to}: {word}: {said}");
        }
    }
}
