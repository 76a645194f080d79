//! Loops, needs, orders of components and priorities, as tables of what waits for what.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that called them"
)]

mod common;

use common::{KINDS, Names};
use rekindle_model::time::{Clock, SystemClock};
use rekindle_plan::{Inputs, Plan, builtin, expand, graph, load_system, load_workflow};
use serde_json::json;

fn plan(workflow: &str, system: &str, inputs: &Inputs) -> Plan {
    let system = load_system("system.yaml", system, KINDS)
        .map_err(|found| found.to_string())
        .unwrap()
        .value;
    let workflow = load_workflow("w.yaml", workflow)
        .map_err(|found| found.to_string())
        .unwrap();
    expand(&workflow, Some(&system), inputs, &Names)
        .map_err(|found| found.to_string())
        .unwrap()
}

fn needs(plan: &Plan, id: &str) -> Vec<String> {
    let step = plan
        .steps
        .iter()
        .find(|step| step.id.as_str() == id)
        .unwrap_or_else(|| panic!("no step {id}"));
    let mut needs: Vec<String> = step.needs.iter().map(ToString::to_string).collect();
    needs.sort();
    needs
}

/// Returns inputs with these loops and no parameters.
fn loops(loops: &[(&str, &[&str])]) -> Inputs {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Inputs {
        loops: loops
            .iter()
            .map(|(key, values)| ((*key).to_owned(), owned(values)))
            .collect(),
        ..Inputs::default()
    }
}

const SYSTEM: &str = "system: s
components:
  a: {priority: 3, recovery: [{id: one, uses: command}, {id: two, uses: command}]}
  b: {priority: 1, after: [a]}
  c: {priority: 2, reads: [a, d]}
  d: {priority: 9}
tiers: {hot: {url: 'file://./hot'}, cold: {url: 'file://./cold'}}
";

#[test]
fn instances_that_share_a_loop_key_pair_up_and_others_wait_for_all() {
    let plan = plan(
        builtin::BACKUP,
        SYSTEM,
        &loops(&[("component", &["a", "b"]), ("tier", &["hot", "cold"])]),
    );
    assert_eq!(plan.steps.len(), 2 + 4 + 4 + 1);
    for (id, expect) in [
        ("snapshot[b]", vec![]),
        ("store[a,hot]", vec!["snapshot[a]"]),
        ("verify[b,cold]", vec!["store[b,cold]"]),
    ] {
        assert_eq!(needs(&plan, id), expect, "{id}");
    }
    assert_eq!(needs(&plan, "seal").len(), 10);
}

#[test]
fn recovery_steps_reads_and_after_order_a_recovery() {
    let plan = plan(
        builtin::RECOVER,
        SYSTEM,
        &loops(&[("component", &["a", "b", "c"])]),
    );
    for (id, expect) in [
        ("recovery[a,one]", vec!["restore[a]"]),
        ("recovery[a,two]", vec!["recovery[a,one]"]),
        ("validate[a]", vec!["recovery[a,two]", "restore[a]"]),
        ("set_aside[b]", vec!["locate", "recovery[a,two]", "restore[a]"]),
        ("restore[b]", vec!["locate", "set_aside[b]"]),
        // d is not in this run and gates nothing.
        ("validate[c]", vec!["restore[a]", "restore[c]"]),
        ("integrity", vec!["validate[a]", "validate[b]", "validate[c]"]),
    ] {
        assert_eq!(needs(&plan, id), expect, "{id}");
    }
    insta::assert_snapshot!(graph::text(&plan));
}

#[test]
fn a_validation_holds_up_only_a_component_that_asks_for_it() {
    let system = SYSTEM.replace("after: [a]", "after: [{component: a, valid: true}, d]");
    let inputs = loops(&[("component", &["a", "b", "d"])]);
    let plan = plan(builtin::RECOVER, &system, &inputs);
    let before = [
        "locate",
        "restore[a]",
        "recovery[a,two]",
        "restore[d]",
        "validate[a]",
    ];
    let mut found = needs(&plan, "set_aside[b]");
    found.sort_unstable();
    let mut expect = before.to_vec();
    expect.sort_unstable();
    assert_eq!(found, expect);
}

#[test]
fn a_step_is_as_urgent_as_the_most_urgent_that_waits_for_it() {
    let plan = plan(
        builtin::RECOVER,
        SYSTEM,
        &loops(&[("component", &["a", "b", "c", "d"])]),
    );
    let priority = |id: &str| {
        plan.steps
            .iter()
            .find(|step| step.id.as_str() == id)
            .unwrap()
            .priority
    };
    // b (1) comes after a (3), c (2) reads d (9).
    let expect = [
        ("locate", 1),
        ("restore[a]", 1),
        ("recovery[a,two]", 1),
        ("validate[a]", 3),
        ("restore[d]", 2),
        ("validate[d]", 9),
    ];
    for (id, expect) in expect {
        assert_eq!(priority(id), expect, "{id}");
    }
    let place = |id: &str| plan.steps.iter().position(|step| step.id.as_str() == id).unwrap();
    for step in &plan.steps {
        assert!(
            step.needs
                .iter()
                .all(|need| place(need.as_str()) < place(step.id.as_str())),
            "{}",
            step.id
        );
    }
}

