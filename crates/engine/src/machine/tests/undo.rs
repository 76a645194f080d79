//! What a machine decides about taking back what steps did.

use rekindle_model::event::Outcome;

use super::*;
use crate::context::INTERRUPTED;
use crate::machine::Undone;

fn compensated(id: &str, needs: &[&str]) -> PlanStep {
    let compensate = Compensate {
        uses: "test".to_owned(),
        with: json!({ "of": "${{ output.of }}" }),
    };
    PlanStep {
        compensate: Some(compensate),
        ..step(id, needs)
    }
}

/// Returns a run of `a ─ b ─ c`, in which `a` and `b` have succeeded and can be undone, and `c` is at work.
fn chain(b: PlanStep) -> Run {
    let b = PlanStep {
        needs: vec![StepId::plain("a")],
        ..b
    };
    let (mut run, _) = Run::begun(plan(2, vec![compensated("a", &[]), b, step("c", &["b"])]));
    run.succeed("a");
    run.succeed("b");
    run
}

fn undone(run: &mut Run, step: &str, ending: Undone) -> Vec<Effect> {
    let step = StepId::from(step);
    let attempt = run.machine.state().step(&step).undo.unwrap().attempts;
    run.feed(Input::Undone {
        step,
        attempt,
        ending,
    })
}

fn failed(retryable: bool) -> Undone {
    Undone::Failed(match retryable {
        true => Failure::transient("busy", "it is busy"),
        false => Failure::permanent("broken", "it broke"),
    })
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.machine.state().outcome
}

