//! Every kind of object in a tier, damaged in every way: nothing is silent, nothing hangs, and no older data passes for
//! the latest.
//!
//! A workspace backs up twice into two tiers. Then one object of the first tier is damaged. `verify` must name it and
//! exit with 5. `status` and `doctor` must name it, if it is one that they look at. A recovery from that tier alone must
//! give the newest data, or exit with 5 and say why. A recovery with the second tier must give the newest data. A repair
//! of the tier must make it whole again.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox};
use rekindle_tests::tree;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Removed,
    Emptied,
    Truncated,
    Flipped,
    /// Another object of the same kind is in its place.
    Swapped,
    Foreign,
    Huge,
    Fifo,
    Folder,
    Symlink,
}

const DAMAGES: [Damage; 10] = [
    Damage::Removed,
    Damage::Emptied,
    Damage::Truncated,
    Damage::Flipped,
    Damage::Swapped,
    Damage::Foreign,
    Damage::Huge,
    Damage::Fifo,
    Damage::Folder,
    Damage::Symlink,
];

impl Damage {
    /// Damages a file; `other` is one of the same kind.
    fn apply(self, file: &Path, other: &Path) {
        let bytes = fs::read(file).expect("read the object");
        if self == Self::Symlink {
            // The right bytes, but behind a link that leads out of the tier.
            let mut above = file.ancestors();
            let tiers = above
                .find(|folder| folder.ends_with("tiers"))
                .expect("the folder of the tiers");
            let aside = tiers.join("aside");
            fs::rename(file, &aside).expect("move it away");
            return symlink(aside, file).expect("make a link");
        }
        let swapped = fs::read(other).expect("read another object");
        fs::remove_file(file).expect("remove the object");
        match self {
            Self::Removed | Self::Symlink => {}
            Self::Emptied => fs::write(file, b"").expect("empty it"),
            Self::Truncated => fs::write(file, &bytes[..bytes.len() / 2]).expect("cut it"),
            Self::Flipped => {
                let mut bytes = bytes;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(file, bytes).expect("flip a bit");
            }
            Self::Swapped => fs::write(file, swapped).expect("swap it"),
            Self::Foreign => fs::write(file, "not an object at all\n".repeat(50)).expect("replace it"),
            Self::Huge => fs::File::create(file)
                .and_then(|file| file.set_len(60 << 30))
                .expect("make it huge"),
            Self::Fifo => {
                let made = Command::new("mkfifo").arg(file).status();
                assert!(made.expect("start mkfifo").success());
            }
            Self::Folder => fs::create_dir(file).expect("make a folder"),
        }
    }
}

/// Makes a system with two backups: the notes of the second are the newest data.
pub(crate) fn backed_up_twice() -> Sandbox {
    let sandbox = Sandbox::empty_in_memory(BINARY, NOTES_IN_TWO_TIERS);
    let note = sandbox.path("data/notes/a.md");
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    for text in ["the first\n", "the second\n"] {
        fs::write(&note, text).expect("write a note");
        if text == "the first\n" {
            sandbox.ok(&["init", "--kit", "kit.txt"]);
        }
        sandbox.ok(&["backup"]);
    }
    sandbox
}

/// Returns the files below a folder of the tier `near`, the newest last.
pub(crate) fn objects(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let mut files = tree::files_below(&sandbox.path("tiers/near").join(folder));
    files.sort_by_key(|file| {
        let modified = fs::metadata(file).and_then(|meta| meta.modified());
        (modified.expect("a time"), file.clone())
    });
    files
}

/// Returns the newest pack of a kind (1 is content, 2 entry streams), and an older one.
fn packs(sandbox: &Sandbox, kind: u8) -> (PathBuf, PathBuf) {
    let mut packs = objects(sandbox, "packs");
    packs.retain(|pack| fs::read(pack).expect("read a pack")[12] == kind);
    newest_and_another(packs)
}

fn newest_and_another(mut files: Vec<PathBuf>) -> (PathBuf, PathBuf) {
    let newest = files.pop().expect("an object");
    let another = files.pop().expect("an older object");
    (newest, another)
}

