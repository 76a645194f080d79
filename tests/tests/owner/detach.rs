//! A run that a command leaves to the owner: the command returns at once, and needs an owner that stays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Ends when something is written to the fifo.
const GATED: &str = "\
workflow: gated
steps:
  - {id: wait, uses: command, with: {run: [sh, -c, \"read line < gate\"]}}
";

fn small() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "hello")
        .with("gated.yaml", GATED)
        .with_gate("gate")
}

#[test]
fn without_an_owner_nothing_is_begun_and_the_way_to_one_is_named() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let before = sandbox.ok(&["runs", "--json"]);
    for args in [
        &["backup", "--detach"][..],
        &["run", "gated.yaml", "--detach"],
        &["recover", "--to", "out", "--detach"],
    ] {
        let output = sandbox.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(
            said(&output).contains("rekindle serve"),
            "{args:?}: {}",
            said(&output)
        );
    }
    assert_eq!(sandbox.ok(&["runs", "--json"]), before);
    let output = sandbox.run(&["recover", "--to", "out", "--detach", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn what_is_left_to_the_owner_goes_on_without_its_submitter() {
    let sandbox = small();
    let mut owner = sandbox
        .command(&["serve", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the owner");
    let told = BufReader::new(owner.stderr.take().expect("its stderr")).lines();
    let mut told = told.map_while(Result::ok);
    assert!(told.any(|line| line.contains("serving")), "it serves");
    std::thread::spawn(move || told.for_each(drop));

    let leave = |args: &[&str]| -> String {
        let left: Value = serde_json::from_str(&sandbox.ok(args)).expect("one JSON object");
        assert_eq!(
            (&left["detached"], &left["owner"]),
            (&true.into(), &owner.id().into()),
            "{left}"
        );
        left["run"].as_str().expect("the run").to_owned()
    };
    // It waits at the gate, and the command has returned.
    let gated = leave(&["run", "gated.yaml", "--detach", "--json"]);
    let shown: Value = serde_json::from_str(&sandbox.ok(&["show", &gated, "--json"])).expect("JSON");
    assert_eq!(shown["outcome"], Value::Null, "{shown}");
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    sandbox.ok(&["watch", &gated]);
    let backup = leave(&["backup", "--detach", "--json"]);
    sandbox.ok(&["watch", &backup]);
    let recovery = leave(&["recover", "--to", "out", "--detach", "--json"]);
    sandbox.ok(&["watch", &recovery]);
    assert_eq!(
        fs::read_to_string(sandbox.path("out/notes/a.md")).expect("read"),
        "hello"
    );
    kill_process(Pid::from_child(&owner), Signal::TERM).expect("stop the owner");
    assert!(owner.wait().expect("it ends").success());
}
