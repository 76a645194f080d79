//! SIGKILL at every journal record boundary of a backup and of a recovery, each followed by `resume`.
//!
//! The story of one case: a 20 MB La Factoria system; the command is started and dies by SIGKILL before its
//! N-th append, after its N-th append, or after its N-th act; `resume` takes the run over. Then, whatever N was:
//! the recovered tree is the one of an undisturbed recovery (paths, types, modes, times, contents, and SQLite
//! says its databases are whole), the history has no gap and its chain verifies (reading it checks both), and
//! no step acted again after its journaled success, judged by an effect log that the engine never reads.
//! In one case of four the `resume` is killed at a boundary of its own too, and resumed.
//!
//! Every planned kill happens, with one exception, which is counted: parallel steps may share appends in another
//! way than when they were counted, so that a command comes to its end before its N-th place.
//!
//! `REKINDLE_CRASH_STRIDE=N` takes every N-th boundary only, for a quick look.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::print_stderr, reason = "how many cases ran is part of the result")]

use std::path::Path;

use rekindle_tests::effects;
use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, la_factoria};
use rekindle_tests::tree::{self, Tree};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const SIZE: u64 = 20_000_000;
/// A backup and a recovery, each killed before an append, after an append, and after an act.
const SHAPES: u64 = 6;
/// Tests that share the boundaries of one kind, so that they run side by side.
const SHARDS: u64 = 4;

fn stride() -> u64 {
    std::env::var("REKINDLE_CRASH_STRIDE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

fn recovered(sandbox: &Sandbox, to: &str) -> Tree {
    let tree = tree::read(&sandbox.path(to)).expect("read the recovered tree");
    for database in ["db/content.sqlite", "users/users.sqlite"] {
        integrity(&sandbox.path(to).join(database));
    }
    tree
}

fn integrity(database: &Path) {
    let open = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    let told: String = open
        .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .unwrap_or_else(|error| panic!("{}: {error}", database.display()));
    assert_eq!(told, "ok", "{}", database.display());
}

/// Returns the command line that goes on with what was killed: it begins anew where it died before its run existed.
fn going_on<'a>(sandbox: &Sandbox, args: &[&'a str]) -> Vec<&'a str> {
    let runs = sandbox.ok(&["runs", "--json"]);
    match runs.contains(&format!("\"{}\"", args[0])) {
        true => vec!["resume"],
        false => args.to_vec(),
    }
}

/// How many of the planned kills happened.
#[derive(Debug, Default)]
struct Tally {
    killed: u64,
    /// The command was over before.
    over: u64,
    killed_again: u64,
    over_again: u64,
}

impl Tally {
    /// Kills a command line at one of `total` boundaries, in one case of four its resume too, and goes on with it.
    fn case(&mut self, sandbox: &Sandbox, args: &[&str], place: Place, number: u64, total: u64) {
        match sandbox.killed(args, place, number) {
            Ok(()) => self.killed += 1,
            Err(passed) => {
                assert!(
                    passed < number && passed * 10 >= total * 9,
                    "{args:?} was not killed {} {number}: it passed {passed} of {total} such places",
                    place.name()
                );
                self.over += 1;
            }
        }
        if number / SHARDS % 4 == 1 {
            // Anywhere in what is left of it.
            let again = 1 + number * 7 % (total - number + 1);
            match sandbox.killed(&going_on(sandbox, args), place, again) {
                Ok(()) => self.killed_again += 1,
                Err(passed) => {
                    assert!(
                        passed < again,
                        "the resume of {args:?} was not killed {} {again} and passed {passed}",
                        place.name()
                    );
                    self.over_again += 1;
                }
            }
        }
        sandbox.ok(&going_on(sandbox, args));
    }

    /// Prints one line: what was planned, and what happened of it.
    fn tell(&self, what: &str, total: u64, place: Place, shard: u64) {
        let Self {
            killed,
            over,
            killed_again,
            over_again,
        } = self;
        let (planned, planned_again) = (killed + over, killed_again + over_again);
        eprintln!(
            "crash matrix, one of {SHAPES} shapes: {what} killed {}, shard {} of {SHARDS}: {total} boundaries, \
             {planned} kills planned, {killed} happened, {over} over before; {planned_again} kills of its resume \
             planned, {killed_again} happened, {over_again} over before; {} resumes",
            place.name(),
            shard + 1,
            planned + planned_again,
        );
        assert!(planned > 0, "no kill was planned");
        assert!(
            *killed_again > 0 || *over_again == 0,
            "no resume was killed, out of {over_again}"
        );
    }
}

fn judge(sandbox: &Sandbox, case: &str) {
    let effects = std::fs::read_to_string(sandbox.effects()).unwrap_or_default();
    effects::judge(&sandbox.history(), &effects).unwrap_or_else(|violation| panic!("{case}: {violation}"));
}

