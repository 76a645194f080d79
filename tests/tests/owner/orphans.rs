//! The product is killed while a step's program runs. All processes of the program, even an orphan in a
//! session of its own, end within seconds: nothing continues to work on a system whose run has ended.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use rekindle_tests::sandbox::{NOTES, Sandbox};
use rekindle_tests::wait::{LIMIT, poll};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// A program with a child in its own group, and with a grandchild that neither a group nor a parent leads to.
const FLOW: &str = r#"
workflow: linger
description: Starts what would go on for ever.
steps:
  - id: it
    uses: command
    with:
      run: [sh, "-c", "(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &); sleep 1000 & echo $! > child; echo $$ > program; wait"]
"#;

/// Returns the process id that a file holds once it is whole.
fn pid_in(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.strip_suffix('\n')?.to_owned())
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !(stat.is_empty() || stat.contains(") Z "))
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox
}

#[test]
fn a_killed_owner_leaves_no_descendants() {
    let sandbox = sandbox();
    fs::write(sandbox.path("linger.yaml"), FLOW).expect("write a workflow");
    let mut owner = sandbox
        .command(&["run", "linger.yaml"])
        .spawn()
        .expect("start the product");
    let pids: Vec<String> = ["orphan", "child", "program"]
        .map(|name| poll(name, LIMIT, || pid_in(&sandbox.path(name))))
        .into();
    for pid in &pids {
        assert!(runs(pid), "{pid} has not begun");
    }

    owner.kill().expect("kill the product");
    owner.wait().expect("reap the product");
    poll("no descendant is left", Duration::from_secs(5), || {
        (!pids.iter().any(|pid| runs(pid))).then_some(())
    });
}

#[test]
fn no_program_sees_the_passphrase() {
    let sandbox = sandbox();
    let flow = "workflow: tell\ndescription: d\nsteps:\n  - id: it\n    uses: command\n    with: {run: [sh, \"-c\", \"env > seen\"]}\n";
    fs::write(sandbox.path("tell.yaml"), flow).expect("write a workflow");
    let output = sandbox
        .command(&["run", "tell.yaml"])
        .env("REKINDLE_PASSPHRASE", "correct horse")
        .env("OF_NO_INTEREST", "seen")
        .output()
        .expect("start the product");
    assert!(output.status.success(), "{output:?}");
    let seen = fs::read_to_string(sandbox.path("seen")).expect("read what was seen");
    assert!(seen.contains("OF_NO_INTEREST=seen"), "{seen}");
    assert!(!seen.contains("correct horse"), "{seen}");
}
