//! A step that may fail, a step that ends the process that drives it, and a loop that runs few steps at once.

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn sandbox(flow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", &format!("workflow: it\nsteps:\n{flow}"))
}

#[test]
fn a_step_that_may_fail_fails_no_run_and_is_named() {
    let sandbox = sandbox(
        "  - {id: lint, continue_on_error: true, uses: command, with: {run: [\"false\"]}}
  - {id: build, needs: [lint], uses: command, with: {run: [touch, built]}}
  - {id: fix, needs: [lint], run_if: failure, uses: command, with: {run: [touch, fixed]}}
",
    );
    sandbox.ok(&["run", "it.yaml"]);
    assert!(sandbox.path("built").exists() && !sandbox.path("fixed").exists());
    let last = sandbox.history().pop().unwrap();
    assert_eq!(last["outcome"], "succeeded");
    assert_eq!(last["summary"]["failed"], 0);
    assert_eq!(last["summary"]["continued_on_error_steps"][0], "lint");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("failed, and may fail: lint"), "{shown}");
}

#[test]
fn a_step_that_ends_its_owner_fails_after_so_many_attempts() {
    let sandbox =
        sandbox("  - {id: bad, max_interruptions: 2, uses: command, with: {run: [sleep, \"1000\"]}}\n");
    // Each time, the owner dies once the step has begun: after its own first record, and after that of the program.
    for args in [&["run", "it.yaml"][..], &["resume"]] {
        sandbox.killed(args, Place::AfterAppend, 3).unwrap();
    }
    let (code, said) = sandbox.code(&["resume"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("was cut off 2 times in a row"), "{said}");
    let failed = sandbox.history();
    let failed = failed
        .iter()
        .find(|record| record["event"] == "step_failed")
        .unwrap();
    assert_eq!(failed["error"]["code"], "max_interruptions", "{failed:#}");
    // A person may have it tried again.
    sandbox.ok(&["retry", "latest", "bad"]);
}

#[test]
fn a_loop_runs_at_most_so_many_of_its_steps_at_once() {
    let flow = "max_parallel: 8\nsteps:
  - id: each
    for_each: component
    max_parallel: 1
    uses: command
    with: {run: [sh, -c, \"mkdir busy && sleep 0.1 && rmdir busy\"]}
";
    let system = r#"
system: wide
root: .
components: {a: {}, b: {}, c: {}, d: {}}
tiers: {near: {url: "file://./near"}}
"#;
    let sandbox =
        Sandbox::with_a_note(BINARY, system, "one").with("it.yaml", &format!("workflow: it\n{flow}"));
    sandbox.ok(&["run", "it.yaml"]);
    let most = |records: &[Value]| {
        let (mut now, mut most) = (0_i32, 0_i32);
        for record in records {
            match record["event"].as_str() {
                Some("step_started") => now += 1,
                Some("step_succeeded") => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    };
    assert_eq!(most(&sandbox.history()), 1);
}
