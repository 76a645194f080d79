//! Cuts the power under the whole product. Workspace, key, data, tiers and the recovery's target are on an
//! ext4 of the test's own, which is shut down at a random moment of a first creation, a backup or a recovery.
//!
//! One cut: a command works and reports to its parent over a pipe. The file system is shut down, with or
//! without a flush of dirty data. The product is killed, and the disk unmounted and mounted again. Then every
//! transition and every sealed set reported before the cut must exist and verify. The command continues to
//! its end, and the recovered data equals the living system, file by file and row by row. The test syncs the
//! living system's own writes before: their loss would not be the product's fault.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::Duration;

use rekindle_tests::chaos::disk::{Cut, Disk};
use rekindle_tests::chaos::{Dice, many, seed, skipped, summary};
use rekindle_tests::product::{Ended, Product, Told};
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::small;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// Power cuts in the short form, in each of the shards; the long form has ten times as many.
const CUTS: u64 = 40;
/// So many cuts share a file system; then a fresh one shows first creation.
const PER_DISK: u64 = 8;
/// How large the system is, in bytes.
const SIZE: usize = 300_000;

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    hard: u64,
    init: u64,
    backup: u64,
    recovery: u64,
    resume: u64,
    acknowledged: usize,
    sets: usize,
}

/// A system on a disk whose power fails.
struct House {
    sandbox: Sandbox,
    disk: Disk,
    told: Told,
    dice: Dice,
    tally: Tally,
    /// How long a deed takes about, in microseconds; cuts come within this time and follow it.
    within: u64,
}

impl House {
    fn fail(&self, why: &str) -> ! {
        panic!(
            "cut {}, seed {}: {why}; told last: {:#?}",
            self.tally.cuts,
            seed(),
            self.told.last
        );
    }

    /// Starts a deed and cuts its power. Returns how it ended where it did before.
    fn hit(&mut self, args: &[&str]) -> Option<Ended> {
        let how = match self.dice.below(4) {
            0 => Cut::Flushed,
            _ => Cut::Hard,
        };
        let product = Product::start(&self.sandbox, args);
        std::thread::sleep(Duration::from_micros(self.dice.below(self.within)));
        product.hear(&mut self.told);
        self.told.cut();
        self.disk.cut(how).unwrap_or_else(|why| self.fail(&why));
        let ended = product.kill(&mut self.told);
        self.disk.boot().unwrap_or_else(|why| self.fail(&why));
        self.told.boot();
        self.tally.cuts += 1;
        self.tally.hard += u64::from(how == Cut::Hard);
        let over = ended.signal.is_none();
        self.within = match over {
            true => (self.within * 9 / 10).max(40_000),
            false => (self.within * 11 / 10).min(1_500_000),
        };
        let told = self.told.judge(&self.sandbox);
        told.unwrap_or_else(|why| self.fail(&why));
        over.then_some(ended)
    }

    fn whole(&mut self, args: &[&str]) -> String {
        let ended = Product::start(&self.sandbox, args).wait(&mut self.told);
        if ended.code != Some(0) {
            self.fail(&format!("{args:?} ended with {ended:?}"));
        }
        self.told.sealed(&ended.stdout);
        ended.stdout
    }

    /// A workspace whose making is cut off is made by making it again; one that was told to be made is there.
    fn create(&mut self) {
        if self.dice.below(2) == 0 {
            self.hit(&["init"]);
            self.tally.init += 1;
        }
        let fingerprint = |told: &str| {
            let made: serde_json::Value = serde_json::from_str(told).expect("what was made");
            made["fingerprint"].as_str().map(str::to_owned)
        };
        let made = fingerprint(&self.whole(&["init"]));
        let how = *self.dice.one(&[Cut::Flushed, Cut::Hard]);
        self.disk.cut(how).unwrap_or_else(|why| self.fail(&why));
        self.disk.boot().unwrap_or_else(|why| self.fail(&why));
        self.tally.cuts += 1;
        self.tally.init += 1;
        let found = fingerprint(&self.whole(&["init"]));
        assert!(
            made.is_some() && made == found,
            "the key is not the one that was told to be made"
        );
    }

