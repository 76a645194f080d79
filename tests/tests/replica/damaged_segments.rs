//! `verify` and `tier check` read the replicas of runs' journals. A segment that is damaged, missing or
//! different from the journal is named. The chain restarts after the last number, so a workspace that
//! lost the run stays fenced.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::faults::Place;
use rekindle_tests::hosts::{Hosts, Working, slots, told_of};
use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox, said};
use rekindle_tests::wait::until;
use rustix::process::Signal;
use serde_json::Value;

use super::RECOVERED_IN_TWO_STEPS;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn newest(host: &Sandbox) -> String {
    host.history()[0]["run"].as_str().expect("a run").to_owned()
}

/// A workspace with a note in its tiers, and the run of its backup.
fn backed_up(system: &str) -> (Sandbox, String) {
    let host = Sandbox::with_a_note(BINARY, system, "hello");
    host.ok(&["backup"]);
    let run = newest(&host);
    (host, run)
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).expect("read a slot");
    bytes[60] ^= 1;
    fs::write(path, bytes).expect("damage a slot");
}

/// What may happen to one of a run's slots.
type Harm = fn(&Path);

const HARMS: [(&str, Harm); 3] = [
    ("seal of the segment does not open", spoil),
    ("is truncated", |path| {
        fs::write(path, b"RKDLSLOT").expect("cut a slot")
    }),
    ("is missing", |path| fs::remove_file(path).expect("remove a slot")),
];

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn every_damaged_slot_is_named_counts_as_lost_integrity_and_its_chain_restarts() {
    let (host, run) = backed_up(NOTES);
    let near = host.path("tiers/near");
    let count = slots(&near, &run).len();
    assert!(count >= 2, "{count}");
    for (how, harm) in HARMS {
        for at in 0..count {
            let host = host.fork();
            let all = slots(&host.path("tiers/near"), &run);
            harm(&all[at]);
            let named = format!("segment {} of run {run}", at + 1);
            let output = host.run(&["verify", "--json"]);
            assert_eq!(output.status.code(), Some(5), "{how} {at}: {}", said(&output));
            let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
            let fault = &told["segment_faults"][0];
            assert_eq!(
                (fault["run"].as_str(), fault["segment"].as_u64()),
                (Some(&*run), Some(at as u64 + 1))
            );
            let shown = said(&host.run(&["show", "latest"]));
            assert!(
                shown.contains(&named) && shown.contains(how),
                "{how} {at}: {shown}"
            );
            // By then its chains there were restarted.
            let (code, told) = host.code(&["verify"]);
            assert_eq!(code, 0, "{how} {at}: {told}");
            let other = slots(&host.path("tiers/near"), &run);
            assert!(
                other.len() > all.len() - usize::from(how == "is missing"),
                "{other:?}"
            );
            let owed = fs::read_dir(host.path(".rekindle/owed"))
                .expect("a folder")
                .count();
            assert_eq!(owed, 0, "{how} {at}");
        }
    }
}

