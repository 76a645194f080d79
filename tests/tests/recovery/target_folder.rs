//! Where a recovery may write. It writes nothing into a folder with content, and recognises the living
//! system, the tiers and the workspace however their paths are spelled.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SMALL: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  more: {source: {type: files, path: more}}
tiers:
  near: {url: \"file://./tiers/near\"}
";

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    for folder in ["notes", "more"] {
        fs::create_dir_all(sandbox.data().join(folder)).expect("make folders");
        fs::write(sandbox.data().join(folder).join("a.md"), "as backed up").expect("write a note");
    }
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    fs::write(sandbox.path("data/notes/a.md"), "written since").expect("change the living system");
    sandbox
}

fn newest_snapshot(sandbox: &Sandbox) -> String {
    let told = sandbox.ok(&["snapshots", "--component", "notes", "--json"]);
    let line: Value =
        serde_json::from_str(told.lines().next().expect("a snapshot")).expect("one JSON object a line");
    line["snapshot"].as_str().expect("its id").to_owned()
}

/// A refusal says how to go on: into another folder, or in place.
fn names_both_ways(said: &str, elsewhere: &str) {
    let line = |begins: &str, has: &str| {
        said.lines()
            .any(|line| line.trim_start().trim_start_matches('`').starts_with(begins) && line.contains(has))
    };
    assert!(
        line(elsewhere, "--to DIR") || line(elsewhere, "-p to=VALUE"),
        "no other folder in:\n{said}"
    );
    assert!(
        line("rekindle recover", "--in-place") || line(elsewhere, "-p in_place=true"),
        "no way in place in:\n{said}"
    );
}

#[test]
fn the_living_system_the_tiers_and_the_workspace_are_no_target_however_they_are_spelled() {
    let sandbox = backed_up();
    fs::create_dir_all(sandbox.path("deep/er")).expect("make folders");
    symlink("data", sandbox.path("link")).expect("make a link");
    symlink(sandbox.path("deep/er"), sandbox.path("elsewhere")).expect("make a link");
    symlink("tiers/near", sandbox.path("tier-link")).expect("make a link");
    // A component that is a link has its data outside of the system's folder.
    fs::rename(sandbox.path("data/more"), sandbox.path("deep/more")).expect("move a component");
    symlink("../deep/more", sandbox.path("data/more")).expect("make a link");
    let absolute = sandbox.data().join("../data").display().to_string();
    let snapshot = newest_snapshot(&sandbox);
    let before = tree::read(&sandbox.path(".")).expect("read everything");
    let own = "the living system's own folder";
    for (to, expect) in [
        ("data", own),
        ("./data/", own),
        ("link", own),
        ("link/notes", own),
        ("deep/../data", own),
        ("not-there/../data", own),
        ("elsewhere/../../data", own),
        (&absolute, own),
        ("data/notes/below", own),
        ("deep/more/below", own),
        (".", own),
        ("..", own),
        ("tiers", "tier near"),
        ("tier-link/new", "tier near"),
        (".rekindle", "the workspace"),
        (".rekindle/spool/x", "the workspace"),
        ("/dev/null/x", "/dev/null is no folder"),
        ("kit.txt", "kit.txt is no folder"),
    ] {
        for command in [&["recover"][..], &["restore", &snapshot]] {
            let args = [command, &["--to", to]].concat();
            let (code, said) = sandbox.code(&args);
            assert_eq!(code, 2, "{args:?}: {said}");
            assert!(said.contains(expect), "{args:?}: {said}");
            if !expect.ends_with("no folder") {
                let other = if command == ["recover"] {
                    "recover"
                } else {
                    "restore"
                };
                names_both_ways(&said, &format!("rekindle {other}"));
            }
        }
    }
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
    for command in [&["recover", "--to"][..], &["restore", &snapshot, "--to"]] {
        let output = sandbox.command(command).arg(odd).output().expect("start");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("UTF-8"), "{}", said(&output));
    }
    // Only the journal's own files may have changed: no run, no restore, nothing beside.
    let outside = |tree: tree::Tree| {
        tree.into_iter()
            .filter(|(path, _)| !path.starts_with(".rekindle"))
            .collect::<tree::Tree>()
    };
    let after = tree::read(&sandbox.path(".")).expect("read everything");
    assert_eq!(outside(before), outside(after));
    assert_eq!(sandbox.ok(&["runs", "--json"]).lines().count(), 1);
}

#[test]
fn a_recovery_never_writes_into_a_folder_in_which_something_stands() {
    let sandbox = backed_up();
    let occupied = |args: &[&str], standing: &str, elsewhere: &str| {
        let (code, said) = sandbox.code(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(standing), "{args:?}: {said}");
        names_both_ways(&said, elsewhere);
    };
    fs::create_dir_all(sandbox.path("out/notes")).expect("make folders");
    fs::write(sandbox.path("out/notes/a.md"), "mine").expect("write a file");
    // The content need not be at a target: a link in it could lead a restore elsewhere.
    fs::create_dir(sandbox.path("other")).expect("make a folder");
    symlink("../data/more", sandbox.path("other/more")).expect("make a link");
    fs::write(sandbox.path("mine.yaml"), rekindle_plan::builtin::RECOVER).expect("write a workflow");
    occupied(&["recover", "--to", "out"], "out/notes", "rekindle recover --to");
    occupied(
        &["recover", "--to", "out", "--component", "more"],
        "out/notes",
        "rekindle recover --component more --to",
    );
    occupied(
        &["recover", "--to", "other"],
        "other/more",
        "rekindle recover --to",
    );
    let run = "rekindle run mine.yaml";
    occupied(&["run", "mine.yaml", "-p", "to=out"], "out/notes", run);
    occupied(&["run", "mine.yaml"], "data/notes/a.md", run);
    occupied(&["run", "mine.yaml", "-p", "to=data"], "living system", run);
    let read = |path: &str| fs::read_to_string(sandbox.path(path)).expect("read a file");
    assert_eq!(read("out/notes/a.md"), "mine");
    assert_eq!(read("data/notes/a.md"), "written since");
    assert_eq!(sandbox.ok(&["runs", "--json"]).lines().count(), 1);

    fs::create_dir(sandbox.path("free")).expect("make a folder");
    sandbox.ok(&["recover", "--to", "free"]);
    assert_eq!(read("free/notes/a.md"), "as backed up");
    occupied(&["recover", "--to", "free"], "free/more", "rekindle recover --to");
}

