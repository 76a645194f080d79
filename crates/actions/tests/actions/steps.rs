//! What single steps do with programs, probes and parameters, through the real engine.

use crate::bench::{Bench, Ran, SYSTEM};
use rekindle_actions::{VERIFY_REPLICAS, VERIFY_REPLICAS_ALIAS, registry};
use rekindle_plan::Catalog;
use serde_json::{Value, json};

async fn command(with: &str) -> Ran {
    let bench = Bench::new(SYSTEM);
    let yaml = format!(
        "workflow: one\ndescription: One step.\nsteps:\n  - id: it\n    uses: command\n    with: {with}\n"
    );
    bench.run("one", &yaml, json!({}), None).await
}

#[tokio::test]
async fn a_command_runs_where_and_with_what_it_is_told() {
    let ran = command(r#"{run: [sh, "-c", 'echo "{\"n\": $N, \"in\": \"$(basename $PWD)\"}"'], env: {N: 7}, cwd: data/pages}"#).await;
    assert_eq!(ran.output("it"), &json!({"n": 7, "in": "pages"}));
    let ran = command(r#"{run: [echo, plain, "${{ system.system }}"]}"#).await;
    assert_eq!(ran.output("it"), &json!({"text": "plain shop"}));
}

#[tokio::test]
async fn a_command_that_fails_says_how_and_with_which_words() {
    for (with, code, words) in [
        (
            r#"{run: [sh, "-c", "echo trouble >&2; exit 3"]}"#,
            "command_failed",
            "exit status: 3: trouble",
        ),
        (
            "{run: [no-such-program-anywhere]}",
            "command_failed",
            "could not be started",
        ),
        (
            "{run: [sleep, 1000], timeout: 100ms}",
            "timeout",
            "did not end within 100ms",
        ),
    ] {
        let (found, message) = command(with).await.failure("it");
        assert_eq!(found, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_probe_that_cannot_measure_is_a_failure_with_its_last_words_and_no_verdict() {
    let system = SYSTEM.replace("echo {", "echo no database >&2; exit 4; echo {");
    let bench = Bench::new(&system);
    let yaml =
        "workflow: one\ndescription: d\nsteps:\n  - id: it\n    for_each: component\n    uses: validate\n";
    let ran = bench.run("one", yaml, json!({}), Some("data")).await;
    let (code, message) = ran.failure("it[pages]");
    assert_eq!(code, "probe_failed");
    assert!(message.contains("exit status: 4: no database"), "{message}");
    assert_eq!(ran.output("it[service]")["valid"], Value::Null);
}

#[tokio::test]
async fn a_number_that_a_probe_leaves_out_is_no_data() {
    let bench = Bench::new(&SYSTEM.replace(
        r#"expect: {files: ">= 2"}"#,
        r#"expect: {files: ">= 2", rows: "== 1"}"#,
    ));
    let yaml = "workflow: one\ndescription: d\nsteps:\n  - id: it\n    uses: validate\n    with: {component: pages}\n";
    let ran = bench.run("one", yaml, json!({}), None).await;
    let output = ran.output("it");
    assert_eq!(
        output["valid"],
        Value::Null,
        "what was measured is met, but not all was measured: {output:#}"
    );
    assert_eq!(output["checks"][0]["ok"], true);
    assert_eq!(
        (&output["checks"][1]["actual"], &output["checks"][1]["ok"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn every_action_refuses_a_parameter_that_it_does_not_know() {
    let bench = Bench::new(SYSTEM);
    let registry = registry(bench.site(None));
    let mut names = registry.names();
    // Kept for runs that are pinned to an older workflow; no document names it.
    names.retain(|name| name != "verify-slots");
    assert_eq!(names.len(), 23);
    let shapes = rekindle_actions::shapes();
    let shapeless: Vec<&String> = names.iter().filter(|name| !shapes.contains_key(*name)).collect();
    assert_eq!(
        shapeless,
        ["approve"],
        "the engine's own is the only one whose shape is not told here"
    );
    for name in names {
        let required = match name.as_str() {
            "command" => json!({"run": ["true"]}),
            "approve" => json!({"message": "go on?"}),
            "workflow" => json!({"workflow": "backup"}),
            "http" => json!({"url": "http://localhost/"}),
            "notify" => json!({"message": "done", "command": ["true"]}),
            _ => json!({}),
        };
        let mut with = required.clone();
        with["sneaky"] = json!(1);
        let problems = registry.check(&name, &with);
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert_eq!(problems[0].at, ["sneaky"], "{name}");
        assert!(registry.check(&name, &required).is_empty(), "{name}");
        let lacking = registry.check(&name, &Value::Null);
        assert_eq!(lacking.is_empty(), required == json!({}), "{name}: {lacking:?}");
    }
    let problems = registry.check("locate-set", &json!({"from": "yesterday"}));
    assert_eq!(problems[0].at, ["from"]);
}

#[tokio::test]
async fn a_noop_gives_back_its_output_and_takes_its_time() {
    let bench = Bench::new(SYSTEM);
    let yaml = "workflow: one\ndescription: d\nsteps:\n  - id: it\n    uses: noop\n  - id: told\n    needs: [it]\n    \
                uses: noop\n    with: {output: {of: [1, \"${{ run.workflow }}\"]}, sleep: 30ms}\n";
    let ran = bench.run("one", yaml, json!({}), None).await;
    assert_eq!(ran.output("it"), &Value::Null);
    assert_eq!(ran.output("told"), &json!({ "of": [1, "one"] }));
    let told = ran.state().step(&"told".into());
    let took = told.ended.unwrap().since(&told.last_started.unwrap()).duration;
    assert!(took.as_millis() >= 30, "{took:?}");
    let problems = registry(bench.site(None)).check("noop", &json!({ "sleep": "long", "fail_times": 2 }));
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn the_schema_of_workflows_names_every_action() {
    let schema = rekindle_plan::schema::workflow(&rekindle_actions::shapes());
    let said = schema["$defs"]["step"]["properties"]["uses"]["description"]
        .as_str()
        .unwrap();
    let names = registry(Bench::new(SYSTEM).site(None)).names();
    for name in names.into_iter().filter(|name| name != "verify-slots") {
        assert!(said.contains(&name), "{name} is missing: {said}");
    }
}

#[tokio::test]
async fn runs_that_were_begun_under_the_earlier_name_of_verify_replicas_still_find_their_action() {
    let known = registry(Bench::new(SYSTEM).site(None));
    for name in [VERIFY_REPLICAS, VERIFY_REPLICAS_ALIAS] {
        assert!(known.names().iter().any(|known| known == name), "{name}");
        assert!(known.check(name, &json!({"tier": "hot"})).is_empty(), "{name}");
        assert!(!known.check(name, &json!({"tire": "hot"})).is_empty(), "{name}");
    }
    assert_eq!(VERIFY_REPLICAS_ALIAS, "verify-slots");
}
