//! `rekindle drill` causes the disaster of a scenario in a sandbox, and recovers from the stored copies there.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The validation of `notes` compares a checksum of all its files with that of the living system; that of `index` only
/// looks whether there is a file.
const SYSTEM: &str = r#"
system: small
root: ./data
components:
  notes:
    rto: 5m
    classes: [texts]
    source: {type: files, path: notes}
    validate:
      - probe: command
        name: sum
        at: both
        run: [sh, -c, 'cd "$1/notes" && printf "{\"files\": %s, \"sum\": %s}" "$(ls | wc -l)" "$(cat * | cksum | cut -d" " -f1)"', sum, "${{ target.root }}"]
        expect: {files: "== 1 of baseline", sum: "== 1 of baseline"}
  index:
    source: {type: files, path: index}
    validate:
      - probe: command
        name: blind
        run: [sh, -c, 'test -e "$1/index/list" && echo "{\"ok\": true}"', blind, "${{ target.root }}"]
        expect: {ok: true}
  readers:
    after: [notes]
    reads: [notes]
    validate:
      - probe: command
        name: reads
        reads: [notes]
        run: [sh, -c, 'printf "{\"notes\": %s}" "$(ls "$1/notes" | wc -l)"', reads, "${{ target.root }}"]
        expect: {notes: ">= 1"}
data_classes:
  texts: {rpo: 1h}
tiers:
  near: {url: "file://./tiers/near"}
integrity:
  - {probe: command, name: together, run: [sh, -c, 'test -d "$1" && echo "{\"ok\": true}"', together, "${{ target.root }}"], expect: {ok: true}}
scenarios:
  gone: {affects: all, rto: 10m, rpo: 1h}
  deleted: {affects: [notes], damage: [{how: delete, count: 1}]}
  corrupted: {affects: [notes], rto: 10m, damage: [{how: corrupt, count: 1, seed: 3}]}
  tampered: {affects: [notes], damage: [{how: tamper, count: 2}]}
  encrypted: {affects: [notes], damage: [{how: encrypt}]}
  by_hand: {affects: [notes], damage: [{run: [sh, -c, 'echo more >> "$1/a.md"', sh, "${{ target.place }}"]}]}
  unseen: {affects: [index], damage: [{how: corrupt}]}
  loaded: {affects: [notes], damage: [{how: delete}], load: {probe: command, name: requests, reads: [index], run: [sh, -c, 'echo x >> "$1/load"; printf "{\"p99_ms\": %s, \"listed\": %s}" "$(wc -l < "$1/load")" "$(wc -c < "$1/index/list")"', requests, "${{ target.root }}"], expect: {listed: ">= 1", p99_ms: "<= 2.0 of baseline"}}}
  unread: {affects: all, inject: {count: 4}}
  late: {affects: [notes], rto: 1ms, damage: [{how: delete}]}
"#;

fn small() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, SYSTEM, "one two three 4")
        .with("data/notes/b.md", "and 5 more")
        .with("data/notes/c.md", "and no digit")
        .with("data/index/list", "a");
    sandbox.ok(&["backup"]);
    sandbox
}

/// The exit code of a drill, and what it proved.
fn drill(sandbox: &Sandbox, scenario: &str) -> (i32, Value) {
    let output = sandbox.run(&["drill", scenario, "--json"]);
    let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code().expect("it ended"), body["drill"].clone())
}

/// The living system and the tiers, as they are on disk.
fn outside(sandbox: &Sandbox) -> Vec<tree::Tree> {
    let read = |inside| tree::read(&sandbox.path(inside)).expect("read a tree");
    vec![read("data"), read("tiers/near/packs")]
}

