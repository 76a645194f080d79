//! What expressions and conditions do in a run: they see how steps ended, loops give values, and many of them cost what
//! few of them cost, each.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn sandbox(workflow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("w.yaml", workflow)
}

#[test]
fn a_step_with_an_expression_does_not_run_after_a_failure() {
    let sandbox = sandbox(
        "workflow: w
params: {x: {type: boolean, default: true}}
steps:
  - {id: a, uses: command, with: {run: [\"false\"]}}
  - {id: b, uses: command, needs: [a], run_if: \"params.x == true\", with: {run: [touch, b]}}
  - {id: c, uses: command, needs: [a], run_if: \"failure() and params.x == true\", with: {run: [touch, c]}}
",
    );
    let (code, said) = sandbox.code(&["run", "w.yaml"]);
    assert_eq!(code, 1, "{said}");
    assert!(!sandbox.path("b").exists(), "{said}");
    assert!(sandbox.path("c").exists(), "{said}");
}

#[test]
fn an_alarm_names_what_failed_and_why() {
    let sandbox = sandbox(
        "workflow: w
steps:
  - {id: b, uses: command, with: {run: [sh, -c, \"echo no room on shelf 7 >&2; exit 9\"]}}
on_failure:
  - id: tell
    uses: command
    with:
      run: [sh, -c, 'printf \"%s|%s|%s|%s\" \"$@\" > told', tell, \"${{ run.failed | join(',') }}\",
        \"${{ steps.b.error.code }}\", \"${{ steps.b.error.message }}\", \"${{ run.show }}\"]
",
    );
    let (code, said) = sandbox.code(&["run", "w.yaml"]);
    assert_eq!(code, 1, "{said}");
    let told = fs::read_to_string(sandbox.path("told")).unwrap_or(said);
    assert!(told.starts_with("b|command_failed|"), "{told}");
    assert!(
        told.contains("no room on shelf 7") && told.contains("|rekindle show "),
        "{told}"
    );
}

#[test]
fn a_loop_gives_each_step_its_own_value() {
    let sandbox = sandbox(
        "workflow: w
params: {hosts: {type: list, default: [x, y]}}
steps:
  - {id: list, for_each: \"${{ params.hosts }}\", uses: command, with: {run: [touch, \"list-${{ item }}\"]}}
  - {id: matrix, for_each: {host: [a, b], port: [1, 2]}, uses: command, with: {run: [touch, \"m-${{ each.host }}-${{ item.port }}\"]}}
  - {id: component, for_each: component, uses: command, with: {run: [touch, \"c-${{ component }}\"]}}
",
    );
    sandbox.ok(&["lint", "w.yaml"]);
    sandbox.ok(&["run", "w.yaml", "-p", "hosts=p,q"]);
    for made in ["list-p", "list-q", "m-a-1", "m-a-2", "m-b-1", "m-b-2", "c-notes"] {
        assert!(sandbox.path(made).exists(), "{made}");
    }
    assert!(!sandbox.path("list-x").exists());
}

#[test]
fn a_condition_that_is_a_text_fails_its_step_and_says_how_to_compare() {
    let sandbox = sandbox(
        "workflow: w
steps:
  - {id: a, uses: command, with: {run: [echo, \"false\"]}}
  - {id: b, uses: command, needs: [a], run_if: \"${{ steps.a.text }}\", with: {run: [touch, b]}}
",
    );
    let (code, said) = sandbox.code(&["run", "w.yaml"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("compare it, such as `steps.a.text == \"true\"`"),
        "{said}"
    );
    assert!(!sandbox.path("b").exists());
}

/// Returns the time that a loop over `width` values takes, each step with this output.
fn takes(width: usize, output: &str) -> Duration {
    let mut hosts = String::new();
    for at in 0..width {
        write!(hosts, "h{at}, ").unwrap_or_default();
    }
    let sandbox = sandbox(&format!(
        "workflow: w\nmax_parallel: 8\nsteps:\n  - {{id: each, for_each: [{hosts}], uses: noop, with: {{output: {output}}}}}\n"
    ));
    let begun = SystemClock.now();
    sandbox.ok(&["run", "w.yaml"]);
    SystemClock.now().since(&begun).duration
}

#[test]
fn an_expression_in_each_of_many_steps_costs_no_more_than_a_few_times_a_constant() {
    let width = 3000;
    // Each expression saw a copy of all outputs once: 61 s, against 1 s for constants.
    let (constant, expression) = (takes(width, "one"), takes(width, "\"${{ item }}\""));
    assert!(
        expression < constant * 4 + Duration::from_secs(1),
        "{expression:?} against {constant:?}"
    );
}
