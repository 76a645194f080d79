//! SIGKILL at every journal record boundary of a backup and of a recovery, each followed by `resume`.
//!
//! The story of one case: a 20 MB La Factoria system; the command is started and dies by SIGKILL before its
//! N-th append, after its N-th append, or after its N-th act; `resume` takes the run over. Then, whatever N was:
//! the recovered tree is the one of an undisturbed recovery (paths, types, modes, times, contents, and SQLite
//! says its databases are whole), the history has no gap and its chain verifies (reading it checks both), and
//! no step acted again after its journaled success, judged by an effect log that the engine never reads.
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

/// Resumes what was killed, or begins anew where it died before its run existed.
fn resume(sandbox: &Sandbox, args: &[&str]) {
    if sandbox
        .ok(&["runs", "--json"])
        .contains(&format!("\"{}\"", args[0]))
    {
        sandbox.ok(&["resume"]);
    } else {
        sandbox.ok(args);
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

/// Takes a shard's share of the boundaries of one kind and returns how many kills there were. `case` says whether
/// the command died: parallel steps may share appends in another way than when they were counted, so that there is
/// a boundary less, but not many.
fn each_boundary(total: u64, shard: u64, mut case: impl FnMut(u64) -> bool) -> u64 {
    assert!(
        total > 10,
        "a command with {total} boundaries is not the one that this test is about"
    );
    let (mut cases, mut kills) = (0, 0);
    for number in (1..=total)
        .filter(|number| number % SHARDS == shard)
        .step_by(stride() as usize)
    {
        kills += u64::from(case(number));
        cases += 1;
    }
    assert!(
        kills * 10 >= cases * 9,
        "only {kills} of {cases} cases were killed"
    );
    kills
}

fn backup_killed(place: Place, shard: u64) {
    let fresh = Sandbox::in_memory(BINARY, la_factoria(), SIZE);
    let undisturbed = fresh.fork();
    let total = undisturbed.count(&["backup"])(place);
    undisturbed.ok(&["recover", "--to", "out"]);
    let expect = recovered(&undisturbed, "out");
    let kills = each_boundary(total, shard, |number| {
        let case = format!("backup killed {} {number} of {total}", place.name());
        let sandbox = fresh.fork();
        let killed = sandbox.killed(&["backup"], place, number);
        resume(&sandbox, &["backup"]);
        judge(&sandbox, &case);
        sandbox.ok(&["recover", "--to", "out"]);
        expect_same(&case, &expect, &recovered(&sandbox, "out"));
        killed
    });
    eprintln!(
        "backup, {} boundaries of kind {}, shard {shard}: {kills} kills",
        total,
        place.name()
    );
}

fn recovery_killed(place: Place, shard: u64) {
    let backed_up = Sandbox::in_memory(BINARY, la_factoria(), SIZE);
    backed_up.ok(&["backup"]);
    let args = ["recover", "--to", "out"];
    let undisturbed = backed_up.fork();
    let total = undisturbed.count(&args)(place);
    let expect = recovered(&undisturbed, "out");
    let kills = each_boundary(total, shard, |number| {
        let case = format!("recovery killed {} {number} of {total}", place.name());
        let sandbox = backed_up.fork();
        let killed = sandbox.killed(&args, place, number);
        resume(&sandbox, &args);
        judge(&sandbox, &case);
        expect_same(&case, &expect, &recovered(&sandbox, "out"));
        killed
    });
    eprintln!(
        "recovery, {} boundaries of kind {}, shard {shard}: {kills} kills",
        total,
        place.name()
    );
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