/// Damages the object that `pick` returns in every way, and checks every cell of its row.
fn row(kind: &str, pick: impl Fn(&Sandbox) -> (PathBuf, PathBuf)) {
    let sound = backed_up_twice();
    for damage in DAMAGES {
        let sandbox = sound.fork();
        let (object, other) = pick(&sandbox);
        damage.apply(&object, &other);
        check(&format!("{kind} {damage:?}"), &sandbox);
    }
}

/// The kinds of objects that `status` and `doctor` look at. They read no packs, no indexes and no segments.
const LOOKED_AT: [&str; 5] = ["format", "key.age", "snapshot", "set", "head"];

fn check(cell: &str, sandbox: &Sandbox) {
    let next = sandbox.fork();
    let backup = within(&next, &["backup"]);
    assert!(
        matches!(backup.code, Some(0 | 3 | 5)),
        "{cell}: the other tier must be stored: {}",
        backup.said
    );
    let sets = |sandbox: &Sandbox| tree::files_below(&sandbox.path("tiers/far/sets")).len();
    assert_eq!(
        sets(&next),
        sets(sandbox) + 1,
        "{cell}: the other tier has the new set: {}",
        backup.said
    );

    let kind = cell.split_once(' ').map_or(cell, |(kind, _)| kind);
    let (status, doctor) = (within(sandbox, &["status"]), within(sandbox, &["doctor"]));
    if LOOKED_AT.contains(&kind) {
        assert!(
            status.said.contains("tier near"),
            "{cell}: status is silent: {}",
            status.said
        );
        assert_eq!(doctor.code, Some(1), "{cell}: {}", doctor.said);
        assert!(
            doctor.said.contains("tier near"),
            "{cell}: doctor is silent: {}",
            doctor.said
        );
    }

    let verified = within(sandbox, &["verify"]);
    match verified.code {
        // An index that is gone costs nothing, and is named all the same.
        Some(0) if kind == "index" => {
            assert!(
                verified.said.contains("WARNING: "),
                "{cell}: verify is silent: {}",
                verified.said
            );
        }
        code => assert_eq!(code, Some(5), "{cell}: {}", verified.said),
    }
    let repaired = repair(cell, kind, sandbox);

    let both = within(sandbox, &["recover", "--to", "both", "--yes"]);
    assert_eq!(both.code, Some(0), "{cell}: a whole tier is there: {}", both.said);
    assert_eq!(note(sandbox, "both"), "the second\n", "{cell}");

    fs::rename(sandbox.path("tiers/far"), sandbox.path("gone")).expect("take the other tier away");
    let alone = within(sandbox, &["recover", "--tier", "near", "--to", "alone", "--yes"]);
    assert!(alone.code.is_some(), "{cell}: {}", alone.said);
    match alone.code {
        Some(0) => assert_eq!(
            note(sandbox, "alone"),
            "the second\n",
            "{cell}: older data is given as the latest"
        ),
        code => assert_eq!(code, Some(5), "{cell}: {}", alone.said),
    }
    let columns = [
        ("verify", verified),
        ("two tiers", both),
        ("this tier alone", alone),
        ("backup", backup),
        ("status", status),
        ("doctor", doctor),
        ("tier repair", repaired),
    ];
    let columns = columns.map(|(name, ended)| format!("{name} {}", ended.row()));
    // The table, for a person who runs this with --nocapture.
    let row = format!("{cell:<20} {}", columns.join(" | "));
    writeln!(std::io::stderr(), "{row}").expect("print a row");
}

