//! What says which location it is, and what others remember of it: markers that changed places, a tier that was copied
//! into another one, and a workspace whose own notes are damaged or can ask nobody.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::tree;

use super::tier_objects::{BINARY, backed_up_twice, note, objects, within};

fn swap(sandbox: &Sandbox, one: &Path, other: &Path) {
    let aside = sandbox.path("aside");
    for (from, to) in [(one, aside.as_path()), (other, one), (aside.as_path(), other)] {
        fs::rename(from, to).expect("move a file");
    }
}

/// Returns the same file of the tier `far`.
fn in_far(sandbox: &Sandbox, near: &Path) -> PathBuf {
    let inside = near
        .strip_prefix(sandbox.path("tiers/near"))
        .expect("a file of the tier");
    sandbox.path("tiers/far").join(inside)
}

#[test]
fn what_two_locations_have_swapped_is_named_and_mended() {
    let sound = backed_up_twice();
    let head = objects(&sound, "heads").pop().expect("a head");
    let head = head
        .strip_prefix(sound.path(""))
        .expect("a file of the sandbox")
        .to_owned();
    for object in [Path::new("tiers/near/format"), &head] {
        let sandbox = sound.fork();
        let near = sandbox.path("").join(object);
        swap(&sandbox, &near, &in_far(&sandbox, &near));
        let verified = within(&sandbox, &["verify"]);
        assert_eq!(verified.code, Some(5), "{}: {}", object.display(), verified.said);
        for command in [&["tier", "check"][..], &["sets"]] {
            assert_eq!(
                within(&sandbox, command).code,
                Some(5),
                "{}: {command:?}",
                object.display()
            );
        }
        let said = sandbox.ok(&["recover", "--to", "out"]);
        assert_eq!(note(&sandbox, "out"), "the second\n", "{said}");
        sandbox.ok(&["tier", "repair"]);
        sandbox.ok(&["verify"]);
        sandbox.ok(&["backup"]);
        sandbox.ok(&["verify"]);
    }
    // Sets, snapshots, packs and indexes belong to the repository: in each location they are the same.
    for folder in ["sets", "snapshots"] {
        let sandbox = sound.fork();
        let near = objects(&sandbox, folder).pop().expect("an object");
        swap(&sandbox, &near, &in_far(&sandbox, &near));
        sandbox.ok(&["verify"]);
    }
}

#[test]
fn a_tier_that_was_copied_from_another_one_is_named_by_every_command_and_gets_its_own_id() {
    let sandbox = backed_up_twice();
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("remove the tier");
    tree::copy(&sandbox.path("tiers/near"), &sandbox.path("tiers/far")).expect("copy the other one there");
    for (command, code) in [
        (&["verify"][..], 5),
        (&["tier", "check"], 5),
        (&["sets"], 5),
        (&["doctor"], 1),
        (&["status"], 0),
        (&["backup"], 0),
        (&["verify"], 5),
    ] {
        let ended = within(&sandbox, command);
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.said);
        let named = "states the same id as tier near at file://./tiers/near";
        assert!(ended.said.contains(named), "{command:?}: {}", ended.said);
        assert!(
            !ended.said.contains("the same id as tier far"),
            "{command:?}: {}",
            ended.said
        );
    }
    let said = sandbox.ok(&["tier", "repair"]);
    assert!(said.contains("under a new id"), "{said}");
    sandbox.ok(&["verify"]);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["verify"]);
}

#[test]
fn damaged_notes_of_heads_are_named_by_every_command_and_kept() {
    let sound = backed_up_twice();
    for damage in ["junk", "fifo"] {
        for (command, code) in [
            (&["verify"][..], 5),
            (&["tier", "check"], 5),
            (&["sets"], 5),
            (&["doctor"], 1),
            (&["status"], 0),
            (&["backup"], 0),
            (&["recover", "--to", "out"], 0),
        ] {
            let sandbox = sound.fork();
            let notes = sandbox.path(".rekindle/heads.json");
            fs::remove_file(&notes).expect("remove the notes");
            match damage {
                "junk" => fs::write(&notes, "junk").expect("damage the notes"),
                _ => drop(
                    std::process::Command::new("mkfifo")
                        .arg(&notes)
                        .status()
                        .expect("start mkfifo"),
                ),
            }
            let ended = within(&sandbox, command);
            assert_eq!(ended.code, Some(code), "{damage} {command:?}: {}", ended.said);
            assert!(
                ended.said.contains("heads.json"),
                "{damage} {command:?}: {}",
                ended.said
            );
            let kept = sandbox
                .path(".rekindle/heads.json.damaged-1")
                .symlink_metadata()
                .is_ok();
            let still_there = damage == "fifo" || fs::read_to_string(&notes).is_ok_and(|text| text == "junk");
            assert!(kept || still_there, "{damage} {command:?}: it is overwritten");
            if kept {
                let said = within(&sandbox, &["doctor"]).said;
                assert!(said.contains("heads.json.damaged-1"), "{command:?}: {said}");
            }
        }
    }
}

