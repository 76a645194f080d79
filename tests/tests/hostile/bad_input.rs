//! Bad input gets a typed error with a remedy and the right exit code, and nothing is lost.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;

use rekindle_tests::chaos::disk::{Disk, Room};
use rekindle_tests::chaos::skipped;
use rekindle_tests::sandbox::{Sandbox, la_factoria};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SMALL: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  ledger: {source: {type: sqlite, path: ledger.sqlite}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
scenarios:
  fire: {affects: all}
";

fn small() -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    fs::create_dir_all(sandbox.path("data/notes/empty")).expect("make folders");
    fs::write(sandbox.path("data/notes/a.md"), "hello").expect("write a note");
    let ledger = rusqlite::Connection::open(sandbox.path("data/ledger.sqlite")).expect("make a database");
    ledger
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
        .expect("fill it");
    drop(ledger);
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox
}

#[test]
fn a_file_with_five_faults_shows_all_five_with_their_places() {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    let faulty = "\
workflow: faulty
max_parallel: many
steps:
  - id: one
    uses: snapshoot
  - id: two
    needs: [won]
    uses: command
    timeout: 5 parsecs
  - id: three
    usess: command
";
    fs::write(sandbox.path("faulty.yaml"), faulty).expect("write a workflow");
    let output = sandbox.run(&["lint", "faulty.yaml"]);
    let said = rekindle_tests::sandbox::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for place in [
        "faulty.yaml:2:",
        "faulty.yaml:5:",
        "faulty.yaml:7:",
        "faulty.yaml:9:",
        "faulty.yaml:11:",
    ] {
        assert!(said.contains(place), "{place} is missing in:\n{said}");
    }
    assert!(
        said.contains("snapshot") && said.contains("uses"),
        "no suggestion in:\n{said}"
    );
}

#[test]
fn unknown_names_list_the_known_ones() {
    let sandbox = small();
    let lists = |args: &[&str], known: &str| {
        let (code, said) = sandbox.code(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(known), "{args:?} does not list {known:?}: {said}");
    };
    lists(&["show", "ffff"], "there is no run yet");
    fs::write(sandbox.path("mine.yaml"), "workflow: mine\nsteps: []\n").expect("write a workflow");
    sandbox.ok(&["backup"]);
    let first = |args: &[&str], key: &str| {
        let line = sandbox
            .ok(args)
            .lines()
            .next()
            .map(serde_json::from_str::<serde_json::Value>);
        let line = line.expect("a line").expect("one JSON object a line");
        line[key].as_str().expect("an id").to_owned()
    };
    let (run, set) = (
        first(&["runs", "--json"], "run"),
        first(&["sets", "--json"], "set"),
    );
    let snapshot = first(&["snapshots", "--json"], "snapshot");
    for (args, known) in [
        (&["backup", "--component", "nots"][..], "notes"),
        (&["backup", "--tier", "nere"], "near"),
        (&["show", "ffff"], &run),
        (&["recover", "--scenario", "flood", "--to", "out"], "fire"),
        (&["recover", "--from", "ffff", "--to", "out"], &set),
        (
            &["recover", "--from", "2001-01-01T00:00:00Z", "--to", "out"],
            &set,
        ),
        (&["recover", "--from", "newest", "--to", "out"], "latest"),
        (&["recover", "--tier", "nere", "--to", "out"], "far, near"),
        (&["restore", "ffff", "--to", "out"], &snapshot),
        (&["restore", "ffff", "--to", "out"], "notes"),
        (
            &["restore", &snapshot, "--tier", "nere", "--to", "out"],
            "far, near",
        ),
        (&["run", "nosuch.yaml"], "backup, recover, verify"),
        (
            &["run", "nosuch.yaml"],
            "known: backup, recover, verify, drill, integrity-drill, mine.yaml",
        ),
        (
            &["run", "elsewhere/nosuch.yaml"],
            "known: backup, recover, verify",
        ),
        (&["plan", "mime.yaml"], "did you mean \"mine.yaml\"?"),
    ] {
        lists(args, known);
    }
    assert_eq!(
        sandbox.ok(&["runs", "--json"]).lines().count(),
        1,
        "a run was made for a name that nothing has"
    );
}

