//! What a machine decides about what a person asks.

use rekindle_model::event::{Outcome, SkipReason};
use rekindle_model::next_action::{Action, Again};

use super::*;

fn id(step: &str) -> StepId {
    StepId::from(step)
}

fn patient(step: &str, needs: &[&str]) -> PlanStep {
    PlanStep {
        retry: retry(3),
        ..super::step(step, needs)
    }
}

fn always(step: &str, needs: &[&str]) -> PlanStep {
    PlanStep {
        run_if: RunIf::Always,
        ..super::step(step, needs)
    }
}

#[test]
fn a_step_that_is_not_there_is_refused_with_the_nearest_name() {
    let (mut run, _) = Run::begun(plan(1, vec![step("restore[images]", &[]), step("validate", &[])]));
    for ask in [
        approve("valdate"),
        reject("valdate"),
        again("valdate"),
        leave_out("valdate"),
    ] {
        let refused = run.try_ask(ask).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the run has no step valdate; did you mean `validate`?"
        );
    }
}

#[test]
fn a_refusal_changes_nothing() {
    let (mut run, _) = Run::begun(plan(
        2,
        vec![patient("a", &[]), step("b", &["a"]), always("c", &[])],
    ));
    run.fail_for_now("a");
    let before = run.machine.state().clone();
    for ask in [
        Ask::Unpause,
        approve("a"),
        again("b"),
        again("c"),
        leave_out("c"),
        again("nothing"),
    ] {
        assert!(run.try_ask(ask.clone()).is_err(), "{ask:?}");
    }
    assert_eq!(*run.machine.state(), before);
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2"]);
}

#[test]
fn a_cancellation_says_who_and_why_and_is_asked_for_once() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    let effects = run.ask(Ask::Cancel);
    let (by, why) = ("ann".to_owned(), Some("known".to_owned()));
    let Some(Effect::Append(events)) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(*events, [Event::CancelRequested { by: by.clone(), why }]);
    assert_eq!(
        run.try_ask(Ask::Cancel),
        Err(Refusal::Cancelled { by: by.clone() })
    );
    assert_eq!(run.try_ask(Ask::Pause), Err(Refusal::Cancelled { by }));
}

#[test]
fn a_paused_run_starts_nothing_and_lets_what_runs_come_to_its_end() {
    let steps = vec![
        step("a", &[]),
        patient("b", &[]),
        step("c", &["a"]),
        question("confirm", &["a"]),
    ];
    let (mut run, _) = Run::begun(plan(2, steps));
    check(&run.ask(Ask::Pause), &["pause_requested"]);
    assert!(matches!(run.try_ask(Ask::Pause), Err(Refusal::Paused { by, .. }) if by == "ann"));
    check(&run.succeed("a"), &["succeeded a"]);
    check(&run.fail_for_now("b"), &["failed b"]);
    run.pass(SECOND * 60);
    check(&run.feed(Input::Wake), &[]);
    check(
        &run.ask(Ask::Unpause),
        &[
            "run_unpaused, started confirm, approval_requested confirm, started b, started c",
            "start b #2",
            "start c #1",
        ],
    );
    assert_eq!(run.try_ask(Ask::Unpause), Err(Refusal::NotPaused));
}

#[test]
fn a_paused_run_is_not_over_until_it_is_let_go_on() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.ask(Ask::Pause);
    check(&run.succeed("a"), &["succeeded a"]);
    check(&run.feed(Input::Wake), &[]);
    check(&run.ask(Ask::Unpause), &["run_unpaused, run_finished", "finish"]);
}

#[test]
fn a_paused_run_can_be_stopped_and_cancelled() {
    let paused = || {
        let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &["a"])]));
        run.ask(Ask::Pause);
        run.succeed("a");
        run
    };
    check(&paused().feed(Input::Stop), &["interrupt"]);
    let mut run = paused();
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, skipped b, run_finished", "finish"],
    );
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_pause_survives_a_crash_and_nothing_is_even_looked_at_before_its_end() {
    let (mut run, _) = Run::begun(plan(2, vec![step("a", &[]), step("b", &[]), step("c", &["b"])]));
    run.succeed("b");
    run.ask(Ask::Pause);
    check(&run.crash_and_begin(), &[]);
    check(&run.feed(Input::Wake), &[]);
    check(&run.ask(Ask::Unpause), &["run_unpaused", "recheck b"]);
}

