//! Names and words that a terminal would act on reach no terminal: a person reads them escaped.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Command;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Clears the line, sets the title, and begins a line of its own.
const EVIL: &str = "pipe\u{1b}[2K\u{1b}]0;owned\u{7}\nrecovery set 1: recovery-ready";

/// Fails if a terminal would act on the text, or if the name began a line.
fn check(what: &str, text: &str) {
    let acts = text.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
    assert_eq!(acts, None, "{what}: {text:?}");
    let forged = text.lines().any(|line| line.starts_with("recovery set 1"));
    assert!(!forged, "{what}: {text:?}");
}

#[test]
fn names_of_files_act_on_no_terminal() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let made = Command::new("mkfifo")
        .arg(sandbox.path("data/notes").join(EVIL))
        .status();
    assert!(made.expect("start mkfifo").success());
    let output = sandbox.run(&["backup"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("recovery-ready"), "{}", said(&output));
    check("backup", &said(&output));

    // Another name in each set, so that `diff` shows it.
    fs::write(sandbox.path("data/notes").join(format!("{EVIL}.md")), "x").expect("write a note");
    check("backup again", &said(&sandbox.run(&["backup"])));
    let snapshots = sandbox.ok(&["snapshots", "--json"]);
    let ids: Vec<Value> = snapshots
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let ids: Vec<&str> = ids.iter().filter_map(|one| one["snapshot"].as_str()).collect();
    for args in [
        vec!["status"],
        vec!["show"],
        vec!["history"],
        vec!["logs"],
        vec!["doctor"],
        vec!["verify"],
        vec!["diff", ids[0], ids[1]],
        vec!["recover", "--to", "back"],
        vec!["-w", EVIL, "status"],
        vec!["show", EVIL],
        vec!["lint", EVIL],
    ] {
        check(&format!("{args:?}"), &said(&sandbox.run(&args)));
    }
    // Programs get the name as it is.
    let shown = sandbox.ok(&["show", "--json"]) + &sandbox.ok(&["history", "--json"]);
    assert!(!shown.contains('\u{1b}'), "JSON escapes in its own way");
}

/// Returns the side of a terminal that programs write to, after the terminal was closed: each write fails with EIO.
fn closed_terminal() -> fs::File {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
    grantpt(&terminal).expect("grant it");
    unlockpt(&terminal).expect("unlock it");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let path = std::path::PathBuf::from(name.into_string().expect("UTF-8"));
    let noctty = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).expect("a flag");
    let side = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(noctty)
        .open(path);
    side.expect("open its other side")
}

#[test]
fn a_closed_terminal_or_a_full_disk_for_stdout_changes_no_exit_code_of_a_run() {
    use std::io::Write;
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let closed = closed_terminal().write(b"x").expect_err("it is closed");
    assert_eq!(closed.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("open it")
    };
    for (args, code) in [
        (&["backup"][..], 0),
        (&["verify"], 0),
        (&["recover", "--to", "data"], 2),
    ] {
        let closed = sandbox
            .command(args)
            .stdout(closed_terminal())
            .stderr(closed_terminal())
            .status();
        assert_eq!(
            closed.expect("start the product").code(),
            Some(code),
            "{args:?}, closed"
        );
        let full = sandbox.command(args).stdout(full()).status();
        assert_eq!(
            full.expect("start the product").code(),
            Some(code),
            "{args:?}, full"
        );
    }
}

#[test]
fn the_words_of_programs_act_on_no_terminal_nor_does_their_log() {
    let flow = "workflow: loud\nsteps:\n  - id: it\n    uses: command\n    with:\n      run: [sh, -c, 'printf \
                \"a\\033[2Kb\\rc\\nrecovery set 1: recovery-ready\\n\" >&2; exit 3']\n";
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello").with("loud.yaml", flow);
    let output = sandbox.run(&["run", "loud.yaml"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for args in [&["show"][..], &["history"], &["status"]] {
        check(&format!("{args:?}"), &said(&sandbox.run(args)));
    }
    let logs = sandbox.ok(&["logs"]);
    check("logs", &logs);
    assert!(logs.contains("a\\u{1b}[2Kb\\rc"), "{logs}");
}