#[test]
fn each_damage_is_noticed_and_mended_and_nothing_else_is_touched() {
    let sandbox = small();
    let before = outside(&sandbox);
    for (scenario, how, files) in [
        ("deleted", "delete", 1),
        ("corrupted", "corrupt", 1),
        ("tampered", "tamper", 2),
        ("encrypted", "encrypt", 3),
        ("by_hand", "", 0),
    ] {
        let (code, drill) = drill(&sandbox, scenario);
        assert_eq!(code, 0, "{scenario}: {drill:#}");
        assert_eq!(drill["success"], true, "{drill:#}");
        let damage = &drill["damage"][0];
        assert_eq!(
            (damage["component"].as_str(), damage["files"].as_u64()),
            (Some("notes"), Some(files)),
            "{drill:#}"
        );
        assert_eq!(damage["how"].as_str().unwrap_or_default(), how, "{drill:#}");
        assert_eq!(damage["named"].as_array().unwrap().len() as u64, files);
        assert_eq!(drill["detection"]["notes"]["detected"], true, "{drill:#}");
        assert_eq!(drill["functionality_restored"], 1.0, "{drill:#}");
        assert_eq!(
            drill["bytes"], 37,
            "only what is affected is recovered: {drill:#}"
        );
        assert!(!sandbox.path(".rekindle/staging").exists(), "{scenario}");
        for (before, after) in before.iter().zip(outside(&sandbox)) {
            assert_eq!(tree::differences(before, &after), [""; 0], "{scenario}");
        }
    }
}

#[test]
fn a_total_loss_is_recovered_into_an_empty_sandbox() {
    let sandbox = small();
    let (code, drill) = drill(&sandbox, "gone");
    assert_eq!(code, 0, "{drill:#}");
    assert_eq!(
        (&drill["rto_met"], &drill["rpo_met"]),
        (&true.into(), &true.into())
    );
    let gone = drill["damage"].as_array().unwrap();
    assert!(gone.iter().all(|row| row["all_gone"] == true), "{drill:#}");
    assert_eq!(drill["detection"]["notes"]["detected"], true, "{drill:#}");
    assert_eq!(drill["tiers"], serde_json::json!(["near"]));
    let seconds = |name: &str| drill[name].as_f64().unwrap();
    assert!(seconds("recovery_seconds") > 0.0 && seconds("recovery_seconds") < seconds("total_seconds"));
    let shown = said(&sandbox.run(&["show", "latest"]));
    assert!(shown.contains("drill of gone: passed"), "{shown}");
    assert!(shown.contains("(the drill caused it)"), "{shown}");
}

#[test]
fn damage_that_no_validation_notices_fails_the_drill() {
    let sandbox = small();
    let (code, drill) = drill(&sandbox, "unseen");
    assert_eq!(code, 1, "{drill:#}");
    assert_eq!(
        drill["failures"],
        serde_json::json!(["no validation noticed the damage to index"]),
        "{drill:#}"
    );
    assert!(!sandbox.path(".rekindle/staging").exists());
    // It is about the sandbox, so it condemns no copy.
    let (code, said) = sandbox.code(&["recover", "--to", "back"]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("passed over"), "{said}");
}

