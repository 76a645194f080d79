//! A recovery in place that failed. No backup seals its leftovers until a later recovery has succeeded or a
//! person has accepted them. The displaced data is named and whole.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Notes are valid as long as a file `fit` beside the data says so.
const SYSTEM: &str = "\
system: half
root: ./data
components:
  notes:
    source: {type: files, path: notes}
    validate:
      - {name: fit, probe: command, run: [cat, fit], expect: {fit: \"== 1\"}}
  pages: {source: {type: files, path: site}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

const FIT: &str = "{\"fit\": 1}";
const UNFIT: &str = "{\"fit\": 0}";
const IN_PLACE: [&str; 3] = ["recover", "--in-place", "--yes"];

/// A system that was backed up, and of which the notes have changed since.
fn changed() -> Sandbox {
    let sandbox = Sandbox::empty_in_memory(BINARY, SYSTEM);
    for (path, text) in [("notes/a.md", "hello"), ("site/index.html", "<p>")] {
        let path = sandbox.data().join(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make folders");
        fs::write(path, text).expect("write a file");
    }
    fs::write(sandbox.path("fit"), FIT).expect("make it fit");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    fs::write(sandbox.data().join("notes/a.md"), "written since").expect("change a note");
    sandbox
}

/// A system whose notes were recovered in place and are not valid, and the run.
fn invalid() -> (Sandbox, String) {
    let sandbox = changed();
    fs::write(sandbox.path("fit"), UNFIT).expect("make it unfit");
    let output = sandbox.run(&IN_PLACE);
    assert!(!output.status.success(), "{}", said(&output));
    let run = newest(&sandbox);
    (sandbox, run)
}

/// A system on which a recovery in place was killed when it had moved the notes and not brought them back, and the run.
fn cut_off() -> (Sandbox, String) {
    let whole = changed();
    for number in 1.. {
        let sandbox = whole.fork();
        assert_eq!(sandbox.killed(&IN_PLACE, Place::AfterAppend, number), Ok(()));
        let moved = |aside: &PathBuf| aside.join("notes").exists();
        if asides(&sandbox.path(".")).iter().any(moved) {
            let run = newest(&sandbox);
            return (sandbox, run);
        }
    }
    unreachable!("a recovery in place moves the notes");
}

/// Puts the displaced data back, with the recommended command.
fn put_back(sandbox: &Sandbox, told: &str) {
    let command = told.split_once("then: ").expect(told).1;
    let command = command.lines().next().expect("one line");
    let here = sandbox.path(".").canonicalize().expect("the sandbox's path");
    assert!(command.contains(&*here.to_string_lossy()), "{command}");
    let copied = Command::new("sh").args(["-c", command]).status().expect("start");
    assert!(copied.success(), "{command}");
}

fn newest(sandbox: &Sandbox) -> String {
    sandbox.history()[0]["run"].as_str().expect("a run").to_owned()
}

/// Returns the folders with displaced data in `folder`.
fn asides(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).expect("list a folder").flatten();
    names
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("before-"))
        .collect()
}

fn come_back(sandbox: &Sandbox) -> (String, String) {
    let status: Value = serde_json::from_str(&sandbox.ok(&["--json"])).expect("one JSON object");
    let answer = |key: &str| status["come_back"][key].as_str().unwrap_or_default().to_owned();
    (answer("verdict"), answer("run"))
}

/// Every backup of the notes is refused; the message names the existing data, the displaced data, and the
/// next command.
fn refused(case: &str, sandbox: &Sandbox, run: &str) {
    let sets = sandbox.ok(&["sets", "--json"]);
    for args in [&["backup"][..], &["backup", "--component", "notes"]] {
        let output = sandbox.run(&[args, &["--json"]].concat());
        let told = said(&output);
        assert_eq!(output.status.code(), Some(6), "{case}: {args:?}: {told}");
        for word in [
            "half_recovered",
            run,
            &format!("data.before-{run}"),
            "cp -a",
            "rekindle recover --in-place",
            &format!("rekindle backup --accept {run}"),
        ] {
            assert!(told.contains(word), "{case}: {args:?}: {word:?} in {told}");
        }
    }
    assert_eq!(
        sandbox.ok(&["sets", "--json"]),
        sets,
        "{case}: nothing was sealed"
    );
    assert_eq!(come_back(sandbox), ("bad".into(), run.into()), "{case}");
    let next = sandbox.ok(&[]);
    assert!(
        next.contains(&format!("backup --accept {run}")) && !next.contains("rekindle backup\n"),
        "{case}: {next}"
    );
}

/// A person accepts the present state: this backup and later ones succeed, and the history says so.
fn accepted(case: &str, sandbox: &Sandbox, run: &str) {
    sandbox.ok(&["backup", "--accept", run]);
    let history = sandbox.ok(&["history", "latest", "--json"]);
    assert!(history.contains(&format!("--accept {run}")), "{case}: {history}");
    assert_ne!(come_back(sandbox).1, run, "{case}");
    sandbox.ok(&["backup"]);
}

#[test]
fn no_backup_seals_what_a_recovery_in_place_left_invalid_until_it_is_recovered_or_accepted() {
    let (sandbox, run) = invalid();
    refused("invalid", &sandbox, &run);
    // What did come through is backed up, and makes nothing good of the rest.
    sandbox.ok(&["backup", "--component", "pages"]);
    refused("another component was backed up", &sandbox, &run);

    let recovered = sandbox.fork();
    fs::write(recovered.path("fit"), FIT).expect("make it fit");
    recovered.ok(&IN_PLACE);
    recovered.ok(&["backup"]);
    assert_eq!(come_back(&recovered).0, "good");

    let (code, told) = sandbox.code(&["backup", "--accept", "ffff"]);
    assert_eq!(code, 2, "{told}");
    accepted("as it stands", &sandbox, &run);

    // What was accepted is accepted of that run, not of the next one.
    fs::write(sandbox.data().join("notes/a.md"), "written again").expect("change a note");
    let output = sandbox.run(&IN_PLACE);
    assert!(!output.status.success(), "{}", said(&output));
    let next = newest(&sandbox);
    refused("the next one", &sandbox, &next);
    accepted("the next one", &sandbox, &next);
}

/// Backs up by another workflow, which accepts a run for it.
const ACCEPTING: &str = "\
workflow: nightly
steps:
  - id: call
    uses: workflow
    with: {workflow: backup, params: {accept: RUN}}
";

#[test]
fn what_a_backup_accepts_by_its_parameter_stays_accepted_however_it_was_submitted() {
    for case in ["rekindle run -p", "a nested run"] {
        // A fork is another system to the journal, and has nothing to accept.
        let (sandbox, run) = invalid();
        refused(case, &sandbox, &run);
        match case {
            "a nested run" => {
                fs::write(sandbox.path("nightly.yaml"), ACCEPTING.replace("RUN", &run)).expect("write it");
                sandbox.ok(&["run", "nightly.yaml"]);
            }
            _ => {
                sandbox.ok(&["run", "backup", "-p", &format!("accept={run}")]);
            }
        }
        assert_ne!(come_back(&sandbox).1, run, "{case}");
        let (code, told) = sandbox.code(&["backup"]);
        assert_eq!(code, 0, "{case}: {told}");
    }
}

#[test]
fn no_backup_seals_what_is_left_of_lost_data() {
    let sandbox = changed();
    for tier in ["near", "far"] {
        sandbox.spoil_packs(tier);
    }
    let output = sandbox.run(&IN_PLACE);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let run = newest(&sandbox);
    refused("lost", &sandbox, &run);
    accepted("lost", &sandbox, &run);
}

#[test]
fn no_backup_seals_what_a_cancelled_recovery_in_place_has_left() {
    let (sandbox, run) = cut_off();
    sandbox.ok(&["cancel", &run]);
    assert_eq!(sandbox.ok(&["runs"]).matches("cancelled").count(), 1);
    refused("cancelled", &sandbox, &run);
    put_back(&sandbox, &sandbox.ok(&["show", &run]));
    accepted("cancelled", &sandbox, &run);
}

#[test]
fn no_backup_seals_what_a_recovery_in_place_has_left_that_is_quarantined() {
    let (whole, run) = cut_off();
    // Its first record, which says what it is, and a later one.
    for lost in [0, 2] {
        let case = format!("record {} is lost", lost + 1);
        let sandbox = whole.fork();
        lose_record(&sandbox, &run, lost);
        assert!(sandbox.ok(&["runs"]).contains("quarantined"), "{case}");
        refused(&case, &sandbox, &run);
        let aside = format!("data.before-{run}");
        let (code, told) = sandbox.code(&["show", &run]);
        assert_eq!(code, 5, "{case}: {told}");
        assert!(told.contains(&aside), "{case}: {told}");
        let told = said(&sandbox.run(&["doctor"]));
        assert!(told.contains(&aside), "{case}: {told}");
        put_back(&sandbox, &said(&sandbox.run(&["backup"])));
        accepted(&case, &sandbox, &run);
        let stands = fs::read_to_string(sandbox.data().join("notes/a.md")).expect("read a note");
        assert_eq!(stands, "written since", "{case}");
    }
}

/// Damages one record of a run in the journal's log, and takes the index and the tiers' slots that have other copies.
fn lose_record(sandbox: &Sandbox, run: &str, lost: usize) {
    let id = u128::from_str_radix(&run.replace('-', ""), 16).expect("an id");
    let id = id.to_be_bytes();
    let log = tree::files_below(&sandbox.path(".rekindle/log"));
    let segment = log.iter().max().expect("a segment");
    let mut bytes = fs::read(segment).expect("read it");
    let mut at = 64;
    let mut ends = Vec::new();
    while at + 60 < bytes.len() {
        let length = bytes[at + 4..at + 8].try_into().expect("four bytes");
        let end = at + 60 + u32::from_be_bytes(length) as usize;
        if bytes[at..end].windows(id.len()).any(|window| window == id) {
            ends.push(end);
        }
        at = end;
    }
    bytes[ends[lost] - 2] ^= 1;
    fs::write(segment, bytes).expect("damage it");
    fs::remove_dir_all(sandbox.path(".rekindle/journal")).expect("lose the index");
    for tier in ["near", "far"] {
        fs::remove_dir_all(sandbox.path("tiers").join(tier).join("journal")).expect("lose the slots");
    }
}

#[test]
fn empty_folders_that_stood_there_are_with_what_was_moved() {
    let sandbox = changed();
    for folder in ["new", "cur"] {
        fs::create_dir_all(sandbox.data().join("notes/queue").join(folder)).expect("make a folder");
    }
    sandbox.ok(&IN_PLACE);
    let asides = asides(&sandbox.path("."));
    for folder in ["new", "cur"] {
        assert!(asides[0].join("notes/queue").join(folder).is_dir(), "{folder}");
    }
    assert!(!sandbox.data().join("notes/queue").exists());
}

#[test]
fn status_knows_of_the_copies_that_a_recovery_in_place_did_not_find() {
    let sandbox = changed();
    assert_eq!(come_back(&sandbox).0, "good");
    for tier in ["near", "far"] {
        for pack in tree::files_below(&sandbox.path(&format!("tiers/{tier}/packs"))) {
            fs::remove_file(pack).expect("lose a pack");
        }
    }
    let output = sandbox.run(&IN_PLACE);
    let told = said(&output);
    assert!(
        !output.status.success() && told.contains("no tier holds all of snapshot"),
        "{told}"
    );
    let run = newest(&sandbox);
    assert_eq!(come_back(&sandbox), ("bad".into(), run.clone()));
    // Nothing was moved, so there is nothing to settle, and a backup makes new copies.
    sandbox.ok(&["backup"]);
    assert_ne!(come_back(&sandbox).0, "bad");
}
