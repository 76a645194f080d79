//! Kills the whole product at random: while it creates a workspace and makes its first backup, opens, backs
//! up, recovers, and resumes, and again while it resumes a resume.
//!
//! One round: a command begins and dies by SIGKILL at a time drawn from the seed. It is resumed, and the
//! resume is killed again if the dice say so. In the end it ends well. Then each reported transition is in
//! the history, and each set reported as sealed is listed. No step acted again after its journaled success,
//! according to an effect log that the engine never reads. The recovered data equals the living system, file
//! by file and row by row.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::Duration;

use rekindle_tests::chaos::{Dice, many, seed, summary};
use rekindle_tests::effects;
use rekindle_tests::product::{Ended, Product, Told};
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::small;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// Kills in the short form, in each of the shards; the long form has ten times as many.
const KILLS: u64 = 150;
/// How large the system is, in bytes.
const SIZE: usize = 200_000;
/// This many rounds share a workspace; then the test makes a new one.
const ROUNDS: u64 = 10;
const CREATIONS: u64 = 5;

/// The command that is killed.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Init,
    /// It opens the workspace, looks, and closes it.
    Look,
    Backup,
    Recovery,
    Resume,
}

/// The usual duration of each command, in microseconds; kills come within it. It follows measurements, so
/// that kills hit the work and do not come after it.
const WITHIN: [u64; 5] = [12_000, 12_000, 60_000, 60_000, 60_000];

/// Counts of all rounds.
#[derive(Debug, Default)]
struct Tally {
    /// Kills of each deed.
    kills: [u64; 5],
    /// Commands that came to their end before.
    over: u64,
    rounds: u64,
    acknowledged: usize,
    runs: usize,
}

/// A workspace under fire.
struct Field {
    sandbox: Sandbox,
    told: Told,
    dice: Dice,
    tally: Tally,
    within: [u64; 5],
}

impl Field {
    fn fail(&self, why: &str) -> ! {
        panic!(
            "round {}, seed {}: {why}; told last: {:#?}",
            self.tally.rounds,
            seed(),
            self.told.last
        );
    }

    /// Starts a command and kills it, unless it ends before.
    fn hit(&mut self, deed: Deed, args: &[&str]) -> Ended {
        let product = Product::start(&self.sandbox, args);
        let within = &mut self.within[deed as usize];
        std::thread::sleep(Duration::from_micros(self.dice.below(*within)));
        let ended = product.kill(&mut self.told);
        if ended.signal == Some(9) {
            *within = (*within * 21 / 20).min(400_000);
            self.tally.kills[deed as usize] += 1;
            return ended;
        }
        *within = (*within * 9 / 10).max(4_000);
        self.tally.over += 1;
        // There may be no run to look at, and no tier.
        let nothing_there = matches!(deed, Deed::Look) && matches!(ended.code, Some(1 | 2));
        if ended.code != Some(0) && !nothing_there {
            self.fail(&format!("{args:?} ended with {ended:?}"));
        }
        self.told.sealed(&ended.stdout);
        ended
    }

    /// Runs a command that must end, and returns its output.
    fn whole(&mut self, args: &[&str]) -> String {
        let ended = Product::start(&self.sandbox, args).wait(&mut self.told);
        if ended.code != Some(0) {
            self.fail(&format!("{args:?} ended with {ended:?}"));
        }
        self.told.sealed(&ended.stdout);
        ended.stdout
    }

    /// Makes a workspace, killed as it is made, until there is one; and does all of that again.
    fn create(&mut self) {
        for _ in 0..CREATIONS {
            for left in [".rekindle", "config"] {
                // The first time there is nothing yet.
                let _ = fs::remove_dir_all(self.sandbox.path(left));
            }
            while self.hit(Deed::Init, &["init"]).signal.is_some() && self.dice.below(4) > 0 {}
            let made = fingerprint(&self.whole(&["init"]));
            let kept = fingerprint(&self.whole(&["init"]));
            if made.is_none() || made != kept {
                self.fail(&format!("the key {made:?} that was made became {kept:?}"));
            }
        }
    }

