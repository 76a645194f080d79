//! A deployment: a lock with a compensation, a loop over components, an approval in a workflow inside, a step that
//! fails, an alarm, and what always runs. The owner dies at every record. Resumed, it comes to the same end.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use rekindle_tests::faults::{KILL, Place};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::wait::{LIMIT, poll};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SYSTEM: &str = "\
system: shop
root: .
components: {api: {}, web: {}}
tiers: {near: {url: \"file://./near\"}}
";

const DEPLOY: &str = r#"
workflow: deploy
steps:
  - id: lock
    uses: command
    with: {run: [touch, lock]}
    compensate: {uses: command, with: {run: [rm, -f, lock]}}
  - {id: build, for_each: component, max_parallel: 1, needs: [lock], uses: noop, with: {output: "${{ each.component }}"}}
  - {id: gate, needs: [build], uses: workflow, with: {workflow: gate.yaml}}
  - {id: roll-out, needs: [gate], uses: command, with: {run: ["false"]}}
on_failure:
  - {id: alarm, uses: command, with: {run: [touch, alarm]}}
on_cancel:
  - {id: note, uses: command, with: {run: [touch, note]}}
finally:
  - {id: tidy, uses: command, with: {run: [touch, tidied]}}
"#;

const GATE: &str = r#"
workflow: gate
steps:
  - id: freeze
    uses: command
    with: {run: [touch, frozen]}
    compensate: {uses: command, with: {run: [rm, -f, frozen]}}
  - {id: confirm, needs: [freeze], uses: approve, with: {message: "go on?"}}
finally:
  - {id: leave, uses: command, with: {run: [touch, left]}}
"#;

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, SYSTEM, "one")
        .with("deploy.yaml", DEPLOY)
        .with("gate.yaml", GATE)
}

/// Starts a command that may die at a place.
fn start(sandbox: &Sandbox, args: &[&str], kill: Option<(Place, u64)>) -> Child {
    let mut command = sandbox.command(args);
    if let Some((place, number)) = kill {
        command.env(KILL, format!("{}:{number}", place.name()));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start the product")
}

fn runs(sandbox: &Sandbox) -> Vec<Value> {
    let all = sandbox.ok(&["runs", "--json"]);
    let run = |line| serde_json::from_str(line).expect("an object a line");
    all.lines().map(run).collect()
}

/// Returns how each run ended and each of its steps, and which files there are.
fn end(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut end = BTreeMap::new();
    for run in runs(sandbox) {
        let name = run["workflow"].as_str().expect("a workflow");
        let known = end.insert(name.to_owned(), run["outcome"].to_string());
        assert_eq!(known, None, "{name} ran as one run");
        let shown = sandbox.ok(&["show", run["run"].as_str().expect("an id"), "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        for step in shown["steps"].as_array().expect("steps") {
            let state = format!("{} {}", step["state"], step["undo"]["state"]);
            end.insert(format!("{name}/{}", step["step"]), state);
        }
    }
    for file in ["lock", "frozen", "alarm", "note", "tidied", "left"] {
        end.insert(file.to_owned(), sandbox.path(file).exists().to_string());
    }
    end
}

fn is_over(sandbox: &Sandbox) -> bool {
    let runs = runs(sandbox);
    !runs.is_empty() && runs.iter().all(|run| !run["outcome"].is_null())
}

/// Approves every question until the process ends.
fn approve_until_it_ends(sandbox: &Sandbox, mut owner: Child) {
    poll("the end", LIMIT, || {
        sandbox.run(&["approve", "latest"]);
        std::thread::sleep(Duration::from_millis(20));
        owner.try_wait().expect("look at the product")
    });
}

#[test]
fn killed_at_any_record_a_deployment_that_fails_comes_to_the_same_end() {
    let whole = sandbox();
    approve_until_it_ends(&whole, start(&whole, &["run", "deploy.yaml"], None));
    let expect = end(&whole);
    assert_eq!(expect["deploy"], "\"failed\"", "{expect:#?}");
    assert_eq!(expect["gate"], "\"succeeded\"", "{expect:#?}");
    for (file, there) in [
        ("lock", "false"),
        ("frozen", "true"),
        ("alarm", "true"),
        ("note", "false"),
        ("tidied", "true"),
        ("left", "true"),
    ] {
        assert_eq!(expect[file], there, "{file}: {expect:#?}");
    }
    for place in [Place::BeforeAppend, Place::AfterAppend] {
        for number in 1.. {
            let sandbox = sandbox();
            approve_until_it_ends(
                &sandbox,
                start(&sandbox, &["run", "deploy.yaml"], Some((place, number))),
            );
            if runs(&sandbox).is_empty() {
                continue;
            }
            let at_once = is_over(&sandbox);
            if !at_once {
                approve_until_it_ends(&sandbox, start(&sandbox, &["resume"], None));
            }
            assert_eq!(end(&sandbox), expect, "{}:{number}", place.name());
            if at_once {
                assert!(number > 12, "{}: {number}", place.name());
                break;
            }
        }
    }
}

#[test]
fn killed_at_any_record_a_deployment_that_is_paused_and_cancelled_comes_to_the_same_end() {
    let asks = |sandbox: &Sandbox| {
        let gate = runs(sandbox).into_iter().find(|run| run["workflow"] == "gate")?;
        let history = sandbox.ok(&["history", gate["run"].as_str()?, "--json"]);
        history.contains("approval_requested").then_some(())
    };
    // The requests go on although the owner may be gone.
    let play = |sandbox: &Sandbox, kill| {
        let mut owner = start(sandbox, &["run", "deploy.yaml"], kill);
        poll("the question", LIMIT, || {
            asks(sandbox).or_else(|| owner.try_wait().expect("look at the product").map(drop))
        });
        for request in ["pause", "unpause", "pause"] {
            sandbox.run(&[request, "latest"]);
        }
        let died_before_it_asked = asks(sandbox).is_none();
        if died_before_it_asked {
            sandbox.run(&["unpause", "latest"]);
            let mut resumed = start(sandbox, &["resume"], None);
            poll("the question", LIMIT, || {
                asks(sandbox).or_else(|| resumed.try_wait().expect("look at the product").map(drop))
            });
            sandbox.run(&["cancel", "latest"]);
            resumed.wait().expect("it ends");
        } else {
            sandbox.run(&["cancel", "latest"]);
        }
        owner.wait().expect("it ends");
        if !runs(sandbox).is_empty() && !is_over(sandbox) {
            sandbox.run(&["resume", "--all"]);
        }
    };
    let whole = sandbox();
    play(&whole, None);
    let expect = end(&whole);
    for run in ["deploy", "gate"] {
        assert_eq!(expect[run], "\"cancelled\"", "{expect:#?}");
    }
    for (file, there) in [
        ("lock", "false"),
        ("frozen", "false"),
        ("alarm", "false"),
        ("note", "true"),
        ("tidied", "true"),
        ("left", "true"),
    ] {
        assert_eq!(expect[file], there, "{file}: {expect:#?}");
    }
    let mut survived = 0;
    for number in 1.. {
        let sandbox = sandbox();
        play(&sandbox, Some((Place::AfterAppend, number)));
        if runs(&sandbox).is_empty() {
            continue;
        }
        assert_eq!(end(&sandbox), expect, "after-append:{number}");
        let adopted = runs(&sandbox).iter().any(|run| run["epoch"] != 1);
        survived = if adopted { 0 } else { survived + 1 };
        if survived > 1 {
            assert!(number > 12, "{number}");
            break;
        }
    }
}
