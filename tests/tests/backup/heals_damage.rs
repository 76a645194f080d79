//! A stored copy is damaged: `verify` finds it, the next `backup` stores it again, and the tier restores alone.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::sandbox::{NOTES_IN_TWO_TIERS, Sandbox, la_factoria_in_short};
use rekindle_tests::tree;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Returns the files below a folder, the largest first.
fn largest_first(folder: &Path) -> Vec<PathBuf> {
    let found = tree::read(folder).expect("read a tree");
    let files = found.into_iter().filter(|(_, what)| what.starts_with("file"));
    let mut files: Vec<PathBuf> = files.map(|(path, _)| folder.join(path)).collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).expect("look at a file").len()));
    files
}

/// Changes one byte in the middle of a file; its length stays.
fn spoil(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("write");
}

/// Returns the folders of the tiers, the one that is damaged first.
fn tiers(sandbox: &Sandbox) -> Vec<PathBuf> {
    let found = fs::read_dir(sandbox.path("tiers")).expect("read the tiers");
    let mut tiers: Vec<PathBuf> = found.map(|tier| tier.expect("a tier").path()).collect();
    tiers.sort_by_key(|tier| !tier.ends_with("hot"));
    assert!(tiers.len() > 1 && tiers[0].ends_with("hot"), "{tiers:?}");
    tiers
}

#[test]
fn a_damaged_pack_is_found_stored_again_by_the_next_backup_and_its_tier_restores_alone() {
    let backed_up = Sandbox::new(BINARY, &la_factoria_in_short(), 5_000_000);
    backed_up.ok(&["backup"]);
    backed_up.ok(&["recover", "--to", "before"]);
    let before = tree::read(&backed_up.path("before")).expect("read");
    for everywhere in [false, true] {
        let sandbox = backed_up.fork();
        let pack = largest_first(&sandbox.path("tiers/hot/packs")).swap_remove(0);
        let pack = pack.strip_prefix(sandbox.path("tiers/hot")).expect("in the tier");
        let affected = if everywhere { tiers(&sandbox).len() } else { 1 };
        for tier in tiers(&sandbox).into_iter().take(affected) {
            spoil(&tier.join(pack));
        }
        let (code, said) = sandbox.code(&["verify"]);
        assert_ne!(code, 0, "{said}");
        assert!(said.contains("is damaged"), "{said}");

        sandbox.ok(&["backup"]);
        sandbox.ok(&["verify"]);
        for tier in tiers(&sandbox).into_iter().skip(1) {
            fs::remove_dir_all(tier).expect("remove the other tiers");
        }
        sandbox.ok(&["recover", "--to", "after"]);
        let after = tree::read(&sandbox.path("after")).expect("read");
        assert_eq!(tree::differences(&before, &after), [""; 0]);
    }
}

#[test]
fn a_second_backup_heals_tiers_whose_packs_are_all_damaged_while_the_living_data_is_whole() {
    let sandbox = Sandbox::new(BINARY, &la_factoria_in_short(), 2_000_000);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "before"]);
    for tier in tiers(&sandbox) {
        for pack in largest_first(&tier.join("packs")) {
            let mut bytes = fs::read(&pack).expect("read");
            bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 1);
            fs::write(&pack, bytes).expect("write");
        }
    }
    let (code, said) = sandbox.code(&["backup"]);
    assert_ne!(code, 0, "{said}");
    sandbox.ok(&["backup"]);
    sandbox.ok(&["verify"]);
    sandbox.ok(&["recover", "--to", "after"]);
    let before = tree::read(&sandbox.path("before")).expect("read");
    let after = tree::read(&sandbox.path("after")).expect("read");
    assert_eq!(tree::differences(&before, &after), [""; 0]);
}

/// The newest backups can be restored from each tier alone, so nothing is wrong, in whichever order the lists of a
/// tier's packs are read: that order is another one in each process.
#[test]
fn packs_that_vanished_and_were_stored_again_raise_no_alarm_and_cost_no_restore_of_that_tier() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "first\n");
    sandbox.ok(&["backup"]);
    for tier in ["near", "far"] {
        for pack in largest_first(&sandbox.path(&format!("tiers/{tier}/packs"))) {
            fs::remove_file(pack).expect("remove a pack");
        }
    }
    let (code, said) = sandbox.code(&["verify"]);
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("no other tier that answers holds all of it"),
        "{said}"
    );
    sandbox.ok(&["backup"]);
    for n in 0..8 {
        for tier in ["near", "far"] {
            // As if nobody had looked yet.
            let _ = fs::remove_dir_all(sandbox.path(&format!("tiers/{tier}/damaged")));
        }
        sandbox.ok(&["verify"]);
        let (code, said) = sandbox.code(&["recover", "--to", &format!("out{n}"), "--tier", "near"]);
        assert_eq!((code, said.contains("instead")), (0, false), "{said}");
    }
}

#[test]
fn an_alarm_about_one_tier_says_which_other_holds_all_of_it() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "first\n");
    sandbox.ok(&["backup"]);
    for pack in largest_first(&sandbox.path("tiers/near/packs")) {
        spoil(&pack);
    }
    let (code, said) = sandbox.code(&["verify"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("tier far holds all of it"), "{said}");
}