#[test]
fn a_verdict_that_comes_while_paused_is_journaled_and_sought_again_later() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.crash_and_begin();
    run.ask(Ask::Pause);
    let evidence = json!("nothing");
    check(&run.found("a", Found::Redo { evidence }), &["reconciled a"]);
    check(&run.ask(Ask::Unpause), &["run_unpaused", "reconcile a #1"]);
}

#[test]
fn a_pause_asked_for_while_nobody_drives_holds_when_somebody_does() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    assert_eq!(run.ask_undriven(Ask::Pause).unwrap(), ["pause_requested"]);
    check(&run.crash_and_begin(), &[]);
    assert_eq!(run.ask_undriven(Ask::Unpause).unwrap(), ["run_unpaused"]);
    check(&run.crash_and_begin(), &["reconcile a #1"]);
}

#[test]
fn a_timeout_goes_on_while_paused() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            timeout: Some(SECOND * 5),
            ..patient("a", &[])
        }],
    ));
    check(&run.ask(Ask::Pause), &["pause_requested", "timer a 5s"]);
    run.pass(SECOND * 5);
    check(&run.feed(Input::Wake), &["cancel a"]);
    check(&run.end("a", Ending::Dropped), &["failed a"]);
}

#[test]
fn a_retry_of_a_waiting_step_begins_it_at_once_with_its_checkpoint() {
    let (mut run, _) = Run::begun(plan(1, vec![patient("a", &[])]));
    let progress = Payload::Inline(json!(41));
    run.feed(Input::Noted {
        step: id("a"),
        attempt: 1,
        note: Note::Checkpoint(progress.clone()),
    });
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    let effects = run.ask(again("a"));
    check(&effects, &["retry_requested a, started a", "start a #2"]);
    assert!(matches!(&effects[1], Effect::StartStep { checkpoint, .. } if *checkpoint == Some(progress)));
    // Asked for while the run is paused, it begins when the pause ends.
    run.fail_for_now("a");
    run.ask(Ask::Pause);
    check(&run.ask(again("a")), &["retry_requested a"]);
    check(&run.ask(Ask::Unpause), &["run_unpaused, started a", "start a #3"]);
}

#[test]
fn a_retry_makes_a_failed_step_and_all_that_came_after_it_pending_and_counts_failures_anew() {
    let steps = vec![
        patient("a", &[]),
        step("b", &["a"]),
        always("seal", &["b"]),
        step("x", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    check(
        &run.fail("a"),
        &["failed a, skipped b, started seal", "start seal #1"],
    );
    check(&run.succeed("seal"), &["succeeded seal"]);
    check(
        &run.ask(again("a")),
        &[
            "retry_requested a, invalidated a, invalidated b, invalidated seal, started a",
            "start a #2",
        ],
    );
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    let record = run.machine.state().step(&id("a"));
    assert_eq!((record.attempts, record.failures), (2, 1));
    run.pass(SECOND);
    run.feed(Input::Wake);
    check(
        &run.succeed("a"),
        &["succeeded a, started b", "start b #2".replace('2', "1").as_str()],
    );
    check(&run.succeed("b"), &["succeeded b, started seal", "start seal #2"]);
}

#[test]
fn a_retry_of_what_was_skipped_takes_what_failed_with_it_and_leaves_the_rest() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["b"]),
        step("other", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    run.fail("a");
    run.fail("other");
    assert_eq!(run.machine.state().outcome, Some(Outcome::Failed));
    assert_eq!(
        run.ask_undriven(again("b")).unwrap(),
        ["run_reopened, retry_requested b, invalidated a, invalidated b, invalidated c"]
    );
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
    assert_eq!(run.states(), ["running", "pending", "pending", "failed"]);
}

#[test]
fn a_succeeded_step_can_run_again_with_all_that_came_after_it() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["b"]),
        step("x", &["a"]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    for step in ["a", "b", "c", "x"] {
        run.succeed(step);
    }
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
    assert_eq!(
        run.ask_undriven(again("b")).unwrap(),
        ["run_reopened, retry_requested b, invalidated b, invalidated c"]
    );
    check(&run.crash_and_begin(), &["recheck a"]);
    let a = id("a");
    check(
        &run.feed(Input::Rechecked { step: a, gone: None }),
        &["started b", "start b #2"],
    );
    run.succeed("b");
    check(&run.succeed("c"), &["succeeded c, run_finished", "finish"]);
}