#[test]
fn a_folder_where_a_recovery_was_interrupted_names_the_run_to_resume() {
    use rekindle_tests::faults::Place;
    let sandbox = backed_up();
    let recover = ["recover", "--to", "out"];
    let acts = sandbox.fork().count(&recover)(Place::AfterAct);
    assert!(acts > 2, "only {acts} acts");
    // After the first act nothing has been written yet; after the last there is content.
    for act in [1, acts] {
        let sandbox = sandbox.fork();
        assert_eq!(sandbox.killed(&recover, Place::AfterAct, act), Ok(()));
        assert_eq!(sandbox.path("out").exists(), act == acts);
        for to in ["out", "./new/../out", "out/below"] {
            let (code, said) = sandbox.code(&["recover", "--to", to]);
            assert_eq!(code, 2, "{act} {to}: {said}");
            assert!(said.contains("rekindle resume 0"), "{act} {to}: {said}");
            names_both_ways(&said, "rekindle recover --to");
        }
        sandbox.ok(&["resume"]);
        assert_eq!(
            fs::read_to_string(sandbox.path("out/notes/a.md")).expect("read what is back"),
            "as backed up"
        );
        // Nobody waits for the folder any more; another one was free all the time.
        let (code, said) = sandbox.code(&recover);
        assert_eq!((code, said.contains("rekindle resume")), (2, false), "{said}");
    }
}

#[test]
fn a_lost_system_whose_recovery_was_interrupted_names_the_run_to_resume() {
    use rekindle_tests::faults::Place;
    let sandbox = backed_up();
    fs::remove_dir_all(sandbox.data()).expect("lose the data");
    for act in [1, 3] {
        let sandbox = sandbox.fork();
        assert_eq!(sandbox.killed(&["recover"], Place::AfterAct, act), Ok(()));
        let (code, said) = sandbox.code(&["recover"]);
        assert_eq!(code, 2, "{act}: {said}");
        assert!(said.contains("rekindle resume 0"), "{act}: {said}");
        sandbox.ok(&["resume"]);
        assert_eq!(
            fs::read_to_string(sandbox.path("data/notes/a.md")).expect("read what is back"),
            "as backed up"
        );
    }
}

#[test]
fn a_restore_goes_on_where_it_was_interrupted_and_nowhere_else() {
    let sandbox = backed_up();
    let snapshot = newest_snapshot(&sandbox);
    let args = ["restore", &snapshot, "--to", "out"];
    fs::create_dir(sandbox.path("out")).expect("make a folder");
    fs::write(sandbox.path("out/mine"), "mine").expect("write a file");
    let (code, said) = sandbox.code(&args);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("out/mine"), "{said}");
    fs::remove_file(sandbox.path("out/mine")).expect("empty the folder");

    // Without its packs the tier gives the folders, and then no content.
    fs::rename(sandbox.path("tiers/near/packs"), sandbox.path("packs")).expect("take the packs away");
    let (code, said) = sandbox.code(&args);
    assert_ne!(code, 0, "{said}");
    fs::remove_dir_all(sandbox.path("tiers/near/packs")).ok();
    fs::rename(sandbox.path("packs"), sandbox.path("tiers/near/packs")).expect("bring them back");
    fs::write(sandbox.path("out/left-by-the-first-call"), "").expect("write a file");
    let other = ["restore", &snapshot, "--to", "out", "--include", "*.md"];
    let (code, said) = sandbox.code(&other);
    assert_eq!(code, 2, "another restore goes on there: {said}");
    names_both_ways(&said, "rekindle restore");
    assert!(said.contains("--component notes --in-place"), "{said}");
    // A folder of the same name that was made since is not the one that was interrupted.
    fs::rename(sandbox.path("out"), sandbox.path("half")).expect("move the half of a restore");
    fs::create_dir(sandbox.path("out")).expect("make a folder");
    fs::write(sandbox.path("out/a.md"), "mine").expect("write a file");
    assert_eq!(sandbox.code(&args).0, 2);
    fs::remove_dir_all(sandbox.path("out")).expect("remove the folder");
    fs::rename(sandbox.path("half"), sandbox.path("out")).expect("bring the half back");
    sandbox.ok(&args);
    assert_eq!(
        fs::read_to_string(sandbox.path("out/a.md")).expect("read what is back"),
        "as backed up"
    );
    // The recovery is done: the content belongs to the user now.
    fs::write(sandbox.path("out/a.md"), "mine").expect("write a file");
    assert_eq!(sandbox.code(&args).0, 2);
    assert_eq!(
        fs::read_to_string(sandbox.path("out/a.md")).expect("read it"),
        "mine"
    );
}