#[test]
fn an_order_of_recovery_does_not_hold_up_a_backup() {
    let plan = plan(
        builtin::BACKUP,
        SYSTEM,
        &loops(&[("component", &["a", "b"]), ("tier", &["hot"])]),
    );
    assert!(needs(&plan, "snapshot[b]").is_empty());
}

#[test]
fn an_empty_loop_makes_no_steps_and_holds_nobody_up() {
    let plan = plan(builtin::RECOVER, SYSTEM, &loops(&[("component", &[])]));
    assert_eq!(
        plan.steps.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(),
        ["locate", "integrity"]
    );
    assert!(needs(&plan, "integrity").is_empty());
}

#[test]
fn wrong_parameters_loops_and_actions_are_all_named_at_once() {
    let text = "workflow: w
params:
  share: {type: number, default: 1}
  where: {type: string}
steps:
  - {id: one, uses: restor}
  - {id: two, uses: verify, for_each: [component, teir], with: {level: deep}}
";
    let workflow = load_workflow("w.yaml", text).unwrap();
    let system = load_system("system.yaml", SYSTEM, KINDS).unwrap().value;
    let mut inputs = loops(&[("component", &["a", "x"]), ("tier", &["hot"])]);
    inputs.params.insert("share".to_owned(), json!("much"));
    inputs.params.insert("sahre".to_owned(), json!(1));
    insta::assert_snapshot!(expand(&workflow, Some(&system), &inputs, &Names).unwrap_err());
}

#[test]
fn words_of_a_command_line_become_typed_parameters() {
    let text = "workflow: w
params:
  n: {type: integer, default: 1}
  x: {type: number, default: 0.5}
  on: {type: boolean, default: false}
  of: {type: list, default: all}
  wait: {type: duration, default: 90s}
steps: [{id: one, uses: command}]
";
    let workflow = load_workflow("w.yaml", text)
        .map_err(|found| found.to_string())
        .unwrap();
    let mut inputs = Inputs::default();
    let plan = expand(&workflow, None, &inputs, &Names).unwrap();
    assert_eq!(
        json!(plan.params),
        json!({"n": 1, "x": 0.5, "on": false, "of": "all", "wait": "1m 30s"})
    );
    for (name, word) in [("n", "7"), ("x", "2"), ("on", "true"), ("of", "a, b")] {
        inputs.params.insert(name.to_owned(), json!(word));
    }
    let plan = expand(&workflow, None, &inputs, &Names).unwrap();
    assert_eq!(
        json!(plan.params),
        json!({"n": 7, "x": 2, "on": true, "of": ["a", "b"], "wait": "1m 30s"})
    );
}

#[test]
fn a_plan_of_a_hundred_thousand_steps_is_laid_out_in_seconds() {
    let names: Vec<String> = (0..25_000).map(|n| format!("c{n}")).collect();
    let text = "workflow: w
steps:
  - {id: locate, uses: locate-set}
  - {id: restore, for_each: component, needs: [locate], uses: restore}
  - {id: check, for_each: component, needs: [restore], uses: command}
  - {id: more, for_each: component, needs: [check], uses: command}
  - {id: validate, for_each: component, needs: [more, restore], uses: validate}
  - {id: integrity, needs: [validate], run_if: always, uses: system-integrity}
";
    let workflow = load_workflow("w.yaml", text).unwrap();
    let inputs = Inputs {
        loops: [("component".to_owned(), names)].into(),
        ..Inputs::default()
    };
    let clock = SystemClock;
    let begun = clock.now();
    let plan = expand(&workflow, None, &inputs, &Names).unwrap();
    let took = clock.now().since(&begun).duration;
    assert_eq!(plan.steps.len(), 100_002);
    // Linear work takes about 0.3 s here; comparing each step with each would take minutes.
    assert!(took.as_secs_f64() < 10.0, "{took:?}");
    assert_eq!(
        plan,
        expand(&workflow, None, &inputs, &Names).unwrap(),
        "the same inputs give the same plan"
    );
}

