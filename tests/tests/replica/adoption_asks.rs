//! The questions that `adopt` asks before a run of another host continues here. It does not wait long for any
//! tier.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::faults::Place;
use rekindle_tests::hosts::{Hosts, Working, hanging, slots};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::wait::until;
use rustix::process::Signal;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const WITH_PROGRAMS: &str = "\
system: pair
root: ./data
components:
  one:
    source: {type: files, path: one}
    recovery:
      - {id: warm, uses: command, with: {run: [sh, -c, \"echo warm > warmed\"]}}
    validate:
      - {probe: command, run: [sh, -c, \"echo '{\\\"n\\\": 1}'\"], expect: {n: \"== 1\"}}
  two:
    after: [one]
    source: {type: command, dump: [cat, two.txt], restore: [sh, -c, \"cat > two.txt\"]}
tiers:
  near: {url: \"file://SHARED/near\"}
  far: {url: \"file://SHARED/far\"}
";

/// A host on which a recovery was cut off before it ran any program, and the run.
fn cut_off(hosts: &Hosts) -> (Sandbox, String) {
    let host = hosts.first(&[("one/a.md", "first"), ("two.txt", "second")]);
    host.ok(&["backup"]);
    assert_eq!(
        host.killed(&["recover", "--to", "out"], Place::AfterAppend, 3),
        Ok(())
    );
    // Copies what a kill has kept from the tiers, and no more.
    assert_eq!(host.killed(&["resume"], Place::AfterAppend, 1), Ok(()));
    let run = host.history()[0]["run"].as_str().expect("a run").to_owned();
    (host, run)
}

#[test]
fn the_programs_that_go_on_here_are_named_and_asked_about_once() {
    let hosts = Hosts::of(BINARY, WITH_PROGRAMS);
    let (host, run) = cut_off(&hosts);
    let other = hosts.another(&[]);
    let near = hosts.url("near");
    let before = slots(&hosts.shared("near"), &run);
    let (code, told) = other.code(&["adopt", &near, &run]);
    assert_eq!(code, 2, "{told}");
    for part in [
        "echo warm > warmed",
        "cat > two.txt",
        "echo '{",
        "[one",
        "needs a yes",
        "add --yes",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("cat two.txt"), "nothing is captured: {told}");
    // Nothing was done: neither here nor in a tier.
    assert_eq!(other.history().len(), 0);
    assert_eq!(slots(&hosts.shared("near"), &run), before);
    let (code, told) = other.code(&["adopt", &near, &run, "--yes"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("echo warm > warmed"),
        "it is told all the same: {told}"
    );
    assert_eq!(
        fs::read_to_string(host.path("out/two.txt")).expect("restored"),
        "second"
    );
}

#[test]
fn a_tier_that_hangs_is_waited_for_a_while_and_another_one_serves() {
    let hosts = Hosts::of(BINARY, WITH_PROGRAMS);
    let (_host, run) = cut_off(&hosts);
    let Some(slow) = hanging(&hosts.shared("far")) else {
        return;
    };
    let other = hosts.another(&[]).under(slow);
    let begun = SystemClock.now();
    let (code, told) = other.code(&["adopt", &hosts.url("far"), &run, "--yes"]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("has not answered within 10s") && told.contains("nothing was changed"),
        "{told}"
    );
    let before = slots(&hosts.shared("near"), &run).len();
    let working = Working::start(&other, &["adopt", &hosts.url("near"), &run, "--yes"]);
    until("the adoption", || {
        slots(&hosts.shared("near"), &run).len() > before
    });
    working.signal(Signal::TERM);
    let (_, told) = working.told();
    for part in ["has not answered", "adopted run"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let took = SystemClock.now().since(&begun).duration;
    assert!(took < Duration::from_secs(90), "{took:?}");
}
