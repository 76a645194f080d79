//! A look into snapshots: `ls`, `find`, `cat`, `restore` of a component at a time, and what a dry run says.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Two snapshots: the second has another text, and files whose names look like globs.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "the first\n").with("data/notes/deep/b.md", "b\n");
    sandbox.ok(&["backup"]);
    let sandbox = sandbox
        .with("data/notes/a.md", "the second\n")
        .with("data/notes/a[1].md", "a bracket\n")
        .with("data/notes/a1.md", "no bracket\n");
    sandbox.ok(&["backup"]);
    sandbox
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("an object a line")
}

#[test]
fn ls_find_and_cat_show_what_a_component_was_at_a_time() {
    let sandbox = sandbox();
    let mut snapshots = lines(&sandbox.ok(&["snapshots", "--json"]));
    snapshots.sort_by_key(|one| one["consistency_point"].as_str().map(str::to_owned));
    let points: Vec<&str> = snapshots
        .iter()
        .filter_map(|one| one["consistency_point"].as_str())
        .collect();
    let before = format!("notes@{}", points[0]);
    let paths = |args: &[&str]| -> Vec<String> {
        let found = lines(&sandbox.ok(args));
        found
            .iter()
            .map(|one| one["path"].as_str().expect("a path").to_owned())
            .collect()
    };
    assert_eq!(
        paths(&["ls", "notes", "--json"]),
        ["a.md", "a1.md", "a[1].md", "deep"]
    );
    assert_eq!(paths(&["ls", &before, "--json"]), ["a.md", "deep"]);
    assert_eq!(paths(&["ls", "notes", "deep", "--json"]), ["deep/b.md"]);
    assert_eq!(
        paths(&["ls", &before, "-R", "--json"]),
        ["a.md", "deep", "deep/b.md"]
    );
    assert_eq!(paths(&["find", "a.md", "--json"]), ["a.md", "a.md"]);
    assert_eq!(
        paths(&["find", "b.*", "--snapshot", "notes", "--json"]),
        ["deep/b.md"]
    );
    assert_eq!(sandbox.ok(&["cat", "notes", "a.md"]), "the second\n");
    assert_eq!(sandbox.ok(&["cat", &before, "a.md"]), "the first\n");
    let id = snapshots[0]["snapshot"].as_str().expect("an id");
    assert_eq!(sandbox.ok(&["cat", id, "/deep/b.md"]), "b\n");
    for (args, code, words) in [
        (&["cat", "notes", "lost.md"][..], 1, "has no \"lost.md\""),
        (&["cat", "notes", "deep"], 2, "deep is not a file"),
        (&["ls", "notes", "lost"], 1, "has no \"lost\""),
        (&["ls", "nots"], 2, "no snapshot \"nots\""),
        (
            &["ls", "notes@2001-01-01 10:00"],
            2,
            "has no snapshot from before",
        ),
        (&["find", "a[1"], 1, "no snapshot has"),
        (&["ls", "notes@someday"], 2, "is not an instant"),
        (&["find", "lost.*"], 1, "no snapshot has \"lost.*\""),
    ] {
        let (got, said) = sandbox.code(args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn restore_takes_a_component_at_a_time_and_a_name_before_a_glob() {
    let sandbox = sandbox();
    sandbox.ok(&["restore", "notes", "--include", "a[1].md", "--to", "one"]);
    let names = |folder: &str| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(sandbox.path(folder))
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("one"), ["a[1].md"]);
    sandbox.ok(&["restore", "notes", "--include", "a?.md", "--to", "two"]);
    assert_eq!(names("two"), ["a1.md"]);
    let (code, said) = sandbox.code(&["restore", "notes", "--include", "lost*", "--to", "three"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("nothing in snapshot") && said.contains("lost*"),
        "{said}"
    );
    assert!(!sandbox.path("three").exists(), "no folder is made");
    let (code, said) = sandbox.code(&["restore", "notes@0s ago", "--include", "a.md", "--to", "four"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        fs::read_to_string(sandbox.path("four/a.md")).expect("a note"),
        "the second\n"
    );
}

#[test]
fn a_dry_run_of_a_recovery_names_the_set_and_an_unknown_set_is_refused() {
    let sandbox = sandbox();
    let sets = lines(&sandbox.ok(&["sets", "--json"]));
    let newest = sets
        .iter()
        .filter_map(|one| one["set"].as_str())
        .max()
        .expect("a set");
    let said = sandbox.ok(&["recover", "--to", "out", "--dry-run"]);
    for words in [
        &format!("would recover set {newest}"),
        " old, recovery-ready, from near",
        "notes: ",
        "in 4 files",
        "would write ",
        "restore[notes]",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!sandbox.path("out").exists());
    let body: Value = serde_json::from_str(&sandbox.ok(&["recover", "--in-place", "--dry-run", "--json"]))
        .expect("an object");
    assert_eq!(body["set"], newest);
    assert_eq!(body["components"][0]["files"], 4);
    assert!(body["moved_aside"][0].is_string(), "{body}");
    let (code, said) = sandbox.code(&["recover", "--to", "out", "--from", "ffff", "--dry-run"]);
    assert_eq!(code, 2, "{said}");
    // The question names the set.
    let (code, said) = sandbox.code(&["recover", "--in-place"]);
    assert_eq!(code, 2, "{said}");
}