/// Repairs the tier in a copy of the sandbox. After that, nothing is wrong any more, and the tier gives the newest data
/// alone.
fn repair(cell: &str, kind: &str, sandbox: &Sandbox) -> Ended {
    let mended = sandbox.fork();
    let repaired = within(&mended, &["tier", "repair", "near"]);
    // Such a folder is for a person to look at: the tier cannot be written.
    if cell.ends_with("is a file") {
        assert!(repaired.code != Some(0), "{cell}: {}", repaired.said);
        return repaired;
    }
    assert_eq!(repaired.code, Some(0), "{cell}: {}", repaired.said);
    // `verify` has written the damaged replica anew, from the journal.
    let verified = within(&mended, &["verify"]);
    assert_eq!(
        verified.code,
        Some(0),
        "{cell}: after the repair of {kind}: {}",
        verified.said
    );
    fs::rename(mended.path("tiers/far"), mended.path("gone")).expect("take the other tier away");
    mended.ok(&["recover", "--tier", "near", "--to", "mended", "--yes"]);
    assert_eq!(note(&mended, "mended"), "the second\n", "{cell}");
    repaired
}

pub(crate) fn note(sandbox: &Sandbox, target: &str) -> String {
    fs::read_to_string(sandbox.path(target).join("notes/a.md")).unwrap_or_default()
}

/// How a command ended.
pub(crate) struct Ended {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    took: Duration,
}

impl Ended {
    fn row(&self) -> String {
        format!(
            "exit {} in {:>4} ms",
            self.code.unwrap_or(-1),
            self.took.as_millis()
        )
    }
}

/// Runs a command that must end within 30 seconds.
pub(crate) fn within(sandbox: &Sandbox, args: &[&str]) -> Ended {
    let begun = SystemClock.now();
    let inner = sandbox.command(args);
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "30"])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(inner.get_current_dir().expect("a folder"));
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("start the product");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    let code = status.code().filter(|code| !matches!(code, 134 | 137));
    assert!(code.is_some(), "{args:?} was killed or has aborted: {said}");
    Ended {
        code,
        said,
        took: SystemClock.now().since(&begun).duration,
    }
}

#[test]
fn a_damaged_marker_is_named_and_another_tier_serves() {
    row("format", |sandbox| {
        (
            sandbox.path("tiers/near/format"),
            sandbox.path("tiers/near/key.age"),
        )
    });
}

#[test]
fn a_damaged_key_file_is_named_and_another_tier_serves() {
    row("key.age", |sandbox| {
        (
            sandbox.path("tiers/near/key.age"),
            sandbox.path("tiers/near/format"),
        )
    });
}

#[test]
fn a_damaged_pack_of_content_is_named_and_another_tier_serves() {
    row("data pack", |sandbox| packs(sandbox, 1));
}

#[test]
fn a_damaged_pack_of_entries_is_named_and_another_tier_serves() {
    row("tree pack", |sandbox| packs(sandbox, 2));
}

#[test]
fn a_damaged_index_is_named_and_its_packs_are_read_all_the_same() {
    row("index", |sandbox| newest_and_another(objects(sandbox, "index")));
}

#[test]
fn a_damaged_snapshot_is_named_and_no_older_one_passes_for_it() {
    row("snapshot", |sandbox| {
        newest_and_another(objects(sandbox, "snapshots"))
    });
}

#[test]
fn a_damaged_set_is_named_and_no_older_one_passes_for_it() {
    row("set", |sandbox| newest_and_another(objects(sandbox, "sets")));
}

#[test]
fn a_damaged_head_is_named_and_no_older_set_passes_for_the_latest() {
    row("head", |sandbox| newest_and_another(objects(sandbox, "heads")));
}

#[test]
fn a_damaged_segment_is_named_and_the_data_is_recovered_all_the_same() {
    row("segment", |sandbox| {
        newest_and_another(objects(sandbox, "journal"))
    });
}

/// Puts the first tier back to the state after the first backup.
fn rolled_back() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "the first\n");
    sandbox.ok(&["backup"]);
    tree::copy(&sandbox.path("tiers/near"), &sandbox.path("earlier")).expect("copy a tier");
    fs::write(sandbox.path("data/notes/a.md"), "the second\n").expect("write a note");
    sandbox.ok(&["backup"]);
    fs::remove_dir_all(sandbox.path("tiers/near")).expect("remove the tier");
    fs::rename(sandbox.path("earlier"), sandbox.path("tiers/near")).expect("put the earlier state there");
    sandbox
}

