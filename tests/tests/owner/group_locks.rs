//! Runs of one group work one at a time: the second waits, says for which run, and follows. A lock ends with
//! its process.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Child;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use rekindle_tests::wait::until;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Begins, and waits for a line that comes through a gate.
const FLOW: &str = r#"
workflow: nightly
concurrency: nightly
steps:
  - id: it
    uses: command
    with: {run: [sh, -c, "echo begun >> begun; read line < gate"]}
"#;

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one")
        .with("nightly.yaml", FLOW)
        .with_gate("gate")
}

fn begin(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command(&["run", "nightly.yaml"]);
    command.spawn().expect("start the product")
}

/// Begins a run, and another that waits for it.
fn begin_two(sandbox: &Sandbox) -> [Child; 2] {
    let first = begin(sandbox);
    until("the first begins", || begun(sandbox) == 1);
    let second = begin(sandbox);
    until("the second waits", || {
        runs(sandbox)
            .get(1)
            .is_some_and(|run| !run["awaits_lock"].is_null())
    });
    [first, second]
}

fn begun(sandbox: &Sandbox) -> usize {
    let log = fs::read_to_string(sandbox.path("begun")).unwrap_or_default();
    log.lines().count()
}

/// Returns the runs as they are listed, oldest first.
fn runs(sandbox: &Sandbox) -> Vec<Value> {
    let output = sandbox.run(&["runs", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut runs: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    runs.reverse();
    runs
}

#[test]
fn the_second_run_of_a_group_waits_is_shown_to_and_follows() {
    let sandbox = sandbox();
    let [mut first, mut second] = begin_two(&sandbox);
    let listed = runs(&sandbox);
    let first_run = listed[0]["run"].as_str().expect("a run");
    assert_eq!(listed[1]["awaits_lock"]["holder"], first_run, "{listed:#?}");
    let text = sandbox.ok(&["runs"]);
    assert!(text.contains("waiting"), "{text}");
    assert!(
        text.contains(&format!("one run of nightly at a time, after {first_run}")),
        "{text}"
    );
    let shown = sandbox.ok(&["show", listed[1]["run"].as_str().expect("a run")]);
    assert!(shown.contains("waits for its group lock since"), "{shown}");
    assert!(shown.contains(&format!("rekindle show {first_run}")), "{shown}");
    assert_eq!(begun(&sandbox), 1, "one at a time");

    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    until("the second begins", || begun(&sandbox) == 2);
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    for run in [&mut first, &mut second] {
        assert!(run.wait().expect("it ends").success());
    }
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(!shown.contains("waits for its group lock"), "{shown}");
}

#[test]
fn a_killed_owner_holds_no_lock_and_who_waited_may_be_gone_on_with_first() {
    let sandbox = sandbox();
    let [mut first, mut second] = begin_two(&sandbox);
    first.kill().expect("kill the owner");
    first.wait().expect("reap the owner");
    // A command that waited through the owner learns that the owner is gone.
    assert_eq!(second.wait().expect("it ends").code(), Some(4));
    let waited = runs(&sandbox)[1]["run"].as_str().expect("a run").to_owned();
    let mut resumed = sandbox
        .command(&["resume", &waited])
        .spawn()
        .expect("start the product");
    until("the second begins", || begun(&sandbox) == 2);
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    assert!(resumed.wait().expect("it ends").success());
    let rest = std::thread::spawn({
        let gate = sandbox.path("gate");
        move || fs::write(gate, "go\n")
    });
    sandbox.ok(&["resume"]);
    rest.join().expect("a thread").expect("open the gate");
    let outcomes: Vec<Value> = runs(&sandbox).iter().map(|run| run["outcome"].clone()).collect();
    assert_eq!(outcomes, ["succeeded", "succeeded"]);
}

#[test]
fn a_run_no_longer_waits_after_one_that_is_over() {
    let sandbox = sandbox();
    let [mut first, mut second] = begin_two(&sandbox);
    let holder = runs(&sandbox)[0]["run"].as_str().expect("a run").to_owned();
    assert!(sandbox.ok(&["runs"]).contains(&format!("after {holder}")));
    first.kill().expect("kill the owner");
    first.wait().expect("reap the owner");
    second.wait().expect("it ends");
    let mut resumed = sandbox
        .command(&["resume", &holder])
        .spawn()
        .expect("start the product");
    until("the first begins again", || begun(&sandbox) == 2);
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    assert!(resumed.wait().expect("it ends").success());
    let listed = sandbox.ok(&["runs"]);
    assert!(!listed.contains("after "), "{listed}");
}

#[test]
fn a_run_that_waits_for_its_lock_can_be_cancelled() {
    let sandbox = sandbox();
    let [mut first, mut second] = begin_two(&sandbox);
    let waits = runs(&sandbox)[1]["run"].as_str().expect("a run").to_owned();
    let output = sandbox.run(&["cancel", &waits]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(second.wait().expect("it ends").code(), Some(1));
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    assert!(first.wait().expect("it ends").success());
    assert_eq!(begun(&sandbox), 1);
    assert_eq!(runs(&sandbox)[1]["outcome"], "cancelled");
}

/// Two steps that could be at work together, each of which waits for a line.
const TWO: &str = r#"
workflow: two
max_parallel: 2
steps:
  - id: a
    uses: command
    with: {run: [sh, -c, "echo begun >> begun; read line < gate.a"]}
  - id: b
    uses: command
    with: {run: [sh, -c, "echo begun >> begun; read line < gate.b"]}
"#;

#[test]
fn how_many_steps_are_at_work_at_once_is_what_the_system_or_who_serves_says() {
    for (key, args, most) in [
        ("", &["serve"][..], 2),
        ("max_parallel: 1\n", &["serve"], 1),
        ("max_parallel: 1\n", &["serve", "--max-parallel", "2"], 2),
        ("", &["serve", "--max-parallel", "1"], 1),
    ] {
        let gates = ["gate.a", "gate.b"];
        let sandbox = sandbox().with("two.yaml", TWO);
        let sandbox = gates.into_iter().fold(sandbox, Sandbox::with_gate);
        let system = fs::read_to_string(sandbox.path("system.yaml")).expect("read the system");
        fs::write(sandbox.path("system.yaml"), format!("{key}{system}")).expect("write the system");
        let mut owner = sandbox.command(args).spawn().expect("start the product");
        until("it serves", || sandbox.path(".rekindle/control.sock").exists());
        let mut run = sandbox
            .command(&["run", "two.yaml"])
            .spawn()
            .expect("start the product");
        until("it is at work", || begun(&sandbox) == most);
        let started = |sandbox: &Sandbox| {
            let history = sandbox.ok(&["history", "latest"]);
            history
                .lines()
                .filter(|line| line.contains("step_started"))
                .count()
        };
        // Starts that are allowed are one append.
        assert_eq!(started(&sandbox), most, "{key:?} {args:?}");
        for gate in gates {
            fs::write(sandbox.path(gate), "go\n").expect("open a gate");
        }
        until("it has ended", || run.try_wait().expect("look at it").is_some());
        assert_eq!(begun(&sandbox), 2);
        owner.kill().expect("kill the owner");
        owner.wait().expect("reap the owner");
    }
}