    fn look(&mut self) {
        let looks = [&["runs"][..], &["status"], &["history", "latest"], &["sets"]];
        let args = *self.dice.one(&looks);
        self.hit(Deed::Look, args);
    }

    /// Begins a deed and lets it come to its end, whatever is killed. Returns whether its run came to be.
    fn deed(&mut self, deed: Deed, args: &[&str]) -> bool {
        let before = self.runs();
        let begun = self.hit(deed, args);
        while begun.signal.is_some() && self.dice.below(3) > 0 {
            self.hit(Deed::Resume, &["resume", "--all"]);
            if self.dice.below(2) == 0 {
                self.look();
            }
        }
        self.whole(&["resume", "--all"]);
        self.runs() > before
    }

    fn runs(&self) -> usize {
        self.sandbox.ok(&["runs", "--json"]).lines().count()
    }

    fn back_up(&mut self) {
        small::change(&self.sandbox, &mut self.dice);
        if !self.deed(Deed::Backup, &["backup"]) {
            self.whole(&["backup"]);
        }
    }

    fn recover(&mut self) {
        let out = self.sandbox.path("out");
        let args = ["recover", "--to", "out"];
        if !self.deed(Deed::Recovery, &args) {
            self.whole(&args);
        }
        small::judge(&self.sandbox, &out).unwrap_or_else(|why| self.fail(&why));
        fs::remove_dir_all(out).expect("make room");
    }

    /// Compares all reports, and all effects, with the journal.
    fn judge(&mut self) {
        self.told
            .judge(&self.sandbox)
            .unwrap_or_else(|why| self.fail(&why));
        let effects = fs::read_to_string(self.sandbox.effects()).unwrap_or_default();
        for line in self.sandbox.ok(&["runs", "--json"]).lines() {
            let run: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
            let id = run["run"].as_str().expect("its id");
            let history = self.sandbox.history_of(id).unwrap_or_else(|why| self.fail(&why));
            effects::judge(&history, &effects).unwrap_or_else(|why| self.fail(&format!("run {id}: {why}")));
            self.tally.runs += 1;
        }
        let verified = self.sandbox.run(&["verify"]);
        if !verified.status.success() {
            self.fail(&said(&verified));
        }
        self.tally.acknowledged += self.told.acknowledged;
    }
}

/// Returns the key's fingerprint from a workspace's report.
fn fingerprint(told: &str) -> Option<String> {
    let made: serde_json::Value = serde_json::from_str(told).ok()?;
    made["fingerprint"].as_str().map(str::to_owned)
}

fn shard(shard: u64) {
    let mut dice = Dice::of(200 + shard);
    let mut tally = Tally::default();
    let mut within = WITHIN;
    while tally.kills.iter().sum::<u64>() < many(KILLS) {
        let sandbox = Sandbox::empty_in_memory(BINARY, small::SYSTEM);
        small::fill(&sandbox, SIZE, &mut dice);
        let mut field = Field {
            sandbox,
            told: Told::default(),
            dice,
            tally,
            within,
        };
        field.create();
        for round in 0..ROUNDS {
            field.tally.rounds += 1;
            match field.dice.below(2) {
                0 if round > 0 => field.recover(),
                _ => field.back_up(),
            }
        }
        field.judge();
        Field {
            dice,
            tally,
            within,
            ..
        } = field;
    }
    let [init, look, backup, recovery, resume] = tally.kills;
    summary(
        &format!("product {shard}"),
        &format!(
            "{} kills (init {init}, look {look}, backup {backup}, recovery {recovery}, resume {resume}), {} ended \
             before, {} rounds, {} runs, {} acknowledged transitions, 0 violations",
            tally.kills.iter().sum::<u64>(),
            tally.over,
            tally.rounds,
            tally.runs,
            tally.acknowledged
        ),
    );
}

#[test]
fn whenever_the_product_is_killed_what_it_told_holds_0() {
    shard(0);
}

#[test]
fn whenever_the_product_is_killed_what_it_told_holds_1() {
    shard(1);
}

#[test]
fn whenever_the_product_is_killed_what_it_told_holds_2() {
    shard(2);
}

#[test]
fn whenever_the_product_is_killed_what_it_told_holds_3() {
    shard(3);
}
