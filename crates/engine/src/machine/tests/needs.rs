//! What a machine makes of how steps ended: for those that need them, and for the run.

use rekindle_model::event::{Outcome, SkipReason};
use rekindle_plan::expr::Condition;

use super::*;

#[test]
fn dependents_of_a_failed_step_are_skipped_naming_it_and_others_go_on() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["b"]),
        step("other", &[]),
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    check(&run.fail("a"), &["failed a, skipped b, skipped c"]);
    for skipped in ["b", "c"] {
        let why = SkipReason::Needs {
            failed: StepId::plain("a"),
        };
        assert_eq!(run.state(skipped), StepState::Skipped { why });
    }
    check(
        &run.succeed("other"),
        &["succeeded other, run_finished", "finish"],
    );
    assert_eq!(
        run.machine.state().outcome,
        Some(Outcome::Failed),
        "there is no component that came through"
    );
}

#[test]
fn run_if_decides_by_how_the_needs_ended() {
    let when = |condition: &str| RunIf::Expr(Condition::read(condition).unwrap());
    for (need_fails, run_if, expect) in [
        (false, RunIf::Success, "running"),
        (true, RunIf::Success, "skipped"),
        (false, RunIf::Failure, "skipped"),
        (true, RunIf::Failure, "running"),
        (false, RunIf::Always, "running"),
        (true, RunIf::Always, "running"),
        (false, when("steps.a.of == 'a'"), "running"),
        (false, when("steps.a.of == 'b'"), "skipped"),
        // An expression that asks for no status means `success() and (…)`.
        (true, when("steps.a.outcome == 'failure'"), "skipped"),
        (true, when("steps.a.of == 'a'"), "skipped"),
        (
            true,
            when("failure() and steps.a.error.code == 'broken'"),
            "running",
        ),
        (true, when("always() and steps.a.outputs is none"), "running"),
        (
            true,
            when("success() or steps.a.error.code == 'other'"),
            "skipped",
        ),
        (true, when("cancelled()"), "skipped"),
        (false, when("failure()"), "skipped"),
        // Only true and false are conditions; a name that is not there is an error.
        (false, when("steps.a.of"), "failed"),
        (true, when("always() and steps.a.of == 'a'"), "failed"),
    ] {
        let (mut run, _) = Run::begun(plan(
            4,
            vec![
                step("a", &[]),
                PlanStep {
                    run_if: run_if.clone(),
                    ..step("b", &["a"])
                },
            ],
        ));
        if need_fails {
            run.fail("a")
        } else {
            run.succeed("a")
        };
        assert_eq!(
            run.state("b").name(),
            expect,
            "{run_if:?}, need fails: {need_fails}"
        );
    }
}

#[test]
fn what_its_own_condition_skips_is_no_failure() {
    let steps = vec![
        step("a", &[]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("cleanup", &["a"])
        },
        step("after_cleanup", &["cleanup"]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("alarm", &["after_cleanup"])
        },
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    run.succeed("a");
    for (skipped, run_if) in [
        ("cleanup", "failure"),
        ("after_cleanup", "success"),
        ("alarm", "failure"),
    ] {
        let why = SkipReason::Condition {
            run_if: run_if.to_owned(),
        };
        assert_eq!(run.state(skipped), StepState::Skipped { why });
    }
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_step_on_failure_runs_when_what_failed_lies_further_back() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("alarm", &["b"])
        },
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    check(
        &run.fail("a"),
        &["failed a, skipped b, started alarm", "start alarm #1"],
    );
}

/// Returns the outcome of a run whose steps end in that order, as far as they run.
fn outcome(steps: Vec<PlanStep>, order: &[&str], failing: &[&str]) -> Option<Outcome> {
    let (mut run, _) = Run::begun(plan(9, steps));
    for id in order {
        if run.state(id).name() == "running" {
            match failing.contains(id) {
                true => run.fail(id),
                false => run.succeed(id),
            };
        }
    }
    run.machine.state().outcome
}

