//! What a backup leaves out is told: at its end and by `show`, by name.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::net::UnixListener;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn with_sockets(count: usize) -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    let run = sandbox.data().join("notes/run");
    fs::create_dir_all(&run).expect("make folders");
    fs::write(sandbox.data().join("notes/a.md"), "hello").expect("write a note");
    for number in 0..count {
        UnixListener::bind(run.join(format!("{number}.sock"))).expect("make a socket");
    }
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox
}

#[test]
fn a_backup_and_show_name_what_was_left_out() {
    let sandbox = with_sockets(7);
    let told = sandbox.ok(&["backup"]);
    let shown = sandbox.ok(&["show", "latest"]);
    for told in [&told, &shown] {
        assert!(
            told.contains(
                "notes: 7 left out (only a running program makes a socket): run/0.sock, run/1.sock"
            ),
            "{told}"
        );
        assert!(told.contains("run/4.sock and 2 more"), "{told}");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("JSON");
    let noted = &shown["backup"]["components"][0]["noted"];
    assert_eq!(
        (noted[0]["kind"].as_str(), noted[0]["count"].as_u64()),
        (Some("socket"), Some(7))
    );
}

#[test]
fn what_a_killed_capture_had_left_out_is_said_to_be_unknown() {
    let sandbox = with_sockets(1);
    // The capture has ended, and what it noted was not recorded.
    assert_eq!(sandbox.killed(&["backup"], Place::AfterAct, 1), Ok(()));
    let told = sandbox.ok(&["resume"]);
    assert!(
        told.contains("notes: whether something was left out is not known"),
        "{told}"
    );
    let told = sandbox.ok(&["backup"]);
    assert!(told.contains("notes: 1 left out"), "{told}");
}

#[test]
fn nothing_is_told_where_nothing_was_left_out() {
    let told = with_sockets(0).ok(&["backup"]);
    assert!(!told.contains("left out"), "{told}");
}
