//! A set is proven in a sandbox by `verify --level restore`, and `recover --last-known-good` walks back to the newest set that
//! is valid.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree::files_below;
use rekindle_tests::wait::{LIMIT, poll};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const DRILL: [&str; 3] = ["verify", "--level", "restore"];

/// Two components; the validation of `notes` counts the words of a note that it restored.
const SYSTEM: &str = r#"
system: small
root: ./data
components:
  notes:
    rto: 1s
    source: {type: files, path: notes}
    validate:
      - probe: command
        name: words
        run: [sh, -c, 'while test -e "$2/hang"; do sleep 0.02; done; printf "{\"words\": %s}" "$(wc -w < "$1/notes/a.md")"', words, "${{ target.root }}", "${{ params.hang }}"]
        expect: {words: ">= 1"}
  index:
    source: {type: files, path: index}
tiers:
  near: {url: "file://./tiers/near"}
targets:
  recovery: {validation_rate: ">= 0.98"}
  availability: {backup_system: ">= 0.99", recovery_readiness: "== 1", system: ">= 0.999"}
  testing: {scenario_success_rate: "> 0.95"}
"#;

fn system(sandbox_of_test: &str) -> String {
    SYSTEM.replace("${{ params.hang }}", sandbox_of_test)
}

/// Returns a system with two components, whose validation waits while `hang` is there.
fn small() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, SYSTEM, "one two three").with("data/index/list", "a");
    let system = system(&sandbox.path("").display().to_string());
    sandbox.with("system.yaml", &system)
}

/// The exit code of a command, and what it printed as JSON.
fn json(sandbox: &Sandbox, args: &[&str]) -> (i32, Value) {
    let output = sandbox.run(&[args, &["--json"]].concat());
    let body = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code().expect("it ended"), body)
}

fn staged(sandbox: &Sandbox) -> bool {
    sandbox.path(".rekindle/staging").exists()
}

fn note(sandbox: &Sandbox, text: &str) {
    fs::write(sandbox.path("data/notes/a.md"), text).expect("write the note");
}

/// Waits until the validation of `notes` is at work.
fn wait_for_the_validation(sandbox: &Sandbox) {
    poll("the validation", LIMIT, || {
        let at_work =
            |record: &Value| record["event"] == "child_started" && record["step"] == "validate[notes]";
        sandbox.history().iter().any(at_work).then_some(())
    });
}

/// Backs up, and returns the set.
fn back_up(sandbox: &Sandbox) -> String {
    let (code, ran) = json(sandbox, &["backup"]);
    assert_eq!(code, 0, "{ran:#}");
    ran["backup"]["set"].as_str().expect("a set").to_owned()
}

#[test]
fn a_drill_recovers_a_set_into_a_sandbox_and_removes_it() {
    let sandbox = small();
    let set = back_up(&sandbox);
    note(&sandbox, "not in the set");
    let (code, ran) = json(&sandbox, &DRILL);
    assert_eq!(code, 0, "{ran:#}");
    assert_eq!(ran["kind"], "drill");
    let table = &ran["recovery"];
    assert_eq!(
        (&table["set"], &table["sandbox_removed"]),
        (&set.into(), &true.into())
    );
    let rows = table["components"].as_array().unwrap();
    let of = |name: &str| rows.iter().find(|row| row["component"] == name).unwrap();
    assert_eq!(of("notes")["valid"], "yes");
    assert_eq!(of("index")["restored"], true);
    assert_eq!(of("index")["valid"], "no_data", "nothing validates it");
    assert_eq!(
        fs::read_to_string(sandbox.path("data/notes/a.md")).unwrap(),
        "not in the set"
    );
    assert!(!staged(&sandbox));
    let status = sandbox.ok(&["status"]);
    assert!(status.contains("drill of "), "{status}");
}