#[test]
fn the_outcome_is_partial_when_a_component_came_through_whole() {
    let steps = || {
        vec![
            step("restore[x]", &[]),
            step("restore[y]", &[]),
            step("validate[x]", &["restore[x]"]),
            step("total", &[]),
        ]
    };
    for (failing, expect) in [
        (&[][..], Outcome::Succeeded),
        (&["restore[y]"], Outcome::Partial),
        (&["total"], Outcome::Partial),
        (&["restore[x]", "restore[y]"], Outcome::Failed),
        (&["validate[x]", "restore[y]"], Outcome::Failed),
    ] {
        let order = ["restore[x]", "restore[y]", "total", "validate[x]"];
        assert_eq!(outcome(steps(), &order, failing), Some(expect), "{failing:?}");
    }
}

#[test]
fn the_outcome_is_partial_when_one_of_two_tiers_has_a_verified_copy() {
    let looped = |id: &str, needs: &[&str]| {
        let keys = StepId::from(id);
        let named = ["component", "tier"].into_iter().map(str::to_owned);
        PlanStep {
            each: named.zip(keys.keys().into_iter().map(str::to_owned)).collect(),
            ..step(id, needs)
        }
    };
    let steps = || {
        vec![
            looped("snapshot[x]", &[]),
            looped("store[x,a]", &["snapshot[x]"]),
            looped("store[x,b]", &["snapshot[x]"]),
            looped("verify[x,a]", &["store[x,a]"]),
            looped("verify[x,b]", &["store[x,b]"]),
            PlanStep {
                run_if: RunIf::Always,
                ..looped("clean[x]", &["verify[x,a]", "verify[x,b]"])
            },
        ]
    };
    for (failing, expect) in [
        (&["store[x,b]"][..], Outcome::Partial),
        (&["verify[x,b]"], Outcome::Partial),
        (&["verify[x,a]", "verify[x,b]"], Outcome::Failed),
        (&["verify[x,a]", "store[x,b]"], Outcome::Failed),
        (&["snapshot[x]"], Outcome::Failed),
    ] {
        let order = [
            "snapshot[x]",
            "store[x,a]",
            "store[x,b]",
            "verify[x,a]",
            "verify[x,b]",
            "clean[x]",
        ];
        assert_eq!(outcome(steps(), &order, failing), Some(expect), "{failing:?}");
    }
}

#[test]
fn the_summary_counts_and_names_what_failed() {
    let (mut run, _) = Run::begun(plan(4, vec![step("a", &[]), step("b", &["a"]), step("c", &[])]));
    run.pass(SECOND * 3);
    run.fail("a");
    run.succeed("c");
    assert_eq!(
        run.machine.state().summary,
        json!({ "steps": 3, "succeeded": 1, "failed": 1, "skipped": 1, "duration_ms": 3000, "clock_uncertain": false,
            "failed_steps": ["a"], "failed_steps_left_out": 0 })
    );
}

#[test]
fn a_step_finds_out_what_failed_and_why() {
    let alarm = PlanStep {
        run_if: RunIf::Always,
        with: json!({ "failed": "${{ run.failed }}", "errors": "${{ run.errors }}", "outcome": "${{ steps.a.outcome }}",
            "why": "${{ steps.a.error.message }}", "outputs": "${{ steps.a.outputs }}", "skipped": "${{ steps.b.outcome }}",
            "c": "${{ steps.c.outcome }}", "none": "${{ steps.c.error }}", "of": "${{ steps.c.outputs.of }}" }),
        ..step("alarm", &["a", "b", "c"])
    };
    let (mut run, _) = Run::begun(plan(
        4,
        vec![step("a", &[]), step("b", &["a"]), step("c", &[]), alarm],
    ));
    run.fail("a");
    let effects = run.succeed("c");
    let Some(Effect::StartStep { with, .. }) = effects.get(1) else {
        panic!("{effects:?}")
    };
    let (code, message) = (with["errors"][0]["code"].clone(), with["why"].clone());
    assert!(code.is_string() && message.is_string(), "{with}");
    assert_eq!(
        *with,
        json!({ "failed": ["a"], "errors": [{ "step": "a", "code": code, "message": message }], "outcome": "failure",
            "why": message, "outputs": null, "skipped": "skipped", "c": "success", "none": null, "of": "c" })
    );
}
