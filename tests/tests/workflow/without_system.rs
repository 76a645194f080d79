//! A workflow that works on no system runs in an empty folder: no system.yaml, no key, no `init`.

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn bare(flow: &str) -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, "").with("it.yaml", flow);
    let removed = fs::remove_file(sandbox.path("system.yaml"));
    assert!(removed.is_ok(), "{removed:?}");
    sandbox
}

const HELLO: &str = "workflow: hello
params: {to: {type: string, default: world}}
steps:
  - {id: greet, shell: 'echo \"hello $TO\" > said; test -n \"$CODE\"', env: {TO: '${{ params.to }}'}}
";

#[test]
fn a_workflow_runs_in_an_empty_folder_and_can_be_looked_at_and_continued() {
    let sandbox = bare(HELLO);
    assert_eq!(
        sandbox.code(&["run", "it.yaml", "-p", "to=you"]).0,
        1,
        "the script fails without CODE"
    );
    assert_eq!(fs::read_to_string(sandbox.path("said")).unwrap(), "hello you\n");
    assert!(!sandbox.path("system.yaml").exists() && !sandbox.path("config").exists());
    assert!(sandbox.ok(&["runs"]).contains("hello"));
    assert!(sandbox.ok(&["show"]).contains("greet failed"));
    let again = sandbox
        .command(&["resume", "latest", "--failed"])
        .env("CODE", "1")
        .output()
        .unwrap();
    assert!(again.status.success(), "{again:?}");
    sandbox.ok(&["doctor"]);
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("this workspace only runs workflows") && said.contains("rekindle init"),
        "{said}"
    );
}

#[test]
fn a_killed_run_without_a_system_continues_as_any_other() {
    let flow = "workflow: it
steps:
  - {id: a, shell: 'echo a >> log'}
  - {id: b, shell: 'echo b >> log', needs: [a]}
";
    let sandbox = bare(flow);
    sandbox
        .killed(&["run", "it.yaml"], rekindle_tests::faults::Place::AfterAppend, 4)
        .unwrap();
    sandbox.ok(&["resume"]);
    let log = fs::read_to_string(sandbox.path("log")).unwrap();
    assert!(log.starts_with('a') && log.ends_with("b\n"), "{log}");
}

#[test]
fn what_works_on_a_system_is_refused_at_its_place_and_nothing_is_made() {
    let sandbox = bare(
        "workflow: it\nsteps:\n  - {id: a, uses: snapshot, for_each: component}\n  - {id: b, shell: 'true'}\n",
    );
    let (code, said) = sandbox.code(&["run", "it.yaml"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("it.yaml:3:19: error: `snapshot` needs a system"),
        "{said}"
    );
    assert!(
        said.contains("a loop over each component needs a system"),
        "{said}"
    );
    assert!(!sandbox.path(".rekindle").exists());
    let said = sandbox.ok(&["lint", "it.yaml"]);
    assert!(
        said.contains("it.yaml:3:19: warning: `snapshot` needs a system"),
        "{said}"
    );
}

#[test]
fn a_workspace_that_has_lost_its_system_is_not_taken_for_one_without() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", HELLO);
    fs::remove_file(sandbox.path("system.yaml")).unwrap();
    let (code, said) = sandbox.code(&["run", "it.yaml"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("system.yaml"), "{said}");
}