#[test]
fn the_newest_set_that_is_valid_is_recovered_and_those_passed_over_are_named() {
    let sandbox = small();
    let good = back_up(&sandbox);
    // Nobody notices: the validation does not run at a backup.
    note(&sandbox, "");
    let bad = back_up(&sandbox);
    let worse = back_up(&sandbox);
    let recover = ["recover", "--last-known-good", "--to", "back"];
    let output = sandbox.run(&recover);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for passed in [&worse, &bad] {
        assert!(
            told.contains(&format!("passed over: set {passed}")),
            "{passed}: {told}"
        );
    }
    assert_eq!(
        fs::read_to_string(sandbox.path("back/notes/a.md")).unwrap(),
        "one two three"
    );
    assert!(!staged(&sandbox));

    // What was proven is not proven again.
    fs::remove_dir_all(sandbox.path("back")).unwrap();
    let runs = || {
        sandbox
            .run(&["runs", "--json"])
            .stdout
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    };
    let before = runs();
    let told = said(&sandbox.run(&[
        "recover",
        "--last-known-good",
        "--component",
        "notes",
        "--to",
        "back",
    ]));
    assert!(told.contains(&format!("set {good} is good: run ")), "{told}");
    assert_eq!(runs(), before + 1, "{told}");
}

#[test]
fn without_any_good_set_nothing_is_recovered() {
    let sandbox = small();
    note(&sandbox, "");
    let only = back_up(&sandbox);
    let (code, told) = sandbox.code(&["recover", "--last-known-good", "--to", "back"]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("no recovery set is good") && told.contains(&only),
        "{told}"
    );
    assert!(!sandbox.path("back").exists());
}

#[test]
fn a_drill_that_is_killed_goes_on_with_what_it_has_restored() {
    let sandbox = small();
    back_up(&sandbox);
    fs::write(sandbox.path("hang"), "").unwrap();
    let mut drill = sandbox.command(&DRILL).spawn().unwrap();
    wait_for_the_validation(&sandbox);
    drill.kill().unwrap();
    drill.wait().unwrap();
    assert!(staged(&sandbox));

    fs::remove_file(sandbox.path("hang")).unwrap();
    let (code, resumed) = json(&sandbox, &["resume"]);
    assert_eq!(code, 0, "{resumed:#}");
    let restores = sandbox.history().into_iter().filter(|record| {
        record["event"] == "step_started"
            && record["step"]
                .as_str()
                .is_some_and(|step| step.starts_with("restore"))
    });
    assert_eq!(restores.count(), 2, "one for each component");
    assert!(!staged(&sandbox));
}

#[test]
fn a_cancelled_drill_leaves_no_sandbox() {
    let sandbox = small();
    back_up(&sandbox);
    fs::write(sandbox.path("hang"), "").unwrap();
    let mut drill = sandbox.command(&DRILL).spawn().unwrap();
    wait_for_the_validation(&sandbox);
    sandbox.ok(&["cancel", "latest"]);
    drill.wait().unwrap();
    assert!(!staged(&sandbox));
}

#[test]
fn a_program_that_would_act_on_the_living_system_runs_in_no_drill() {
    let sandbox = small();
    let system = fs::read_to_string(sandbox.path("system.yaml")).unwrap();
    let system = system.replace(
        "  index:\n    source: {type: files, path: index}\n",
        "  index:\n    source: {type: files, path: index}\n    recovery: [{id: start, uses: command, with: {run: [touch, started]}}]\n",
    );
    fs::write(sandbox.path("system.yaml"), system).unwrap();
    back_up(&sandbox);
    let (code, told) = sandbox.code(&DRILL);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("recovery step `start` of index"), "{told}");
    assert!(!sandbox.path("started").exists());

    let (code, told) = sandbox.code(&[&DRILL[..], &["--component", "notes"]].concat());
    assert_eq!(code, 0, "{told}");
}

#[test]
fn targets_over_a_period_sum_up_its_drills_and_backups() {
    let sandbox = small();
    let target = |name: &str| {
        let (code, judged) = json(&sandbox, &["targets"]);
        assert_eq!(code, 0, "{judged:#}");
        let targets = judged["targets"].as_array().unwrap().clone();
        let found = targets.into_iter().find(|row| row["target"] == name);
        let found = found.unwrap_or_else(|| panic!("{name}: {judged:#}"));
        let runs = found["runs"].as_array().unwrap().len();
        (found["figure"].clone(), found["met"].clone(), runs)
    };
    assert_eq!(target("scenario_success_rate"), (Value::Null, Value::Null, 0));
    back_up(&sandbox);
    sandbox.ok(&DRILL);
    assert_eq!(target("scenario_success_rate"), (1.0.into(), true.into(), 1));
    assert_eq!(target("validation_rate"), (1.0.into(), true.into(), 1));
    assert_eq!(target("backup_system"), (1.0.into(), true.into(), 1));
    assert_eq!(target("recovery_readiness"), (1.0.into(), true.into(), 0));
    assert_eq!(
        target("system"),
        (Value::Null, Value::Null, 0),
        "nothing observes it"
    );

    note(&sandbox, "");
    back_up(&sandbox);
    assert_eq!(sandbox.code(&DRILL).0, 3);
    assert_eq!(target("scenario_success_rate"), (0.5.into(), false.into(), 2));
    assert_eq!(target("validation_rate"), (0.5.into(), false.into(), 2));
    assert_eq!(sandbox.code(&["targets", "--strict"]).0, 3);
    let (_, before) = json(&sandbox, &["targets", "--window", "1ms"]);
    assert!(
        before["targets"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["runs"] == Value::Array(vec![]))
    );
}