#[test]
fn all_that_failed_runs_again_in_one_request_with_what_came_after_it_and_nothing_else_does() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("x", &[]),
        step("y", &["x"]),
        always("seal", &["b", "y"]),
        step("apart", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    run.succeed("a");
    run.succeed("apart");
    run.fail("b");
    run.fail("x");
    run.succeed("seal");
    assert_eq!(run.machine.state().outcome, Some(Outcome::Failed));
    assert_eq!(
        run.ask_undriven(Ask::RetryFailed).unwrap(),
        [
            "run_reopened, retry_requested b, retry_requested x, invalidated b, invalidated x, invalidated y, \
          invalidated seal"
        ]
    );
    run.crash_and_begin();
    let a = id("a");
    check(
        &run.feed(Input::Rechecked { step: a, gone: None }),
        &["started b, started x", "start b #2", "start x #2"],
    );
    let begun = run.try_ask(Ask::RetryFailed);
    assert_eq!(begun, Err(Refusal::NothingFailed), "it is at work by now");
    assert_eq!(run.states()[5], "succeeded");
}

#[test]
fn what_a_cancellation_left_undone_counts_as_failed_when_all_that_failed_is_to_run_again() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &["a"])]));
    run.ask(Ask::Cancel);
    run.fail("a");
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
    run.ask_undriven(Ask::RetryFailed).unwrap();
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
    run.succeed("a");
    run.succeed("b");
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
    let again = run.ask_undriven(Ask::RetryFailed).unwrap_err();
    assert_eq!(again, Refusal::NothingFailed);
    let next = again.next(run.machine.state().id);
    let from_step =
        matches!(&next[0].action, Some(Action::Resume { again, .. }) if *again == Again::FromStep);
    assert!(from_step, "{next:?}");
}

#[test]
fn a_retry_is_refused_where_it_would_pull_the_ground_from_under_work() {
    let steps = vec![step("a", &[]), step("b", &["a"]), always("c", &["b"])];
    let (mut run, _) = Run::begun(plan(9, steps));
    run.succeed("a");
    let refused = |at_work: &str| Refusal::DependentsAtWork {
        steps: vec![id("a")],
        at_work: vec![id(at_work)],
    };
    assert_eq!(run.try_ask(again("a")), Err(refused("b")));
    assert_eq!(run.try_ask(again("b")), Err(Refusal::AtWork { step: id("b") }));
    assert_eq!(
        run.try_ask(again("c")),
        Err(Refusal::NothingToRetry {
            step: id("c"),
            state: "pending"
        })
    );
    run.fail("b");
    assert_eq!(run.try_ask(again("a")), Err(refused("c")), "at whatever distance");
}

#[test]
fn a_retry_takes_a_question_and_a_wait_after_it_back() {
    let waits = PlanStep {
        run_if: RunIf::Always,
        ..patient("waits", &["a"])
    };
    let (mut run, _) = Run::begun(plan(9, vec![step("a", &[]), question("confirm", &["a"]), waits]));
    run.succeed("a");
    run.fail_for_now("waits");
    check(
        &run.ask(again("a")),
        &[
            "retry_requested a, invalidated a, invalidated confirm, invalidated waits, started a",
            "start a #2",
        ],
    );
}

#[test]
fn what_its_own_condition_skipped_cannot_be_retried() {
    let never = PlanStep {
        run_if: RunIf::Failure,
        ..step("never", &["a"])
    };
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), never, step("b", &["a"])]));
    run.succeed("a");
    let refused = run.try_ask(again("never")).unwrap_err();
    assert!(
        matches!(refused, Refusal::NothingToRetry { state: "skipped", .. }),
        "{refused}"
    );
}

#[test]
fn a_step_is_left_out_for_a_reason_only_and_what_needs_it_goes_on_once_its_own_needs_have_ended() {
    let steps = vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])];
    let (mut run, _) = Run::begun(plan(9, steps));
    let silent = Request {
        note: Some("  ".to_owned()),
        ..request(leave_out("b"))
    };
    let refused = run.machine.request(&silent.fit(), &run.now, 9).unwrap_err();
    assert_eq!(refused, Refusal::NoReason { step: id("b") });
    assert_eq!(
        run.try_ask(leave_out("a")),
        Err(Refusal::AtWork { step: id("a") })
    );
    check(&run.ask(leave_out("b")), &["skipped b"]);
    let (by, why) = ("ann".to_owned(), "known".to_owned());
    assert_eq!(
        run.state("b"),
        StepState::Skipped {
            why: SkipReason::Requested { by, why }
        }
    );
    check(&run.succeed("a"), &["succeeded a, started c", "start c #1"]);
}

