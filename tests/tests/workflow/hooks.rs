//! A system's `hooks`: handlers of its backups, recoveries and verifications.

use std::fs;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SYSTEM: &str = r#"
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
tiers:
  near: {url: "file://./tiers/near"}
hooks:
  on_success:
    - {id: beat, shell: 'echo "beat $RUN" >> log', env: {RUN: "${{ run.workflow }}"}}
  on_failure:
    - {id: page, shell: 'echo "page $RUN: $FAILED" >> log', env: {RUN: "${{ run.workflow }}", FAILED: "${{ run.failed | join(' ') }}"}}
  finally:
    - {id: tidy, uses: workflow, with: {workflow: tidy.yaml}}
"#;
const TIDY: &str = "workflow: tidy\nsteps: [{id: it, shell: 'echo tidy >> log'}]\n";

fn sandbox() -> Sandbox {
    Sandbox::with_a_note(BINARY, SYSTEM, "one").with("tidy.yaml", TIDY)
}

/// Returns what the hooks wrote, and forgets it.
fn log(sandbox: &Sandbox) -> String {
    let written = fs::read_to_string(sandbox.path("log")).unwrap_or_default();
    let _ = fs::remove_file(sandbox.path("log"));
    written
}

#[test]
fn hooks_tell_how_each_backup_verification_and_recovery_ended() {
    let sandbox = sandbox();
    sandbox.ok(&["backup"]);
    assert_eq!(log(&sandbox), "beat backup\ntidy\n");
    sandbox.ok(&["verify"]);
    assert_eq!(log(&sandbox), "beat verify\ntidy\n");
    sandbox.ok(&["recover", "--to", "out"]);
    assert_eq!(log(&sandbox), "beat recover\ntidy\n");
    sandbox.spoil_packs("near");
    assert_ne!(sandbox.code(&["verify"]).0, 0);
    assert_eq!(log(&sandbox), "page verify: verify[notes,near]\ntidy\n");
    assert_ne!(sandbox.code(&["recover", "--to", "again"]).0, 0);
    assert_eq!(log(&sandbox), "page recover: restore[notes]\ntidy\n");
    let plan = sandbox.ok(&["plan", "backup"]);
    assert!(plan.contains("page") && plan.contains("tidy"), "{plan}");
}

#[test]
fn a_hook_that_cannot_work_keeps_nobody_from_recovering() {
    let sandbox = sandbox();
    sandbox.ok(&["backup"]);
    fs::remove_file(sandbox.path("tidy.yaml")).expect("lose the workflow of a hook");
    let system = SYSTEM.replace("run.workflow", "run.nothing");
    fs::write(sandbox.path("system.yaml"), system).expect("break another hook");
    let (code, said) = sandbox.code(&["recover", "--to", "out"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(
        fs::read_to_string(sandbox.path("out/notes/a.md")).expect("a note"),
        "one"
    );
    let history = sandbox.history();
    let failed = |step: &str| {
        let mut events = history.iter();
        events.any(|event| event["event"] == "step_failed" && event["step"] == step)
    };
    assert!(failed("beat") && failed("tidy"), "{history:?}");
}

#[test]
fn a_workflow_of_another_kind_and_a_step_of_a_run_have_no_hooks() {
    let sandbox = sandbox().with(
        "it.yaml",
        "workflow: it\nsteps: [{id: a, uses: workflow, with: {workflow: backup}}]\n",
    );
    sandbox.ok(&["run", "it.yaml"]);
    assert_eq!(log(&sandbox), "");
}

#[test]
fn a_list_of_the_workflow_itself_counts_more_than_the_hooks() {
    let sandbox = sandbox().with(
        "own.yaml",
        "workflow: backup\nsteps: [{id: a, shell: 'false'}]\non_failure: [{id: own, shell: 'echo own >> log'}]\n",
    );
    assert_eq!(sandbox.code(&["run", "own.yaml"]).0, 1);
    assert_eq!(log(&sandbox), "own\ntidy\n");
}

#[test]
fn a_run_keeps_its_hooks_wherever_it_is_killed() {
    let fresh = sandbox();
    for number in 1.. {
        let sandbox = fresh.fork();
        if sandbox.killed(&["backup"], Place::AfterAppend, number).is_err() {
            assert!(number > 10, "a backup has more than {number} appends");
            return;
        }
        let system = SYSTEM.replace("beat $RUN", "another");
        fs::write(sandbox.path("system.yaml"), system).expect("change the hooks");
        sandbox.run(&["resume"]);
        let written = log(&sandbox);
        if sandbox.history().is_empty() {
            continue;
        }
        // What was cut off runs again.
        assert!(written.starts_with("beat backup\n"), "{number}: {written}");
        assert!(written.ends_with("tidy\n"), "{number}: {written}");
    }
}

#[test]
fn what_is_wrong_with_a_hook_is_found_at_its_place() {
    for (from, to, words) in [
        (
            "id: beat",
            "id: seal",
            ["system.yaml:10:", "workflow `backup` has a step `seal` too"],
        ),
        (
            "run.workflow }}\"}}\n  on_failure",
            "run.kind }}\"}}\n  on_failure",
            ["system.yaml:10:", "`run` has no `kind`"],
        ),
        (
            "{id: page,",
            "{id: page, for_each: tier,",
            ["system.yaml:12:", "under `on_failure` has no loop"],
        ),
        (
            "uses: workflow",
            "uses: workflows",
            ["system.yaml:14:", "unknown action `workflows`"],
        ),
        (
            "on_success:",
            "on_sucess:",
            ["system.yaml:9:", "unknown key `on_sucess`"],
        ),
        (
            "workflow: tidy.yaml",
            "workflow: lost.yaml",
            ["system.yaml:14:", "lost.yaml"],
        ),
    ] {
        let text = SYSTEM.replacen(from, to, 1);
        assert_ne!(text, SYSTEM, "{from}");
        let sandbox = sandbox().with("system.yaml", &text);
        let output = sandbox.run(&["lint", "system.yaml"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        for word in words {
            assert!(said.contains(word), "{to}: {said}");
        }
    }
}