#[test]
fn a_tier_that_was_put_back_to_an_earlier_state_is_noticed_by_every_command() {
    let sandbox = rolled_back();
    let (code, said) = sandbox.code(&["verify"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("put back to an earlier state"), "{said}");
    for (args, expected) in [
        (&["tier", "check"][..], 5),
        (&["sets"], 5),
        (&["doctor"], 1),
        (&["status"], 0),
        (&["backup"], 0),
    ] {
        let ended = within(&sandbox, args);
        assert_eq!(ended.code, Some(expected), "{args:?}: {}", ended.said);
        assert!(ended.said.contains("is missing"), "{args:?}: {}", ended.said);
    }
    check("rolled back", &rolled_back());
}

#[test]
fn a_backup_does_not_make_a_rolled_back_tier_look_whole() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "the first\n");
    sandbox.ok(&["backup"]);
    tree::copy(&sandbox.path("tiers/near"), &sandbox.path("earlier")).expect("copy a tier");
    for _ in 0..3 {
        sandbox.ok(&["backup"]);
    }
    fs::remove_dir_all(sandbox.path("tiers/near")).expect("remove the tier");
    fs::rename(sandbox.path("earlier"), sandbox.path("tiers/near")).expect("put the earlier state there");
    sandbox.ok(&["backup"]);
    let (code, said) = sandbox.code(&["verify", "--tier", "near"]);
    assert_eq!(code, 5, "{said}");
    assert_eq!(
        said.matches("recovery set ").count(),
        3,
        "each lost set is named: {said}"
    );
    sandbox.ok(&["tier", "repair", "near"]);
    sandbox.ok(&["verify"]);
    assert_eq!(objects(&sandbox, "sets").len(), 5);
}

#[test]
fn an_old_kit_does_not_make_an_old_tier_the_newest() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "the first\n");
    sandbox.ok(&["backup"]);
    let kit = sandbox.path("old-kit.txt").display().to_string();
    sandbox.ok(&["key", "export", "--kit", &kit]);
    sandbox.ok(&["backup"]);
    let bare = |rolled_back: bool| {
        let host = Sandbox::empty(BINARY, NOTES);
        tree::copy(&sandbox.path("tiers"), &host.path("tiers")).expect("copy the tier");
        for folder in ["sets", "heads"].iter().filter(|_| rolled_back) {
            let files = tree::files_below(&host.path("tiers/near").join(folder));
            fs::remove_file(files.iter().max().expect("an object")).expect("remove the newest");
        }
        host.ok(&["init", "--from-kit", &kit]);
        host
    };
    for rolled_back in [false, true] {
        let said = bare(rolled_back).ok(&["recover", "--to", "out"]);
        assert!(said.contains("nothing here can tell"), "{rolled_back}: {said}");
    }
}

#[test]
fn a_folder_that_is_something_else_costs_the_other_tier_nothing() {
    for folder in ["sets", "heads", "snapshots", "packs", "index"] {
        let sandbox = backed_up_twice();
        let path = sandbox.path(&format!("tiers/near/{folder}"));
        fs::remove_dir_all(&path).expect("remove the folder");
        fs::write(&path, "no folder").expect("write a file in its place");
        check(&format!("{folder}/ is a file"), &sandbox);
    }
}

#[test]
fn an_older_set_is_recovered_only_once_a_person_says_so() {
    let sandbox = rolled_back();
    fs::rename(sandbox.path("tiers/far"), sandbox.path("gone")).expect("take the other tier away");
    let (code, said) = sandbox.code(&["recover", "--to", "out"]);
    assert_eq!(code, 5, "{said}");
    for part in ["is the latest that is known", "--accept-older", "--from"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!sandbox.path("out").exists(), "nothing was written");
    let said = sandbox.ok(&["recover", "--to", "out", "--accept-older"]);
    assert_eq!(note(&sandbox, "out"), "the first\n");
    assert!(said.contains("it is not the latest"), "{said}");
}

