//! How a machine responds to a stop, and to a cancellation of its run.

use rekindle_model::event::Outcome;
use rekindle_model::failure::code;

use super::*;
use crate::context::INTERRUPTED;

#[test]
fn a_stop_starts_nothing_and_journals_no_interrupted_attempt_as_failed() {
    let steps = vec![step("a", &[]), step("b", &[]), step("c", &["b"])];
    let (mut run, _) = Run::begun(plan(2, steps));
    check(&run.feed(Input::Stop), &["cancel a", "cancel b"]);
    let checkpoint = Input::Noted {
        step: StepId::plain("a"),
        attempt: 1,
        note: Note::Checkpoint(Payload::Inline(json!(1))),
    };
    check(&run.feed(checkpoint), &["checkpoint a"]);
    check(
        &run.end(
            "a",
            Ending::Failed(Failure::transient(INTERRUPTED, "asked to stop")),
        ),
        &[],
    );
    check(&run.succeed("b"), &["succeeded b", "interrupt"]);
    assert_eq!(run.states(), ["running", "succeeded", "pending"]);
}

#[test]
fn a_stop_drops_what_does_not_end_and_leaves_it_to_be_reconciled() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.feed(Input::Stop);
    check(&run.end("a", Ending::Dropped), &["interrupt"]);
    check(&run.crash_and_begin(), &["reconcile a #1"]);
}

#[test]
fn a_run_whose_last_step_succeeds_while_stopping_is_over() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.feed(Input::Stop);
    check(&run.succeed("a"), &["succeeded a, run_finished", "finish"]);
}

#[test]
fn a_cancellation_skips_what_has_not_begun_and_fails_what_has() {
    let waiting = PlanStep {
        retry: retry(2),
        ..step("waiting", &[])
    };
    let always = PlanStep {
        run_if: RunIf::Always,
        ..step("always", &["a"])
    };
    let (mut run, _) = Run::begun(plan(3, vec![step("a", &[]), step("b", &[]), waiting, always]));
    run.fail_for_now("waiting");
    check(
        &run.ask(Ask::Cancel),
        &[
            "cancel_requested, skipped waiting, skipped always",
            "cancel a",
            "cancel b",
        ],
    );
    check(&run.succeed("b"), &["succeeded b"]);
    check(
        &run.end("a", Ending::Dropped),
        &["failed a, run_finished", "finish"],
    );
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
    let StepState::Failed { error } = run.state("a") else {
        panic!("{:?}", run.state("a"))
    };
    assert_eq!(error.code, code::CANCELLED);
}

#[test]
fn a_cancellation_overtakes_a_stop() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    check(&run.feed(Input::Stop), &["cancel a"]);
    check(&run.ask(Ask::Cancel), &["cancel_requested", "cancel a"]);
    check(
        &run.end("a", Ending::Dropped),
        &["failed a, run_finished", "finish"],
    );
}