#[test]
fn a_recovery_onto_data_is_refused_with_both_commands_and_touches_nothing() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let before = rekindle_tests::tree::read(&sandbox.data()).expect("read the data");
    let (code, said) = sandbox.code(&["recover"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--to DIR") && said.contains("--in-place"), "{said}");
    assert_eq!(
        rekindle_tests::tree::read(&sandbox.data()).expect("read the data"),
        before
    );
}

#[test]
fn a_component_that_cannot_be_read_fails_loudly_and_alone() {
    let sandbox = small();
    fs::rename(sandbox.path("data/notes"), sandbox.path("elsewhere")).expect("take the notes away");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("notes"), "{said}");
    let sets = sandbox.ok(&["sets", "--json"]);
    assert!(
        sets.contains("ledger"),
        "the other component is not in the set: {sets}"
    );
    assert!(
        !sets.contains("\"recovery_ready\":true"),
        "a set without a component is not ready: {sets}"
    );
}

#[test]
fn a_key_of_another_vault_is_refused() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    fs::remove_dir_all(sandbox.path(".rekindle")).expect("lose the workspace");
    fs::remove_dir_all(sandbox.path("config")).expect("lose the key");
    // A new key can only be made while the vault is out of sight.
    fs::rename(sandbox.path("tiers"), sandbox.path("unmounted")).expect("take the tiers away");
    sandbox.ok(&["init", "--kit", "other-kit.txt"]);
    fs::rename(sandbox.path("unmounted"), sandbox.path("tiers")).expect("bring them back");
    let (code, said) = sandbox.code(&["backup"]);
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("near"), "the tier is not named: {said}");
}

#[test]
fn a_wrong_passphrase_says_so() {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make a folder");
    fs::write(sandbox.path("right"), "correct horse").expect("write a passphrase");
    sandbox.ok(&["init", "--passphrase-file", "right"]);
    let output = sandbox
        .command(&["backup"])
        .env("REKINDLE_PASSPHRASE", "battery staple")
        .output()
        .expect("start");
    let said = rekindle_tests::sandbox::said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("passphrase"), "{said}");
    assert!(
        !said.contains("battery staple"),
        "the passphrase is printed: {said}"
    );
}

#[test]
fn a_holder_that_answers_nobody_is_waited_for_and_then_named_with_exit_6() {
    use rustix::fs::{FlockOperation, flock};
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(sandbox.path(".rekindle/lock"))
        .expect("open the lock");
    flock(&lock, FlockOperation::LockExclusive).expect("hold the workspace");
    let pid = std::process::id().to_string();
    fs::write(sandbox.path(".rekindle/lock"), &pid).expect("sign the lock");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains(&pid), "the holder is not named: {said}");
    // Read-only commands need no permission, and a waiting command continues as soon as it can.
    sandbox.ok(&["runs"]);
    drop(lock);
    sandbox.ok(&["backup"]);
}

/// Mounts a small disk over a folder; none where this machine cannot.
fn small_disk(at: &Path, megabytes: u64) -> Option<Disk> {
    let disk = Disk::memory(at, room(megabytes));
    disk.map_err(|why| skipped("full disks", &why)).ok()
}

fn room(megabytes: u64) -> Room {
    Room {
        bytes: megabytes << 20,
        inodes: 10_000,
    }
}

#[test]
fn a_full_disk_interrupts_a_recovery_and_resume_goes_on_once_there_is_room() {
    let sandbox = small();
    fs::write(sandbox.path("data/notes/large"), vec![7; 3_000_000]).expect("write a large note");
    sandbox.ok(&["backup"]);
    let Some(disk) = small_disk(&sandbox.path("out"), 1) else {
        return;
    };
    let (code, said) = sandbox.code(&["recover", "--to", "out/back"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("no space left"), "{said}");
    disk.resize(room(64)).expect("the disk grows");
    sandbox.ok(&["resume"]);
    let back = rekindle_tests::tree::read(&sandbox.path("out/back/notes")).expect("read what is back");
    assert_eq!(
        back,
        rekindle_tests::tree::read(&sandbox.data().join("notes")).expect("read the data")
    );
}

#[test]
fn a_run_that_an_abort_by_memory_has_cut_off_is_resumed() {
    use std::os::unix::process::ExitStatusExt;
    let sandbox = small();
    for n in 0..12_u8 {
        // Different chunks, and no two files alike.
        let bytes: Vec<u8> = (0..2_000_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761 + u32::from(n)) >> 23) as u8)
            .collect();
        fs::write(sandbox.path(&format!("data/notes/{n}")), bytes).expect("write a note");
    }
    let mut aborted = 0;
    for kib in (240_000..700_000).step_by(80_000) {
        let mut limited = std::process::Command::new("sh");
        // A thread that could not be started may leave the process waiting for it.
        let script = format!("ulimit -v {kib}; exec timeout -s KILL 15 \"$0\" backup -q");
        let output = limited
            .args(["-c", &script, BINARY])
            .current_dir(sandbox.path("."))
            .env("REKINDLE_CONFIG_DIR", sandbox.path("config"))
            .stdin(std::process::Stdio::null())
            .output()
            .expect("start the product");
        // SIGABRT, as `timeout` reports it. With other limits the journal cannot be opened, or the run ends.
        aborted += u32::from(output.status.code() == Some(134) || output.status.signal() == Some(6));
        // What failed before the abort stays failed, and is done by the next backup.
        let (code, said) = sandbox.code(&["resume", "--all"]);
        assert!([0, 3].contains(&code), "at {kib} KiB: {code}: {said}");
        let left = sandbox.ok(&["resume", "--all"]);
        assert!(left.contains("no run is interrupted"), "at {kib} KiB: {left}");
    }
    if aborted == 0 {
        skipped("aborts by memory", "no limit of the address space led to one");
    }
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "back"]);
    assert_eq!(
        rekindle_tests::tree::read(&sandbox.path("back/notes")).expect("read what is back"),
        rekindle_tests::tree::read(&sandbox.data().join("notes")).expect("read the data")
    );
}