/// Returns the ids of a plan's steps, each with its item.
fn items(workflow: &str, params: serde_json::Value) -> Vec<(String, serde_json::Value)> {
    let workflow = load_workflow("w.yaml", workflow)
        .map_err(|found| found.to_string())
        .unwrap();
    let system = load_system("system.yaml", SYSTEM, KINDS).unwrap().value;
    let mut inputs = loops(&[("component", &["a", "b"]), ("tier", &["hot"])]);
    inputs.params = params.as_object().cloned().unwrap_or_default();
    let plan = expand(&workflow, Some(&system), &inputs, &Names)
        .map_err(|found| found.to_string())
        .unwrap();
    let steps = plan.steps.iter();
    steps
        .map(|step| (step.id.to_string(), step.item.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn a_loop_goes_over_a_list_a_parameter_an_expression_or_a_matrix() {
    let check = |for_each: &str, expect: &[(&str, serde_json::Value)]| {
        let text = format!(
            "workflow: w\nparams: {{hosts: {{type: list, default: [x, y]}}}}\nsteps:\n  - {{id: s, for_each: {for_each}, uses: command}}\n"
        );
        let found = items(&text, json!({}));
        let expect: Vec<_> = expect
            .iter()
            .map(|(id, item)| ((*id).to_owned(), item.clone()))
            .collect();
        assert_eq!(found, expect, "{for_each}");
    };
    check(
        "[web1, web2]",
        &[("s[web1]", json!("web1")), ("s[web2]", json!("web2"))],
    );
    check("[80, 443]", &[("s[80]", json!(80)), ("s[443]", json!(443))]);
    check(
        "\"${{ params.hosts }}\"",
        &[("s[x]", json!("x")), ("s[y]", json!("y"))],
    );
    check(
        "\"${{ range(3) }}\"",
        &[("s[0]", json!(0)), ("s[1]", json!(1)), ("s[2]", json!(2))],
    );
    check("\"${{ system.components.b.after }}\"", &[("s[a]", json!("a"))]);
    // Values that make no names are numbered.
    check("[\"a b\", c]", &[("s[0]", json!("a b")), ("s[1]", json!("c"))]);
    check(
        "[{name: web, port: 80}, {name: db, port: 5432}]",
        &[
            ("s[web]", json!({"name": "web", "port": 80})),
            ("s[db]", json!({"name": "db", "port": 5432})),
        ],
    );
    check("[]", &[]);
    check(
        "{host: \"${{ params.hosts }}\", port: [80, 443]}",
        &[
            ("s[x,80]", json!({"host": "x", "port": 80})),
            ("s[x,443]", json!({"host": "x", "port": 443})),
            ("s[y,80]", json!({"host": "y", "port": 80})),
            ("s[y,443]", json!({"host": "y", "port": 443})),
        ],
    );
    check(
        "{component: all, port: [80]}",
        &[
            ("s[b,80]", json!({"component": "b", "port": 80})),
            ("s[a,80]", json!({"component": "a", "port": 80})),
        ],
    );
    check(
        "[component, tier]",
        &[("s[b,hot]", json!(null)), ("s[a,hot]", json!(null))],
    );
}

#[test]
fn loops_over_the_same_list_pair_up_and_others_wait_for_all() {
    let text = "workflow: w
steps:
  - {id: build, for_each: [x, y], uses: command}
  - {id: push, for_each: [x, y], needs: [build], uses: command}
  - {id: other, for_each: [y, z], needs: [build], uses: command}
  - {id: deploy, for_each: {item_of: [x, y], port: [1, 2]}, needs: [push], uses: command}
  - {id: check, for_each: {port: [1, 2]}, needs: [deploy], uses: command}
";
    let plan = plan(text, SYSTEM, &Inputs::default());
    assert_eq!(needs(&plan, "push[x]"), ["build[x]"]);
    assert_eq!(needs(&plan, "other[y]"), ["build[x]", "build[y]"]);
    assert_eq!(needs(&plan, "deploy[x,1]"), ["push[x]", "push[y]"]);
    assert_eq!(needs(&plan, "check[1]"), ["deploy[x,1]", "deploy[y,1]"]);
}

#[test]
fn a_loop_that_is_no_list_or_depends_on_the_run_is_refused() {
    let check = |for_each: &str, why: &str| {
        let text = format!(
            "workflow: w\nparams: {{n: {{type: integer, default: 1}}}}\nsteps:\n  - {{id: a, uses: command}}\n  - {{id: s, needs: [a], for_each: {for_each}, uses: command}}\n"
        );
        let found = match load_workflow("w.yaml", &text) {
            Ok(workflow) => {
                let inputs = loops(&[("component", &["a"]), ("tier", &["hot"])]);
                let system = load_system("system.yaml", SYSTEM, KINDS).unwrap().value;
                expand(&workflow, Some(&system), &inputs, &Names)
                    .unwrap_err()
                    .to_string()
            }
            Err(found) => found.to_string(),
        };
        assert!(
            found.contains("w.yaml:5:") && found.contains(why),
            "{for_each}: {found}"
        );
    };
    check("\"${{ params.n }}\"", "`for_each` must be a list, found 1");
    check("\"${{ steps.a.hosts }}\"", "it may name `params` and `system`");
    check(
        "{port: \"${{ params.n }}\"}",
        "`port` of `for_each` must be a list, found 1",
    );
    check("{port: 80}", "`for_each` must be a list, found a number");
    check("{item: [1]}", "`item` cannot be a key of a loop");
    check("{a-b: [1]}", "`a-b` cannot be a key of a loop");
    check("7", "`for_each` must be a list, found a number");
    check("componet", "unknown loop key `componet`");
    check("[componet, tier]", "unknown loop key `componet`");
    check("[x, x]", "the loop has `x` twice");
    check("{shard: all}", "unknown loop key `shard`");
}
