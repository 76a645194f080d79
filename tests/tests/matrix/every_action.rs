//! Every action is cut off after it has begun, and `resume` reconciles it: the history has the verdict and
//! its evidence. A new action without a case here fails the test.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;

use rekindle_tests::faults::{KILL, Place};
use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// One step of each action that no backup, recovery or drill uses. Nobody answers the request; the test looks
/// only at the verdict after a kill.
const FLOW: &str = r#"
workflow: it
steps:
  - {id: a, uses: noop}
  - {id: b, needs: [a], uses: command, with: {run: ["true"]}}
  - {id: c, needs: [b], uses: notify, with: {command: ["true"], message: over}}
  - {id: d, needs: [c], uses: workflow, with: {workflow: below.yaml}}
  - {id: e, needs: [d], uses: http, with: {url: "http://127.0.0.1:9/", timeout: 1s}}
"#;
/// Drills with each action that only drills use.
const SCENARIOS: &str = r#"
scenarios:
  lost:
    affects: [notes]
    damage: [{how: corrupt, count: 1}]
    load: {probe: command, reads: [notes], run: [sh, -c, 'echo "{\"ok\": 1}"', "${{ target.root }}"], expect: {ok: 1}}
  rotten: {affects: all, inject: {count: 1}}
"#;
const BELOW: &str = "workflow: below\nsteps:\n  - {id: a, uses: noop}\n";

/// Returns all actions, from the schema for editors. An approval is not among them: it does no work, and a
/// crash changes nothing for it.
fn actions(sandbox: &Sandbox) -> BTreeSet<String> {
    const BEFORE: &str = "The action that the step runs.";
    fn find(value: &Value) -> Option<&str> {
        match value {
            Value::String(text) => Some(text.strip_prefix(BEFORE)?.split_once(" One of ")?.1),
            Value::Array(items) => items.iter().find_map(find),
            Value::Object(fields) => fields.values().find_map(find),
            _ => None,
        }
    }
    let schema = sandbox.ok(&["schema", "workflow"]);
    let schema: Value = serde_json::from_str(&schema).expect("a schema");
    let names = find(&schema).expect("a list of actions").split(", ");
    names
        .take_while(|name| !name.starts_with("or "))
        .filter(|name| *name != "approve")
        .map(str::to_owned)
        .collect()
}

/// Dies after each append in turn, resumes, and collects the verdicts on interrupted attempts, by action.
fn cut_off(fresh: &Sandbox, args: &[&str], found: &mut BTreeMap<String, Vec<Value>>) {
    for number in 2.. {
        let sandbox = fresh.fork();
        let mut command = sandbox.command(args);
        let output = command
            .env(KILL, format!("{}:{number}", Place::AfterAppend.name()))
            .output();
        if output.expect("start the product").status.signal() != Some(9) {
            assert!(number > 4, "{args:?} has more than {number} appends");
            return;
        }
        // Not all of these succeed, but each interrupted attempt is reconciled.
        sandbox.run(&["resume"]);
        for run in sandbox.ok(&["runs", "--json"]).lines() {
            let run: Value = serde_json::from_str(run).expect("an object a line");
            let run = run["run"].as_str().expect("a run");
            let shown: Value = serde_json::from_str(&sandbox.ok(&["show", run, "--json"])).expect("JSON");
            let steps = shown["steps"].as_array().expect("steps");
            let uses = |id: &Value| {
                let step = steps.iter().find(|step| step["step"] == *id).expect("the step");
                step["uses"].as_str().expect("an action").to_owned()
            };
            let cut = shown["rework"]["cut_off"].as_array().expect("what was cut off");
            for one in cut {
                let of_action = found.entry(uses(&one["step"])).or_default();
                of_action.push(one["evidence"].clone());
            }
        }
    }
}

#[test]
fn whatever_a_step_uses_what_was_cut_off_is_looked_into_and_the_evidence_is_journaled() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one");
    fs::write(sandbox.path("it.yaml"), FLOW).expect("write a workflow");
    fs::write(sandbox.path("below.yaml"), BELOW).expect("write a workflow");
    let mut found = BTreeMap::new();
    cut_off(&sandbox, &["run", "it.yaml"], &mut found);
    cut_off(&sandbox, &["backup"], &mut found);
    sandbox.ok(&["backup"]);
    cut_off(&sandbox, &["verify"], &mut found);
    fs::write(sandbox.path("system.yaml"), format!("{NOTES}{SCENARIOS}")).expect("state scenarios");
    cut_off(&sandbox, &["drill", "lost"], &mut found);
    cut_off(&sandbox, &["drill", "rotten"], &mut found);
    cut_off(&sandbox, &["recover", "--in-place", "--yes"], &mut found);
    for (action, evidence) in &found {
        for one in evidence {
            let says = one.as_object().is_some_and(|evidence| !evidence.is_empty());
            assert!(says, "{action}: {one}");
        }
    }
    let looked: BTreeSet<String> = found.into_keys().collect();
    assert_eq!(looked, actions(&sandbox), "some action was never looked into");
}
