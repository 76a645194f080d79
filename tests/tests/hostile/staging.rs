//! A killed or cancelled backup leaves no plain copy of a database for longer than until the next command.

use std::fs;

use rekindle_tests::hosts::Working;
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::tree;
use rekindle_tests::wait::until;
use rustix::process::Signal;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The dump writes a secret, and then waits for a line in the fifo.
const WITH_A_SLOW_DUMP: &str = "\
system: small
root: ./data
components:
  shop:
    source: {type: command, dump: [sh, -c, 'echo secret-row; cat gate'], restore: [cat]}
tiers:
  near: {url: \"file://./tiers/near\"}
";

/// Starts a backup and waits until it has staged the beginning of a dump.
fn dumping() -> (Sandbox, Working) {
    let sandbox = Sandbox::empty(BINARY, WITH_A_SLOW_DUMP)
        .with("data/x", "")
        .with_gate("data/gate");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    let backup = Working::start(&sandbox, &["backup"]);
    until("the dump", || holds_secret(&sandbox));
    (sandbox, backup)
}

fn holds_secret(sandbox: &Sandbox) -> bool {
    let staging = sandbox.path(".rekindle/staging");
    staging.exists()
        && tree::files_below(&staging)
            .iter()
            .any(|file| fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"secret")))
}

#[test]
fn what_a_killed_backup_has_staged_is_removed_by_the_next_command_that_opens_the_workspace() {
    let (sandbox, backup) = dumping();
    backup.signal(Signal::KILL);
    backup.end();
    assert!(holds_secret(&sandbox), "a kill leaves it");
    let (_, said) = sandbox.code(&["doctor", "--json"]);
    let doctor = String::from_utf8_lossy(&sandbox.run(&["doctor"]).stdout).into_owned();
    assert!(
        doctor.contains("plain copies of data are left in 1 folder"),
        "{doctor}{said}"
    );
    sandbox.code(&["doctor", "--fix"]);
    assert!(!holds_secret(&sandbox), "the copy is gone");
}

#[test]
fn what_a_cancelled_backup_has_staged_is_gone_when_it_ends() {
    let (sandbox, backup) = dumping();
    sandbox.ok(&["cancel", "latest"]);
    backup.end();
    assert!(!holds_secret(&sandbox), "the copy is gone");
}
