//! The schemas for editors: the built-in files fit them, and they refuse an unknown key in any place.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use rekindle_plan::{builtin, yaml_value};
use rekindle_tests::sandbox::{Sandbox, la_factoria};
use rekindle_tests::schema::faults;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn schema(kind: &str) -> Value {
    let sandbox = Sandbox::empty(BINARY, "");
    serde_json::from_str(&sandbox.ok(&["schema", kind])).expect("JSON")
}

fn yaml(text: &str) -> Value {
    yaml_value("file", text).expect("YAML")
}

#[test]
fn every_file_that_is_shipped_fits_its_schema() {
    assert_eq!(
        faults(&schema("system"), &yaml(la_factoria())),
        Vec::<String>::new()
    );
    let workflow = schema("workflow");
    for (name, text) in builtin::WORKFLOWS {
        assert_eq!(faults(&workflow, &yaml(text)), Vec::<String>::new(), "{name}");
    }
}

/// Each line is whole; `KEY` is where a key is put that nobody reads.
const CLOSED: &[&str] = &[
    "{system: s, components: {c: {source: {type: files, path: p, include: [a], exclude: [b]KEY}}}}",
    "{system: s, components: {c: {source: {type: sqlite, path: pKEY}}}}",
    "{system: s, components: {c: {source: {type: command, dump: [a, 1], restore: [b], max_bytes: 9KEY}}}}",
    "{system: s, components: {c: {validate: [{probe: command, run: [a], timeout: 1sKEY}]}}}",
    "{system: s, components: {c: {validate: [{probe: http, url: u, headers: {A: b}, values: {n: /n}KEY}]}}}",
    "{system: s, components: {c: {validate: [{probe: sql, database: d, query: q, expect: {n: '== 1'}KEY}]}}}",
    "{system: s, components: {c: {validate: [{probe: files, path: p, include: [a], digest: abKEY}]}}}",
    "{system: s, components: {}, health: [{url: /health, address: run/address, timeout: 1sKEY}]}",
    "{system: s, components: {c: {recovery: [{id: a, uses: command, with: {run: [a]KEY}}]}}}",
];

const CLOSED_STEPS: &[(&str, &str)] = &[
    ("snapshot", "component: c, tiers: allKEY"),
    ("store", "component: c, tier: t, snapshot: sKEY"),
    ("verify", "level: exists, sample: 10%KEY"),
    ("verify-catalog", "tier: tKEY"),
    ("verify-replicas", "tier: tKEY"),
    ("locate-set", "from: latest, components: [a]KEY"),
    ("set-aside", "in_place: '${{ params.in_place }}'KEY"),
    ("restore", "root: r, tiers: [a]KEY"),
    ("validate", "component: cKEY"),
    ("system-integrity", "root: rKEY"),
    ("command", "run: [a, 1], env: {A: 1}, detach: trueKEY"),
    (
        "http",
        "url: u, method: GET, expect_status: 204, body: {a: [1]}KEY",
    ),
    ("notify", "message: m, command: [a]KEY"),
    ("approve", "message: mKEY"),
];

#[test]
fn a_key_that_nobody_reads_is_refused_in_every_source_probe_and_action() {
    let check = |schema: &Value, text: &str| {
        let whole = text.replace("KEY", "");
        assert_eq!(faults(schema, &yaml(&whole)), Vec::<String>::new(), "{whole}");
        let misspelt = text.replace("KEY", ", misspelt: x");
        assert!(!faults(schema, &yaml(&misspelt)).is_empty(), "{misspelt}");
    };
    let system = schema("system");
    CLOSED.iter().for_each(|text| check(&system, text));
    let workflow = schema("workflow");
    for (action, with) in CLOSED_STEPS {
        check(
            &workflow,
            &format!("{{workflow: w, steps: [{{id: a, uses: {action}, with: {{{with}}}}}]}}"),
        );
    }
    for missing in [
        "{workflow: w, steps: [{id: a, uses: command}]}",
        "{workflow: w, steps: [{id: a, uses: seal-set, with: {set: s}}]}",
        "{workflow: w, steps: [{id: a, uses: verify, with: {level: deep}}]}",
    ] {
        assert!(!faults(&workflow, &yaml(missing)).is_empty(), "{missing}");
    }
}

/// Each remark on the system that ships is one on its objectives or on where this sandbox has its tiers. A comment in the
/// file says why it stays.
#[test]
fn lint_has_no_remark_on_the_system_that_ships_but_those_which_its_comments_explain() {
    let sandbox = Sandbox::empty(BINARY, la_factoria());
    let told = sandbox.ok(&["lint", "--json"]);
    let explained = [
        "RPO ",
        "RTO ",
        "the complete system must be back in ",
        "the validations of ",
        "tier ",
    ];
    for file in told.lines() {
        let file: Value = serde_json::from_str(file).expect("JSON");
        for finding in file["findings"].as_array().expect("findings") {
            let message = finding["message"].as_str().expect("a message");
            assert!(
                explained.iter().any(|begin| message.starts_with(begin)),
                "{finding:#}"
            );
        }
    }
}