#[test]
fn a_run_that_fails_is_undone_from_its_end_one_step_at_a_time() {
    let mut run = chain(compensated("b", &[]));
    let effects = run.fail("c");
    check(&effects, &["failed c, undo_started b", "undo b #1"]);
    let Some(Effect::StartUndo { with, .. }) = effects.last() else {
        panic!("{effects:?}")
    };
    assert_eq!(*with, json!({ "of": "b" }), "it sees what its step gave");
    let next = undone(&mut run, "b", Undone::Succeeded);
    check(&next, &["undo_succeeded b, undo_started a", "undo a #1"]);
    let end = undone(&mut run, "a", Undone::Succeeded);
    check(&end, &["undo_succeeded a, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
    assert_eq!(run.machine.state().summary["undone"], 2);
    assert_eq!(
        run.states(),
        ["succeeded", "succeeded", "failed"],
        "what they came to stays"
    );
}

#[test]
fn what_failed_and_may_have_begun_is_undone_and_what_never_started_is_not() {
    // It has given nothing that its compensation could name.
    let compensate = Compensate {
        uses: "test".to_owned(),
        with: json!({ "of": "${{ output }}" }),
    };
    let a = PlanStep {
        compensate: Some(compensate),
        ..step("a", &[])
    };
    let steps = vec![a, compensated("b", &["a"])];
    let (mut run, _) = Run::begun(plan(1, steps));
    check(
        &run.fail("a"),
        &["failed a, skipped b, undo_started a", "undo a #1"],
    );
    check(
        &undone(&mut run, "a", Undone::Succeeded),
        &["undo_succeeded a, run_finished", "finish"],
    );
}

#[test]
fn what_came_through_whole_is_not_undone() {
    let (mut run, _) = Run::begun(plan(1, vec![compensated("a", &[])]));
    check(&run.succeed("a"), &["succeeded a, run_finished", "finish"]);
}

#[test]
fn a_run_that_succeeded_in_part_is_undone_and_has_failed() {
    let steps = ["x[1]", "x[2]"].map(|id| {
        let mut step = compensated(id, &[]);
        step.compensate = step.compensate.map(|undo| Compensate {
            with: json!({}),
            ..undo
        });
        step
    });
    let (mut run, _) = Run::begun(plan(2, steps.into()));
    run.succeed("x[1]");
    check(
        &run.fail("x[2]"),
        &["failed x[2], undo_started x[2]", "undo x[2] #1"],
    );
    undone(&mut run, "x[2]", Undone::Succeeded);
    undone(&mut run, "x[1]", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
}

#[test]
fn the_lock_before_a_loop_is_released_if_a_step_after_the_loop_fails() {
    let steps = vec![
        compensated("lock", &[]),
        step("each[1]", &["lock"]),
        step("bad", &["each[1]"]),
    ];
    let (mut run, _) = Run::begun(plan(2, steps));
    run.succeed("lock");
    run.succeed("each[1]");
    check(
        &run.fail("bad"),
        &["failed bad, undo_started lock", "undo lock #1"],
    );
    check(&run.crash_and_begin(), &["undo_started lock", "undo lock #2"]);
    undone(&mut run, "lock", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
}

#[test]
fn a_run_without_undos_can_still_be_done_in_part() {
    let (mut run, _) = Run::begun(plan(2, vec![step("x[1]", &[]), step("x[2]", &[])]));
    run.succeed("x[1]");
    run.fail("x[2]");
    assert_eq!(outcome(&run), Some(Outcome::Partial));
}

#[test]
fn an_undo_that_was_cut_off_starts_again_and_one_that_is_done_does_not() {
    let mut run = chain(compensated("b", &[]));
    run.fail("c");
    check(&run.crash_and_begin(), &["undo_started b", "undo b #2"]);
    undone(&mut run, "b", Undone::Succeeded);
    check(&run.crash_and_begin(), &["undo_started a", "undo a #2"]);
    let stopped = run.feed(Input::Stop);
    check(&stopped, &["cancel a"]);
    let interrupted = Undone::Failed(Failure::transient(INTERRUPTED, "asked to stop"));
    check(&undone(&mut run, "a", interrupted), &["interrupt"]);
    check(&run.crash_and_begin(), &["undo_started a", "undo a #3"]);
    check(
        &undone(&mut run, "a", Undone::Succeeded),
        &["undo_succeeded a, run_finished", "finish"],
    );
}

#[test]
fn an_undo_is_tried_again_by_its_steps_policy_and_its_wait_survives_a_crash() {
    let mut run = chain(PlanStep {
        retry: retry(2),
        ..compensated("b", &[])
    });
    run.fail("c");
    check(
        &undone(&mut run, "b", failed(true)),
        &["undo_failed b", "timer b 1s"],
    );
    run.pass(SECOND / 4);
    check(&run.crash_and_begin(), &["timer b 0.75s"]);
    run.pass(SECOND * 3 / 4);
    check(&run.feed(Input::Wake), &["undo_started b", "undo b #2"]);
    check(
        &undone(&mut run, "b", failed(true)),
        &["undo_stuck b, run_finished", "finish"],
    );
}

#[test]
fn an_undo_that_fails_for_good_ends_the_run_as_stuck_until_a_person_has_it_tried_again() {
    let mut run = chain(compensated("b", &[]));
    run.fail("c");
    check(
        &undone(&mut run, "b", failed(false)),
        &["undo_stuck b, run_finished", "finish"],
    );
    assert_eq!(outcome(&run), Some(Outcome::Stuck));
    assert_eq!(run.machine.state().summary["stuck"], json!(["b"]));
    let asked = run.ask_undriven(again("b")).unwrap();
    assert_eq!(asked, ["run_reopened, retry_requested b"]);
    check(&run.crash_and_begin(), &["undo_started b", "undo b #2"]);
    // Meanwhile nothing of the run goes forward.
    assert!(matches!(run.try_ask(again("c")), Err(Refusal::Undoing)));
    check(
        &undone(&mut run, "b", Undone::Succeeded),
        &["undo_succeeded b, undo_started a", "undo a #1"],
    );
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
}

#[test]
fn of_a_stuck_run_what_failed_are_its_undos_and_then_its_steps() {
    let mut run = chain(compensated("b", &[]));
    run.fail("c");
    undone(&mut run, "b", failed(false));
    assert_eq!(outcome(&run), Some(Outcome::Stuck));
    let asked = run.ask_undriven(Ask::RetryFailed).unwrap();
    assert_eq!(asked, ["run_reopened, retry_requested b"]);
    check(&run.crash_and_begin(), &["undo_started b", "undo b #2"]);
    undone(&mut run, "b", Undone::Succeeded);
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
    // The undone steps run again before the failed one.
    run.ask_undriven(Ask::RetryFailed).unwrap();
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
}

#[test]
fn a_cancelled_run_is_undone_and_a_cancellation_stops_no_undo() {
    let mut run = chain(compensated("b", &[]));
    check(&run.ask(Ask::Cancel), &["cancel_requested", "cancel c"]);
    check(&run.fail("c"), &["failed c, undo_started b", "undo b #1"]);
    undone(&mut run, "b", Undone::Succeeded);
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Cancelled));

    let mut run = chain(compensated("b", &[]));
    run.fail("c");
    check(&run.ask(Ask::Cancel), &["cancel_requested"]);
    undone(&mut run, "b", Undone::Succeeded);
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Cancelled));
}