#[test]
fn init_on_a_full_disk_leaves_nothing_and_works_once_there_is_room() {
    let sandbox = small();
    let Some(disk) = small_disk(&sandbox.path("new"), 1) else {
        return;
    };
    let filler = sandbox.path("new/filler");
    let full = fs::write(&filler, vec![7; 2 << 20]);
    assert!(full.is_err(), "the disk is full");
    let (code, said) = sandbox.code(&["init", "new"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("free some space"), "{said}");
    let left: Vec<_> = fs::read_dir(disk.path()).expect("list it").flatten().collect();
    let system = sandbox.path("new/system.yaml");
    assert!(!system.exists(), "a torn system.yaml is left: {left:?}");
    fs::remove_file(&filler).expect("make room");
    sandbox.ok(&["init", "new"]);
    sandbox.ok(&["lint", "new/system.yaml"]);
}

#[test]
fn a_full_tier_fails_its_own_steps_and_nobody_elses() {
    let sandbox = small();
    let text: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(sandbox.path("data/notes/large"), text).expect("write a large note");
    let Some(disk) = small_disk(&sandbox.path("tiers/near"), 2) else {
        return;
    };
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("store[notes,near]: failed: no room"), "{said}");
    assert!(said.contains("verify[notes,far]: done"), "{said}");
    disk.resize(room(64)).expect("the disk grows");
    sandbox.ok(&["backup"]);
}

/// The kernel stops the process after a second of its own computing: what a slow machine takes beside that, or
/// another test, is not counted.
const ONE_SECOND: &str = "ulimit -t 1; exec \"$0\" lint \"$1\"";

#[test]
fn hostile_yaml_is_refused_within_a_second() {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..20).map(|n| {
            let all = vec![format!("*a{}", n - 1); 10].join(", ");
            format!("a{n}: &a{n} [{all}]\n")
        }))
        .collect();
    let deep = "[".repeat(200_000);
    let steps = |count| "  - {id: s, uses: command}\n".repeat(count);
    let begin = "workflow: w\nsteps:\n";
    // Half as many as are read at all, each of them faulty: this build is optimised less than the product, and twice
    // as slow.
    let faulty = 24_500;
    let line = vec!["{id: s, uses: command}"; faulty].join(", ");
    for (name, text, why) in [
        ("bomb.yaml", bomb, "bomb.yaml:6:15: error"),
        ("deep.yaml", deep, "deep.yaml:1:256: error"),
        ("huge.yaml", format!("{begin}{}", steps(2_000_000)), "bytes long"),
        ("wide.yaml", format!("{begin}{}", steps(150_000)), "250000 values"),
        (
            "faulty.yaml",
            format!("{begin}{}", steps(faulty)),
            "faulty.yaml:3:5: error",
        ),
        (
            "line.yaml",
            format!("workflow: w\nsteps: [{line}]\n"),
            "line.yaml:2:9: error",
        ),
    ] {
        fs::write(sandbox.path(name), text).expect("write a file");
        let output = std::process::Command::new("sh")
            .args(["-c", ONE_SECOND, BINARY, name])
            .current_dir(sandbox.path("."))
            .output()
            .expect("start");
        let said = rekindle_tests::sandbox::said(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {}: {said}", output.status);
        assert!(said.contains(why), "{name} does not say {why:?}: {said}");
        assert!(said.len() < 100_000, "{name}: {} bytes are printed", said.len());
    }
}

#[test]
fn the_shipped_system_lints_without_an_error() {
    let sandbox = Sandbox::empty(BINARY, la_factoria());
    sandbox.ok(&["lint", "system.yaml"]);
}
