//! Names on the command line: YAML that is no file, workflows by name, locations that cannot be opened, and a
//! workspace in another folder.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox, said};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// A workflow of one step, recognisable by its description.
fn flow(named: &str) -> String {
    format!("workflow: {named}\nsteps:\n  - {{id: look, uses: command, with: {{run: [\"true\"]}}}}\n")
}

/// Ends a command that would wait for ever, and fails then.
fn soon(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("start the product");
    let pid = rustix::process::Pid::from_child(&child);
    let (end, ended) = mpsc::channel();
    std::thread::spawn(move || end.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(20)) {
        Ok(output) => output.expect("read what it said"),
        Err(_) => {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("end it");
            panic!("it waits: {command:?}");
        }
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once_for_what_it_is() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "first\n");
    let pipe = sandbox.path("pipe.yaml");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("run mkfifo");
    assert!(made.success());
    fs::create_dir(sandbox.path("folder.yaml")).expect("make a folder");
    for (file, what) in [
        ("pipe.yaml", "a named pipe"),
        ("folder.yaml", "a folder"),
        ("/dev/zero", "a device"),
    ] {
        for command in ["lint", "plan", "run"] {
            let output = soon(&mut sandbox.command(&[command, file]));
            assert_eq!(
                output.status.code(),
                Some(2),
                "{command} {file}: {}",
                said(&output)
            );
            assert!(
                said(&output).contains(what),
                "{command} {file}: {}",
                said(&output)
            );
        }
        let output = soon(&mut sandbox.command(&["-s", file, "recover", "--to", "out"]));
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

#[test]
fn what_is_piped_into_a_command_is_read() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "first\n");
    let mut command = sandbox.command(&["lint", "/dev/stdin"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("start the product");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(NOTES.as_bytes()).expect("write");
    drop(input);
    assert!(child.wait().expect("wait").success());
}

#[test]
fn a_location_that_this_version_cannot_open_is_a_located_fault() {
    for (url, help) in [
        ("fil://./tiers/near", "did you mean `file`?"),
        ("s3://shop/near", "file:///mnt/near"),
    ] {
        let sandbox = Sandbox::empty(BINARY, &NOTES.replace("file://./tiers/near", url));
        for args in [&["lint", "system.yaml"][..], &["tier", "list"]] {
            let told = said(&sandbox.run(args));
            assert_eq!(sandbox.code(args).0, 2, "{told}");
            assert!(told.contains("system.yaml:6:") || told.contains("6 |"), "{told}");
            assert!(told.contains(help), "{told}");
        }
    }
}

#[test]
fn logs_on_a_redirected_stderr_carry_no_colours() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "first\n");
    let mut command = sandbox.command(&["-vv", "backup"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    let output = command.output().expect("start the product");
    let told = said(&output);
    assert!(told.contains("DEBUG") || told.contains("TRACE"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn a_hint_names_the_workspace_that_the_person_named() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "first\n");
    sandbox.ok(&["backup"]);
    fs::rename(sandbox.path("tiers/near"), sandbox.path("unmounted")).expect("take a tier away");
    fs::create_dir(sandbox.path("elsewhere")).expect("make a folder");
    let from = |folder: &str, args: &[&str]| {
        let mut command = sandbox.command(args);
        let output = command.current_dir(sandbox.path(folder)).output();
        said(&output.expect("start the product"))
    };
    let told = from("elsewhere", &["-w", "..", "backup"]);
    assert!(told.contains("rekindle -w .. tier create near"), "{told}");
    assert!(told.contains("`rekindle -w .. show "), "{told}");
    assert!(!told.contains("rekindle tier create"), "{told}");
    let json = from(
        "elsewhere",
        &["-w", "..", "--json", "recover", "--to", "../data/notes"],
    );
    assert!(json.contains("rekindle -w .. recover"), "{json}");
    // In the workspace, or with it in the environment, a person needs no option.
    let told = from(".", &["backup"]);
    assert!(told.contains("rekindle tier create near"), "{told}");
    let mut command = sandbox.command(&["backup"]);
    command.env("REKINDLE_WORKSPACE", "..");
    let output = command.current_dir(sandbox.path("elsewhere")).output();
    let told = said(&output.expect("start the product"));
    assert!(told.contains("rekindle tier create near"), "{told}");
}

#[test]
fn a_workflow_is_found_here_then_in_the_workspace_then_among_the_built_in_ones() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "first\n");
    let planned = |word: &str| sandbox.ok(&["plan", word]);
    for args in [
        &["graph", "recover.yaml"][..],
        &["plan", "recover.yaml"],
        &["lint", "recover.yaml"],
        &["run", "backup.yaml"],
    ] {
        sandbox.ok(args);
    }
    assert!(planned("verify.yaml").starts_with("verify:"));

    fs::create_dir(sandbox.path("workflows")).expect("make a folder");
    fs::write(sandbox.path("workflows/verify.yaml"), flow("of-workspace")).expect("write");
    fs::write(sandbox.path("workflows/own.yaml"), flow("own")).expect("write");
    assert!(planned("verify.yaml").starts_with("of-workspace:"));
    assert!(planned("own").starts_with("own:"));
    sandbox.ok(&["graph", "own"]);
    sandbox.ok(&["run", "own.yaml"]);

    fs::write(sandbox.path("verify.yaml"), flow("here")).expect("write");
    assert!(planned("verify.yaml").starts_with("here:"));
    // The bare name means the workflow that the command of that name runs.
    assert!(planned("verify").starts_with("verify:"));

    for command in ["graph", "plan", "lint", "run"] {
        let (code, told) = sandbox.code(&[command, "nowhere.yaml"]);
        assert_eq!(code, 2, "{told}");
        for known in ["recover", "own.yaml", "verify.yaml"] {
            assert!(told.contains(known), "{command}: {told}");
        }
    }
}

#[test]
fn a_run_of_a_file_is_of_the_kind_that_its_workflow_is_called() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one");
    let backup = rekindle_plan::builtin::BACKUP;
    let other = backup.replace("workflow: backup", "workflow: nightly");
    fs::create_dir(sandbox.path("workflows")).expect("make a folder");
    // The name of the file says nothing.
    for (file, yaml, kind) in [
        ("workflows/own.yaml", backup, "backup"),
        ("workflows/backup.yaml", &other, "custom"),
    ] {
        fs::write(sandbox.path(file), yaml).expect("write a workflow");
        sandbox.ok(&["run", file]);
        let shown: Value =
            serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("one JSON object");
        assert_eq!(shown["kind"], kind, "{file}");
        assert_eq!(shown["backup"].is_object(), kind == "backup", "{file}");
        let listed: Value = sandbox
            .ok(&["runs", "--json"])
            .lines()
            .next()
            .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
            .expect("a run");
        assert_eq!((&listed["kind"], &listed["run"]), (&json!(kind), &shown["run"]));
    }
}
