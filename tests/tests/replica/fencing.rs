//! An owner that seemed dead wakes up after another workspace adopted and finished its run. It finds its next
//! segment taken, does nothing more, and exits with 6.
//!
//! The story: host A works on a run and is stopped (SIGSTOP) while a program of one of its steps waits. Host
//! B adopts the run from the tier that both reach, and finishes it. Then the test changes the run's results
//! by hand, so that any further act of A would show, and lets A continue.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::faults::Place;
use rekindle_tests::hosts::{Hosts, Working, told_of};
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree;
use rekindle_tests::wait::until;
use rustix::process::Signal;
use serde_json::Value;

use super::RECOVERED_IN_TWO_STEPS;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// What `dump` gives is captured once a file is there.
const CAPTURED_SLOWLY: &str = "\
system: pair
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  dump:
    source:
      type: command
      dump: [sh, -c, \"touch SHARED/waits; while [ ! -e SHARED/go ]; do sleep 0.05; done; echo dumped\"]
      restore: [sh, -c, \"cat > dump.txt\"]
tiers:
  near: {url: \"file://SHARED/near\"}
";

/// Lets a command line of host A come to where its program waits, and stops it once the tier has all that it journaled.
fn stopped(hosts: &Hosts, a: &Sandbox, b: &Sandbox, args: &[&str]) -> (Working, String) {
    let working = Working::start(a, args);
    until("the program", || hosts.shared("waits").exists());
    until("the slots", || {
        told_of(b, &hosts.url("near")) == a.history().len() as u64
    });
    working.signal(Signal::STOP);
    let run = a.history()[0]["run"].as_str().expect("a run").to_owned();
    fs::remove_file(hosts.shared("waits")).expect("forget that it waits");
    fs::write(hosts.shared("go"), "").expect("let programs go on");
    (working, run)
}

/// Host A continues, exits with 6 and names the new holder; so does a `resume` there.
fn wakes_up(hosts: &Hosts, a: &Sandbox, working: Working, run: &str) {
    let before = a.history().len();
    working.signal(Signal::CONT);
    let (code, told) = working.told();
    assert_eq!(code, 6, "{told}");
    let near = hosts.url("near");
    let way = format!("rekindle adopt {near} {run}");
    for word in ["has taken it over", "workspace", "tier near", way.as_str()] {
        assert!(told.contains(word), "{word:?} in {told}");
    }
    // What was in flight may have been noted; nothing was begun.
    let since = a.history().split_off(before);
    assert!(
        since.iter().all(|record| record["event"] != "run_finished"),
        "{since:?}"
    );
    for args in [&["resume"][..], &["resume", run], &["cancel", run]] {
        let (code, told) = a.code(args);
        assert_eq!(code, 6, "{args:?}: {told}");
        assert!(
            told.contains("has taken it over") && told.contains(&way),
            "{told}"
        );
    }
    // Read-only commands name the holder, and do not recommend `resume`.
    for args in [&["runs"][..], &[], &["show", run], &["doctor"]] {
        let told = said(&a.run(args));
        assert!(told.contains(&way), "{args:?}: {told}");
        assert!(!told.contains(&format!("resume {run}")), "{args:?}: {told}");
        assert!(
            args == ["doctor"] || told.contains("elsewhere"),
            "{args:?}: {told}"
        );
    }
    // Also where no tier answers.
    fs::rename(hosts.shared("near"), hosts.shared("away")).expect("take the tier away");
    assert_eq!(a.code(&["resume", run]).0, 6);
    fs::rename(hosts.shared("away"), hosts.shared("near")).expect("bring the tier back");
}

/// Host A names its run's holder and the remedy, wherever it would recommend to resume an interrupted run.
fn names_who_has_it(hosts: &Hosts, a: &Sandbox, run: &str) {
    let way = format!("rekindle adopt {} {run}", hosts.url("near"));
    let (code, told) = a.code(&["recover", "--to", "out"]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains(&way) && told.contains("once host"), "{told}");
    assert!(!told.contains(&format!("resume {run}")), "{told}");
    // Of others that were interrupted, only those are resumed that are this workspace's.
    for to in ["third", "fourth"] {
        assert_eq!(a.killed(&["recover", "--to", to], Place::AfterAppend, 4), Ok(()));
    }
    let (code, told) = a.code(&["resume"]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("2 runs are interrupted") && told.contains(&way),
        "{told}"
    );
    let (code, told) = a.code(&["resume", "--all"]);
    assert_eq!(code, 6, "{told}");
    assert!(told.contains(&way), "{told}");
    for to in ["third", "fourth"] {
        let [expect, back] = [a.data(), a.path(to)].map(|root| tree::read(&root).expect("read a tree"));
        assert_eq!(tree::differences(&expect, &back), [""; 0]);
    }
}

/// Host A takes the finished history in, and has the same run as host B.
fn comes_home(hosts: &Hosts, a: &Sandbox, b: &Sandbox, run: &str) {
    let told = a.ok(&["adopt", &hosts.url("near"), run]);
    assert!(told.contains("is over"), "{told}");
    let history = |host: &Sandbox| host.ok(&["history", run, "--json"]);
    assert_eq!(history(a), history(b));
    assert_eq!(a.code(&["journal", "verify"]).0, 0);
    a.ok(&["backup"]);
}

#[test]
fn a_zombie_of_a_recovery_changes_its_target_no_more_and_exits_with_6() {
    let hosts = Hosts::of(BINARY, RECOVERED_IN_TWO_STEPS);
    let files = [("one/a.md", "first"), ("two/b.md", "second")];
    let a = hosts.first(&files);
    a.ok(&["backup"]);
    let b = hosts.another(&[]);
    let (zombie, run) = stopped(&hosts, &a, &b, &["recover", "--to", "out"]);
    assert!(
        !a.path("out/two").exists(),
        "the second component is restored later"
    );

    let told = b.ok(&["adopt", &hosts.url("near"), "--yes"]);
    assert!(told.contains("recovered") || told.contains("two"), "{told}");
    let [expect, back] = [a.data(), a.path("out")].map(|root| tree::read(&root).expect("read a tree"));
    assert_eq!(tree::differences(&expect, &back), [""; 0]);
    let adopted = b.ok(&["history", &run, "--json"]);
    let adopted = adopted.lines().find(|line| line.contains("run_adopted"));
    let adopted: Value = serde_json::from_str(adopted.expect("an adoption")).expect("JSON");
    assert!(adopted["workspace"].is_string(), "{adopted}");

    fs::remove_dir_all(a.path("out/two")).expect("change what was made");
    wakes_up(&hosts, &a, zombie, &run);
    assert!(!a.path("out/two").exists(), "the zombie wrote to its target");
    names_who_has_it(&hosts, &a, &run);
    comes_home(&hosts, &a, &b, &run);
}

#[test]
fn a_zombie_of_a_backup_seals_no_set() {
    let hosts = Hosts::of(BINARY, CAPTURED_SLOWLY);
    let files = [("notes/a.md", "hello")];
    let a = hosts.first(&files);
    a.ok(&["tier", "create", "near"]);
    let b = hosts.another(&files);
    let (zombie, run) = stopped(&hosts, &a, &b, &["backup"]);

    // It would capture from this host: somebody has to want that.
    let (code, told) = b.code(&["adopt", &hosts.url("near")]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("captures from") && told.contains("--yes"), "{told}");
    b.ok(&["adopt", &hosts.url("near"), "--yes"]);
    let sets = b.ok(&["sets", "--json"]);
    assert_eq!(sets.lines().count(), 1, "{sets}");

    wakes_up(&hosts, &a, zombie, &run);
    assert_eq!(b.ok(&["sets", "--json"]), sets, "the zombie sealed a set");
    comes_home(&hosts, &a, &b, &run);
}

#[test]
fn of_two_concurrent_adoptions_one_continues_the_run() {
    let hosts = Hosts::of(BINARY, RECOVERED_IN_TWO_STEPS);
    let files = [("one/a.md", "first"), ("two/b.md", "second")];
    let a = hosts.first(&files);
    a.ok(&["backup"]);
    let others = [hosts.another(&[]), hosts.another(&[])];
    let (dead, run) = stopped(&hosts, &a, &others[0], &["recover", "--to", "out"]);
    fs::remove_file(hosts.shared("go")).expect("let programs wait");
    dead.signal(Signal::KILL);
    dead.end();

    let url = hosts.url("near");
    let mut working = others
        .iter()
        .map(|host| Working::start(host, &["adopt", &url, &run, "--yes"]))
        .collect::<Vec<_>>();
    until("one to lose", || working.iter_mut().any(Working::has_ended));
    fs::write(hosts.shared("go"), "").expect("let programs go on");
    let told: Vec<(i32, String)> = working.into_iter().map(Working::told).collect();
    let mut codes: Vec<i32> = told.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 6], "{told:?}");
    let loser = told.iter().find(|(code, _)| *code == 6).map(|(_, told)| told);
    assert!(
        loser.is_some_and(|told| told.contains("has taken it over")),
        "{told:?}"
    );
    let [expect, back] = [a.data(), a.path("out")].map(|root| tree::read(&root).expect("read a tree"));
    assert_eq!(tree::differences(&expect, &back), [""; 0]);
}