    /// Continues what was cut off; if the dice say so, cuts the continuation off too. If nothing of it was there,
    /// starts it again.
    fn end(&mut self, args: &[&str], before: usize) {
        if self.dice.below(4) == 0 {
            self.hit(&["resume", "--all"]);
            self.tally.resume += 1;
        }
        self.whole(&["resume", "--all"]);
        if self.runs() == before {
            self.whole(args);
        }
    }

    fn runs(&self) -> usize {
        self.sandbox.ok(&["runs", "--json"]).lines().count()
    }

    fn back_up(&mut self) {
        small::change(&self.sandbox, &mut self.dice);
        self.disk.flush().unwrap_or_else(|why| self.fail(&why));
        let before = self.runs();
        self.tally.backup += 1;
        self.hit(&["backup"]);
        self.end(&["backup"], before);
        let verified = self.sandbox.run(&["verify"]);
        if !verified.status.success() {
            self.fail(&said(&verified));
        }
    }

    fn recover(&mut self) {
        let args = ["recover", "--to", "out"];
        let before = self.runs();
        self.tally.recovery += 1;
        self.hit(&args);
        self.end(&args, before);
        let out = self.sandbox.path("out");
        let judged = small::judge(&self.sandbox, &out);
        judged.unwrap_or_else(|why| self.fail(&why));
        if self.dice.below(2) == 0 {
            // What a recovery has told to be done stays done.
            self.disk.cut(Cut::Hard).unwrap_or_else(|why| self.fail(&why));
            self.disk.boot().unwrap_or_else(|why| self.fail(&why));
            self.tally.cuts += 1;
            self.tally.hard += 1;
            let judged = small::judge(&self.sandbox, &out);
            judged.unwrap_or_else(|why| self.fail(&format!("after it was done: {why}")));
        }
        fs::remove_dir_all(out).expect("make room");
    }
}

fn shard(shard: u64) {
    let mut dice = Dice::of(300 + shard);
    let mut tally = Tally::default();
    let mut within = 300_000;
    while tally.cuts < many(CUTS) {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("make a folder");
        let disk = match Disk::ext4(dir.path(), 96) {
            Ok(disk) => disk,
            Err(why) => return skipped("power cuts of the product", &why),
        };
        let sandbox = Sandbox::below(disk.path(), BINARY, small::SYSTEM);
        small::fill(&sandbox, SIZE, &mut dice);
        disk.flush().expect("sync the disk");
        let until = tally.cuts + PER_DISK;
        let mut house = House {
            sandbox,
            disk,
            told: Told::default(),
            dice,
            tally,
            within,
        };
        house.create();
        house.back_up();
        while house.tally.cuts < until {
            match house.dice.below(2) {
                0 => house.back_up(),
                _ => house.recover(),
            }
        }
        house.tally.acknowledged += house.told.acknowledged;
        house.tally.sets += house.told.sets();
        let House {
            sandbox,
            dice: its_dice,
            tally: its_tally,
            within: its_time,
            disk,
            ..
        } = house;
        drop(sandbox);
        drop(disk);
        (dice, tally, within) = (its_dice, its_tally, its_time);
    }
    summary(
        &format!("power product {shard}"),
        &format!(
            "{} cuts ({} hard; init {}, backup {}, recovery {}, resume {}), {} acknowledged transitions, {} sealed \
             sets, 0 violations",
            tally.cuts,
            tally.hard,
            tally.init,
            tally.backup,
            tally.recovery,
            tally.resume,
            tally.acknowledged,
            tally.sets
        ),
    );
}

#[test]
fn a_power_cut_takes_nothing_from_vault_or_target_that_was_told_0() {
    shard(0);
}

#[test]
fn a_power_cut_takes_nothing_from_vault_or_target_that_was_told_1() {
    shard(1);
}
