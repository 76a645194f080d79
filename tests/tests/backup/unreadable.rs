//! What cannot be read does not cost the rest: it is stored, the paths are named, and the set is not ready.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const NOBODY: u32 = 65_534;

/// Runs the product as a user without privileges, who owns all of the sandbox: root reads every file.
fn run(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut command = sandbox.command(args);
    if rustix::process::geteuid().is_root() {
        let own = sandbox.path("own-rekindle");
        if !own.exists() {
            fs::copy(BINARY, &own).expect("copy the product");
        }
        let owner = format!("{NOBODY}:{NOBODY}");
        let given = Command::new("chown")
            .args(["-R", &owner])
            .arg(sandbox.path("."))
            .status();
        assert!(given.expect("run chown").success());
        command = Command::new(own);
        command
            .args(args)
            .current_dir(sandbox.path("."))
            .env_remove("REKINDLE_WORKSPACE")
            .env("REKINDLE_CONFIG_DIR", sandbox.path("config"))
            .env("NO_COLOR", "1")
            .uid(NOBODY)
            .gid(NOBODY);
    }
    command.output().expect("run it")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn close(sandbox: &Sandbox, path: &str) {
    fs::set_permissions(
        sandbox.path("data/notes").join(path),
        fs::Permissions::from_mode(0o000),
    )
    .expect("close it");
}

fn with_closed_paths(yaml: &str) -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, yaml, "hello");
    let notes = sandbox.path("data/notes");
    fs::create_dir(notes.join("deep")).expect("make a folder");
    fs::write(notes.join("deep/lost.md"), "lost").expect("write a file");
    for number in 0..120 {
        fs::write(notes.join(format!("closed-{number:03}")), "x").expect("write a file");
        close(&sandbox, &format!("closed-{number:03}"));
    }
    close(&sandbox, "deep");
    sandbox
}

#[test]
fn one_unreadable_file_or_folder_does_not_cost_the_rest() {
    let sandbox = with_closed_paths(NOTES);
    let backup = run(&sandbox, &["backup"]);
    let said = text(&backup);
    assert_eq!(backup.status.code(), Some(3), "{said}");
    let shown = text(&run(&sandbox, &["show", "latest"]));
    for said in [&said, &shown] {
        assert!(
            said.contains(
                "notes: 121 entries could not be read: the snapshot is INCOMPLETE: closed-000, closed-001"
            ),
            "{said}"
        );
        assert!(said.contains("closed-099 and 21 more"), "{said}");
        assert!(said.contains("NOT recovery-ready"), "{said}");
    }
    // The folder is the last of them; the next backup that reads everything is ready again.
    let shown: Value =
        serde_json::from_slice(&run(&sandbox, &["show", "latest", "--json"]).stdout).expect("JSON");
    let row = &shown["backup"]["components"][0];
    assert_eq!(
        (row["files"].as_u64(), row["unreadable"]["count"].as_u64()),
        (Some(1), Some(121))
    );
    let id = row["snapshot"].as_str().expect("an id").to_owned();
    assert!(text(&run(&sandbox, &["snapshots"])).contains("INCOMPLETE"));
    let restored = run(&sandbox, &["restore", &id, "--to", "out"]);
    assert_eq!(restored.status.code(), Some(0), "{restored:?}");
    assert_eq!(
        fs::read_to_string(sandbox.path("out/a.md")).expect("read"),
        "hello"
    );

    for number in 0..120 {
        fs::remove_file(sandbox.path(&format!("data/notes/closed-{number:03}"))).expect("remove it");
    }
    fs::set_permissions(sandbox.path("data/notes/deep"), fs::Permissions::from_mode(0o700)).expect("open it");
    let backup = run(&sandbox, &["backup"]);
    assert_eq!(backup.status.code(), Some(0), "{}", text(&backup));
    assert!(!text(&backup).contains("NOT recovery-ready"));
}

#[test]
fn a_component_may_accept_it() {
    let yaml = NOTES.replace("source: {", "unreadable: accept, source: {");
    let sandbox = with_closed_paths(&yaml);
    let backup = run(&sandbox, &["backup"]);
    let said = text(&backup);
    assert_eq!(backup.status.code(), Some(0), "{said}");
    assert!(
        said.contains("121 entries could not be read; this component accepts that"),
        "{said}"
    );
    assert!(!said.contains("NOT recovery-ready"), "{said}");
}

#[test]
fn a_root_that_cannot_be_read_is_still_a_failure() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    close(&sandbox, "");
    let backup = run(&sandbox, &["backup"]);
    assert_eq!(backup.status.code(), Some(1), "{}", text(&backup));
}
