//! Read-only commands while another process works in the workspace, while its disk is full or read-only, or
//! while it has lost a record; and other commands on a full disk.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rekindle_tests::chaos::disk::{Disk, Room};
use rekindle_tests::chaos::skipped;
use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};
use rekindle_tests::tree;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const GATED: &str = "\
workflow: gated
steps:
  - id: wait
    uses: command
    with: {run: [sh, -c, \"read line < gate\"]}
";

const LOOKS: [&[&str]; 6] = [
    &[],
    &["runs"],
    &["show", "latest"],
    &["history", "latest"],
    &["graph", "latest"],
    &["sets"],
];

fn small() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "hello").with_gate("gate")
}

/// Starts a run that waits at its gate before it takes further steps.
fn gated(sandbox: &Sandbox, steps: &str) -> (Child, std::io::Lines<BufReader<std::process::ChildStderr>>) {
    fs::write(sandbox.path("gated.yaml"), format!("{GATED}{steps}")).expect("write a workflow");
    let mut first = sandbox
        .command(&["run", "gated.yaml", "--json"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the first");
    let mut lines = BufReader::new(first.stderr.take().expect("its stderr")).lines();
    assert!(
        lines.any(|line| line.is_ok_and(|line| line.contains("child_started"))),
        "the first never began"
    );
    (first, lines)
}

fn log(sandbox: &Sandbox) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(sandbox.path(".rekindle/log")).expect("list the log");
    let mut files: Vec<(PathBuf, Vec<u8>)> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), fs::read(&path).expect("read a segment")))
        .collect();
    files.sort();
    files
}

#[test]
fn read_only_commands_answer_at_once_while_another_process_works() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let (mut first, lines) = gated(&sandbox, "");
    let before = log(&sandbox);
    for args in LOOKS {
        let output = std::process::Command::new("timeout")
            .arg("2")
            .arg(BINARY)
            .args(args)
            .current_dir(sandbox.path("."))
            .env("REKINDLE_CONFIG_DIR", sandbox.path("config"))
            .output()
            .expect("start");
        let said = rekindle_tests::sandbox::said(&output);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(
            args == ["sets"] || said.contains(&format!("process {} works", first.id())),
            "{args:?}: {said}"
        );
    }
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("gated") && shown.contains("running"), "{shown}");
    assert!(!shown.contains("rekindle resume"), "{shown}");
    let listed = sandbox.ok(&["runs"]);
    assert!(
        listed.contains("at work") && !listed.contains("interrupted"),
        "{listed}"
    );
    assert!(log(&sandbox) == before, "looking has changed the log");
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    lines.for_each(drop);
    assert!(first.wait().expect("the first ends").success());
    assert!(sandbox.ok(&["runs"]).contains("succeeded"));
}

#[test]
fn a_torn_tail_is_neither_an_error_nor_touched_by_a_look_beside_its_writer() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let (mut first, lines) = gated(&sandbox, "");
    let segment = log(&sandbox).pop().expect("a segment").0;
    let whole = fs::read(&segment).expect("read it");
    // A reader can see this while a frame is being written: its beginning.
    let mut torn = whole.clone();
    torn.extend(&whole[64..64 + 100]);
    fs::write(&segment, &torn).expect("write a torn tail");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("gated"), "{shown}");
    assert!(
        fs::read(&segment).expect("read it") == torn,
        "a look has cut the tail off"
    );
    fs::write(&segment, &whole).expect("as it was");
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    lines.for_each(drop);
    assert!(first.wait().expect("the first ends").success());
}

/// Puts the workspace on a small disk; none where this machine cannot.
fn on_a_small_disk(sandbox: &Sandbox) -> Option<Disk> {
    let (at, aside) = (sandbox.path(".rekindle"), sandbox.path("aside"));
    tree::copy(&at, &aside).expect("copy aside");
    let room = Room {
        bytes: 32 << 20,
        inodes: 10_000,
    };
    let disk = Disk::memory(&at, room);
    let disk = disk.map_err(|why| skipped("full disks", &why)).ok()?;
    tree::copy(&aside.join("."), &at).expect("copy back");
    Some(disk)
}