#[test]
fn a_repair_brings_a_tier_everything_from_the_other_one() {
    let sandbox = rolled_back();
    let said = sandbox.ok(&["tier", "repair", "near"]);
    assert!(said.contains("1 recovery set copied"), "{said}");
    sandbox.ok(&["verify"]);
    fs::rename(sandbox.path("tiers/far"), sandbox.path("gone")).expect("take the other tier away");
    sandbox.ok(&["recover", "--to", "out"]);
    assert_eq!(note(&sandbox, "out"), "the second\n");
}

#[test]
fn what_no_tier_has_any_more_stays_named_until_it_is_given_up() {
    let sandbox = backed_up_twice();
    for tier in ["near", "far"] {
        let sets = tree::files_below(&sandbox.path(&format!("tiers/{tier}/sets")));
        fs::remove_file(sets.iter().max().expect("a set")).expect("remove the newest set");
    }
    let (code, said) = sandbox.code(&["tier", "repair"]);
    assert_eq!(code, 5, "{said}");
    sandbox.ok(&["backup"]);
    assert_eq!(
        sandbox.code(&["verify"]).0,
        5,
        "a new set does not make up for a lost one"
    );
    sandbox.ok(&["tier", "repair", "--accept-lost"]);
    sandbox.ok(&["verify"]);
}

#[test]
fn a_set_that_was_given_up_no_longer_stops_a_recovery() {
    for damage in [Damage::Removed, Damage::Flipped] {
        let sandbox = backed_up_twice();
        for tier in ["near", "far"] {
            let sets = tree::files_below(&sandbox.path(&format!("tiers/{tier}/sets")));
            let newest = sets.iter().max().expect("a set");
            damage.apply(newest, sets.iter().min().expect("another"));
        }
        let (code, said) = sandbox.code(&["recover", "--to", "out"]);
        assert_eq!(code, 5, "{said}");
        sandbox.ok(&["tier", "repair", "--accept-lost"]);
        sandbox.ok(&["recover", "--to", "out"]);
        assert_eq!(note(&sandbox, "out"), "the first\n");
    }
}

#[test]
fn a_repair_names_packs_that_no_tier_has() {
    let sandbox = backed_up_twice();
    for tier in ["near", "far"] {
        let near = packs(&sandbox, 1).0;
        let pack = near
            .strip_prefix(sandbox.path("tiers/near"))
            .unwrap_or(&near)
            .to_owned();
        let other = sandbox.path(&format!("tiers/{tier}")).join(&pack);
        fs::rename(other, sandbox.path(&format!("lost-from-{tier}"))).expect("take the pack away");
        if tier == "near" {
            // The other tier has it still.
            sandbox.ok(&["tier", "repair", "near"]);
        }
    }
    fs::remove_dir_all(sandbox.path("tiers/near/packs")).expect("remove all packs");
    let (code, said) = sandbox.code(&["tier", "repair", "near"]);
    assert_eq!(code, 5, "{said}");
}

#[test]
fn indexes_that_are_all_gone_cost_nothing_and_are_written_anew() {
    let sandbox = backed_up_twice();
    fs::remove_dir_all(sandbox.path("tiers/near/index")).expect("remove the indexes");
    fs::rename(sandbox.path("tiers/far"), sandbox.path("gone")).expect("take the other tier away");
    sandbox.ok(&["verify", "--tier", "near"]);
    sandbox.ok(&["recover", "--tier", "near", "--to", "out"]);
    assert_eq!(note(&sandbox, "out"), "the second\n");
    sandbox.ok(&["tier", "repair", "near"]);
    assert!(!objects(&sandbox, "index").is_empty());
    let said = sandbox.ok(&["verify", "--tier", "near", "--json"]);
    assert!(!said.contains("\"unlisted\":1"), "{said}");
}

#[test]
fn what_killed_writes_left_is_counted_and_removed() {
    let sandbox = backed_up_twice();
    let left = sandbox.path(&format!("tiers/near/packs/{}#1", "ab".repeat(32)));
    fs::write(&left, vec![0; 3_000_000]).expect("leave a temporary file");
    let said = within(&sandbox, &["doctor"]).said;
    assert!(said.contains("killed writes left 1 temporary file, 3"), "{said}");
    sandbox.ok(&["backup"]);
    assert!(!left.exists(), "a backup removes it");
}