#[test]
fn a_validation_that_is_at_work_when_the_rto_passes_is_warned_of_then() {
    let sandbox = small();
    back_up(&sandbox);
    fs::write(sandbox.path("hang"), "").unwrap();
    let mut recovery = sandbox.command(&["recover", "--to", "back"]).spawn().unwrap();
    poll("the warning", LIMIT, || {
        let shown = said(&sandbox.run(&["show", "latest"]));
        shown.contains("notes has missed its RTO of 1.0 s").then_some(())
    });
    fs::remove_file(sandbox.path("hang")).unwrap();
    assert_eq!(recovery.wait().unwrap().code(), Some(0));
}

/// Returns a system whose component `index` has a recovery step, which fails while `broken` is there.
fn with_a_recovery_step() -> Sandbox {
    let sandbox = small();
    let system = fs::read_to_string(sandbox.path("system.yaml")).expect("read the system");
    let index = "    source: {type: files, path: index}\n";
    let step = r#"    recovery: [{id: migrate, uses: command, with: {run: [sh, -c, '! grep -q broken "$1/index/list"', sh, "${{ target.root }}"]}}]
"#;
    let system = system.replace(index, &format!("{index}{step}"));
    fs::write(sandbox.path("system.yaml"), system).expect("add a recovery step");
    sandbox
}

#[test]
fn a_set_whose_recovery_step_fails_is_passed_over() {
    let sandbox = with_a_recovery_step();
    back_up(&sandbox);
    fs::write(sandbox.path("data/index/list"), "broken").unwrap();
    let bad = back_up(&sandbox);
    let output = sandbox.run(&["recover", "--last-known-good", "--to", "back"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains(&format!("passed over: set {bad}: recovery[index,migrate]")),
        "{told}"
    );
    assert_eq!(fs::read_to_string(sandbox.path("back/index/list")).unwrap(), "a");
}

#[test]
fn a_drill_that_is_cancelled_condemns_no_set_and_nothing_is_recovered() {
    let sandbox = small();
    back_up(&sandbox);
    fs::write(sandbox.path("hang"), "").unwrap();
    let mut recovery = sandbox
        .command(&["recover", "--last-known-good", "--to", "back"])
        .spawn()
        .unwrap();
    wait_for_the_validation(&sandbox);
    sandbox.ok(&["cancel", "latest"]);
    assert_eq!(recovery.wait().unwrap().code(), Some(1));
    assert!(!sandbox.path("back").exists());
}

#[test]
fn a_set_that_was_proven_and_then_lost_data_is_proven_again_and_passed_over() {
    let sandbox = small();
    let old = back_up(&sandbox);
    let packs = || files_below(&sandbox.path("tiers/near/packs"));
    let before = packs();
    note(&sandbox, "four five six");
    let newest = back_up(&sandbox);
    sandbox.ok(&DRILL);
    sandbox.ok(&[&DRILL[..], &["--from", &old]].concat());
    for pack in packs().iter().filter(|pack| !before.contains(pack)) {
        fs::remove_file(pack).unwrap();
    }
    assert_eq!(sandbox.code(&["verify"]).0, 5);
    let output = sandbox.run(&["recover", "--last-known-good", "--to", "back"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("passed over: set {newest}")), "{told}");
    assert_eq!(
        fs::read_to_string(sandbox.path("back/notes/a.md")).unwrap(),
        "one two three"
    );
}

#[test]
fn the_workflow_of_a_drill_runs_only_in_a_sandbox() {
    let sandbox = small();
    back_up(&sandbox);
    let (code, told) = sandbox.code(&["run", "drill"]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("recovers into a sandbox, and has none"), "{told}");
}