/// Fills a disk to its last byte, and returns the file that does.
fn fill(disk: &Disk) -> PathBuf {
    let path = disk.path().join("filler");
    let mut file = fs::File::create(&path).expect("create a filler");
    for size in [1 << 20, 4096] {
        while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_under_the_workspace_is_named_and_looking_goes_on() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let Some(disk) = on_a_small_disk(&sandbox) else {
        return;
    };
    let filler = fill(&disk);
    let output = sandbox.run(&["backup", "--json"]);
    let said = rekindle_tests::sandbox::said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("\"disk_full\""), "{said}");
    let room = format!(
        "make room on the disk that holds {}",
        real(&sandbox, ".rekindle").display()
    );
    assert!(said.contains(&room), "{said}");
    for args in [&["runs"][..], &["show", "latest"], &[]] {
        let told = sandbox.ok(args);
        assert!(
            told.contains("backup") || told.contains("recovery-ready"),
            "{args:?}: {told}"
        );
    }
    let broken = fs::read_dir(sandbox.path(".rekindle")).expect("list").flatten();
    let broken: Vec<_> = broken
        .filter(|entry| entry.file_name().to_string_lossy().contains("broken"))
        .collect();
    // What sled leaves behind when it runs out of room can cost a rebuild; each further try costs nothing more.
    assert!(
        broken.len() <= 1,
        "a full disk is no reason to set sled aside: {broken:?}"
    );
    fs::remove_file(filler).expect("make room");
    sandbox.ok(&["backup"]);
}

/// Returns a path as the product names it.
fn real(sandbox: &Sandbox, inside: &str) -> PathBuf {
    sandbox.path(inside).canonicalize().expect("a path that exists")
}

#[test]
fn a_disk_that_fills_up_during_a_run_interrupts_it_and_resume_goes_on_once_there_is_room() {
    let sandbox = small();
    let Some(disk) = on_a_small_disk(&sandbox) else {
        return;
    };
    // The log reserves 256 KiB ahead. So many steps need more.
    let steps: String = (0..800)
        .map(|n| {
            format!("  - id: s{n}\n    needs: [wait]\n    uses: command\n    with: {{run: [\"true\"]}}\n")
        })
        .collect();
    let (mut first, lines) = gated(&sandbox, &steps);
    let filler = fill(&disk);
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    lines.for_each(drop);
    let mut said = String::new();
    let mut stdout = first.stdout.take().expect("its stdout");
    std::io::Read::read_to_string(&mut stdout, &mut said).expect("read it");
    assert_eq!(first.wait().expect("the first ends").code(), Some(4), "{said}");
    let shown = sandbox.ok(&["runs", "--json"]);
    let run = shown.split('"').skip_while(|word| *word != "run").nth(2);
    let resume = format!("`rekindle resume {}`", run.expect("a run"));
    let room = format!(
        "make room on the disk that holds {}",
        real(&sandbox, ".rekindle").display()
    );
    assert!(said.contains(&room) && said.contains(&resume), "{said}");
    fs::remove_file(filler).expect("make room");
    sandbox.ok(&["resume"]);
    assert!(sandbox.ok(&["runs"]).contains("succeeded"));
}

