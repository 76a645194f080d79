//! Cuts the power under a journal that is appended to: an ext4 of the test's own is shut down at a random
//! moment.
//!
//! One cut: a writer opens the journal, adopts its predecessor's runs, and appends from four tasks. At a time
//! drawn from the seed the file system is shut down, with or without a flush of dirty data. The writer is
//! killed, and the file system unmounted and mounted again. The test knows from a pipe what was acknowledged.
//! All of that must be there: each run whole, nothing changed, nothing invented.

use std::time::Duration;

use rekindle_tests::chaos::disk::{Cut, Disk};
use rekindle_tests::chaos::told::{Allowed, Told};
use rekindle_tests::chaos::writer::{Helper, Writing};
use rekindle_tests::chaos::{Dice, many, skipped, summary};

const WRITER: &str = env!("CARGO_BIN_EXE_rekindle-journal-writer");
/// Power cuts in the short form; the long form has ten times as many.
const CUTS: u64 = 60;
/// So many cuts share a file system; then a fresh one shows first creation.
const PER_DISK: u64 = 12;

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut dice = Dice::of(1);
    let helper = Helper::new(WRITER);
    let (mut cuts, mut hard, mut acknowledged, mut torn, mut before_open) = (0, 0, 0, 0, 0);
    while cuts < many(CUTS) {
        let dir = tempfile::tempdir().expect("make a folder");
        let disk = match Disk::ext4(dir.path(), 64) {
            Ok(disk) => disk,
            Err(why) => return skipped("power cuts", &why),
        };
        let workspace = disk.path().join(".rekindle");
        let mut told = Told::default();
        for turn in 0..PER_DISK {
            let how = match dice.below(4) {
                0 => Cut::Flushed,
                _ => Cut::Hard,
            };
            let opened = told.opened;
            let case = format!("cut {cuts}, turn {turn}, {how:?}");
            let fail = |why: String| -> ! { panic!("{case}: {why}") };
            let how_to_write = Writing {
                seed: cuts,
                ..Writing::default()
            };
            let writer = helper
                .write(&workspace, &how_to_write)
                .unwrap_or_else(|why| fail(why));
            // Some cuts fall while it opens; most after some appends.
            let lines = dice.below(4) * dice.below(200);
            let listened = writer.listen(&mut told, lines, Duration::from_secs(20));
            listened.unwrap_or_else(|why| fail(why));
            std::thread::sleep(Duration::from_micros(dice.below(30_000)));
            writer.hear(&mut told).unwrap_or_else(|why| fail(why));
            told.cut();
            disk.cut(how).unwrap_or_else(|why| fail(why));
            writer.kill(&mut told).unwrap_or_else(|why| fail(why));
            disk.boot().unwrap_or_else(|why| fail(why));
            let found = helper.read(&workspace).unwrap_or_else(|why| fail(why));
            told.judge(&found, Allowed::Nothing)
                .unwrap_or_else(|why| fail(why));
            assert_eq!(found.damage, 0, "{case}: a power cut is no damage");
            cuts += 1;
            hard += u64::from(how == Cut::Hard);
            torn += u64::from(found.torn > 0);
            before_open += u64::from(told.opened == opened);
        }
        acknowledged += told.acknowledged;
    }
    assert!(
        acknowledged > cuts * 5,
        "only {acknowledged} records were acknowledged"
    );
    summary(
        "power",
        &format!(
            "{cuts} cuts ({hard} hard, {before_open} before the journal was open), {acknowledged} acknowledged \
             records, {torn} torn tails, 0 lost"
        ),
    );
}
