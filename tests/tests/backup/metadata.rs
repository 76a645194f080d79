//! Hard links, attributes, FIFOs and devices come back. What a target cannot hold is named at the end and by `show`,
//! and the exit code is 3.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use rekindle_tests::sandbox::{NOTES, Sandbox};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A system whose notes have two names for one file, an attribute, a FIFO and, for root, a device.
fn rich() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let notes = sandbox.path("data/notes");
    fs::create_dir(notes.join("old")).expect("make a folder");
    fs::hard_link(notes.join("a.md"), notes.join("old/a.md")).expect("make a link");
    rustix::fs::setxattr(notes.join("a.md"), "user.origin", b"here", XattrFlags::empty()).expect("set it");
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, notes.join(name), kind, Mode::RUSR, device).expect("make a node");
    };
    make("pipe", FileType::Fifo, 0);
    if is_root() {
        make("zero", FileType::CharacterDevice, rustix::fs::makedev(1, 5));
    }
    sandbox
}

fn check(notes: &Path) {
    let stat = |name: &str| notes.join(name).symlink_metadata().expect("it is there");
    assert_eq!(stat("a.md").ino(), stat("old/a.md").ino());
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(notes.join("a.md"), "user.origin", &mut value).expect("read it");
    assert_eq!(&value[..length], b"here");
    assert!(stat("pipe").file_type().is_fifo());
}

#[test]
fn links_attributes_and_nodes_survive_a_recovery_and_a_restore() {
    let sandbox = rich();
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "out"]);
    check(&sandbox.path("out/notes"));
    if is_root() {
        let zero = sandbox
            .path("out/notes/zero")
            .symlink_metadata()
            .expect("it is there");
        assert_eq!(
            (zero.file_type().is_char_device(), zero.rdev()),
            (true, rustix::fs::makedev(1, 5))
        );
    }
    sandbox.ok(&["recover", "--in-place", "--yes"]);
    check(&sandbox.path("data/notes"));

    // A name that is added changes nothing but the change time of the file, and is captured.
    let notes = sandbox.path("data/notes");
    fs::hard_link(notes.join("a.md"), notes.join("z.md")).expect("make a link");
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "again"]);
    let stat = |name: &str| {
        sandbox
            .path("again/notes")
            .join(name)
            .metadata()
            .expect("it is there")
    };
    assert_eq!(
        (stat("z.md").ino(), stat("z.md").nlink()),
        (stat("a.md").ino(), 3)
    );
}

/// Runs the product as another user, who owns all of the sandbox.
fn as_nobody(sandbox: &Sandbox, args: &[&str]) -> Output {
    let own = sandbox.path("own-rekindle");
    if !own.exists() {
        fs::copy(BINARY, &own).expect("copy the product");
    }
    let list = Command::new("chown")
        .arg("-R")
        .arg(format!("{NOBODY}:{NOBODY}"))
        .arg(sandbox.path("."))
        .status();
    assert!(list.expect("run chown").success());
    Command::new(own)
        .args(args)
        .current_dir(sandbox.path("."))
        .env_remove("REKINDLE_WORKSPACE")
        .env("REKINDLE_CONFIG_DIR", sandbox.path("config"))
        .env("NO_COLOR", "1")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("run it")
}

#[test]
fn without_root_the_owners_set_id_bits_and_devices_that_are_missing_are_named() {
    if !is_root() {
        return;
    }
    let sandbox = rich();
    let notes = sandbox.path("data/notes");
    fs::write(notes.join("tool"), "#!").expect("write a file");
    chown(notes.join("tool"), Some(1234), Some(1234)).expect("give it away");
    fs::set_permissions(notes.join("tool"), fs::Permissions::from_mode(0o4755)).expect("set the mode");
    sandbox.ok(&["backup"]);
    let output = as_nobody(&sandbox, &["recover", "--to", "out"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(3), "{said}");
    let shown = as_nobody(&sandbox, &["show", "latest"]);
    for text in [&said, &String::from_utf8_lossy(&shown.stdout).into_owned()] {
        assert!(
            text.contains("notes: 1 entry without their set-id bits: tool"),
            "{text}"
        );
        assert!(
            text.contains("notes: 1 entry left out: devices need root"),
            "{text}"
        );
        assert!(text.contains("without the owner that was captured"), "{text}");
    }
    let tool = sandbox.path("out/notes/tool").metadata().expect("it is there");
    assert_eq!((tool.uid(), tool.mode() & 0o7777), (NOBODY, 0o755));
    check(&sandbox.path("out/notes"));

    // Nobody misses the owners that nobody wants. The device is still missing.
    let output = as_nobody(&sandbox, &["recover", "--to", "other", "--no-owner"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("owner") && !said.contains("set-id"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");

    let listed = as_nobody(&sandbox, &["snapshots", "--json"]);
    let line = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .next()
        .map(str::to_owned);
    let snapshot: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    let id = snapshot["snapshot"].as_str().expect("an id");
    let part = as_nobody(
        &sandbox,
        &["restore", id, "--to", "part", "--include", "tool", "--json"],
    );
    let body: serde_json::Value = serde_json::from_slice(&part.stdout).expect("JSON");
    assert_eq!(
        (part.status.code(), body["unheld"]["set_id"]["count"].as_u64()),
        (Some(3), Some(1))
    );
    let part = as_nobody(
        &sandbox,
        &["restore", id, "--to", "rest", "--include", "tool", "--no-owner"],
    );
    assert_eq!(part.status.code(), Some(0), "{part:?}");
}
