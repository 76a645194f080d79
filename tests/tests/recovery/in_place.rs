//! Recoveries in place. Existing data moves aside only once the recovery has all that it needs. Wherever the
//! process dies, the data is in one of two known places, and the messages name them.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rekindle_tests::effects;
use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree::{self, Tree};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SMALL: &str = "\
system: small
root: ./data
components:
  notes: {priority: 2, source: {type: files, path: notes}}
  pages: {priority: 3, source: {type: files, path: site, include: [\"*.html\"]}}
  ledger: {priority: 1, source: {type: sqlite, path: ledger.sqlite}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

const IN_PLACE: [&str; 3] = ["recover", "--in-place", "--yes"];

/// A system that was backed up and has changed since.
fn changed() -> (Sandbox, Tree, Tree) {
    let sandbox = Sandbox::empty_in_memory(BINARY, SMALL);
    fill(&sandbox);
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    let backed_up = read(&sandbox.data());
    change(&sandbox);
    let before = read(&sandbox.data());
    (sandbox, backed_up, before)
}

fn fill(sandbox: &Sandbox) {
    for (path, text) in [
        ("notes/a.md", "hello"),
        ("notes/deep/b.md", "world"),
        ("site/index.html", "<p>"),
        ("site/logo.png", "of nobody"),
    ] {
        let path = sandbox.data().join(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make folders");
        fs::write(path, text).expect("write a file");
    }
    query(sandbox, "CREATE TABLE t (x); INSERT INTO t VALUES (1);");
}

/// What a disaster leaves: files changed, gone and new, a database with other rows.
fn change(sandbox: &Sandbox) {
    fs::write(sandbox.data().join("notes/a.md"), "spoilt").expect("spoil a note");
    fs::remove_file(sandbox.data().join("notes/deep/b.md")).expect("lose a note");
    fs::write(sandbox.data().join("notes/deep/new.md"), "written since").expect("write a note");
    fs::write(sandbox.data().join("site/new.html"), "<b>").expect("write a page");
    query(sandbox, "INSERT INTO t VALUES (2);");
}

fn query(sandbox: &Sandbox, sql: &str) {
    let ledger = rusqlite::Connection::open(sandbox.data().join("ledger.sqlite")).expect("open the ledger");
    ledger.execute_batch(sql).expect("write the ledger");
}

fn read(root: &Path) -> Tree {
    tree::read(root).expect("read a tree")
}

/// Returns the folders with displaced data in `folder`.
fn asides(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).expect("list a folder").flatten();
    names
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("before-"))
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name().expect("its name").to_string_lossy().into_owned()
}

/// Compares production with the backup, and the one aside folder with the data that existed before.
fn judge(case: &str, sandbox: &Sandbox, backed_up: &Tree, before: &Tree) {
    let expect = |what: &str, expect: &Tree, found: &Tree| {
        assert_eq!(tree::differences(expect, found), [""; 0], "{case}: {what}");
    };
    // The ledger's copy is made by SQLite: its rows are compared, not its bytes.
    let mut production = read(&sandbox.data());
    assert_eq!(rows(&sandbox.data()), 1, "{case}");
    let ledger = Path::new("ledger.sqlite");
    production.insert(ledger.to_owned(), backed_up[ledger].clone());
    expect("production", backed_up, &production);

    let asides = asides(&sandbox.path("."));
    assert_eq!(asides.len(), 1, "{case}: {asides:?}");
    let mut claimed = before.clone();
    claimed.remove(Path::new("site/logo.png"));
    expect("what was moved", &claimed, &read(&asides[0]));
    assert_eq!(rows(&asides[0]), 2, "{case}");
}

fn rows(folder: &Path) -> u32 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let ledger = rusqlite::Connection::open_with_flags(folder.join("ledger.sqlite"), flags).expect("open it");
    ledger
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .expect("count its rows")
}

#[test]
fn production_is_as_it_was_backed_up_and_what_stood_there_is_named_and_whole() {
    let (sandbox, backed_up, before) = changed();
    let output = sandbox.run(&IN_PLACE);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    judge("undisturbed", &sandbox, &backed_up, &before);
    let name = name(&asides(&sandbox.path("."))[0]);
    let shown = sandbox.ok(&["show", "latest"]);
    for told in [&told, &shown] {
        assert!(told.contains(&name) && told.contains("cp -a"), "{told}");
    }
    assert!(
        sandbox.ok(&["history", "latest"]).contains("set_aside[ledger]"),
        "the move is journaled"
    );

    // Put back as it was told.
    let command = shown.split_once("then: ").expect("a command").1;
    let command = command.lines().next().expect("one line");
    let put_back = Command::new("sh").args(["-c", command]).status().expect("start");
    assert!(put_back.success(), "{command}");
    assert_eq!(rows(&sandbox.data()), 2);
    assert_eq!(
        fs::read_to_string(sandbox.data().join("notes/a.md")).expect("read"),
        "spoilt"
    );
}

#[test]
fn what_cannot_be_recovered_moves_nothing() {
    for (why, args, lose) in [
        ("a set that is not there", &["--from", "01a2ffff"][..], ""),
        ("tiers that are down", &[], "tiers"),
        ("tiers of which the packs are gone", &[], "packs"),
    ] {
        let (sandbox, _, before) = changed();
        if lose == "tiers" {
            fs::rename(sandbox.path("tiers"), sandbox.path("gone")).expect("lose the tiers");
        } else if lose == "packs" {
            for tier in ["near", "far"] {
                fs::remove_dir_all(sandbox.path(&format!("tiers/{tier}/packs"))).expect("lose the packs");
                fs::create_dir(sandbox.path(&format!("tiers/{tier}/packs"))).expect("make them empty");
            }
        }
        let output = sandbox.run(&[&IN_PLACE[..], args].concat());
        let told = said(&output);
        assert!(!output.status.success(), "{why}: {told}");
        // Of what cannot even begin nothing else would be expected.
        let begun = sandbox.ok(&["runs", "--json"]).contains("\"recover\"");
        assert!(!begun || told.contains("nothing was moved"), "{why}: {told}");
        assert_eq!(read(&sandbox.data()), before, "{why}: {told}");
        assert_eq!(asides(&sandbox.path(".")), Vec::<PathBuf>::new(), "{why}");
    }
}

#[test]
fn the_layout_that_init_makes_recovers_in_place_and_still_works_afterwards() {
    let sandbox = Sandbox::empty(BINARY, "");
    fs::remove_file(sandbox.path("system.yaml")).expect("begin with an empty folder");
    let shop = sandbox.path("shop");
    sandbox.ok(&["init", "shop", "--kit", "kit.txt"]);
    fs::write(shop.join("goods"), "bread").expect("write a file");
    sandbox.ok(&["-w", "shop", "backup"]);
    let yaml = fs::read_to_string(shop.join("system.yaml")).expect("read system.yaml");
    fs::write(shop.join("goods"), "mould").expect("spoil it");
    fs::write(shop.join("system.yaml"), format!("{yaml}# edited since\n")).expect("edit system.yaml");
    sandbox.ok(&["-w", "shop", "recover", "--in-place", "--yes"]);
    assert_eq!(fs::read_to_string(shop.join("goods")).expect("read"), "bread");
    let aside = asides(&sandbox.path("."))[0].clone();
    assert_eq!(fs::read_to_string(aside.join("goods")).expect("read"), "mould");
    let edited = fs::read_to_string(aside.join("system.yaml")).expect("the edited file has a copy");
    assert!(edited.ends_with("# edited since\n"));
    assert!(!aside.join(".rekindle").exists());
    sandbox.ok(&["-w", "shop", "backup"]);
}

/// Resumes a killed command. If it died before its run existed, starts it again.
fn go_on(sandbox: &Sandbox) {
    let runs = sandbox.ok(&["runs", "--json"]);
    sandbox.ok(if runs.contains("\"recover\"") {
        &["resume"]
    } else {
        &IN_PLACE
    });
}

fn killed_everywhere(place: Place) {
    let (sandbox, backed_up, before) = changed();
    let total = sandbox.fork().count(&IN_PLACE)(place);
    assert!(total > 10, "{total} boundaries");
    let mut kills = 0;
    for number in 1..=total {
        let case = format!("killed {} {number} of {total}", place.name());
        let sandbox = sandbox.fork();
        kills += u64::from(sandbox.killed(&IN_PLACE, place, number).is_ok());
        go_on(&sandbox);
        judge(&case, &sandbox, &backed_up, &before);
        let effects = fs::read_to_string(sandbox.effects()).unwrap_or_default();
        effects::judge(&sandbox.history(), &effects)
            .unwrap_or_else(|violation| panic!("{case}: {violation}"));
    }
    assert!(kills * 10 >= total * 8, "only {kills} of {total} were killed");
}

#[test]
fn a_recovery_in_place_survives_a_kill_before_each_append() {
    killed_everywhere(Place::BeforeAppend);
}

#[test]
fn a_recovery_in_place_survives_a_kill_after_each_append() {
    killed_everywhere(Place::AfterAppend);
}

#[test]
fn a_recovery_in_place_survives_a_kill_after_each_act() {
    killed_everywhere(Place::AfterAct);
}

/// A system in which each note is moved by its own rename, since each folder also holds something else.
const SCATTERED: &str = "\
system: scattered
root: ./data
components:
  notes: {source: {type: files, path: notes, include: [\"*.md\"]}}
tiers:
  near: {url: \"file://./tiers/near\"}
";
const NOTES: usize = 1000;

#[test]
fn a_recovery_in_place_survives_a_kill_between_two_renames() {
    let sandbox = Sandbox::empty_in_memory(BINARY, SCATTERED);
    let note = |number: usize| format!("notes/{number:04}/a.md");
    for number in 0..NOTES {
        let note = sandbox.data().join(note(number));
        let folder = note.parent().expect("it has a parent");
        fs::create_dir_all(folder).expect("make a folder");
        fs::write(folder.join("other.bin"), "of nobody").expect("write a file");
        fs::write(note, number.to_string()).expect("write a note");
    }
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    let backed_up = read(&sandbox.data());
    for number in 0..NOTES {
        fs::write(sandbox.data().join(note(number)), format!("spoilt {number}")).expect("spoil a note");
    }
    // Where the machine was too busy to see the moves while they were made, it is tried again.
    for _ in 0..20 {
        let sandbox = sandbox.fork();
        let mut recovery = sandbox
            .command(&IN_PLACE)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the product");
        let moved = |number| {
            asides(&sandbox.path("."))
                .iter()
                .any(|aside| aside.join(note(number)).exists())
        };
        while !moved(NOTES / 10) && recovery.try_wait().expect("look at it").is_none() {}
        recovery.kill().expect("kill it");
        recovery.wait().expect("wait for it");
        let between = moved(NOTES / 10) && !moved(NOTES - 1);
        sandbox.ok(&["resume"]);
        assert_eq!(read(&sandbox.data()), backed_up);
        let asides = asides(&sandbox.path("."));
        assert_eq!(asides.len(), 1, "{asides:?}");
        for number in 0..NOTES {
            let stood = fs::read_to_string(asides[0].join(note(number))).expect("read what was moved");
            assert_eq!(stood, format!("spoilt {number}"));
        }
        if between {
            return;
        }
    }
    panic!("no kill hit between two renames");
}

#[test]
fn a_recovery_that_fails_for_good_tells_where_what_stood_there_is_and_how_to_put_it_back() {
    let (sandbox, _, before) = changed();
    for tier in ["near", "far"] {
        sandbox.spoil_packs(tier);
    }
    let output = sandbox.run(&IN_PLACE);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    let aside = name(&asides(&sandbox.path("."))[0]);
    let shown = sandbox.ok(&["show", "latest"]);
    for told in [&told, &shown] {
        let place = told.split_once("what stood there before is in ").expect(told).1;
        assert!(
            place.lines().next().is_some_and(|place| place.ends_with(&aside)),
            "{told}"
        );
    }
    let command = shown.split_once("then: ").expect("a command").1;
    let command = command.lines().next().expect("one line");
    let put_back = Command::new("sh").args(["-c", command]).status().expect("start");
    assert!(put_back.success(), "{command}");
    let mut found = read(&sandbox.data());
    // What could be read of the database is left to who wants to look at it; no backup captures it.
    found.retain(|path, _| !path.to_string_lossy().starts_with(".rekindle-staging-"));
    assert_eq!(tree::differences(&before, &found), Vec::<String>::new());
}

#[test]
fn no_backup_and_no_second_recovery_begins_before_one_in_place_has_ended() {
    let (sandbox, backed_up, before) = changed();
    let total = sandbox.fork().count(&IN_PLACE)(Place::AfterAppend);
    for number in [total / 4, total / 2, total * 3 / 4] {
        let sandbox = sandbox.fork();
        let sets = sandbox.ok(&["sets", "--json"]);
        assert_eq!(sandbox.killed(&IN_PLACE, Place::AfterAppend, number), Ok(()));
        let run = sandbox.history()[0]["run"].as_str().expect("a run").to_owned();
        for args in [&["backup"][..], &["backup", "--component", "notes"], &IN_PLACE] {
            let (code, told) = sandbox.code(args);
            assert_eq!(code, 6, "{args:?}: {told}");
            assert!(
                told.contains(&format!("rekindle resume {run}")),
                "{args:?}: {told}"
            );
        }
        assert_eq!(sandbox.ok(&["sets", "--json"]), sets, "nothing was sealed");
        // It reads what is stored, and writes elsewhere.
        sandbox.ok(&["recover", "--to", "elsewhere"]);
        sandbox.ok(&["resume", &run]);
        judge("resumed", &sandbox, &backed_up, &before);
        sandbox.ok(&["backup"]);
    }
}

#[test]
fn an_interrupted_backup_does_not_go_on_while_a_recovery_in_place_is_unfinished() {
    let (sandbox, ..) = changed();
    assert_eq!(sandbox.killed(&["backup"], Place::AfterAppend, 2), Ok(()));
    let backup = sandbox.history()[0]["run"].as_str().expect("a run").to_owned();
    assert_eq!(sandbox.killed(&IN_PLACE, Place::AfterAppend, 12), Ok(()));
    let recovery = sandbox.history()[0]["run"].as_str().expect("a run").to_owned();
    let (code, told) = sandbox.code(&["resume", &backup]);
    assert_eq!(code, 6, "{told}");
    assert!(told.contains(&format!("rekindle resume {recovery}")), "{told}");
    sandbox.ok(&["resume", &recovery]);
    sandbox.ok(&["resume", &backup]);
}

#[test]
fn what_somebody_has_open_is_not_moved_unless_it_is_asked_for() {
    let (sandbox, backed_up, before) = changed();
    let pid = std::process::id().to_string();
    let open = |path: &str| fs::File::open(sandbox.data().join(path)).expect("open a file");

    // No component claims it, so it stays where it is.
    let unclaimed = open("site/logo.png");
    for path in ["notes/a.md", "ledger.sqlite", "notes/deep"] {
        let held = open(path);
        let (code, told) = sandbox.code(&IN_PLACE);
        assert_eq!(code, 2, "{path}: {told}");
        assert!(
            told.contains(&format!("(pid {pid}) has ")) && told.contains(path),
            "{path}: {told}"
        );
        assert!(told.contains("--while-running"), "{path}: {told}");
        assert_eq!(read(&sandbox.data()), before, "{path}");
        assert!(!sandbox.ok(&["runs", "--json"]).contains("\"recover\""), "{path}");
        drop(held);
    }

    // Cut off before anything is moved, and resumed: the rest is not moved from under anybody either.
    let cut = sandbox.fork();
    assert_eq!(cut.killed(&IN_PLACE, Place::AfterAppend, 2), Ok(()));
    let held = fs::File::open(cut.data().join("notes/a.md")).expect("open a file");
    let (code, told) = cut.code(&["resume"]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("rekindle resume") && told.contains("once they are stopped"),
        "{told}"
    );
    drop(held);
    cut.ok(&["resume"]);
    judge("resumed", &cut, &backed_up, &before);

    let held = open("notes/a.md");
    sandbox.ok(&[&IN_PLACE[..], &["--while-running"]].concat());
    judge("while running", &sandbox, &backed_up, &before);
    drop((held, unclaimed));
}

/// A file system of its own, unmounted when the test ends.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one; none where that needs a right that this user lacks. On a build server it must be there.
    fn at(path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).expect("make a mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        assert!(
            mounted || std::env::var_os("CI").is_none(),
            "it cannot be mounted"
        );
        mounted.then_some(Self(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_root_that_is_a_mount_point_keeps_what_was_moved_inside_and_no_backup_captures_it() {
    let sandbox = Sandbox::empty(
        BINARY,
        &SMALL.replace("path: notes", "path: \".\", exclude: [site, \"ledger*\"]"),
    );
    let Some(_mounted) = Mounted::at(sandbox.data()) else {
        return;
    };
    fill(&sandbox);
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    change(&sandbox);
    let told = said(&sandbox.run(&IN_PLACE));
    let asides = asides(&sandbox.data());
    assert_eq!(asides.len(), 1, "{told}");
    let name = name(&asides[0]);
    assert!(told.contains(&name), "{told}");
    assert_eq!(
        fs::read_to_string(sandbox.data().join("notes/a.md")).expect("read"),
        "hello"
    );
    assert_eq!(
        fs::read_to_string(asides[0].join("notes/a.md")).expect("read"),
        "spoilt"
    );
    assert_eq!((rows(&sandbox.data()), rows(&asides[0])), (1, 2));
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "out"]);
    assert!(!sandbox.path("out").join(&name).exists(), "{name} was captured");
}

#[test]
fn a_component_behind_a_link_is_refused_with_both_ways_and_nothing_changes() {
    for (component, link) in [("notes", "notes"), ("ledger", "ledger.sqlite")] {
        let (sandbox, backed_up, _) = changed();
        let place = sandbox.data().join(link);
        let target = sandbox.path("elsewhere");
        fs::rename(&place, &target).expect("move it away");
        std::os::unix::fs::symlink("../elsewhere", &place).expect("make a link");
        let before = read(&target.parent().expect("it has a parent").join("data"));
        let output = sandbox.run(&["recover", "--in-place", "--yes", "--component", component]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("{link} is a link to ../elsewhere")),
            "{said}"
        );
        assert!(said.contains("remove the link and recover again"), "{said}");
        assert!(said.contains("--to DIR"), "{said}");
        assert_eq!(
            fs::read_link(&place).expect("the link is there"),
            Path::new("../elsewhere")
        );
        assert_eq!(read(&sandbox.data()), before);

        // The first of the ways.
        fs::remove_file(&place).expect("remove the link");
        sandbox.ok(&["recover", "--in-place", "--yes", "--component", component]);
        assert!(!place.is_symlink() && target.exists());
        let now = read(&sandbox.data());
        let found = now.iter().filter(|(path, _)| path.starts_with(link));
        let wanted = backed_up.iter().filter(|(path, _)| path.starts_with(link));
        assert_eq!(found.count(), wanted.count());
    }
}