#[test]
fn a_cancelled_run_is_left_before_all_of_it_is_undone() {
    let mut run = chain(compensated("b", &[]));
    run.ask(Ask::Cancel);
    run.fail("c");
    check(&run.feed(Input::Stop), &["cancel b"]);
    check(
        &undone(&mut run, "b", Undone::Succeeded),
        &["undo_succeeded b", "interrupt"],
    );
    check(&run.crash_and_begin(), &["undo_started a", "undo a #1"]);

    // The stop may come first.
    let mut run = chain(compensated("b", &[]));
    run.feed(Input::Stop);
    run.ask(Ask::Cancel);
    check(&run.fail("c"), &["failed c", "interrupt"]);
    check(&run.crash_and_begin(), &["undo_started b", "undo b #1"]);
}

#[test]
fn an_undo_that_takes_too_long_is_told_to_end() {
    let mut run = chain(PlanStep {
        timeout: Some(SECOND),
        ..compensated("b", &[])
    });
    check(
        &run.fail("c"),
        &["failed c, undo_started b", "undo b #1", "timer b 1s"],
    );
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["cancel b"]);
    check(
        &undone(&mut run, "b", Undone::Dropped),
        &["undo_stuck b, run_finished", "finish"],
    );
}

#[test]
fn a_run_that_goes_forward_again_runs_the_undone_steps_again() {
    let mut run = chain(compensated("b", &[]));
    run.fail("c");
    undone(&mut run, "b", Undone::Succeeded);
    undone(&mut run, "a", Undone::Succeeded);
    let asked = run.ask_undriven(again("c")).unwrap();
    assert_eq!(
        asked,
        ["run_reopened, retry_requested c, invalidated a, invalidated b, invalidated c"]
    );
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
    run.succeed("a");
    run.succeed("b");
    check(&run.fail("c"), &["failed c, undo_started b", "undo b #1"]);
}

#[test]
fn an_undo_whose_parameters_cannot_be_told_is_stuck() {
    let compensate = Compensate {
        uses: "test".to_owned(),
        with: json!({ "of": "${{ output.of.deeper.still }}" }),
    };
    let mut run = chain(PlanStep {
        compensate: Some(compensate),
        ..compensated("b", &[])
    });
    check(
        &run.fail("c"),
        &["failed c, undo_started b, undo_stuck b, run_finished", "finish"],
    );
}

#[test]
fn a_stuck_undo_of_a_run_that_was_cancelled_when_all_had_succeeded_is_tried_again() {
    let mut run = chain(compensated("b", &[]));
    run.ask(Ask::Pause);
    check(&run.succeed("c"), &["succeeded c"]);
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, undo_started b", "undo b #1"],
    );
    undone(&mut run, "b", failed(false));
    assert_eq!(outcome(&run), Some(Outcome::Stuck));
    run.ask_undriven(again("b")).unwrap();
    check(&run.crash_and_begin(), &["undo_started b", "undo b #2"]);
    check(
        &undone(&mut run, "b", Undone::Succeeded),
        &["undo_succeeded b, undo_started a", "undo a #1"],
    );
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(
        outcome(&run),
        Some(Outcome::Failed),
        "nothing of it is there any more"
    );
}

#[test]
fn an_undo_waits_for_the_lock_of_its_step_as_an_attempt_does() {
    let b = PlanStep {
        concurrency: Some("disk".to_owned()),
        ..compensated("b", &[])
    };
    let (mut run, _) = Run::begun(plan(1, vec![b, step("c", &["b"])]));
    run.machine.give_lock("disk");
    check(&run.feed(Input::Wake), &["started b", "start b #1"]);
    run.succeed("b");
    check(&run.fail("c"), &["failed c"]);
    assert!(
        run.machine.wanted().contains("disk"),
        "a step of another run has it"
    );
    run.machine.give_lock("disk");
    check(&run.feed(Input::Wake), &["undo_started b", "undo b #1"]);
    assert!(run.machine.wanted().is_empty());
    check(
        &undone(&mut run, "b", Undone::Succeeded),
        &["undo_succeeded b, run_finished", "finish"],
    );
}

#[test]
fn a_run_that_comes_through_without_the_step_that_broke_it_keeps_what_it_did() {
    let mut b = compensated("b", &["a"]);
    b.compensate = b.compensate.map(|undo| Compensate {
        with: json!({}),
        ..undo
    });
    let (mut run, _) = Run::begun(plan(1, vec![compensated("a", &[]), b]));
    run.succeed("a");
    run.fail("b");
    undone(&mut run, "b", Undone::Succeeded);
    undone(&mut run, "a", Undone::Succeeded);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
    run.ask_undriven(leave_out("b")).unwrap();
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
    check(&run.succeed("a"), &["succeeded a, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Partial));
}