#[test]
fn what_had_been_skipped_because_of_a_step_that_is_left_out_runs_after_all() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        always("seal", &["b"]),
        step("x", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    run.fail("a");
    run.succeed("seal");
    check(
        &run.ask(leave_out("a")),
        &[
            "skipped a, invalidated b, invalidated seal, started b",
            "start b #1",
        ],
    );
    run.succeed("x");
    run.succeed("b");
    check(&run.succeed("seal"), &["succeeded seal, run_finished", "finish"]);
    assert_eq!(
        run.machine.state().outcome,
        Some(Outcome::Partial),
        "a run that left something out is no whole success"
    );
}

#[test]
fn what_another_failure_holds_back_is_skipped_again() {
    let steps = vec![
        step("a", &[]),
        step("b", &[]),
        step("c", &["a", "b"]),
        step("x", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    run.fail("a");
    run.fail("b");
    check(&run.ask(leave_out("a")), &["skipped a, invalidated c, skipped c"]);
    let why = SkipReason::Needs { failed: id("b") };
    assert_eq!(run.state("c"), StepState::Skipped { why });
}

#[test]
fn a_waiting_step_can_be_left_out_and_brought_back() {
    let (mut run, _) = Run::begun(plan(
        2,
        vec![patient("a", &[]), step("b", &["a"]), step("x", &[])],
    ));
    run.fail_for_now("a");
    check(&run.ask(leave_out("a")), &["skipped a, started b", "start b #1"]);
    for (ask, state) in [(leave_out("a"), "was skipped"), (leave_out("x"), "")] {
        let refused = run.try_ask(ask).unwrap_err();
        assert!(
            matches!(&refused, Refusal::NothingToSkip { state: found, .. } if *found == state)
                || matches!(refused, Refusal::AtWork { .. }),
            "{refused}"
        );
    }
    run.succeed("b");
    check(
        &run.ask(again("a")),
        &[
            "retry_requested a, invalidated a, invalidated b, started a",
            "start a #2",
        ],
    );
}

#[test]
fn a_run_that_is_over_takes_retries_and_skips_and_nothing_else() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &["a"])]));
    run.fail("a");
    let outcome = Outcome::Failed;
    for ask in [Ask::Cancel, Ask::Pause, Ask::Unpause, approve("a"), reject("a")] {
        assert_eq!(run.ask_undriven(ask), Err(Refusal::Over { outcome }));
    }
    assert_eq!(
        run.ask_undriven(leave_out("a")).unwrap(),
        ["run_reopened, skipped a, invalidated b"]
    );
    check(&run.crash_and_begin(), &["started b", "start b #1"]);
}

#[test]
fn what_a_cancellation_left_undone_is_no_success_when_the_run_is_opened_for_something_else() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &[])]));
    run.ask(Ask::Cancel);
    run.end("a", Ending::Dropped);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
    assert_eq!(
        run.ask_undriven(again("a")).unwrap(),
        ["run_reopened, retry_requested a, invalidated a"]
    );
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
    check(&run.succeed("a"), &["succeeded a, run_finished", "finish"]);
    assert_eq!(run.states(), ["succeeded", "skipped"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Failed));
}

#[test]
fn a_request_that_comes_while_stopping_holds_for_the_next_process() {
    let (mut run, _) = Run::begun(plan(2, vec![step("a", &[]), step("b", &[]), step("c", &["b"])]));
    run.fail("b");
    run.feed(Input::Stop);
    check(
        &run.ask(again("b")),
        &["retry_requested b, invalidated b, invalidated c"],
    );
    check(&run.end("a", Ending::Dropped), &["interrupt"]);
    check(
        &run.crash_and_begin(),
        &["started b", "reconcile a #1", "start b #2"],
    );
}

#[test]
fn a_cancellation_asked_for_while_nobody_drives_ends_the_run_when_somebody_does() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &["a"])]));
    assert_eq!(run.ask_undriven(Ask::Cancel).unwrap(), ["cancel_requested"]);
    check(
        &run.crash_and_begin(),
        &["failed a, skipped b, run_finished", "finish"],
    );
}
