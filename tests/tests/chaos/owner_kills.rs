//! Owners, submitters and resumers of one workspace, killed at random, again and again, while they back up and recover.
//!
//! Each round starts an owner, submits a backup or a recovery to it, and kills the owner, the submitter or both after a
//! time drawn by the seed; then everything is resumed, and now and then the resume is killed as well. In the end every
//! history is whole, no step acted again after its journaled success (judged by an effect log that the engine never
//! reads), and every recovered tree is the one of an undisturbed recovery.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use rekindle_tests::chaos::{Dice, many, summary};
use rekindle_tests::effects;
use rekindle_tests::sandbox::{Sandbox, la_factoria_in_short};
use rekindle_tests::tree::{self, Tree};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const SIZE: u64 = 3_000_000;
/// Kills in the short form, in each of the shards; the long form has ten times as many.
const KILLS: u64 = 50;
/// Kills come within this time, in milliseconds: a little longer than an undisturbed recovery takes.
const WITHIN: u64 = 700;

fn start(sandbox: &Sandbox, args: &[&str]) -> Child {
    sandbox
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the product")
}

/// Starts an owner and waits until it answers.
fn owner(sandbox: &Sandbox) -> Child {
    let mut owner = sandbox
        .command(&["serve", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start an owner");
    let mut lines = BufReader::new(owner.stderr.take().expect("its stderr")).lines();
    let serving = lines.any(|line| line.is_ok_and(|line| line.contains("serving")));
    assert!(serving, "the owner never served");
    // It continues to print, and nobody reads.
    std::thread::spawn(move || lines.for_each(drop));
    owner
}

fn kill(child: &mut Child) {
    // One that is over is none the worse for it.
    let _ = child.kill();
    let _ = child.wait();
}

/// Lets every run end, and kills the resume once if the dice say so. Returns the number of kills.
fn resume(sandbox: &Sandbox, dice: &mut Dice) -> u64 {
    let mut kills = 0;
    if dice.below(4) == 0 {
        let mut resumer = start(sandbox, &["resume", "--all"]);
        std::thread::sleep(Duration::from_millis(dice.below(WITHIN)));
        kill(&mut resumer);
        kills = 1;
    }
    let (code, said) = sandbox.code(&["resume", "--all"]);
    assert_eq!(code, 0, "{said}");
    kills
}

fn shard(shard: u64) {
    let mut dice = Dice::of(700 + shard);
    let sandbox = Sandbox::in_memory(BINARY, &la_factoria_in_short(), SIZE);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "undisturbed"]);
    let expect = tree::read(&sandbox.path("undisturbed")).expect("read a tree");
    let (mut kills, mut round) = (0, 0);
    while kills < many(KILLS) {
        round += 1;
        let to = format!("out-{round}");
        let args: &[&str] = if dice.below(3) == 0 {
            &["backup"]
        } else {
            &["recover", "--to", &to]
        };
        let mut owner = owner(&sandbox);
        let mut submitter = start(&sandbox, args);
        std::thread::sleep(Duration::from_millis(dice.below(WITHIN)));
        let victims = 1 + dice.below(3);
        if victims & 1 > 0 {
            kill(&mut owner);
            kills += 1;
        }
        if victims & 2 > 0 {
            kill(&mut submitter);
            kills += 1;
        }
        if victims & 1 == 0 {
            // The owner continues without its submitter, and stops gracefully on a signal.
            let pid = rustix::process::Pid::from_child(&owner);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("stop the owner");
        }
        let _ = owner.wait();
        let _ = submitter.wait();
        kills += resume(&sandbox, &mut dice);
        judge_trees(&sandbox, &expect, round);
    }
    let runs = judge_runs(&sandbox);
    summary(
        &format!("owners {shard}"),
        &format!("{kills} kills in {round} rounds, {runs} runs, all whole"),
    );
}

/// Every recovery has ended, so every folder that exists holds everything.
fn judge_trees(sandbox: &Sandbox, expect: &Tree, round: u64) {
    let to = sandbox.path(&format!("out-{round}"));
    if !to.exists() {
        return;
    }
    let found = tree::read(&to).expect("read a tree");
    assert_eq!(tree::differences(expect, &found), [""; 0], "round {round}");
    fs::remove_dir_all(to).expect("make room");
}

fn judge_runs(sandbox: &Sandbox) -> usize {
    let effects = fs::read_to_string(sandbox.effects()).unwrap_or_default();
    let listed = sandbox.ok(&["runs", "--json"]);
    let mut judged = 0;
    for line in listed.lines() {
        let run: Value = serde_json::from_str(line).expect("one JSON object a line");
        let id = run["run"].as_str().expect("its id");
        let history: Vec<Value> = sandbox
            .ok(&["history", id, "--json"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
            .collect();
        effects::judge(&history, &effects).unwrap_or_else(|violation| panic!("run {id}: {violation}"));
        judged += 1;
    }
    judged
}

macro_rules! shards {
    ($($name:ident $shard:literal)*) => {
        $(#[test]
        fn $name() {
            shard($shard);
        })*
    };
}

shards! {
    kills_of_owners_and_clients_lose_nothing_0 0
    kills_of_owners_and_clients_lose_nothing_1 1
    kills_of_owners_and_clients_lose_nothing_2 2
    kills_of_owners_and_clients_lose_nothing_3 3
}