#[test]
fn a_tier_check_reads_every_slot_names_what_is_wrong_and_changes_nothing() {
    let (host, run) = backed_up(NOTES_IN_TWO_TIERS);
    let told = host.ok(&["tier", "check", "--json"]);
    let [far, near] = lines(&told).try_into().expect("two locations");
    assert!(
        far["segments"].as_u64() >= Some(2) && near["segments"] == far["segments"],
        "{told}"
    );
    let all = slots(&host.path("tiers/far"), &run);
    spoil(&all[1]);
    let output = host.run(&["tier", "check", "--json"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let checked = lines(&String::from_utf8_lossy(&output.stdout));
    let [far, near] = checked.try_into().expect("two locations");
    let fault = &far["segment_faults"][0];
    assert_eq!(
        (fault["segment"].as_u64(), fault["run"].as_str()),
        (Some(2), Some(&*run))
    );
    assert_eq!(fault["tier"], "far");
    for part in [&fault["location"], &fault["what"], &fault["next"][0]["text"]] {
        assert!(part.as_str().is_some_and(|text| text.len() > 9), "{fault}");
    }
    assert_eq!(near["segment_faults"], Value::Array(Vec::new()));
    let (code, _) = host.code(&["tier", "check"]);
    assert_eq!(code, 5, "nothing was changed");
    let text = said(&host.run(&["tier", "check"]));
    assert!(
        text.contains(&format!("segment 2 of run {run}")) && text.contains("rekindle verify"),
        "{text}"
    );
}

#[test]
fn a_copy_that_says_something_else_than_the_journal_or_has_lost_its_end_is_named() {
    // The same moment of one workspace, twice: each goes on by itself, and one gets the other's tier.
    let (host, run) = backed_up(NOTES);
    let cut = host.fork();
    let last = slots(&cut.path("tiers/near"), &run).pop().expect("a slot");
    fs::remove_file(last).expect("cut the end off");
    let (code, told) = cut.code(&["verify"]);
    assert_eq!(code, 5, "{told}");
    assert!(said(&cut.run(&["show", "latest"])).contains("missing at the end"));
    assert_eq!(cut.code(&["verify"]).0, 0);

    let (one, two) = (host.fork(), host.fork());
    for host in [&one, &two] {
        fs::write(
            host.path("flow.yaml"),
            "workflow: flow\nsteps:\n  - {id: a, uses: noop}\n  - {id: b, uses: command, needs: [a], with: {run: [\"false\"]}}\n",
        )
        .expect("write");
    }
    one.code(&["run", "flow.yaml"]);
    let flow = newest(&one);
    let kept = one.fork();
    one.code(&["resume", &flow, "--failed", "--why", "one"]);
    kept.code(&["resume", &flow, "--failed", "--why", "another"]);
    fs::remove_dir_all(one.path("tiers/near/journal").join(&flow)).expect("lose the slots");
    copy(
        &kept.path("tiers/near/journal").join(&flow),
        &one.path("tiers/near/journal").join(&flow),
    );
    let (code, told) = one.code(&["tier", "check"]);
    assert_eq!(code, 5, "{told}");
    let told = said(&one.run(&["tier", "check"]));
    assert!(told.contains("another record"), "{told}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy a file");
    }
}

const FILES: [(&str, &str); 2] = [("one/a.md", "first"), ("two/b.md", "second")];

/// Lets a recovery of host A come to where its program waits, and stops it once the tier has all that it journaled.
fn stopped(hosts: &Hosts, a: &Sandbox, b: &Sandbox) -> (Working, String) {
    let working = Working::start(a, &["recover", "--to", "out"]);
    until("the program", || hosts.shared("waits").exists());
    until("the slots", || {
        told_of(b, &hosts.url("near")) == a.history().len() as u64
    });
    working.signal(Signal::STOP);
    let run = newest(a);
    (working, run)
}

#[test]
fn a_workspace_that_lost_a_run_is_fenced_although_its_chain_restarted() {
    for harmed in ["first", "adoption", "last"] {
        let hosts = Hosts::of(BINARY, RECOVERED_IN_TWO_STEPS);
        let a = hosts.first(&FILES);
        a.ok(&["backup"]);
        let b = hosts.another(&[]);
        let (zombie, run) = stopped(&hosts, &a, &b);
        let before = slots(&hosts.shared("near"), &run);
        fs::write(hosts.shared("go"), "").expect("let programs go on");
        b.ok(&["adopt", &hosts.url("near"), "--yes"]);
        let all = slots(&hosts.shared("near"), &run);
        let at = match harmed {
            "first" => 0,
            "adoption" => before.len(),
            _ => all.len() - 1,
        };
        spoil(&all[at]);
        assert_eq!(b.code(&["verify"]).0, 5, "{harmed}");
        assert_eq!(b.code(&["verify"]).0, 0, "{harmed}");
        assert!(slots(&hosts.shared("near"), &run).len() > all.len());
        fs::remove_dir_all(a.path("out")).expect("change what was made");
        zombie.signal(Signal::CONT);
        let (code, told) = zombie.told();
        assert_eq!(code, 6, "{harmed}: {told}");
        assert!(told.contains("has taken it over"), "{harmed}: {told}");
        assert!(
            !a.path("out/two").exists(),
            "{harmed}: the zombie wrote to its target"
        );
    }
}

/// A run that was cut off half-way, in one tier.
fn cut_off(hosts: &Hosts) -> (Sandbox, String, PathBuf) {
    let host = hosts.first(&FILES);
    host.ok(&["backup"]);
    fs::write(hosts.shared("go"), "").expect("let programs go on");
    let recover = ["recover", "--to", "out"];
    let total = host.fork().count(&recover)(Place::AfterAppend);
    assert_eq!(host.killed(&recover, Place::AfterAppend, total / 2), Ok(()));
    assert_eq!(host.killed(&["resume"], Place::AfterAppend, 2), Ok(()));
    let run = newest(&host);
    let near = hosts.shared("near");
    (host, run, near)
}

#[test]
fn a_run_goes_on_where_its_own_last_slot_is_damaged_and_its_chain_restarts() {
    let hosts = Hosts::of(BINARY, RECOVERED_IN_TWO_STEPS);
    let (host, run, near) = cut_off(&hosts);
    let all = slots(&near, &run);
    spoil(all.last().expect("a slot"));
    let output = host.run(&["resume"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains("lacks part"), "{told}");
    let other = hosts.another(&[]);
    other.ok(&["adopt", &hosts.url("near"), &run]);
    let history = |host: &Sandbox| host.ok(&["history", &run, "--json"]);
    assert_eq!(history(&other), history(&host));
}

#[test]
fn a_last_slot_that_this_workspace_has_not_seen_may_be_anothers_and_its_chain_restarts_once_a_person_says_so()
{
    let hosts = Hosts::of(BINARY, RECOVERED_IN_TWO_STEPS);
    let (host, run, near) = cut_off(&hosts);
    let all = slots(&near, &run);
    // What another workspace may have written, and nobody can read.
    let next = near
        .join("journal")
        .join(&run)
        .join(format!("{:010}", all.len() + 1));
    fs::write(next, fs::read(&all[0]).expect("read a slot")).expect("put something there");
    for _ in 0..2 {
        let (code, told) = host.code(&["resume", &run]);
        assert_eq!(code, 6, "{told}");
        assert!(
            told.contains("cannot be read") && told.contains("rekindle adopt"),
            "{told}"
        );
    }
    assert_eq!(
        slots(&near, &run).len(),
        all.len() + 1,
        "nothing was written there"
    );
    let (code, told) = host.code(&["adopt", &hosts.url("near"), &run]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("--yes") && told.contains(&format!("segment {}", all.len() + 1)),
        "{told}"
    );
    host.ok(&["adopt", &hosts.url("near"), &run, "--yes"]);
    host.ok(&["resume", &run]);
    assert_eq!(host.code(&["verify"]).0, 0);
}

/// Stands between an owner that works and the commands beside it.
const WAITS: &str = "\
workflow: flow
steps:
  - {id: a, uses: command, with: {run: [sh, -c, \"touch waits; while [ ! -e go ]; do sleep 0.05; done\"]}}
";

#[test]
fn what_is_damaged_while_its_run_works_restarts_when_that_run_ends() {
    let (host, _) = backed_up(NOTES);
    fs::write(host.path("flow.yaml"), WAITS).expect("write");
    let working = Working::start(&host, &["run", "flow.yaml"]);
    until("the program", || host.path("waits").exists());
    let run = newest(&host);
    let near = host.path("tiers/near");
    // The damage is not at the chain's end, where the run's driver would find it.
    until("two slots", || slots(&near, &run).len() == 2);
    spoil(&slots(&near, &run)[0]);
    let (code, told) = host.code(&["verify"]);
    assert_eq!(code, 5, "{told}");
    fs::write(host.path("go"), "").expect("let it go on");
    let (code, told) = working.told();
    assert_eq!(code, 0, "{told}");
    assert_eq!(host.code(&["verify"]).0, 0);
}
