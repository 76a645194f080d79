//! Flips bytes and cuts files of a journal: in the log, in the separate head, and in sled.
//!
//! A journal of some runs is written and closed. Each case damages a copy in one place, and another process
//! reads all of it. With sled beside the log, everything must be there, and damage of the log is named. From
//! the log alone, each run is as acknowledged, or refused by name, or shorter with the damage named. A reader
//! never gets a record that was not written.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::chaos::told::{Allowed, Told};
use rekindle_tests::chaos::writer::{Helper, Writing};
use rekindle_tests::chaos::{Dice, many, summary};
use rekindle_tests::tree;

const WRITER: &str = env!("CARGO_BIN_EXE_rekindle-journal-writer");
/// Bytes flipped in each of two shards; the long form has ten times as many.
const FLIPS: u64 = 200;
/// The bytes of a segment's and of a frame's header; the body's length is at 4 of the latter. See the journal's FORMAT.
const HEADERS: (usize, usize) = (64, 60);

/// A whole journal and the reports about it.
struct Whole {
    dir: tempfile::TempDir,
    told: Told,
    helper: Helper,
}

impl Whole {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("make a folder");
        let helper = Helper::new(WRITER);
        let mut told = Told::default();
        let how = Writing {
            tasks: 3,
            segment_bytes: 16 << 10,
            appends: 60,
            seed,
        };
        let workspace = dir.path().join("whole");
        let writer = helper.write(&workspace, &how).expect("start a writer");
        let end = writer.wait(&mut told).expect("write a journal");
        assert_eq!(end.code, Some(0), "{end:?}");
        let found = helper.read(&workspace).expect("read it");
        told.judge(&found, Allowed::Nothing).expect("it is whole");
        Self { dir, told, helper }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join("whole").join(inside)
    }

    fn files(&self, inside: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(inside)).expect("read a folder").flatten();
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| entry.path().is_file())
            .map(|entry| Path::new(inside).join(entry.file_name()))
            .collect();
        files.sort();
        files
    }

    /// Reads a copy in which a file is hurt. Returns whether the damage was named.
    fn hurt(&self, file: &Path, with_sled: bool, case: &str, hurt: impl FnOnce(&mut Vec<u8>)) -> bool {
        let copy = self.dir.path().join("copy");
        // There is none before the first case.
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).expect("make a folder");
        tree::copy(&self.path("."), &copy).expect("copy a journal");
        if !with_sled {
            fs::remove_dir_all(copy.join("journal")).expect("remove sled");
        }
        let mut bytes = fs::read(copy.join(file)).expect("read a file");
        hurt(&mut bytes);
        fs::write(copy.join(file), bytes).expect("write a file");
        let found = self
            .helper
            .read(&copy)
            .unwrap_or_else(|why| panic!("{case}: {why}"));
        let allowed = if with_sled {
            Allowed::Nothing
        } else {
            Allowed::Named
        };
        let judged = self.told.clone().judge(&found, allowed);
        judged.unwrap_or_else(|why| panic!("{case}: {why}"));
        found.damage > 0
    }
}

fn shard(shard: u64) {
    let mut dice = Dice::of(30 + shard);
    let whole = Whole::new(shard + 1);
    let (log, sled) = (whole.files("log"), whole.files("journal"));
    assert!(log.len() > 1, "a journal of several segments");
    let (mut flips, mut cuts, mut named) = (0, 0, 0);
    while flips < many(FLIPS) {
        let kind = dice.below(8);
        let (file, with_sled) = match kind {
            0 => (Path::new("head").to_owned(), true),
            1 => (Path::new("head").to_owned(), false),
            2 | 3 => (dice.one(&sled).clone(), true),
            4 => (dice.one(&log).clone(), true),
            _ => (dice.one(&log).clone(), false),
        };
        let bytes = fs::read(whole.path(&file.to_string_lossy())).expect("read a file");
        // sled's file is larger than what is in it.
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        if used == 0 {
            continue;
        }
        let (at, bit) = (dice.below(used) as usize, dice.below(8));
        let case = format!("byte {at} of {}, bit {bit}, sled {with_sled}", file.display());
        let told = whole.hurt(&file, with_sled, &case, |bytes| bytes[at] ^= 1 << bit);
        if file.starts_with("log") {
            assert!(told, "{case}: unnoticed");
        }
        flips += 1;
        named += u64::from(told);
    }
    // Before, in and after each record's frame; a cut at the end of the last one is none.
    for file in &log {
        let bytes = fs::read(whole.path(&file.to_string_lossy())).expect("read a segment");
        let mut at = HEADERS.0;
        while at < bytes.len() {
            let length: [u8; 4] = bytes[at + 4..at + 8].try_into().expect("four bytes");
            let next = at + HEADERS.1 + u32::from_be_bytes(length) as usize;
            for place in [at, at + 30, next - 1] {
                if dice.below(many(1) + 5) >= many(1) {
                    continue;
                }
                let with_sled = dice.below(2) == 0;
                let case = format!("{} cut at {place}, sled {with_sled}", file.display());
                let told = whole.hurt(file, with_sled, &case, |bytes| bytes.truncate(place));
                assert!(told, "{case}: unnoticed");
                cuts += 1;
                named += 1;
            }
            at = next;
        }
    }
    summary(
        &format!("bytes {shard}"),
        &format!(
            "{flips} bits flipped, {cuts} records cut off, {named} named, {} records in {} runs, nothing read that \
             was not written",
            whole.told.acknowledged,
            whole.told.runs()
        ),
    );
}

#[test]
fn a_flipped_or_cut_journal_is_repaired_or_named_and_never_read_differently_0() {
    shard(0);
}

#[test]
fn a_flipped_or_cut_journal_is_repaired_or_named_and_never_read_differently_1() {
    shard(1);
}
