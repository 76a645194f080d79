//! SIGTERM, Ctrl-C and SIGHUP at random moments of a backup, a recovery and their resumes, in some rounds
//! twice; and several resumes of one run at once.
//!
//! A command that gets a signal ends within 5 s and can be resumed. If it gets a second one, it ends at once.
//! Of several resumes of one run, one drives it, even if the driver before it dies. The others watch it to
//! its end or exit with 6.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::chaos::{Dice, many, seed, summary};
use rekindle_tests::effects;
use rekindle_tests::product::{Ended, Product, Told};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::small;
use rustix::process::Signal;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// How large the system is, in bytes.
const SIZE: usize = 400_000;
/// Rounds of stops, and of resumers, in the short form; the long form has ten times as many.
const STOPS: u64 = 50;
const CONTESTS: u64 = 20;
/// The longest that a command may take after a signal.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// The longest that a command may take after a second signal: the process ends at once, but the machine may
/// be busy.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

fn prepared(dice: &mut Dice) -> Sandbox {
    let sandbox = Sandbox::empty_in_memory(BINARY, small::SYSTEM);
    small::fill(&sandbox, SIZE, dice);
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    sandbox
}

/// How a command ended after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// It had done all of it.
    Done,
    /// A run is left to be resumed.
    Resumable,
    /// It had not begun: the signal came before it listened, or before there was a run.
    NotBegun,
}

/// Starts a command and sends it a signal after a while, or two; after two, nothing that it still does
/// matters.
fn stop(sandbox: &Sandbox, args: &[&str], dice: &mut Dice, within: u64, told: &mut Told) -> Stopped {
    let product = Product::start(sandbox, args);
    std::thread::sleep(Duration::from_micros(dice.below(within)));
    let begun = SystemClock.now();
    product.signal(*dice.one(&[Signal::TERM, Signal::INT, Signal::HUP]));
    let twice = dice.below(4) == 0;
    if twice {
        std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        product.signal(Signal::TERM);
    }
    let ended = product.wait(told);
    let took = SystemClock.now().since(&begun).duration;
    let limit = if twice { ENDS_WITHIN } else { STOPS_WITHIN };
    assert!(took <= limit, "{args:?} took {took:?} to stop; {:#?}", told.last);
    let left = sandbox.ok(&["runs", "--json"]).contains("\"outcome\":null");
    match ended {
        Ended { code: Some(0), .. } => Stopped::Done,
        Ended { code: Some(4), .. } if left => Stopped::Resumable,
        // A run's end may be journaled when the second signal comes.
        Ended { code: Some(4), .. } if twice || !told.knows_a_run() => Stopped::NotBegun,
        Ended {
            signal: Some(15 | 2 | 1),
            ..
        } if !told.knows_a_run() => Stopped::NotBegun,
        ended => panic!(
            "{args:?} was told to stop and ended with {ended:?}; {:#?}",
            told.last
        ),
    }
}

#[test]
fn a_stopped_command_ends_within_5_s_and_resumes_to_the_same_end() {
    let mut dice = Dice::of(400);
    let sandbox = prepared(&mut dice);
    let (mut stops, mut resumable, mut early, mut done, mut within) = (0, 0, 0, 0, 100_000);
    for round in 0..many(STOPS) {
        let recovers = dice.below(3) > 0;
        let args: &[&str] = match recovers {
            true => &["recover", "--to", "out"],
            false => &["backup"],
        };
        let runs = |sandbox: &Sandbox| sandbox.ok(&["runs", "--json"]).lines().count();
        let before = runs(&sandbox);
        let mut told = Told::default();
        let mut next = args;
        loop {
            let mut heard = Told::default();
            let stopped = stop(&sandbox, next, &mut dice, within, &mut heard);
            heard
                .judge(&sandbox)
                .unwrap_or_else(|why| panic!("round {round}, seed {}: {why}", seed()));
            stops += 1;
            match stopped {
                Stopped::Done => {
                    done += 1;
                    within = (within * 9 / 10).max(10_000);
                }
                Stopped::Resumable => resumable += 1,
                Stopped::NotBegun => {
                    early += 1;
                    within = (within * 11 / 10).min(500_000);
                }
            }
            if runs(&sandbox) > before {
                next = &["resume", "--all"];
            }
            if stopped == Stopped::Done || dice.below(3) == 0 {
                break;
            }
        }
        if runs(&sandbox) == before {
            sandbox.ok(args);
        }
        let ended = Product::start(&sandbox, &["resume", "--all"]).wait(&mut told);
        assert_eq!(ended.code, Some(0), "{:#?}", told.last);
        if recovers {
            let out = sandbox.path("out");
            let judged = small::judge(&sandbox, &out);
            judged.unwrap_or_else(|why| panic!("round {round}, seed {}: {why}", seed()));
            fs::remove_dir_all(out).expect("make room");
        }
    }
    judge_effects(&sandbox);
    assert!(
        resumable * 5 > stops,
        "only {resumable} of {stops} stops hit a run"
    );
    summary(
        "stops",
        &format!(
            "{stops} stops, {resumable} left a run to resume, {early} came before one, {done} after its end, 0 late"
        ),
    );
}