#[test]
fn a_status_that_cannot_ask_the_tiers_says_so() {
    let sandbox = Sandbox::empty(BINARY, rekindle_tests::sandbox::NOTES_IN_TWO_TIERS);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make a folder");
    fs::write(sandbox.path("data/notes/a.md"), "a note\n").expect("write a note");
    let passphrase = "correct horse battery staple";
    fs::write(sandbox.path("passphrase"), passphrase).expect("write a passphrase");
    sandbox.ok(&["init", "--passphrase-file", "passphrase"]);
    let with_passphrase = |args: &[&str]| {
        let output = sandbox
            .command(args)
            .env("REKINDLE_PASSPHRASE", passphrase)
            .output();
        rekindle_tests::sandbox::said(&output.expect("start the product"))
    };
    with_passphrase(&["backup"]);
    fs::remove_dir_all(sandbox.path("tiers/far/sets")).expect("lose the sets");
    let said = within(&sandbox, &["status"]).said;
    assert!(
        said.contains("was not checked: the key needs its passphrase"),
        "{said}"
    );
    assert!(said.contains("rekindle verify"), "{said}");
    let said = with_passphrase(&["status"]);
    assert!(
        said.contains("is missing") && !said.contains("was not checked"),
        "{said}"
    );
}

#[test]
fn a_component_that_fails_is_inherited_from_a_newer_set_than_the_newest_that_can_be_read() {
    const TWO: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  plans: {source: {type: files, path: plans}}
tiers:
  near: {url: \"file://./tiers/near\"}
";
    let sandbox = Sandbox::empty_in_memory(BINARY, TWO);
    for (n, text) in ["the first\n", "the second\n"].into_iter().enumerate() {
        for component in ["notes", "plans"] {
            let folder = sandbox.path("data").join(component);
            fs::create_dir_all(&folder).expect("make a folder");
            fs::write(folder.join("a.md"), text).expect("write a file");
        }
        if n == 0 {
            sandbox.ok(&["init", "--kit", "kit.txt"]);
        }
        sandbox.ok(&["backup"]);
    }
    let newest = objects(&sandbox, "sets").pop().expect("a set");
    fs::write(newest, "junk").expect("damage the newest set");
    fs::rename(sandbox.path("data/plans"), sandbox.path("elsewhere")).expect("take a component away");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    // The newest set that is ready is lost. The one after it lacks nothing, and is not ready.
    let sets = tree::files_below(&sandbox.path("tiers/near/sets"));
    let newest = sets.iter().max().and_then(|set| set.file_name()).expect("a set");
    sandbox.ok(&["recover", "--from", &newest.to_string_lossy(), "--to", "out"]);
    let plans = fs::read_to_string(sandbox.path("out/plans/a.md")).expect("read the recovered file");
    assert_eq!(
        plans, "the second\n",
        "an older snapshot is inherited than there is"
    );
}

#[test]
fn a_fifo_in_the_place_of_any_file_of_the_workspace_hangs_no_command_that_looks() {
    let sound = backed_up_twice();
    let state = sound.path(".rekindle");
    let mut files = tree::files_below(&state);
    files.retain(|file| !file.starts_with(state.join("spool")));
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let inside = file.strip_prefix(sound.path("")).expect("a file of the sandbox");
        let sandbox = sound.fork();
        let there = sandbox.path("").join(inside);
        fs::remove_file(&there).expect("remove the file");
        let made = std::process::Command::new("mkfifo").arg(&there).status();
        assert!(made.expect("start mkfifo").success());
        for command in ["status", "doctor", "sets"] {
            // It fails the test if it does not end.
            within(&sandbox, &[command]);
        }
    }
}
