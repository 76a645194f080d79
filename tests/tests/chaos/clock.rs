//! The wall clock is set a day ahead or back, at random, while runs wait, work, are killed and resumed.
//!
//! The journal's order stays, waits and deadlines last as long as they should, and a figure that depends on a
//! changed clock says so. The judge measures by CLOCK_BOOTTIME, which nobody sets.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::Duration;

use rekindle_model::time::{Clock, Stamp, SystemClock};
use rekindle_tests::chaos::clock::WallClock;
use rekindle_tests::chaos::{Dice, many, seed, skipped, summary};
use rekindle_tests::product::{Product, Told};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::small;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// Runs that wait, and recoveries, in the short form; the long form has ten times as many.
const WAITING: u64 = 10;
const RECOVERIES: u64 = 8;
const DAY: i64 = 86_400;
/// The wait between attempts in [`FLOW`].
const BACKOFF: Duration = Duration::from_millis(300);
/// The same, and what a busy machine takes to begin an attempt.
const BACKOFF_AT_MOST: Duration = Duration::from_secs(5);

/// Fails twice, waits in between, and has every limit there is.
const FLOW: &str = r#"
workflow: it
deadline: 60s
steps:
  - id: first
    uses: noop
    with: {sleep: 50ms}
  - id: flaky
    needs: [first]
    uses: command
    with: {run: [sh, "-c", "echo x >> tries; [ $(wc -l < tries) -ge 3 ]"]}
    timeout: 30s
    stall_timeout: 30s
    deadline: 50s
    retry: {max_attempts: 3, backoff: {initial: 300ms, factor: 1, max: 300ms, jitter: 0}}
  - id: last
    needs: [flaky]
    uses: noop
"#;

/// A system whose product sees a clock of its own.
struct House {
    sandbox: Sandbox,
    clock: WallClock,
    told: Told,
}

impl House {
    fn new(dice: &mut Dice) -> Result<Self, String> {
        let sandbox = Sandbox::empty_in_memory(BINARY, small::SYSTEM);
        let clock = WallClock::new(&sandbox.path("."))?;
        small::fill(&sandbox, 100_000, dice);
        fs::write(sandbox.path("it.yaml"), FLOW).expect("write a workflow");
        let mut house = Self {
            sandbox,
            clock,
            told: Told::default(),
        };
        house.whole(&["init", "--kit", "kit.txt"]);
        Ok(house)
    }

    fn set(&self, days: i64) {
        self.clock.set(days * DAY).expect("set the clock");
    }

    fn start(&self, args: &[&str]) -> Product {
        let mut command = self.sandbox.command(args);
        command.arg("--json");
        Product::spawn(self.clock.shown_to(&mut command))
    }

    /// Runs a command line to its end, and returns its exit code and what it printed.
    fn code(&mut self, args: &[&str]) -> (Option<i32>, String) {
        let ended = self.start(args).wait(&mut self.told);
        (ended.code, ended.stdout)
    }

    fn whole(&mut self, args: &[&str]) -> String {
        let (code, stdout) = self.code(args);
        assert_eq!(code, Some(0), "{args:?}: {:#?}", self.told.last);
        stdout
    }

    /// The newest run's history, with the instant of each record.
    fn history(&self) -> Vec<(Value, Stamp)> {
        let records = self.sandbox.history().into_iter();
        let stamped = records.map(|record| {
            let stamp = serde_json::from_value(record.clone()).expect("its instant");
            (record, stamp)
        });
        stamped.collect()
    }
}

