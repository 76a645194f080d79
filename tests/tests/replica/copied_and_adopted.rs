//! Every tier has a run's journal. A bare host continues the run, a tier that was down catches up, local
//! damage is repaired from a tier, and a damaged segment is named.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::faults::Place;
use rekindle_tests::hosts::{Hosts, slots};
use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox, said};
use rekindle_tests::tree;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const TWO_TIERS: &str = "\
system: pair
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  pages: {source: {type: files, path: site}}
tiers:
  near: {url: \"file://SHARED/near\"}
  far: {url: \"file://SHARED/far\"}
";

const FILES: [(&str, &str); 3] = [
    ("notes/a.md", "hello"),
    ("notes/b.md", "world"),
    ("site/i.html", "<p>"),
];

fn newest(host: &Sandbox) -> String {
    host.history()[0]["run"].as_str().expect("a run").to_owned()
}

/// A host that was backed up, and on which a recovery was killed half-way.
fn half_recovered(hosts: &Hosts) -> (Sandbox, String) {
    let host = hosts.first(&FILES);
    host.ok(&["backup"]);
    let recover = ["recover", "--to", "out"];
    let total = host.fork().count(&recover)(Place::AfterAppend);
    assert_eq!(host.killed(&recover, Place::AfterAppend, total / 2), Ok(()));
    assert_eq!(host.killed(&["resume"], Place::AfterAppend, 2), Ok(()));
    let run = newest(&host);
    (host, run)
}

fn lose(host: &Sandbox) {
    for folder in [".rekindle", "config"] {
        fs::remove_dir_all(host.path(folder)).expect("lose a folder");
    }
}

#[test]
fn a_bare_host_goes_on_with_a_half_done_recovery_and_ends_at_the_same_tree() {
    let hosts = Hosts::of(BINARY, TWO_TIERS);
    let (host, run) = half_recovered(&hosts);
    let expect = tree::read(&host.data()).expect("read the data");
    lose(&host);
    fs::remove_dir_all(host.data()).expect("lose the data");
    let kit = hosts.shared("kit.txt").display().to_string();
    host.ok(&["init", "--from-kit", &kit]);
    let listed = host.ok(&["adopt", &hosts.url("far"), "--list"]);
    assert!(listed.contains(&run) && listed.contains("recover"), "{listed}");
    let output = host.run(&["adopt", &hosts.url("far")]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("recovers into"), "{}", said(&output));
    let back = tree::read(&host.path("out")).expect("read what is back");
    assert_eq!(tree::differences(&expect, &back), [""; 0]);
    // Its history is the first host's, and goes on.
    let events: Vec<String> = host
        .history()
        .iter()
        .map(|record| record["event"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(events.first().map(String::as_str), Some("run_created"));
    assert_eq!(events.last().map(String::as_str), Some("run_finished"));
    assert_eq!(events.iter().filter(|event| *event == "run_adopted").count(), 2);
    let none = host.ok(&["adopt", &hosts.url("near")]);
    assert!(none.contains("no unfinished run"), "{none}");
}

#[test]
fn a_resume_copies_what_a_kill_kept_from_the_tiers() {
    let hosts = Hosts::of(BINARY, TWO_TIERS);
    let (host, run) = half_recovered(&hosts);
    host.ok(&["resume"]);
    for tier in ["near", "far"] {
        let other = hosts.another(&[]);
        let told = other.ok(&["adopt", &hosts.url(tier), &run]);
        assert!(told.contains("is over"), "{told}");
        let history = |host: &Sandbox| host.ok(&["history", &run, "--json"]);
        assert_eq!(history(&other), history(&host), "{tier}");
    }
}

#[test]
fn a_tier_that_was_down_is_told_and_caught_up_by_the_next_run() {
    let hosts = Hosts::of(BINARY, TWO_TIERS);
    let host = hosts.first(&FILES);
    host.ok(&["backup"]);
    fs::rename(hosts.shared("far"), hosts.shared("away")).expect("take a tier away");
    let (code, told) = host.code(&["recover", "--to", "out"]);
    assert_eq!(code, 0, "{told}");
    let run = newest(&host);
    assert!(
        told.contains(&format!("tier far lacks part of the journal of run {run}")),
        "{told}"
    );
    assert!(!hosts.shared("far").exists(), "nothing is made in its place");
    fs::rename(hosts.shared("away"), hosts.shared("far")).expect("bring it back");
    assert!(slots(&hosts.shared("far"), &run).is_empty());
    let (code, told) = host.code(&["backup"]);
    assert_eq!((code, told.contains("lacks part")), (0, false), "{told}");
    // All of it in as few slots as it takes.
    assert_eq!(slots(&hosts.shared("far"), &run).len(), 1);
    assert_eq!(
        fs::read_dir(host.path(".rekindle/owed"))
            .expect("a folder")
            .count(),
        0
    );
    fs::remove_dir_all(hosts.shared("near").join("journal")).expect("leave it to the other tier");
    let other = hosts.another(&[]);
    other.ok(&["adopt", &hosts.url("far"), &run]);
    let history = |host: &Sandbox| host.ok(&["history", &run, "--json"]);
    assert_eq!(history(&other), history(&host));
}

/// Flips a byte in the log's record of the start of the last step, and takes the index away.
fn damage(host: &Sandbox) {
    let path = host.path(".rekindle/log/0000000001");
    let mut log = fs::read(&path).expect("read the log");
    let at = log
        .windows(12)
        .rposition(|window| window == b"step_started")
        .expect("a start of a step");
    log[at] ^= 1;
    fs::write(&path, log).expect("damage the log");
    fs::remove_dir_all(host.path(".rekindle/journal")).expect("lose the index");
}

#[test]
fn a_run_that_has_lost_a_record_is_mended_from_a_tier() {
    for command in ["backup", "rebuild"] {
        let host = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "hello");
        host.ok(&["backup"]);
        let run = newest(&host);
        let before = host.ok(&["history", &run, "--json"]);
        damage(&host);
        assert_eq!(host.code(&["history", &run]).0, 5, "looking mends nothing");
        // One tier has a damaged copy: the other has it whole.
        let copy = slots(&host.path("tiers/far"), &run).remove(1);
        let mut bytes = fs::read(&copy).expect("read a slot");
        bytes[60] ^= 1;
        fs::write(&copy, bytes).expect("damage a slot");
        let (code, told) = match command {
            "backup" => host.code(&["backup"]),
            _ => host.code(&["journal", "rebuild"]),
        };
        assert_eq!(code, 0, "{told}");
        for word in [
            &format!("segment 2 of run {run}"),
            &format!("run {run} had lost records and is whole again"),
            "in tier near",
        ] {
            assert!(told.contains(word), "{command}: {word:?} in {told}");
        }
        assert_eq!(host.ok(&["history", &run, "--json"]), before);
        let (_, told) = host.code(&["runs"]);
        assert!(!told.contains("quarantined"), "{told}");
    }
}

#[test]
fn a_run_that_no_tier_has_stays_quarantined_until_an_intact_copy_is_imported() {
    let host = Sandbox::with_a_note(BINARY, NOTES, "hello");
    host.ok(&["backup"]);
    let run = newest(&host);
    let before = host.ok(&["history", &run, "--json"]);
    host.ok(&["journal", "export", &run, "-o", "run.archive"]);
    damage(&host);
    fs::remove_dir_all(host.path("tiers/near/journal")).expect("lose the slots");
    let (code, told) = host.code(&["journal", "rebuild"]);
    assert_eq!(code, 5, "{told}");
    let told = host.ok(&["journal", "import", "run.archive"]);
    assert!(told.contains("1 had lost records and are whole again"), "{told}");
    assert_eq!(host.ok(&["history", &run, "--json"]), before);
}

/// What somebody does to slots.
type Tamper<'a> = Box<dyn Fn() + 'a>;

#[test]
fn a_slot_that_is_not_what_was_written_is_named_and_another_tier_has_the_run() {
    let hosts = Hosts::of(BINARY, TWO_TIERS);
    let (host, run) = half_recovered(&hosts);
    let [near, far] = ["near", "far"].map(|tier| hosts.shared(tier));
    let other = hosts.another(&[]);
    let whole = slots(&near, &run);
    assert!(whole.len() >= 2, "{whole:?}");
    let kept: Vec<Vec<u8>> = whole
        .iter()
        .map(|path| fs::read(path).expect("read a slot"))
        .collect();
    let put_back = || {
        for (path, bytes) in whole.iter().zip(&kept) {
            fs::write(path, bytes).expect("put a slot back");
        }
    };
    // Of the run before this one, sealed under the same key.
    let earlier = fs::read_dir(near.join("journal")).expect("runs").flatten();
    let earlier = earlier
        .map(|entry| entry.path())
        .find(|path| !path.ends_with(&run));
    let foreign = fs::read(earlier.expect("another run").join("0000000001")).expect("read a slot");
    let tampered: [(&str, u64, Tamper<'_>); 5] = [
        (
            "changed",
            1,
            Box::new(|| {
                let mut bytes = kept[0].clone();
                bytes[100] ^= 1;
                fs::write(&whole[0], bytes).expect("change a slot");
            }),
        ),
        (
            "cut short",
            2,
            Box::new(|| {
                fs::write(&whole[1], &kept[1][..kept[1].len() - 1]).expect("cut a slot");
            }),
        ),
        (
            "swapped",
            1,
            Box::new(|| {
                fs::write(&whole[0], &kept[1]).expect("swap slots");
                fs::write(&whole[1], &kept[0]).expect("swap slots");
            }),
        ),
        (
            "of another run",
            1,
            Box::new(|| {
                fs::write(&whole[0], &foreign).expect("replace a slot");
            }),
        ),
        (
            "missing",
            1,
            Box::new(|| {
                fs::remove_file(&whole[0]).expect("remove a slot");
            }),
        ),
    ];
    fs::rename(&far, hosts.shared("away")).expect("take a tier away");
    for (how, n, tamper) in &tampered {
        tamper();
        let (code, told) = other.code(&["adopt", &hosts.url("near"), &run]);
        let unseen = *how == "missing";
        // Where the last slots do not open, the run is not even listed; it is named all the same.
        assert!(code == 5 || code == 2, "{how}: {code} {told}");
        assert!(
            told.contains(&format!("segment {n} of run {run}")),
            "{how}: {told}"
        );
        assert!(!unseen || told.contains("is missing"), "{how}: {told}");
        put_back();
    }
    fs::rename(hosts.shared("away"), &far).expect("bring it back");
    tampered[0].2();
    let (code, told) = other.code(&["adopt", &hosts.url("far"), &run]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(&format!("segment 1 of run {run}")), "{told}");
    // The first host learns of it where it is told so.
    put_back();
    assert_eq!(host.code(&["resume"]).0, 6);
}

#[test]
fn a_run_without_tiers_has_no_copies_and_a_tier_is_tried_out_for_who_comes_first() {
    let none = "system: none\nroot: ./data\ncomponents:\n  notes: {source: {type: files, path: notes}}\n";
    let host = Sandbox::with_a_note(BINARY, none, "hello");
    fs::write(
        host.path("flow.yaml"),
        "workflow: flow\nsteps:\n  - {id: a, uses: noop}\n",
    )
    .expect("write");
    host.ok(&["run", "flow.yaml"]);
    assert!(!host.path(".rekindle/workspace.json").exists());
    let host = Sandbox::with_a_note(BINARY, NOTES, "hello");
    host.ok(&["backup"]);
    let run = newest(&host);
    assert!(slots(&host.path("tiers/near"), &run).len() <= 5);
    let checked = host.ok(&["tier", "check"]);
    assert!(checked.contains("ok"), "{checked}");
}

#[test]
fn an_adoption_that_is_cut_off_is_gone_on_with_by_nothing_but_another_adoption() {
    let hosts = Hosts::of(BINARY, TWO_TIERS);
    let (first, run) = half_recovered(&hosts);
    let other = hosts.another(&[]);
    let out = first.path("out");
    assert!(!out.exists(), "nothing was restored yet");
    // The run is here, and `run_adopted` with it or not yet; no tier has been told.
    let adopt = ["adopt", &hosts.url("near"), &run];
    for place in [Place::BeforeAppend, Place::AfterAppend] {
        assert_eq!(other.killed(&adopt, place, 1), Ok(()));
        refused_without_tiers(&hosts, &other, &run);
        assert!(!out.exists(), "something was restored");
    }
    other.ok(&adopt);
    assert_eq!(
        other.code(&["resume"]).0,
        0,
        "no run is left to continue, and nothing refuses"
    );
}

/// A half-adopted run cannot be resumed, even if no tier answers.
fn refused_without_tiers(hosts: &Hosts, other: &Sandbox, run: &str) {
    for tier in ["near", "far"] {
        fs::rename(hosts.shared(tier), hosts.shared(&format!("{tier}.away"))).expect("take a tier away");
    }
    let (code, told) = other.code(&["resume", run]);
    assert_eq!(code, 6, "{told}");
    assert!(told.contains("rekindle adopt") && told.contains(run), "{told}");
    // No workspace has taken it from this one.
    assert!(
        told.contains("was adopting it") && !told.contains("taken it over"),
        "{told}"
    );
    for tier in ["near", "far"] {
        fs::rename(hosts.shared(&format!("{tier}.away")), hosts.shared(tier)).expect("bring a tier back");
    }
}
