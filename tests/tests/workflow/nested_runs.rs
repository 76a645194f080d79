//! A step that runs another workflow as a run of its own. Wherever the owner dies, there is one such run. It
//! continues, stops and is cancelled with the run around it.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Child;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};
use rekindle_tests::wait::{LIMIT, poll};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const OUTER: &str = r#"
workflow: outer
max_parallel: 1
steps:
  - id: before
    uses: noop
    with: {output: hello}
  - id: call
    needs: [before]
    uses: workflow
    with: {workflow: flows/middle.yaml, params: {word: "${{ steps.before }}"}}
  - id: after
    needs: [call]
    uses: noop
    with: {output: "${{ steps.call.outputs.inner.outputs.make.word }} again"}
"#;

/// Runs another one in turn: two steps that wait, of plans with room for one.
const MIDDLE: &str = r#"
workflow: middle
max_parallel: 1
params:
  word: {type: string}
steps:
  - id: inner
    uses: workflow
    with: {workflow: flows/inner.yaml, params: {word: "${{ params.word }}"}}
"#;

const INNER: &str = r#"
workflow: inner
params:
  word: {type: string}
steps:
  - id: make
    uses: noop
    with: {output: {word: "${{ params.word }}"}}
"#;

/// Waits for a person in the run that it runs.
const ASKING: &str = "\
workflow: asking
steps:
  - id: call
    uses: workflow
    with: {workflow: flows/asked.yaml}
";
const ASKED: &str = "\
workflow: asked
steps:
  - id: confirm
    uses: approve
    with: {message: \"go on?\"}
";

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one")
        .with("outer.yaml", OUTER)
        .with("flows/middle.yaml", MIDDLE)
        .with("flows/inner.yaml", INNER)
        .with("asking.yaml", ASKING)
        .with("flows/asked.yaml", ASKED)
}

fn lines(text: &str) -> Vec<Value> {
    let objects = text.lines().map(serde_json::from_str);
    objects.collect::<Result<_, _>>().expect("one JSON object a line")
}

fn runs(sandbox: &Sandbox, workflow: &str) -> Vec<Value> {
    lines(&sandbox.ok(&["runs", "--json", "--workflow", workflow]))
}

/// Returns the one run of a workflow.
fn only(sandbox: &Sandbox, workflow: &str) -> Value {
    let runs = runs(sandbox, workflow);
    assert_eq!(runs.len(), 1, "{workflow}: {runs:#?}");
    runs[0].clone()
}

fn id(run: &Value) -> &str {
    run["run"].as_str().expect("a run has an id")
}

fn history(sandbox: &Sandbox, run: &Value) -> Vec<Value> {
    lines(&sandbox.ok(&["history", id(run), "--json"]))
}

#[test]
fn a_step_runs_another_workflow_as_a_run_of_its_own() {
    let sandbox = sandbox();
    sandbox.ok(&["lint", "outer.yaml"]);
    sandbox.ok(&["run", "outer.yaml"]);
    let [outer, middle, inner] = ["outer", "middle", "inner"].map(|name| only(&sandbox, name));
    for (run, parent, step) in [(&middle, &outer, "call"), (&inner, &middle, "inner")] {
        assert_eq!(run["trigger"], json!(format!("run {}/{step}", id(parent))));
        assert_eq!(run["parent"], json!({ "run": id(parent), "step": step }));
        assert_eq!(run["kind"], "custom");
        assert_eq!(run["outcome"], "succeeded");
        let shown = sandbox.ok(&["show", id(parent)]);
        assert!(shown.contains(&format!("{step} is run {}", id(run))), "{shown}");
    }
    assert!(
        sandbox
            .ok(&["runs"])
            .contains(&format!("of run {}/call", id(&outer)))
    );
    // The newest run is part of another: `latest` is the one that was asked for.
    let records = sandbox.history();
    assert_eq!(records[0]["run"], outer["run"]);
    let said = records
        .iter()
        .find(|record| record["event"] == "step_succeeded" && record["step"] == "after");
    assert_eq!(said.expect("it succeeded")["output"]["inline"], "hello again");
}

#[test]
fn killed_at_any_record_it_is_resumed_with_the_run_that_it_had_begun() {
    for place in [Place::BeforeAppend, Place::AfterAppend] {
        for number in 1.. {
            let sandbox = sandbox();
            let Ok(()) = sandbox.killed(&["run", "outer.yaml"], place, number) else {
                assert!(number > 10, "{}: {number}", place.name());
                break;
            };
            if runs(&sandbox, "outer").is_empty() {
                continue;
            }
            let at = format!("{}:{number}", place.name());
            sandbox.ok(&["resume"]);
            for workflow in ["outer", "middle", "inner"] {
                let run = only(&sandbox, workflow);
                assert_eq!(run["outcome"], "succeeded", "{at}: {run:#}");
                let succeeded = history(&sandbox, &run)
                    .into_iter()
                    .filter(|record| record["event"] == "step_succeeded");
                let steps: Vec<Value> = succeeded.map(|record| record["step"].clone()).collect();
                let mut once = steps.clone();
                once.dedup();
                assert_eq!(steps, once, "{at}");
            }
        }
    }
}