#[test]
fn waits_and_deadlines_last_as_long_as_they_should_when_the_clock_is_set() {
    let mut dice = Dice::of(600);
    let (mut jumps, mut seen, mut kills) = (0, 0, 0);
    for case in 0..many(WAITING) {
        let mut house = match House::new(&mut dice) {
            Ok(house) => house,
            Err(why) => return skipped("clock jumps", &why),
        };
        let name = format!("case {case}, seed {}", seed());
        let mut now = 0;
        let mut jump = |house: &House, dice: &mut Dice| {
            now += [-1, 1][dice.below(2) as usize];
            house.set(now);
        };
        let product = house.start(&["run", "it.yaml"]);
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        jump(&house, &mut dice);
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        let killed = dice.below(2) == 0;
        jumps += 2;
        let code = if killed {
            product.kill(&mut house.told);
            kills += 1;
            jump(&house, &mut dice);
            match house.sandbox.history().is_empty() {
                true => house.code(&["run", "it.yaml"]).0,
                false => house.code(&["resume", "--all"]).0,
            }
        } else {
            jump(&house, &mut dice);
            product.wait(&mut house.told).code
        };
        assert_eq!(code, Some(0), "{name}: {:#?}", house.told.last);
        let history = house.history();
        seen += judge_waits(&history, killed).unwrap_or_else(|why| panic!("{name}: {why}"));
        house
            .told
            .judge(&house.sandbox)
            .unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    assert!(seen > 0, "no history shows that a clock was set");
    summary(
        "clock waits",
        &format!(
            "{jumps} jumps in {} runs ({kills} killed), {seen} seen between two records, 0 violations",
            many(WAITING)
        ),
    );
}

/// Compares a history with the clock that nobody sets. Returns how often the other one was set.
fn judge_waits(history: &[(Value, Stamp)], killed: bool) -> Result<usize, String> {
    let mut seen = 0;
    for pair in history.windows(2) {
        let ((before, earlier), (after, later)) = (&pair[0], &pair[1]);
        if before["seq"].as_u64() >= after["seq"].as_u64() || earlier.boot_ns > later.boot_ns {
            return Err(format!("record {} is out of order", after["seq"]));
        }
        seen += usize::from(later.was_set_since(earlier));
    }
    let failures = history
        .iter()
        .filter(|(record, _)| record["event"] == "step_failed");
    for (failure, failed) in failures {
        if failure["error"]["code"] != "command_failed" {
            return Err(format!("a limit was exceeded: {failure}"));
        }
        let next = history
            .iter()
            .filter(|(record, _)| record["event"] == "step_started" && record["step"] == failure["step"])
            .find(|(record, _)| record["seq"].as_u64() > failure["seq"].as_u64());
        let (_, began) = next.ok_or("a failure without another attempt")?;
        let waited = began.since(failed).duration;
        if waited < BACKOFF || (waited > BACKOFF_AT_MOST && !killed) {
            return Err(format!("{waited:?} between two attempts, not {BACKOFF:?}"));
        }
    }
    Ok(seen)
}

#[test]
fn a_recovery_after_the_clock_was_set_brings_back_the_newest_and_says_what_is_uncertain() {
    let mut dice = Dice::of(601);
    let (mut uncertain, mut by_name) = (0, 0);
    for case in 0..many(RECOVERIES) {
        let mut house = match House::new(&mut dice) {
            Ok(house) => house,
            Err(why) => return skipped("clock jumps", &why),
        };
        let name = format!("case {case}, seed {}", seed());
        // An older set, and one beside it from before or after the clock is set.
        house.whole(&["backup"]);
        let (back, between) = (case % 2 == 0, case % 4 < 2);
        let days = if back { -1 } else { 1 };
        if between {
            house.set(days);
        }
        small::change(&house.sandbox, &mut dice);
        house.whole(&["backup"]);
        house.set(days);
        let before = SystemClock.now();
        let recover = ["recover", "--to", "out"];
        let (code, mut printed) = house.code(&recover);
        if code != Some(0) {
            // A clock that was set back makes every set one from after the disaster, which it says.
            assert!(
                back && !between && code == Some(2),
                "{name}: {:#?}",
                house.told.last
            );
            assert!(
                printed.contains("no recoverable set from before the disaster")
                    && printed.contains("a clock that was ahead")
                    && printed.contains("name one of these"),
                "{name}: {printed}"
            );
            let sets = house.whole(&["sets"]);
            let newest: Value =
                serde_json::from_str(sets.lines().next().expect("a set")).expect("one JSON object a line");
            let newest = newest["set"].as_str().expect("its id").to_owned();
            printed = house.whole(&["recover", "--to", "out", "--from", &newest]);
            by_name += 1;
        }
        let took = SystemClock.now().since(&before).duration;
        small::judge(&house.sandbox, &house.sandbox.path("out"))
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        let body: Value = serde_json::from_str(&printed).expect("a recovery's figures");
        let recovery = &body["recovery"];
        let rto = recovery["system_rto"]["actual_seconds"].as_f64().expect("an RTO");
        assert!(
            rto <= took.as_secs_f64() + 1.0,
            "{name}: an RTO of {rto} s in {took:?}"
        );
        for row in recovery["components"].as_array().expect("its components") {
            let rpo = &row["rpo"][0]["rpo"];
            let told = rpo["clock_uncertain"] == true;
            // Nothing here is older than a minute: any other figure is the clock's doing, and must say so.
            let right = rpo["actual_seconds"].as_f64().is_some_and(|loss| loss < 60.0);
            assert_eq!(told, !between, "{name}: {row}");
            assert!(right || told, "{name}: {row}");
            uncertain += u64::from(told);
        }
    }
    summary(
        "clock recoveries",
        &format!(
            "{} recoveries after the clock was set by a day, {by_name} by the name of a set, {uncertain} figures said \
             to be uncertain, 0 violations",
            many(RECOVERIES)
        ),
    );
}