#[test]
fn a_missed_objective_fails_the_drill() {
    let sandbox = small();
    let (code, drill) = drill(&sandbox, "late");
    assert_eq!(code, 1, "{drill:#}");
    assert_eq!(
        (&drill["success"], &drill["rto_met"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn a_verification_names_every_damaged_copy_and_no_other() {
    let sandbox = small();
    let before = outside(&sandbox);
    let (code, drill) = drill(&sandbox, "unread");
    assert_eq!(code, 0, "{drill:#}");
    let found = &drill["injected"][0];
    assert_eq!(found["tier"], "near");
    // Each of the two components has one pack with content.
    assert_eq!(
        (&found["injected"], &found["detected"]),
        (&2.into(), &2.into()),
        "{drill:#}"
    );
    assert_eq!(drill["success"], true, "{drill:#}");
    for (before, after) in before.iter().zip(outside(&sandbox)) {
        assert_eq!(
            tree::differences(before, &after),
            [""; 0],
            "the tier is only read"
        );
    }
    assert_eq!(
        sandbox.code(&["verify"]).0,
        0,
        "no copy in the tier counts as damaged"
    );

    // What is damaged besides is named too.
    let system = SYSTEM.replace("inject: {count: 4}", "inject: {count: 1}");
    fs::write(sandbox.path("system.yaml"), system).unwrap();
    sandbox.spoil_packs("near");
    let (code, said) = sandbox.code(&["drill", "unread"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("1 of 1 damaged objects, and 1 that this drill did not damage"),
        "{said}"
    );
}

#[test]
fn a_load_before_the_disaster_is_the_baseline_of_the_one_beside_the_recovery() {
    let sandbox = small();
    let (code, found) = drill(&sandbox, "loaded");
    assert_eq!(code, 0, "{found:#}");
    assert_eq!(
        found["load_before"],
        serde_json::json!({"p99_ms": 1.0, "listed": 1.0}),
        "{found:#}"
    );
    assert_eq!(
        found["load"],
        serde_json::json!({"p99_ms": 2.0, "listed": 1.0}),
        "{found:#}"
    );
    let system = SYSTEM.replace("<= 2.0 of baseline", "<= 1.25 of baseline");
    fs::write(sandbox.path("system.yaml"), system).unwrap();
    let (code, found) = drill(&sandbox, "loaded");
    assert_eq!(code, 1, "{found:#}");
    assert!(
        found["failures"][0].as_str().unwrap().contains("p99_ms is 2"),
        "{found:#}"
    );
    assert_eq!(
        found["functionality_restored"], 1.0,
        "it is recovered all the same"
    );
}

#[test]
fn a_seed_of_the_scenario_damages_the_same_file_each_time() {
    let sandbox = small();
    let named = || drill(&sandbox, "corrupted").1["damage"][0]["named"].clone();
    assert_eq!(named(), named());
}

#[test]
fn what_cannot_be_drilled_is_refused_before_anything_begins() {
    let sandbox = Sandbox::with_a_note(BINARY, SYSTEM, "one 2");
    fs::create_dir_all(sandbox.path("data/index")).unwrap();
    let refused = |args: &[&str], why: &str| {
        let (code, said) = sandbox.code(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(!sandbox.ok(&["runs"]).contains("drill"), "{args:?}");
    };
    refused(&["drill", "corrupted"], "there is no backup yet");
    let partial: Value =
        serde_json::from_str(&sandbox.ok(&["backup", "--component", "index", "--json"])).unwrap();
    refused(&["drill", "corrupted"], "no recoverable set");
    let set = partial["backup"]["set"].as_str().unwrap();
    refused(&["drill", "corrupted", "--from", set], "holds nothing of notes");
    sandbox.ok(&["backup"]);
    refused(&["drill", "flood"], "corrupted");
    refused(&["drill"], "--all");
    refused(&["drill", "corrupted", "--from", "1999-01-01"], "set");
    let text = SYSTEM.replace("how: corrupt, count: 1", "how: burn, count: 1");
    fs::write(sandbox.path("system.yaml"), text).unwrap();
    refused(&["drill", "corrupted"], "encrypt");
    let text = SYSTEM.replace("${{ target.place }}", "/tmp");
    fs::write(sandbox.path("system.yaml"), text).unwrap();
    refused(&["drill", "by_hand"], "would damage the living system");
}

#[test]
fn all_scenarios_are_drilled_one_after_the_other() {
    let sandbox = small();
    let output = sandbox.run(&["drill", "--all", "--json"]);
    let lines = String::from_utf8_lossy(&output.stdout);
    let drilled: Vec<(String, bool)> = lines
        .lines()
        .map(|line| {
            let ended: Value = serde_json::from_str(line).expect("an object a line");
            let drill = &ended["drill"];
            (
                drill["scenario"].as_str().expect("a name").to_owned(),
                drill["success"] == true,
            )
        })
        .collect();
    let names: Vec<&str> = drilled.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "by_hand",
        "corrupted",
        "deleted",
        "encrypted",
        "gone",
        "late",
        "loaded",
        "tampered",
        "unread",
        "unseen",
    ];
    assert_eq!(names, expected);
    assert_eq!(output.status.code(), Some(1), "one failed, one was late");
    assert_eq!(drilled.iter().filter(|(_, success)| *success).count(), 9);
}

#[test]
fn a_drill_that_is_killed_anywhere_goes_on_or_is_cleaned_up() {
    let sandbox = small();
    let before = outside(&sandbox);
    for number in (1..).step_by(4) {
        if sandbox
            .killed(&["drill", "corrupted"], Place::AfterAppend, number)
            .is_err()
        {
            assert!(number > 12, "{number}");
            break;
        }
        match number % 8 {
            1 => {
                let output = sandbox.run(&["resume", "--json"]);
                let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(output.status.code(), Some(0), "{number}: {}", said(&output));
                assert_eq!(ended["drill"]["success"], true, "{number}: {ended:#}");
            }
            _ => {
                sandbox.ok(&["drill", "--clean"]);
                let shown = sandbox.ok(&["runs"]);
                assert!(!shown.contains("interrupted"), "{number}: {shown}");
            }
        }
        assert!(!sandbox.path(".rekindle/staging").exists(), "{number}");
    }
    for (before, after) in before.iter().zip(outside(&sandbox)) {
        assert_eq!(tree::differences(before, &after), [""; 0]);
    }
    assert!(
        sandbox
            .code(&["drill", "--clean"])
            .1
            .contains("no drill is interrupted")
    );
}

/// Tries all that a drill's program must not be able to do, and fails if it can do anything of it.
const INTRUDER: &str = r#"
for file in "$2"/data/notes/a.md "$2"/data/new "$2"/tiers/near/new "$2"/new; do
  if echo intruder 2>/dev/null > "$file"; then echo "wrote $file" >&2; exit 1; fi
done
if test -e /run/reached; then echo "saw /run" >&2; exit 1; fi
if (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null; then echo "reached port $3" >&2; exit 1; fi
echo more >> "$1/a.md"; mktemp > /dev/null
"#;

#[test]
fn a_program_of_a_drill_cannot_touch_the_living_system_a_tier_or_a_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = small().with("intruder.sh", INTRUDER);
    let root = sandbox.path("").display().to_string();
    let by_hand = "[sh, -c, 'echo more >> \"$1/a.md\"', sh, \"${{ target.place }}\"]";
    let intrudes = format!("[bash, \"{root}/intruder.sh\", \"${{{{ target.place }}}}\", \"{root}\", {port}]");
    let system = SYSTEM.replace(by_hand, &intrudes);
    assert_ne!(system, SYSTEM);
    fs::write(sandbox.path("system.yaml"), system).unwrap();
    sandbox.ok(&["backup"]);
    let before = outside(&sandbox);
    let output = sandbox.run(&["drill", "by_hand", "--json"]);
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
    if ended["recovery"]["isolation"] != "full" {
        // This machine has no namespaces for users. Then the report says so.
        let why = ended["recovery"]["isolation_lacks"].as_str().unwrap();
        assert!(!why.is_empty(), "{ended:#}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(ended["drill"]["success"], true, "{ended:#}");
    for (before, after) in before.iter().zip(outside(&sandbox)) {
        assert_eq!(tree::differences(before, &after), [""; 0]);
    }
}

#[test]
fn a_damage_that_finds_no_file_fails_the_drill() {
    let sandbox = small();
    fs::write(sandbox.path("data/index/list"), "").unwrap();
    sandbox.ok(&["backup"]);
    let (code, said) = sandbox.code(&["drill", "unseen"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("index has no file to damage in this way"), "{said}");
    assert!(!sandbox.path(".rekindle/staging").exists());
}