fn expect_same(case: &str, expect: &Tree, found: &Tree) {
    assert!(
        expect == found,
        "{case}: the trees differ:\n{}",
        tree::differences(expect, found).join("\n")
    );
}

/// Returns a shard's share of the boundaries of one kind.
fn boundaries(total: u64, shard: u64) -> impl Iterator<Item = u64> {
    assert!(
        total > 10,
        "a command with {total} boundaries is not the one that this test is about"
    );
    (1..=total)
        .filter(move |number| number % SHARDS == shard)
        .step_by(stride() as usize)
}

fn backup_killed(place: Place, shard: u64) {
    let fresh = Sandbox::in_memory(BINARY, la_factoria(), SIZE);
    let undisturbed = fresh.fork();
    let total = undisturbed.count(&["backup"])(place);
    undisturbed.ok(&["recover", "--to", "out"]);
    let expect = recovered(&undisturbed, "out");
    let mut tally = Tally::default();
    for number in boundaries(total, shard) {
        let case = format!("backup killed {} {number} of {total}", place.name());
        let sandbox = fresh.fork();
        tally.case(&sandbox, &["backup"], place, number, total);
        judge(&sandbox, &case);
        sandbox.ok(&["recover", "--to", "out"]);
        expect_same(&case, &expect, &recovered(&sandbox, "out"));
    }
    tally.tell("backup", total, place, shard);
}

fn recovery_killed(place: Place, shard: u64) {
    let backed_up = Sandbox::in_memory(BINARY, la_factoria(), SIZE);
    backed_up.ok(&["backup"]);
    let args = ["recover", "--to", "out"];
    let undisturbed = backed_up.fork();
    let total = undisturbed.count(&args)(place);
    let expect = recovered(&undisturbed, "out");
    let mut tally = Tally::default();
    for number in boundaries(total, shard) {
        let case = format!("recovery killed {} {number} of {total}", place.name());
        let sandbox = backed_up.fork();
        tally.case(&sandbox, &args, place, number, total);
        judge(&sandbox, &case);
        expect_same(&case, &expect, &recovered(&sandbox, "out"));
    }
    tally.tell("recovery", total, place, shard);
}

macro_rules! shards {
    ($($name:ident: $run:ident($place:ident, $shard:literal);)*) => {
        $(
            #[test]
            fn $name() {
                $run(Place::$place, $shard);
            }
        )*
    };
}

shards! {
    a_backup_survives_a_kill_before_each_append_0: backup_killed(BeforeAppend, 0);
    a_backup_survives_a_kill_before_each_append_1: backup_killed(BeforeAppend, 1);
    a_backup_survives_a_kill_before_each_append_2: backup_killed(BeforeAppend, 2);
    a_backup_survives_a_kill_before_each_append_3: backup_killed(BeforeAppend, 3);
    a_backup_survives_a_kill_after_each_append_0: backup_killed(AfterAppend, 0);
    a_backup_survives_a_kill_after_each_append_1: backup_killed(AfterAppend, 1);
    a_backup_survives_a_kill_after_each_append_2: backup_killed(AfterAppend, 2);
    a_backup_survives_a_kill_after_each_append_3: backup_killed(AfterAppend, 3);
    a_backup_survives_a_kill_after_each_act_0: backup_killed(AfterAct, 0);
    a_backup_survives_a_kill_after_each_act_1: backup_killed(AfterAct, 1);
    a_backup_survives_a_kill_after_each_act_2: backup_killed(AfterAct, 2);
    a_backup_survives_a_kill_after_each_act_3: backup_killed(AfterAct, 3);
    a_recovery_survives_a_kill_before_each_append_0: recovery_killed(BeforeAppend, 0);
    a_recovery_survives_a_kill_before_each_append_1: recovery_killed(BeforeAppend, 1);
    a_recovery_survives_a_kill_before_each_append_2: recovery_killed(BeforeAppend, 2);
    a_recovery_survives_a_kill_before_each_append_3: recovery_killed(BeforeAppend, 3);
    a_recovery_survives_a_kill_after_each_append_0: recovery_killed(AfterAppend, 0);
    a_recovery_survives_a_kill_after_each_append_1: recovery_killed(AfterAppend, 1);
    a_recovery_survives_a_kill_after_each_append_2: recovery_killed(AfterAppend, 2);
    a_recovery_survives_a_kill_after_each_append_3: recovery_killed(AfterAppend, 3);
    a_recovery_survives_a_kill_after_each_act_0: recovery_killed(AfterAct, 0);
    a_recovery_survives_a_kill_after_each_act_1: recovery_killed(AfterAct, 1);
    a_recovery_survives_a_kill_after_each_act_2: recovery_killed(AfterAct, 2);
    a_recovery_survives_a_kill_after_each_act_3: recovery_killed(AfterAct, 3);
}
