//! A recovery names a tier. If that tier cannot give some data, another one gives it, and the person learns
//! of it. If the tier cannot serve at all, the recovery is refused before it begins.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::PathBuf;

use rekindle_tests::sandbox::{NOTES_IN_TWO_TIERS, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "first\n");
    fs::write(sandbox.path("data/notes/b.md"), "another note\n").expect("write a note");
    sandbox.ok(&["backup"]);
    sandbox
}

/// Returns the packs of a tier.
fn packs(sandbox: &Sandbox, tier: &str) -> Vec<PathBuf> {
    let mut found = vec![sandbox.path(&format!("tiers/{tier}/packs"))];
    let mut packs = Vec::new();
    while let Some(at) = found.pop() {
        match fs::read_dir(&at) {
            Ok(inside) => found.extend(inside.map(|one| one.expect("an entry").path())),
            Err(_) => packs.push(at),
        }
    }
    packs
}

/// Changes every 20th byte of every pack of a tier.
fn spoil(sandbox: &Sandbox, tier: &str) {
    for pack in packs(sandbox, tier) {
        let mut bytes = fs::read(&pack).expect("read a pack");
        bytes.iter_mut().step_by(20).for_each(|byte| *byte ^= 1);
        fs::write(&pack, bytes).expect("write a pack");
    }
}

fn shown(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.ok(&["show", "--json"])).expect("JSON")
}

#[test]
fn what_a_damaged_named_tier_cannot_give_is_told_with_its_files_and_the_tier_that_gave_it() {
    let sandbox = backed_up();
    sandbox.ok(&["recover", "--to", "whole", "--tier", "near"]);
    let whole = shown(&sandbox);
    assert_eq!(whole["fell_back"], serde_json::json!([]), "{whole}");

    spoil(&sandbox, "near");
    let (code, said) = sandbox.code(&["recover", "--to", "out", "--tier", "near"]);
    assert_eq!(code, 0, "{said}");
    for told in [
        "warning",
        "notes",
        "2 files",
        "from tier far",
        "a.md",
        "b.md",
        "tiers/near",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(
        fs::read_to_string(sandbox.path("out/notes/a.md")).expect("read"),
        "first\n"
    );
    let text = sandbox.ok(&["show"]);
    assert!(text.contains("came from tier far"), "{text}");
    let row = &shown(&sandbox)["recovery"]["components"][0]["elsewhere"][0];
    assert_eq!((&row["tier"], &row["files"]), (&"far".into(), &2.into()), "{row}");
    assert_eq!(row["bytes"], "first\nanother note\n".len(), "{row}");
    // The journal itself has it, for programs that read no table.
    let journaled = |record: &Value| record.to_string().contains("\"bytes_elsewhere\":19");
    assert!(sandbox.history().iter().any(journaled), "{:?}", sandbox.history());
}

#[test]
fn a_restore_of_one_snapshot_tells_what_another_tier_gave() {
    let sandbox = backed_up();
    spoil(&sandbox, "far");
    let listed = sandbox.ok(&["snapshots", "--json"]);
    let listed: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    let id = listed["snapshot"].as_str().expect("a snapshot").to_owned();
    let (code, said) = sandbox.code(&["restore", &id, "--to", "out", "--tier", "far", "--tier", "near"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("came from tier near, not from far"), "{said}");
}

#[test]
fn a_named_tier_that_is_down_is_refused_before_a_run_is_begun() {
    let sandbox = backed_up();
    fs::rename(sandbox.path("tiers/near"), sandbox.path("tiers/unmounted")).expect("take the tier away");
    let (code, said) = sandbox.code(&["recover", "--to", "out", "--tier", "near"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot recover from tier near"), "{said}");
    assert!(
        said.contains("`rekindle recover --to DIR` recovers from the fastest tier"),
        "{said}"
    );
    let newest: Value = sandbox.history()[0].clone();
    assert!(!newest.to_string().contains("\"recover\""), "{newest}");
    sandbox.ok(&["recover", "--to", "out"]);
}

#[test]
fn a_named_tier_that_lacks_the_set_is_refused_with_the_tiers_that_hold_one() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "first\n");
    sandbox.ok(&["backup", "--tier", "far"]);
    sandbox.ok(&["tier", "create", "near"]);
    let (code, said) = sandbox.code(&["recover", "--to", "out", "--tier", "near"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("tier near has no recoverable set"), "{said}");
    assert!(said.contains("tier far holds 1"), "{said}");
    assert!(!sandbox.path("out").exists());
}
