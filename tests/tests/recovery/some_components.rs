//! A recovery of less than its set holds says which components it brought back, and which were not asked for.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{Sandbox, said};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const TWO_PARTS: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  pictures: {source: {type: files, path: pictures}}
tiers:
  near: {url: \"file://./tiers/near\"}
";

fn backed_up() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, TWO_PARTS, "first\n");
    fs::create_dir_all(sandbox.path("data/pictures")).expect("make a folder");
    fs::write(sandbox.path("data/pictures/a.svg"), "<svg/>").expect("write a picture");
    sandbox.ok(&["backup"]);
    sandbox
}

fn of_set(sandbox: &Sandbox) -> Value {
    let shown: Value = serde_json::from_str(&sandbox.ok(&["show", "--json"])).expect("JSON");
    shown["recovery"]["of_set"].clone()
}

#[test]
fn what_was_not_asked_for_is_named_in_the_last_lines_in_show_and_in_json() {
    let sandbox = backed_up();
    let whole = said(&sandbox.run(&["recover", "--to", "whole"]));
    assert!(whole.contains("all 2 of its components are recovered"), "{whole}");
    assert!(whole.contains("complete recovery"), "{whole}");

    let part = said(&sandbox.run(&["recover", "--to", "part", "--component", "notes"]));
    assert!(!part.contains("complete"), "{part}");
    assert!(
        part.contains("1 of its 2 components recovered (notes); not asked for: pictures"),
        "{part}"
    );
    assert!(
        sandbox.ok(&["show"]).contains("not asked for: pictures"),
        "show says it too"
    );
    let expected =
        json!({"recovered": ["notes"], "missing": [], "not_asked_for": ["pictures"], "not_in_system": []});
    assert_eq!(of_set(&sandbox), expected);
}

#[test]
fn what_the_set_holds_and_the_system_does_not_name_any_more_is_no_part_of_a_complete_recovery() {
    let sandbox = backed_up();
    let without = TWO_PARTS.replace("  pictures: {source: {type: files, path: pictures}}\n", "");
    fs::write(sandbox.path("system.yaml"), without).expect("write system.yaml");
    let said = said(&sandbox.run(&["recover", "--to", "out"]));
    assert!(!said.contains("complete"), "{said}");
    assert!(said.contains("not in this system.yaml: pictures"), "{said}");
    assert_eq!(of_set(&sandbox)["not_in_system"], json!(["pictures"]));
}
