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
    with: {workflow: flows/middle.yaml, params: {word: "${{ steps.before.outputs }}"}}
  - id: after
    needs: [call]
    uses: noop
    with: {output: "${{ steps.call.steps.inner.steps.make.word }} again"}
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
fn a_question_in_the_run_inside_is_shown_and_answered_by_the_run_around_it() {
    let sandbox = sandbox();
    let (mut owner, asking, asked) = waiting(&sandbox);
    let shown = sandbox.ok(&["show", id(&asking)]);
    assert!(
        shown.contains("call/confirm is waiting for approval: go on?"),
        "{shown}"
    );
    sandbox.ok(&["pause", id(&asking)]);
    let shown = sandbox.ok(&["show", id(&asking)]);
    assert!(shown.contains("call is paused by"), "{shown}");
    sandbox.ok(&["unpause", id(&asking)]);
    for run in [&asking, &asked] {
        let shown = sandbox.ok(&["show", id(run)]);
        assert!(!shown.contains("paused"), "{shown}");
    }
    let (code, said) = sandbox.code(&["approve", id(&asking), "call/confrim"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("did you mean `confirm`"), "{said}");
    let said = sandbox.ok(&["approve", id(&asking)]);
    assert!(
        said.contains("confirm is approved") && !said.contains("once"),
        "{said}"
    );
    assert_eq!(owner.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_narration_of_a_run_names_a_question_in_the_run_inside() {
    let sandbox = sandbox();
    let output = sandbox.command(&["run", "asking.yaml"]);
    let mut output = output;
    let owner = output
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("start the product");
    poll("the question", LIMIT, || {
        sandbox.code(&["approve", "latest"]).0.eq(&0).then_some(())
    });
    let said = owner.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("call/confirm: waits for approval: go on?"),
        "{said}"
    );
}

/// Fails in the run that it runs, after a step that succeeds there, until the file `mended` exists.
const FAILING: &str = "\
workflow: failing
steps:
  - {id: call, uses: workflow, with: {workflow: flows/fails.yaml}}
";
const FAILS: &str = "\
workflow: fails
steps:
  - {id: one, uses: command, with: {run: [sh, -c, \"echo one >> log\"]}}
  - {id: two, needs: [one], uses: command, with: {run: [sh, -c, \"[ -e mended ] && echo two >> log\"]}}
";

#[test]
fn what_failed_inside_runs_again_by_the_run_around_it_and_what_succeeded_does_not() {
    for again in [
        &["resume", "latest", "--failed"][..],
        &["resume", "latest", "--from", "call/two"],
    ] {
        let sandbox = sandbox()
            .with("failing.yaml", FAILING)
            .with("flows/fails.yaml", FAILS);
        assert_eq!(sandbox.code(&["run", "failing.yaml"]).0, 1);
        assert_eq!(sandbox.code(again).0, 1, "it is not mended");
        fs::write(sandbox.path("mended"), "").expect("mend it");
        sandbox.ok(again);
        let log = fs::read_to_string(sandbox.path("log")).expect("a log");
        assert_eq!(log, "one\ntwo\n");
        for workflow in ["failing", "fails"] {
            assert_eq!(only(&sandbox, workflow)["outcome"], "succeeded", "{workflow}");
        }
        // The whole step again is another run.
        sandbox.ok(&["resume", "latest", "--from", "call"]);
        assert_eq!(runs(&sandbox, "fails").len(), 2);
    }
}

#[test]
fn a_run_that_was_cancelled_while_nobody_drove_it_ends_the_run_inside_first() {
    let undone = "\
workflow: asked
steps:
  - {id: lock, uses: command, with: {run: [touch, lock]}, compensate: {uses: command, with: {run: [rm, lock]}}}
  - {id: confirm, needs: [lock], uses: approve, with: {message: \"go on?\"}}
finally:
  - {id: tidy, uses: command, with: {run: [touch, tidied]}}
";
    let sandbox = sandbox().with("flows/asked.yaml", undone);
    let (mut owner, asking, _) = waiting(&sandbox);
    owner.kill().expect("kill the product");
    owner.wait().expect("reap the product");
    sandbox.ok(&["cancel", id(&asking)]);
    for workflow in ["asking", "asked"] {
        assert_eq!(only(&sandbox, workflow)["outcome"], "cancelled", "{workflow}");
    }
    assert!(!sandbox.path("lock").exists() && sandbox.path("tidied").exists());
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
