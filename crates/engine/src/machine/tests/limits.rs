//! What a machine decides about what takes too long.

use rekindle_model::event::{Outcome, SkipReason};
use rekindle_model::failure::code;

use super::*;

fn timely(id: &str, deadline: u32) -> PlanStep {
    PlanStep {
        deadline: Some(SECOND * deadline),
        retry: retry(9),
        ..step(id, &[])
    }
}

fn failure(run: &Run, step: &str) -> Failure {
    match run.state(step) {
        StepState::Failed { error } | StepState::Backoff { error, .. } => error,
        state => panic!("{state:?}"),
    }
}

#[test]
fn the_attempts_of_a_step_have_one_deadline_together() {
    let (mut run, begun) = Run::begun(plan(1, vec![timely("a", 10)]));
    check(&begun, &["started a", "start a #1", "timer a 10s"]);
    run.pass(SECOND * 6);
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2", "timer a 3s"]);
    run.pass(SECOND * 3);
    check(&run.feed(Input::Wake), &["cancel a"]);
    let end = run.end("a", Ending::Dropped);
    check(&end, &["failed a, run_finished", "finish"]);
    assert_eq!(failure(&run, "a").code, code::DEADLINE, "no attempt follows");
}

#[test]
fn a_crash_does_not_restart_a_deadline() {
    let (mut run, _) = Run::begun(plan(1, vec![timely("a", 10)]));
    run.pass(SECOND * 8);
    check(&run.crash_and_begin(), &["reconcile a #1", "timer a 2s"]);
    let evidence = Value::Null;
    let found = run.found("a", Found::Redo { evidence });
    check(&found, &["reconciled a, started a", "start a #2", "timer a 2s"]);
    run.pass(SECOND * 2);
    check(&run.feed(Input::Wake), &["cancel a"]);
}

#[test]
fn a_deadline_ends_a_wait_and_a_question_too() {
    let mut slow = timely("a", 10);
    slow.retry.backoff.initial = Period(SECOND * 60);
    let asked = PlanStep {
        deadline: Some(SECOND * 5),
        ..question("q", &[])
    };
    let (mut run, _) = Run::begun(plan(1, vec![slow, asked]));
    check(&run.fail_for_now("a"), &["failed a", "timer q 5s"]);
    run.pass(SECOND * 5);
    check(&run.feed(Input::Wake), &["failed q", "timer a 5s"]);
    run.pass(SECOND * 5);
    let end = run.feed(Input::Wake);
    check(&end, &["started a, failed a, run_finished", "finish"]);
    for step in ["a", "q"] {
        assert_eq!(failure(&run, step).code, code::DEADLINE);
    }
}

#[test]
fn an_attempt_that_falls_silent_has_stalled_and_one_that_is_heard_has_not() {
    let stalls = PlanStep {
        stall_timeout: Some(SECOND * 5),
        retry: retry(2),
        ..step("a", &[])
    };
    let (mut run, begun) = Run::begun(plan(1, vec![stalls]));
    check(&begun, &["started a", "start a #1", "timer a 5s"]);
    run.pass(SECOND * 4);
    let now = run.now;
    run.machine.heard(&StepId::plain("a"), now);
    run.pass(SECOND * 4);
    check(&run.feed(Input::Wake), &["timer a 1s"]);
    let checkpoint = Input::Noted {
        step: StepId::plain("a"),
        attempt: 1,
        note: Note::Checkpoint(Payload::NONE),
    };
    check(&run.feed(checkpoint), &["checkpoint a", "timer a 5s"]);
    run.pass(SECOND * 5);
    check(&run.feed(Input::Wake), &["cancel a"]);
    check(&run.end("a", Ending::Dropped), &["failed a", "timer a 1s"]);
    assert_eq!(failure(&run, "a").code, code::STALLED);
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2", "timer a 5s"]);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_has_failed() {
    let limited = || Plan {
        deadline: Some(SECOND * 10),
        ..plan(1, vec![step("a", &[]), step("b", &["a"])])
    };
    let (mut run, begun) = Run::begun(limited());
    check(&begun, &["started a", "start a #1", "timer a 10s"]);
    run.pass(SECOND * 10);
    check(
        &run.feed(Input::Wake),
        &["deadline_passed, skipped b", "cancel a"],
    );
    // It dies before the attempt has ended: the deadline is past all the same.
    check(&run.crash_and_begin(), &["failed a, run_finished", "finish"]);
    assert_eq!(failure(&run, "a").code, code::DEADLINE);
    assert_eq!(
        run.state("b"),
        StepState::Skipped {
            why: SkipReason::Deadline
        }
    );
    assert_eq!(run.machine.state().outcome, Some(Outcome::Failed));

    // Opened again, it has its whole deadline before it.
    run.pass(SECOND * 100);
    run.ask_undriven(again("a")).unwrap();
    check(
        &run.crash_and_begin(),
        &["started a", "start a #2", "timer a 10s"],
    );
    run.succeed("a");
    check(&run.succeed("b"), &["succeeded b, run_finished", "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
}

#[test]
fn nothing_more_is_asked_of_a_run_whose_deadline_is_past_until_it_is_over() {
    let limited = Plan {
        deadline: Some(SECOND * 10),
        ..plan(2, vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])])
    };
    let (mut run, _) = Run::begun(limited);
    run.succeed("a");
    run.pass(SECOND * 10);
    check(
        &run.feed(Input::Wake),
        &["deadline_passed, skipped c", "cancel b"],
    );
    for ask in [again("a"), leave_out("c"), Ask::RetryFailed, Ask::Pause] {
        let refused = run.try_ask(ask.clone()).map(|effects| lines(&effects));
        assert_eq!(refused, Err(Refusal::Expired), "{ask:?}");
        assert_eq!(run.ask_undriven(ask), Err(Refusal::Expired));
    }
    assert_eq!(run.state("a").name(), "succeeded", "and it is not lost");
    check(&run.ask(Ask::Cancel), &["cancel_requested"]);
}

#[test]
fn what_begins_after_its_deadline_is_told_to_end_all_the_same() {
    let (mut run, _) = Run::begun(plan(1, vec![timely("a", 10)]));
    run.pass(SECOND * 20);
    check(&run.crash_and_begin(), &["reconcile a #1", "timer a 0s"]);
    check(&run.feed(Input::Wake), &["cancel a"]);
}

#[test]
fn a_retry_that_a_person_asks_for_gives_a_step_that_waits_its_attempts_and_its_deadline_anew() {
    let twice = PlanStep {
        retry: retry(2),
        ..timely("a", 10)
    };
    let (mut run, _) = Run::begun(plan(1, vec![twice]));
    run.pass(SECOND * 8);
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    check(
        &run.ask(again("a")),
        &["retry_requested a, started a", "start a #2", "timer a 10s"],
    );
    run.pass(SECOND * 8);
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    // As when nobody drives it, and across a crash.
    run.ask_undriven(again("a")).unwrap();
    check(
        &run.crash_and_begin(),
        &["started a", "start a #3", "timer a 10s"],
    );
    run.pass(SECOND * 8);
    check(&run.crash_and_begin(), &["reconcile a #3", "timer a 2s"]);
    let evidence = Value::Null;
    run.found("a", Found::Redo { evidence });
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    run.pass(SECOND);
    run.feed(Input::Wake);
    check(&run.fail_for_now("a"), &["failed a, run_finished", "finish"]);
}
