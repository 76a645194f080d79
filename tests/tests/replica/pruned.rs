//! `prune` removes the segments of runs that have been over for long, and nothing else. A workspace that had
//! such a run and comes back learns that it ended elsewhere.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::chaos::clock::WallClock;
use rekindle_tests::chaos::skipped;
use rekindle_tests::faults::Place;
use rekindle_tests::hosts::{Hosts, slots};
use rekindle_tests::sandbox::{Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Keeps what it holds for two days.
const KEPT_BRIEFLY: &str = "\
system: pair
root: ./data
components:
  one: {source: {type: files, path: one}}
  two: {source: {type: files, path: two}}
tiers:
  near: {url: \"file://SHARED/near\", retain: 2d}
";

const FILES: [(&str, &str); 2] = [("one/a.md", "first"), ("two/b.md", "second")];

fn newest(host: &Sandbox) -> String {
    host.history()[0]["run"].as_str().expect("a run").to_owned()
}

/// Runs a command line so many days from now.
fn later(host: &Sandbox, clock: &WallClock, days: i64, args: &[&str]) -> (i32, String) {
    clock.set(days * 24 * 3600).expect("set the clock");
    let output = clock
        .shown_to(&mut host.command(args))
        .output()
        .expect("start the product");
    (output.status.code().unwrap_or(-1), said(&output))
}

/// Returns a host's own clock; none on a machine that has no such thing.
fn clock_of(host: &Sandbox) -> Option<WallClock> {
    WallClock::new(&host.path("."))
        .inspect_err(|why| skipped("clock jumps", why))
        .ok()
}

fn planned(host: &Sandbox, args: &[&str]) -> Value {
    let mut all = vec!["prune", "--json"];
    all.extend(args);
    serde_json::from_str(&host.ok(&all)).expect("one JSON object")
}

fn runs(planned: &Value) -> Vec<&str> {
    let removed = planned["removed"].as_array().into_iter().flatten();
    removed.filter_map(|one| one["run"].as_str()).collect()
}

#[test]
fn what_is_older_than_the_tier_keeps_goes_but_for_open_runs_and_those_of_a_kept_set() {
    let hosts = Hosts::of(BINARY, KEPT_BRIEFLY);
    let host = hosts.first(&FILES);
    let Some(clock) = clock_of(&host) else { return };
    let near = hosts.shared("near");
    host.ok(&["backup"]);
    let backup = newest(&host);
    let recover = ["recover", "--to", "open"];
    assert_eq!(host.killed(&recover, Place::AfterAppend, 6), Ok(()));
    let open = newest(&host);
    host.ok(&["recover", "--to", "out"]);
    let over = newest(&host);
    assert_eq!(runs(&planned(&host, &[])), [""; 0], "nothing is a day old");
    let (code, told) = later(&host, &clock, 3, &["prune", "--dry-run"]);
    assert!(
        code == 0 && told.contains("nothing to remove"),
        "a clock that is ahead: {told}"
    );
    // The newest slot says how late it is, not the clock alone.
    let (code, told) = later(&host, &clock, 3, &["verify"]);
    assert_eq!(code, 0, "{told}");
    let told = planned(&host, &[]);
    assert_eq!(runs(&told), [""; 0], "by the right clock nothing is old: {told}");

    let before: Vec<_> = [&backup, &open, &over].map(|run| slots(&near, run)).into();
    let (code, told) = later(&host, &clock, 3, &["prune", "--dry-run"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(&format!("near     {over}")) && told.contains("older than 2days"),
        "{told}"
    );
    assert!(
        told.contains("would remove") && !told.contains(&backup) && !told.contains(&open),
        "{told}"
    );
    for reason in ["are not over", "sealed a recovery set"] {
        assert!(told.contains(reason), "{reason}: {told}");
    }
    let unchanged: Vec<_> = [&backup, &open, &over].map(|run| slots(&near, run)).into();
    assert_eq!(before, unchanged, "a dry run removes nothing");

    // Nor is what is open removed by a workspace that has never heard of the run.
    let stranger = hosts.another(&[]);
    let (_, told) = later(&stranger, &clock, 3, &["prune", "--dry-run"]);
    assert!(
        told.contains(&over) && !told.contains(&open) && !told.contains(&backup),
        "{told}"
    );

    let (code, told) = later(&host, &clock, 3, &["prune"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(slots(&near, &over).len(), 1, "one stays that says so");
    assert_eq!(
        (slots(&near, &backup), slots(&near, &open)),
        (before[0].clone(), before[1].clone())
    );
    let (_, again) = later(&host, &clock, 3, &["prune"]);
    assert!(again.contains("nothing to remove"), "{again}");
    // Nothing is wrong with what is left, and the run that is open goes on.
    host.ok(&["verify"]);
    host.ok(&["resume", &open]);
    host.ok(&["resume", &over, "--from", "integrity"]);
    host.ok(&["verify"]);
    assert!(slots(&near, &over).len() > 1);
}

#[test]
fn the_first_host_of_a_pruned_run_is_still_refused() {
    let hosts = Hosts::of(BINARY, KEPT_BRIEFLY);
    let host = hosts.first(&FILES);
    host.ok(&["backup"]);
    let recover = ["recover", "--to", "out"];
    let total = host.fork().count(&recover)(Place::AfterAppend);
    assert_eq!(host.killed(&recover, Place::AfterAppend, total / 2), Ok(()));
    assert_eq!(host.killed(&["resume"], Place::AfterAppend, 2), Ok(()));
    let run = newest(&host);
    let other = hosts.another(&[]);
    let Some(clock) = clock_of(&other) else { return };
    other.ok(&["adopt", &hosts.url("near"), &run]);
    assert_eq!(later(&other, &clock, 3, &["verify"]).0, 0);
    let (code, told) = later(&other, &clock, 3, &["prune"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(slots(&hosts.shared("near"), &run).len(), 1);
    let (code, told) = host.code(&["resume", &run]);
    assert_eq!(code, 6, "{told}");
    assert!(told.contains("has taken it over"), "{told}");
}

#[test]
fn what_was_compacted_away_goes_too_and_nothing_is_owed_of_it_any_more() {
    let hosts = Hosts::of(BINARY, &KEPT_BRIEFLY.replace(", retain: 2d", ""));
    let host = hosts.first(&FILES);
    let Some(clock) = clock_of(&host) else { return };
    host.ok(&["backup"]);
    fs::rename(hosts.shared("near"), hosts.shared("away")).expect("take the tier away");
    host.code(&["verify"]);
    let run = newest(&host);
    let owed = host.path(&format!(".rekindle/owed/{run}.json"));
    assert!(owed.exists());
    fs::rename(hosts.shared("away"), hosts.shared("near")).expect("bring it back");
    host.ok(&["verify"]);
    assert!(!owed.exists());
    // As an earlier version has left it.
    fs::write(&owed, r#"{"locations":["file:///nowhere"]}"#).expect("write a note");
    let (code, told) = later(&host, &clock, 3, &["verify"]);
    assert_eq!(code, 0, "{told}");
    let compact = ["journal", "compact", "--older-than", "2d", "--no-archive"];
    let (code, told) = later(&host, &clock, 3, &compact);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("rekindle prune"), "{told}");
    assert!(!owed.exists(), "compacting clears what is owed");
    fs::write(&owed, r#"{"locations":["file:///nowhere"]}"#).expect("write a note");
    let (_, told) = later(&host, &clock, 3, &["verify"]);
    assert!(!owed.exists(), "{told}");
    let (code, told) = later(&host, &clock, 3, &["prune"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(&run) && told.contains("this workspace has removed the run"),
        "{told}"
    );
    assert_eq!(slots(&hosts.shared("near"), &run).len(), 1);
}
