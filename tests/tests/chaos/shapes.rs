//! SIGKILL at every record boundary of workflows of every shape, each followed by `resume`, judged by a pure
//! model.
//!
//! One case: a small workflow, whose programs leave marks in a file, dies by SIGKILL before its N-th append,
//! after it, or after its N-th act. All programs that it started must end soon. `resume` continues; in one
//! case of four it is killed as well. Then the model of the plan must allow the marks and the history
//! ([`rekindle_tests::reference`]), and the history must have everything that was reported over a pipe before
//! the kill. Some shapes have a name, others are random. The long form draws ten times as many.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, OpenOptions};
use std::io::Write;

use rekindle_tests::chaos::{Dice, many, seed, summary};
use rekindle_tests::faults::{KILL, Place};
use rekindle_tests::product::{Product, Told, wait_until_deserted};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::shapes::{self, Shape};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
/// Shapes that the dice draw in each of the shards, in the short form.
const DRAWN: u64 = 1;

/// What happened to all cases of a shard.
#[derive(Debug, Default)]
struct Tally {
    boundaries: u64,
    kills: u64,
    resumes: u64,
    acknowledged: usize,
}

/// One case: a sandbox, a shape, and what was told.
struct Case<'a> {
    name: String,
    sandbox: Sandbox,
    shape: &'a Shape,
    told: Told,
}

impl Case<'_> {
    fn mark(&self, line: &str) {
        let mut marks = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.sandbox.path("marks"))
            .expect("open the marks");
        writeln!(marks, "{line}").expect("leave a mark");
    }

    /// Runs a command line that may die at a place, approving what it asks. Returns whether it died.
    fn run(&mut self, args: &[&str], die: Option<(Place, u64)>) -> bool {
        let mut command = self.sandbox.command(args);
        command.arg("--json");
        if let Some((place, number)) = die {
            command.env(KILL, format!("{}:{number}", place.name()));
        }
        let product = Product::spawn(&mut command);
        if self.asks() {
            let asked = |note: &Value| note["event"] == "approval_requested";
            if product.hear_until(&mut self.told, asked) {
                self.approve();
            }
        }
        let ended = product.wait(&mut self.told);
        if ended.signal == Some(9) {
            let folder = self.sandbox.path(".").canonicalize().expect("find the sandbox");
            wait_until_deserted(&folder).unwrap_or_else(|why| panic!("{}: {why}", self.name));
            self.mark("killed");
            return true;
        }
        let expect = i32::from(self.shape.flow.fails());
        assert_eq!(
            ended.code,
            Some(expect),
            "{}: {args:?}: {:#?}",
            self.name,
            self.told.last
        );
        false
    }

    fn asks(&self) -> bool {
        self.shape.flow.steps.iter().any(|step| step.asks)
    }

    fn approve(&self) {
        self.mark("approved confirm");
        // The one who asked may die meanwhile: then it is approved before it is resumed.
        let _ = self.sandbox.run(&["approve", "latest"]);
    }

    /// Lets the run come to its end, killing the resume on its way where that is asked for. Returns kills and resumes.
    fn go_on(&mut self, die: Option<(Place, u64)>) -> (u64, u64) {
        let history = self.sandbox.history();
        let event = |name: &str| history.iter().any(|record| record["event"] == name);
        if event("run_finished") {
            return (0, 0);
        }
        if event("approval_requested") && !event("approved") {
            self.approve();
        }
        // Where it had been asked before, nobody is told again.
        let args: &[&str] = match history.is_empty() {
            true => &["run", "it.yaml"],
            false => &["resume"],
        };
        match self.run(args, die) {
            false => (0, 1),
            true => {
                let (kills, resumes) = self.go_on(None);
                (kills + 1, resumes + 1)
            }
        }
    }

    fn judge(&self) {
        let marks = fs::read_to_string(self.sandbox.path("marks")).expect("read the marks");
        let flow = &self.shape.flow;
        let fail = |why: String| -> ! { panic!("{}: {why}\n{}", self.name, self.shape.yaml) };
        flow.judge_marks(&marks).unwrap_or_else(|why| fail(why));
        let history = self.sandbox.history();
        flow.judge_history(&history).unwrap_or_else(|why| fail(why));
        for (place, record) in history.iter().enumerate() {
            assert_eq!(record["seq"], place as u64 + 1, "{}: a gap", self.name);
        }
        self.told.judge(&self.sandbox).unwrap_or_else(|why| fail(why));
    }
}

impl Tally {
    /// Kills the shape's run at each boundary of a kind, from the first until it comes to its end before.
    fn shape(&mut self, prepared: &Sandbox, shape: &Shape, place: Place, dice: &mut Dice) {
        for number in 1.. {
            let sandbox = prepared.fork();
            fs::write(sandbox.path("it.yaml"), &shape.yaml).expect("write a workflow");
            let mut case = Case {
                name: format!("{} killed {} {number}, seed {}", shape.name, place.name(), seed()),
                sandbox,
                shape,
                told: Told::default(),
            };
            let died = case.run(&["run", "it.yaml"], Some((place, number)));
            if died {
                let again = dice.below(4) == 0;
                let die = again.then(|| (*dice.one(&Place::ALL), 1 + dice.below(12)));
                let (kills, resumes) = case.go_on(die);
                self.boundaries += 1;
                self.kills += 1 + kills;
                self.resumes += resumes;
            }
            case.judge();
            self.acknowledged += case.told.acknowledged;
            if !died {
                assert!(number > 1, "{}: nothing was killed", case.name);
                return;
            }
        }
    }
}

/// Tries a share of the shapes with a name, and shapes of its own.
fn shard(shard: usize, shards: usize) {
    let mut dice = Dice::of(100 + shard as u64);
    let prepared = Sandbox::empty_in_memory(BINARY, shapes::SYSTEM);
    for component in ["notes", "pages"] {
        fs::create_dir_all(prepared.data().join(component)).expect("make a folder");
    }
    prepared.ok(&["init", "--kit", "kit.txt"]);
    let named = shapes::all()
        .into_iter()
        .enumerate()
        .filter(|(place, _)| place % shards == shard);
    let mut tried: Vec<Shape> = named.map(|(_, shape)| shape).collect();
    tried.extend((0..many(DRAWN)).map(|_| shapes::drawn(&mut dice)));
    let mut tally = Tally::default();
    for shape in &tried {
        for place in Place::ALL {
            tally.shape(&prepared, shape, place, &mut dice);
        }
    }
    let names: Vec<&str> = tried.iter().map(|shape| shape.name.as_str()).collect();
    summary(
        &format!("shapes {shard}"),
        &format!(
            "{}: {} boundaries, {} kills, {} resumes, {} acknowledged transitions, 0 violations",
            names.join(", "),
            tally.boundaries,
            tally.kills,
            tally.resumes,
            tally.acknowledged
        ),
    );
}

#[test]
fn whatever_the_shape_and_the_boundary_a_resume_does_what_the_plan_says_0() {
    shard(0, 4);
}

#[test]
fn whatever_the_shape_and_the_boundary_a_resume_does_what_the_plan_says_1() {
    shard(1, 4);
}

#[test]
fn whatever_the_shape_and_the_boundary_a_resume_does_what_the_plan_says_2() {
    shard(2, 4);
}

#[test]
fn whatever_the_shape_and_the_boundary_a_resume_does_what_the_plan_says_3() {
    shard(3, 4);
}