fn judge_effects(sandbox: &Sandbox) {
    let effects = fs::read_to_string(sandbox.effects()).unwrap_or_default();
    for line in sandbox.ok(&["runs", "--json"]).lines() {
        let run: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
        let id = run["run"].as_str().expect("its id");
        let history = sandbox.history_of(id).expect("its history");
        effects::judge(&history, &effects).unwrap_or_else(|why| panic!("run {id}: {why}"));
    }
}

#[test]
fn of_several_resumes_of_one_run_one_drives_it() {
    let mut dice = Dice::of(401);
    let sandbox = prepared(&mut dice);
    let (mut resumers, mut killed, mut refused, mut contests) = (0, 0, 0, 0);
    let mut within = 60_000;
    while contests < many(CONTESTS) {
        let number = contests;
        let fail = |why: &str| -> ! { panic!("contest {number}, seed {}: {why}", seed()) };
        let mut told = Told::default();
        let victim = Product::start(&sandbox, &["recover", "--to", "out"]);
        std::thread::sleep(Duration::from_micros(dice.below(within)));
        let early = victim.kill(&mut told).signal.is_some();
        if !sandbox.ok(&["runs", "--json"]).contains("\"outcome\":null") {
            // It came before there was a run, or after its end.
            within = match early {
                true => within + 5_000,
                false => (within * 9 / 10).max(5_000),
            };
            let _ = fs::remove_dir_all(sandbox.path("out"));
            continue;
        }
        contests += 1;
        let run = told_run(&sandbox);
        let adopted = |sandbox: &Sandbox| {
            let history = sandbox.history_of(&run).unwrap_or_else(|why| fail(&why));
            history
                .iter()
                .filter(|record| record["event"] == "run_adopted")
                .count()
        };
        let before = adopted(&sandbox);
        let mut several: Vec<Product> = (0..2 + dice.below(2))
            .map(|_| {
                std::thread::sleep(Duration::from_micros(dice.below(2) * dice.below(20_000)));
                Product::start(&sandbox, &["resume", &run])
            })
            .collect();
        resumers += several.len();
        let kills = dice.below(2) as usize;
        if kills == 1 {
            std::thread::sleep(Duration::from_micros(dice.below(60_000)));
            let one = dice.below(several.len() as u64) as usize;
            several.remove(one).kill(&mut told);
            killed += 1;
        }
        let mut drove = 0;
        for resumer in several {
            let mut heard = Told::default();
            let ended = resumer.wait(&mut heard);
            match ended.code {
                // It drove the run, or watched its driver.
                Some(0) => drove += 1,
                // Its owner was killed; or it came when all was over.
                Some(4) if kills == 1 => {}
                Some(2) if ended.stdout.contains("is over") => {}
                Some(6) => refused += 1,
                _ => fail(&format!("a resumer ended with {ended:?}: {:#?}", heard.last)),
            }
            heard.judge(&sandbox).unwrap_or_else(|why| fail(&why));
        }
        assert!(
            drove > 0 || kills == 1,
            "contest {number}: nobody resumed the run"
        );
        let takeovers = adopted(&sandbox) - before;
        assert!(
            takeovers <= 1 + kills,
            "contest {number}: {takeovers} took the run over, with {kills} killed"
        );
        sandbox.ok(&["resume", "--all"]);
        let out = sandbox.path("out");
        small::judge(&sandbox, &out).unwrap_or_else(|why| fail(&why));
        fs::remove_dir_all(out).expect("make room");
    }
    judge_effects(&sandbox);
    summary(
        "resumers",
        &format!(
            "{contests} contests of {resumers} resumers, {killed} killed, {refused} refused, 0 runs with two drivers"
        ),
    );
}

/// Returns the run that is interrupted.
fn told_run(sandbox: &Sandbox) -> String {
    let listed = sandbox.ok(&["runs", "--json"]);
    let interrupted = listed.lines().find(|line| line.contains("\"outcome\":null"));
    let run: serde_json::Value =
        serde_json::from_str(interrupted.expect("a run without an end")).expect("one JSON object a line");
    run["run"].as_str().expect("its id").to_owned()
}