fn mount(args: &[&str], at: &Path) -> bool {
    let status = std::process::Command::new("mount")
        .args(args)
        .arg(at)
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// A folder seen through a mount that cannot be written to, as long as this lives.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn over(at: PathBuf) -> Option<Self> {
        let itself = at.to_str().expect("a path of text").to_owned();
        let mounted = mount(&["--bind", &itself], &at);
        assert!(
            mounted || std::env::var_os("CI").is_none(),
            "a folder cannot be mounted"
        );
        let seen = mounted.then_some(Self(at))?;
        assert!(
            mount(&["-o", "remount,bind,ro"], &seen.0),
            "it cannot be made read-only"
        );
        Some(seen)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_workspace_on_a_read_only_file_system_can_be_looked_at() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let Some(_seen) = ReadOnly::over(real(&sandbox, ".")) else {
        return;
    };
    fs::write(sandbox.path("x"), "").expect_err("it can be written to");
    for args in LOOKS {
        let (code, said) = sandbox.code(args);
        assert_eq!(code, 0, "{args:?}: {said}");
    }
    assert!(sandbox.ok(&["runs"]).contains("succeeded"));
    // Nothing is begun, so nothing is there to be resumed, and a script must not take it for an interruption.
    for args in [
        &["backup"][..],
        &["recover", "--to", "/nowhere"],
        &["resume"],
        &["serve"],
    ] {
        let (code, said) = sandbox.code(args);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(said.contains("Read-only file system"), "{args:?}: {said}");
        assert!(said.contains("nothing was begun"), "{args:?}: {said}");
        assert!(!said.contains("rekindle resume"), "{args:?}: {said}");
    }
    // A disk that turns read-only is a reason to take the key elsewhere.
    let elsewhere = tempfile::tempdir().expect("make a folder");
    let kit = elsewhere.path().join("kit.txt");
    let (code, said) = sandbox.code(&["key", "export", "--kit", kit.to_str().expect("a path of text")]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("handed out"), "{said}");
    assert!(fs::read_to_string(&kit).is_ok_and(|kit| kit.contains("rekindle")));
    let output = sandbox.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("FAULT    workspace")),
        "{said}"
    );
    // A source is only read.
    assert!(
        said.lines().any(|line| line.starts_with("ok       root")),
        "{said}"
    );
}

#[test]
fn a_run_that_has_lost_a_record_is_listed_as_quarantined_with_what_to_do_and_not_as_interrupted() {
    let whole = small();
    whole
        .killed(&["backup"], Place::AfterAppend, 6)
        .expect("a backup has six appends");
    assert!(whole.ok(&["runs"]).contains("interrupted"));
    // The first record, which says what the run is, and a later one.
    for (lost, named) in [(1, "?"), (3, "backup")] {
        let sandbox = whole.fork();
        let segment = log(&sandbox).pop().expect("a segment").0;
        let mut bytes = fs::read(&segment).expect("read it");
        let mut end = 64;
        for _ in 0..lost {
            let length = bytes[end + 4..end + 8].try_into().expect("four bytes");
            end += 60 + u32::from_be_bytes(length) as usize;
        }
        bytes[end - 2] ^= 1;
        fs::write(&segment, bytes).expect("damage it");
        fs::remove_dir_all(sandbox.path(".rekindle/journal")).expect("lose the index");
        let output = sandbox.run(&["runs"]);
        let said = rekindle_tests::sandbox::said(&output);
        let listed = String::from_utf8_lossy(&output.stdout);
        assert!(
            listed.contains("quarantined") && listed.contains(named) && !listed.contains("interrupted"),
            "{said}"
        );
        assert!(said.contains("start a new run"), "{said}");
        assert_eq!(sandbox.ok(&["runs", "--status", "interrupted"]), "");
        assert!(sandbox.ok(&["runs", "--status", "quarantined"]).contains(named));
        let (code, said) = sandbox.code(&["resume", "latest"]);
        assert!(code == 5 && said.contains("start a new run"), "{said}");
        sandbox.ok(&["backup"]);
    }
}

#[test]
fn a_log_that_has_lost_its_end_is_told_and_does_not_pass_for_a_whole_one() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let (segment, before) = log(&sandbox).pop().expect("a segment");
    sandbox.ok(&["backup"]);
    fs::write(&segment, before).expect("cut it off between two commits");
    fs::remove_dir_all(sandbox.path(".rekindle/journal")).expect("lose the index");
    let (code, said) = sandbox.code(&["runs"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("was acknowledged"), "{said}");
}
