//! Runs that wait for each other through the runs of their steps: one gives way and says to which, and the
//! others continue.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Child;

use rekindle_tests::sandbox::{NOTES, Sandbox};
use rekindle_tests::wait::until;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Has a group, waits for a line, and runs a workflow of the other group.
fn outer(name: &str, group: &str, inner: &str) -> String {
    format!(
        "workflow: {name}\nconcurrency: {group}\nsteps:\n  - id: gate\n    uses: command\n    with: {{run: [sh, -c, \
         \"echo {name} >> begun; read line < {name}.gate\"]}}\n  - id: call\n    needs: [gate]\n    uses: workflow\n    \
         with: {{workflow: {inner}}}\n"
    )
}

fn inner(group: &str) -> String {
    format!(
        "workflow: inner-{group}\nconcurrency: {group}\nsteps:\n  - {{id: it, uses: command, with: {{run: [sh, -c, \
         \"echo {group} >> done\"]}}}}\n"
    )
}

fn write(sandbox: &Sandbox, name: &str, text: &str) {
    fs::write(sandbox.path(name), text).expect("write a file");
}

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one")
        .with("disk.yaml", &inner("disk"))
        .with("tape.yaml", &inner("tape"))
        .with_gate("one.gate")
        .with_gate("two.gate")
}

fn begin(sandbox: &Sandbox, file: &str) -> Child {
    let mut command = sandbox.command(&["run", file]);
    command.spawn().expect("start the product")
}

/// Returns the runs, by the name of their workflow.
fn run_of(sandbox: &Sandbox, workflow: &str) -> Value {
    let listed = sandbox.ok(&["runs", "--json", "--workflow", workflow]);
    serde_json::from_str(listed.lines().next().expect("a run")).expect("an object")
}

#[test]
fn of_two_runs_that_wait_for_each_others_groups_one_gives_way_and_the_other_goes_on() {
    let sandbox = sandbox();
    write(&sandbox, "one.yaml", &outer("one", "disk", "tape.yaml"));
    write(&sandbox, "two.yaml", &outer("two", "tape", "disk.yaml"));
    let mut runs = [begin(&sandbox, "one.yaml"), begin(&sandbox, "two.yaml")];
    let begun = || fs::read_to_string(sandbox.path("begun")).unwrap_or_default();
    until("both have their turns", || begun().lines().count() == 2);
    write(&sandbox, "one.gate", "go\n");
    write(&sandbox, "two.gate", "go\n");
    until("both have ended", || {
        runs.iter_mut()
            .all(|run| run.try_wait().expect("look at it").is_some())
    });
    let outcomes = ["one", "two"].map(|name| run_of(&sandbox, name)["outcome"].clone());
    let (lost, inside, group) = match outcomes.clone().map(|one| one == "failed") {
        [true, false] => ("one", "inner-tape", "tape"),
        [false, true] => ("two", "inner-disk", "disk"),
        _ => panic!("one gives way: {outcomes:?}"),
    };
    assert!(outcomes.contains(&Value::from("succeeded")), "{outcomes:?}");
    let [lost, inside] = [lost, inside].map(|name| run_of(&sandbox, name));
    assert_eq!(inside["outcome"], "failed");
    let id = inside["run"].as_str().expect("a run");
    let shown = sandbox.ok(&["show", id]);
    for told in [
        format!("run {id} waits for the lock of group `{group}` after run"),
        "the work of its step, which waits for the lock of group".to_owned(),
        lost["run"].as_str().expect("a run").to_owned(),
        format!("rekindle retry {id} --failed"),
    ] {
        assert!(shown.contains(&told), "{told}: {shown}");
    }
    let shown = sandbox.ok(&["show", lost["run"].as_str().expect("a run")]);
    assert!(
        shown.contains("[deadlock]") && shown.contains("gave up the lock of group"),
        "{shown}"
    );
    let history = sandbox.ok(&["history", id]);
    assert!(history.contains("deadlocked"), "{history}");
}

#[test]
fn a_run_and_the_run_of_its_step_have_the_lock_of_one_group_together() {
    let sandbox = sandbox();
    write(&sandbox, "one.yaml", &outer("one", "disk", "disk.yaml"));
    let mut run = begin(&sandbox, "one.yaml");
    write(&sandbox, "one.gate", "go\n");
    until("it has ended", || run.try_wait().expect("look at it").is_some());
    for workflow in ["one", "inner-disk"] {
        assert_eq!(run_of(&sandbox, workflow)["outcome"], "succeeded", "{workflow}");
    }
}

#[test]
fn lint_warns_of_workflows_that_may_come_to_wait_for_each_other() {
    let sandbox = sandbox();
    write(&sandbox, "one.yaml", &outer("one", "disk", "tape.yaml"));
    write(&sandbox, "two.yaml", &outer("two", "tape", "disk.yaml"));
    let both = "workflow: both\nsteps:\n  - {id: a, uses: workflow, with: {workflow: one.yaml}}\n  - {id: b, uses: \
                workflow, with: {workflow: two.yaml}}\n";
    write(&sandbox, "both.yaml", both);
    for alone in ["one.yaml", "two.yaml"] {
        assert!(sandbox.ok(&["lint", alone]).contains("no findings"), "{alone}");
    }
    for (files, place) in [
        (&["lint", "one.yaml", "two.yaml"][..], "two.yaml:10:22: warning"),
        (&["lint", "both.yaml"], "both.yaml:4:46: warning"),
    ] {
        let said = sandbox.ok(files);
        for told in [
            place,
            "may wait for each other's groups",
            "`one` holds `disk` and runs `inner-tape`, which takes `tape`",
            "`two` holds `tape` and runs `inner-disk`, which takes `disk`",
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
    }
}
