//! SIGKILL at every journal record boundary of a backup and of a recovery, each followed by `resume`.
//!
//! The story of one case: a 5 MB La Factoria system; the command is started and dies by SIGKILL before its
//! N-th append, after its N-th append, or after its N-th act; `resume` takes the run over. Then, for every N:
//! the recovered tree is the one of an undisturbed recovery (paths, types, modes, times, contents, and SQLite
//! says its databases are whole), the history has no gap and its chain verifies (reading it checks both), and
//! no step acted again after its journaled success, judged by an effect log that the engine never reads.
//! In one case of four the `resume` is killed at a boundary of its own too, and resumed.
//!
//! Every planned kill happens, with one exception, which is counted: parallel steps may share appends in another
//! way than when they were counted, so that a command comes to its end before its N-th place.
//!
//! Each test makes the system and the undisturbed recovery once, and as many cases run side by side as the machine has
//! processors. `REKINDLE_CRASH_STRIDE=N` takes every N-th boundary only, for a quick look.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::print_stderr, reason = "how many cases ran is part of the result")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use rekindle_tests::effects;
use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, la_factoria_in_short};
use rekindle_tests::tree::{self, Tree};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const SIZE: u64 = 5_000_000;
const RECOVER: [&str; 3] = ["recover", "--to", "out"];

#[test]
fn a_backup_survives_a_kill_at_each_record_boundary() {
    let fresh = Sandbox::in_memory(BINARY, &la_factoria_in_short(), SIZE);
    let undisturbed = fresh.fork();
    let totals = undisturbed.count(&["backup"]);
    undisturbed.ok(&RECOVER);
    let expect = recovered(&undisturbed);
    killed_at_each_boundary("backup", totals, |tally, place, number, total| {
        let case = format!("backup killed {} {number} of {total}", place.name());
        let sandbox = fresh.fork();
        tally.case(&sandbox, &["backup"], place, number, total);
        judge(&sandbox, &case);
        sandbox.ok(&RECOVER);
        expect_same(&case, &expect, &recovered(&sandbox));
    });
}

#[test]
fn a_recovery_survives_a_kill_at_each_record_boundary() {
    let backed_up = Sandbox::in_memory(BINARY, &la_factoria_in_short(), SIZE);
    backed_up.ok(&["backup"]);
    let undisturbed = backed_up.fork();
    let totals = undisturbed.count(&RECOVER);
    let expect = recovered(&undisturbed);
    killed_at_each_boundary("recovery", totals, |tally, place, number, total| {
        let case = format!("recovery killed {} {number} of {total}", place.name());
        let sandbox = backed_up.fork();
        tally.case(&sandbox, &RECOVER, place, number, total);
        judge(&sandbox, &case);
        expect_same(&case, &expect, &recovered(&sandbox));
    });
}

/// Does a case for each boundary of each kind, several at once, and prints what happened.
fn killed_at_each_boundary(
    what: &str,
    totals: impl Fn(Place) -> u64,
    case: impl Fn(&Tally, Place, u64, u64) + Sync,
) {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    for place in Place::ALL {
        let total = totals(place);
        assert!(
            total > 10,
            "a {what} with {total} boundaries is not the one that this test is about"
        );
        let (tally, next) = (Tally::default(), AtomicU64::new(1));
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let _stop = StopOthers(&next);
                    loop {
                        match next.fetch_add(stride(), Relaxed) {
                            number if number <= total => case(&tally, place, number, total),
                            _ => break,
                        }
                    }
                });
            }
        });
        tally.print(what, total, place);
    }
}

/// Leaves nothing to do for the other workers when one panics.
struct StopOthers<'a>(&'a AtomicU64);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(u64::MAX / 2, Relaxed);
        }
    }
}

fn stride() -> u64 {
    let text = std::env::var("REKINDLE_CRASH_STRIDE").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

fn recovered(sandbox: &Sandbox) -> Tree {
    let out = sandbox.path("out");
    let tree = tree::read(&out).expect("read the recovered tree");
    for database in ["db/content.sqlite", "users/users.sqlite"] {
        integrity(&out.join(database));
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

/// Returns the command line that continues a killed command. If the command died before its run existed, that is the
/// same command.
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
    killed: AtomicU64,
    /// The command was over before.
    over: AtomicU64,
    killed_again: AtomicU64,
    over_again: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Tally {
    /// Kills a command line at one of `total` boundaries, in one case of four its resume too, and continues it.
    fn case(&self, sandbox: &Sandbox, args: &[&str], place: Place, number: u64, total: u64) {
        match sandbox.killed(args, place, number) {
            Ok(()) => add(&self.killed),
            Err(passed) => {
                assert!(
                    passed < number && passed * 10 >= total * 9,
                    "{args:?} was not killed {} {number}: it passed {passed} of {total} such places",
                    place.name()
                );
                add(&self.over);
            }
        }
        if number / 4 % 4 == 1 {
            // Anywhere in what is left of it.
            let again = 1 + number * 7 % (total - number + 1);
            match sandbox.killed(&going_on(sandbox, args), place, again) {
                Ok(()) => add(&self.killed_again),
                Err(passed) => {
                    assert!(
                        passed < again,
                        "the resume of {args:?} was not killed {} {again} and passed {passed}",
                        place.name()
                    );
                    add(&self.over_again);
                }
            }
        }
        sandbox.ok(&going_on(sandbox, args));
    }

    /// Prints one line: what was planned, and what happened of it.
    fn print(self, what: &str, total: u64, place: Place) {
        let [killed, over, killed_again, over_again] =
            [self.killed, self.over, self.killed_again, self.over_again].map(AtomicU64::into_inner);
        let (planned, planned_again) = (killed + over, killed_again + over_again);
        eprintln!(
            "crash matrix: {what} killed {}: {total} boundaries, {planned} kills planned, {killed} happened, {over} over \
             before; {planned_again} kills of its resume planned, {killed_again} happened, {over_again} over before; {} \
             resumes",
            place.name(),
            planned + planned_again,
        );
        assert!(planned > 0, "no kill was planned");
        assert!(
            killed_again > 0 || over_again == 0,
            "no resume was killed, out of {over_again}"
        );
    }
}

fn judge(sandbox: &Sandbox, case: &str) {
    let effects = std::fs::read_to_string(sandbox.effects()).unwrap_or_default();
    effects::judge(&sandbox.history(), &effects).unwrap_or_else(|violation| panic!("{case}: {violation}"));
}

fn expect_same(case: &str, expect: &Tree, found: &Tree) {
    assert_eq!(tree::differences(expect, found), [""; 0], "{case}");
}