/// Starts a run that waits for a person in the run that it runs; returns it with that run.
fn waiting(sandbox: &Sandbox) -> (Child, Value, Value) {
    let owner = sandbox
        .command(&["run", "asking.yaml"])
        .spawn()
        .expect("start the product");
    let asked = poll("the question", LIMIT, || {
        let run = runs(sandbox, "asked").first()?.clone();
        let asked = history(sandbox, &run)
            .iter()
            .any(|record| record["event"] == "approval_requested");
        asked.then_some(run)
    });
    (owner, only(sandbox, "asking"), asked)
}

#[test]
fn a_run_that_belongs_to_another_is_answered_by_itself_and_gone_on_with_by_that_one() {
    let sandbox = sandbox();
    let (mut owner, asking, asked) = waiting(&sandbox);
    owner.kill().expect("kill the product");
    owner.wait().expect("reap the product");
    let (code, said) = sandbox.code(&["resume", id(&asked)]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("belongs to step call of run"), "{said}");
    assert!(
        said.contains(&format!("rekindle resume {}", id(&asking))),
        "{said}"
    );
    sandbox.ok(&["approve", id(&asked), "confirm"]);
    sandbox.ok(&["resume"]);
    for (workflow, run) in [("asking", &asking), ("asked", &asked)] {
        let now = only(&sandbox, workflow);
        assert_eq!((&now["run"], &now["outcome"]), (&run["run"], &json!("succeeded")));
    }
}

#[test]
fn a_cancellation_reaches_the_run_inside_and_its_end_the_run_around_it() {
    let sandbox = sandbox();
    let (mut owner, asking, asked) = waiting(&sandbox);
    sandbox.ok(&["cancel", id(&asking)]);
    assert_eq!(owner.wait().expect("it ends").code(), Some(1));
    for workflow in ["asking", "asked"] {
        assert_eq!(only(&sandbox, workflow)["outcome"], "cancelled", "{workflow}");
    }
    drop(asked);

    let sandbox = self::sandbox();
    let (mut owner, asking, asked) = waiting(&sandbox);
    sandbox.ok(&["reject", id(&asked), "confirm"]);
    assert_eq!(owner.wait().expect("it ends").code(), Some(1));
    let shown = sandbox.ok(&["show", id(&asking)]);
    assert!(
        shown.contains("[run_failed]") && shown.contains("confirm"),
        "{shown}"
    );
}

#[test]
fn what_is_wrong_with_the_workflow_inside_is_found_when_the_one_around_it_is_read() {
    let sandbox = sandbox();
    let call = |workflow: &str, params: &str| {
        format!(
            "workflow: w\nsteps:\n  - id: call\n    uses: workflow\n    with:\n      workflow: {workflow}\n      params: {{{params}}}\n"
        )
    };
    let write = |name: &str, text: &str| fs::write(sandbox.path(name), text).expect("write a workflow");
    write("a.yaml", &call("b.yaml", ""));
    write("b.yaml", &call("a.yaml", ""));
    for depth in 0..12 {
        write(
            &format!("deep{depth}.yaml"),
            &call(&format!("deep{}.yaml", depth + 1), ""),
        );
    }
    write(
        "broken.yaml",
        "workflow: broken\nsteps:\n  - id: x\n    uses: nope\n",
    );
    for (workflow, params, place, words) in [
        ("a.yaml", "", "it.yaml:6:17", "these workflows run each other"),
        ("deep0.yaml", "", "it.yaml:6:17", "more than 8 deep"),
        (
            "broken.yaml",
            "",
            "it.yaml:6:17",
            "broken.yaml:4:11: unknown action `nope`",
        ),
        ("nowhere.yaml", "", "it.yaml:6:17", "no such file"),
        (
            "\"${{ params.x }}\"",
            "",
            "it.yaml:6:17",
            "cannot depend on the run",
        ),
        (
            "flows/inner.yaml",
            "",
            "it.yaml:6:17",
            "parameter `word` (string) of `flows/inner.yaml` is missing",
        ),
        (
            "flows/inner.yaml",
            "word: 7",
            "it.yaml:7:22",
            "must be of type string",
        ),
        (
            "flows/inner.yaml",
            "word: a, wort: b",
            "it.yaml:7:31",
            "did you mean `word`?",
        ),
    ] {
        write("it.yaml", &call(workflow, params));
        let output = sandbox.run(&["lint", "it.yaml"]);
        let said = rekindle_tests::sandbox::said(&output);
        assert_eq!(output.status.code(), Some(2), "{workflow}: {said}");
        assert!(said.contains(place) && said.contains(words), "{workflow}: {said}");
    }
}
