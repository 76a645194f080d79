//! What a machine decides about `on_failure`, `on_cancel` and `finally`.

use rekindle_model::event::Outcome;

use super::*;
use crate::machine::Undone;

/// Returns a run of `a ─ b` with a handler of each kind; `a` can be undone and has succeeded, `b` is at work.
fn run() -> Run {
    let (mut run, _) = Run::begun(steps());
    run.succeed("a");
    run
}

fn steps() -> Plan {
    let a = PlanStep {
        compensate: Some(Compensate {
            uses: "test".to_owned(),
            with: json!({}),
        }),
        ..step("a", &[])
    };
    let all = ["a", "b"];
    plan(
        2,
        vec![
            a,
            step("b", &["a"]),
            handler("alarm", &all, Handler::OnFailure),
            handler("called_off", &all, Handler::OnCancel),
            handler("tidy", &["a", "b", "alarm", "called_off"], Handler::Finally),
        ],
    )
}

fn undone(run: &mut Run, step: &str) -> Vec<Effect> {
    let step = StepId::from(step);
    let attempt = run.machine.state().step(&step).undo.unwrap().attempts;
    let ending = Undone::Succeeded;
    run.feed(Input::Undone {
        step,
        attempt,
        ending,
    })
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.machine.state().outcome
}

#[test]
fn a_failed_run_is_undone_then_raises_its_alarm_then_tidies_up() {
    let mut run = run();
    check(&run.fail("b"), &["failed b, undo_started a", "undo a #1"]);
    check(
        &undone(&mut run, "a"),
        &[
            "undo_succeeded a, skipped called_off, started alarm",
            "start alarm #1",
        ],
    );
    check(
        &run.succeed("alarm"),
        &["succeeded alarm, started tidy", "start tidy #1"],
    );
    check(&run.succeed("tidy"), &["succeeded tidy, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
}

#[test]
fn a_cancelled_run_runs_the_handlers_for_that_and_cancels_none_of_them() {
    let mut run = run();
    check(&run.ask(Ask::Cancel), &["cancel_requested", "cancel b"]);
    check(&run.fail("b"), &["failed b, undo_started a", "undo a #1"]);
    check(
        &undone(&mut run, "a"),
        &[
            "undo_succeeded a, skipped alarm, started called_off",
            "start called_off #1",
        ],
    );
    check(
        &run.fail("called_off"),
        &["failed called_off, started tidy", "start tidy #1"],
    );
    run.succeed("tidy");
    assert_eq!(outcome(&run), Some(Outcome::Cancelled));
}

#[test]
fn a_run_that_succeeds_runs_only_what_always_runs() {
    let mut run = run();
    check(
        &run.succeed("b"),
        &[
            "succeeded b, skipped alarm, skipped called_off, started tidy",
            "start tidy #1",
        ],
    );
    check(&run.succeed("tidy"), &["succeeded tidy, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

#[test]
fn a_handler_that_fails_fails_the_run_and_undoes_nothing() {
    let mut run = run();
    run.succeed("b");
    check(&run.fail("tidy"), &["failed tidy, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
    // Tried again, it alone runs again.
    assert_eq!(
        run.ask_undriven(Ask::RetryFailed).unwrap(),
        ["run_reopened, retry_requested tidy, invalidated tidy"]
    );
    check(&run.crash_and_begin(), &["started tidy", "start tidy #2"]);
    run.succeed("tidy");
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

#[test]
fn a_handler_that_is_tried_again_runs_no_undone_step_again() {
    let mut run = run();
    run.fail("b");
    undone(&mut run, "a");
    run.fail("alarm");
    run.succeed("tidy");
    assert_eq!(
        run.ask_undriven(again("alarm")).unwrap(),
        ["run_reopened, retry_requested alarm, invalidated alarm, invalidated tidy"]
    );
    check(&run.crash_and_begin(), &["started alarm", "start alarm #2"]);
}

#[test]
fn the_deadline_of_the_run_ends_no_handler() {
    let limited = Plan {
        deadline: Some(SECOND),
        ..steps()
    };
    let (mut run, _) = Run::begun(limited);
    run.succeed("a");
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["deadline_passed", "cancel b"]);
    run.fail("b");
    check(
        &undone(&mut run, "a"),
        &[
            "undo_succeeded a, skipped called_off, started alarm",
            "start alarm #1",
        ],
    );
    run.pass(SECOND * 100);
    check(&run.feed(Input::Wake), &[]);
    // Neither is one lost that begins after a crash.
    check(&run.crash_and_begin(), &["reconcile alarm #1"]);
    check(
        &run.found("alarm", Found::Redo { evidence: json!({}) }),
        &["reconciled alarm, started alarm", "start alarm #2"],
    );
    run.succeed("alarm");
    run.succeed("tidy");
    assert_eq!(outcome(&run), Some(Outcome::Failed));

    let limited = Plan {
        deadline: Some(SECOND),
        ..steps()
    };
    let (mut run, _) = Run::begun(limited);
    run.succeed("a");
    check(
        &run.succeed("b"),
        &[
            "succeeded b, skipped alarm, skipped called_off, started tidy",
            "start tidy #1",
        ],
    );
    run.pass(SECOND * 100);
    check(&run.feed(Input::Wake), &[]);
    run.succeed("tidy");
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

#[test]
fn a_handler_has_a_deadline_of_its_own_and_tries_again_in_a_run_that_ends() {
    let mut limited = steps();
    for step in &mut limited.steps {
        if step.handler.is_some() {
            (step.deadline, step.retry) = (Some(SECOND * 5), retry(9));
        }
    }
    let (mut run, _) = Run::begun(limited);
    run.ask(Ask::Cancel);
    run.fail("a");
    undone(&mut run, "a");
    check(
        &run.fail_for_now("called_off"),
        &["failed called_off", "timer called_off 1s"],
    );
    run.pass(SECOND);
    check(
        &run.feed(Input::Wake),
        &["started called_off", "start called_off #2", "timer called_off 4s"],
    );
    run.pass(SECOND * 4);
    check(&run.feed(Input::Wake), &["cancel called_off"]);
    check(
        &run.fail_for_now("called_off"),
        &[
            "failed called_off, started tidy",
            "start tidy #1",
            "timer tidy 5s",
        ],
    );
}

#[test]
fn a_second_cancel_ends_the_handlers_too() {
    let mut run = run();
    run.ask(Ask::Cancel);
    run.fail("b");
    undone(&mut run, "a");
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, skipped tidy", "cancel called_off"],
    );
    assert!(matches!(run.try_ask(Ask::Cancel), Err(Refusal::Cancelled { .. })));
    check(
        &run.fail("called_off"),
        &["failed called_off, run_finished", "finish"],
    );
    assert_eq!(outcome(&run), Some(Outcome::Cancelled));
}

#[test]
fn a_second_cancel_holds_after_a_crash_and_stops_no_undo() {
    let mut run = run();
    run.ask(Ask::Cancel);
    run.fail("b");
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, skipped alarm, skipped called_off, skipped tidy"],
    );
    run.crash_and_begin();
    check(
        &undone(&mut run, "a"),
        &["undo_succeeded a, run_finished", "finish"],
    );
}

#[test]
fn a_cancel_while_handlers_are_at_work_changes_nothing_and_a_second_ends_them() {
    for crash in [false, true] {
        let mut run = run();
        run.succeed("b");
        check(&run.ask(Ask::Cancel), &["cancel_requested"]);
        if crash {
            check(&run.crash_and_begin(), &["reconcile tidy #1"]);
            run.found("tidy", Found::Redo { evidence: json!({}) });
        }
        check(&run.ask(Ask::Cancel), &["cancel_requested", "cancel tidy"]);
        check(&run.fail("tidy"), &["failed tidy, run_finished", "finish"]);
        assert_eq!(outcome(&run), Some(Outcome::Failed), "nothing is undone");
    }
}

#[test]
fn a_stuck_undo_raises_the_alarm_and_again_once_it_is_tried_again() {
    for cancelled in [false, true] {
        let mut run = run();
        if cancelled {
            run.ask(Ask::Cancel);
        }
        run.fail("b");
        let attempt = run
            .machine
            .state()
            .step(&StepId::plain("a"))
            .undo
            .unwrap()
            .attempts;
        let ending = Undone::Failed(Failure::permanent("broken", "it broke"));
        let stuck = run.feed(Input::Undone {
            step: StepId::plain("a"),
            attempt,
            ending,
        });
        assert!(lines(&stuck).contains(&"start alarm #1".to_owned()), "{stuck:?}");
        run.succeed("alarm");
        if cancelled {
            run.succeed("called_off");
        }
        run.succeed("tidy");
        assert_eq!(outcome(&run), Some(Outcome::Stuck));
        run.ask_undriven(Ask::RetryFailed).unwrap();
        check(&run.crash_and_begin(), &["undo_started a", "undo a #2"]);
        let next = undone(&mut run, "a");
        assert!(lines(&next).contains(&"start alarm #2".to_owned()), "{next:?}");
    }
}

#[test]
fn a_run_that_gives_way_in_a_deadlock_raises_its_alarm() {
    let in_group = Plan {
        concurrency: Some("nightly".to_owned()),
        ..steps()
    };
    let (mut run, first) = Run::begun(in_group);
    check(&first, &[]);
    check(
        &run.feed(Input::Deadlock(Vec::new())),
        &[
            "deadlocked, skipped a, skipped b, skipped called_off, started alarm",
            "start alarm #1",
        ],
    );
    assert_eq!(run.machine.awaits_lock(), None, "it never gets it");
    run.succeed("alarm");
    check(&run.succeed("tidy"), &["succeeded tidy, run_finished", "finish"]);
    assert_eq!(outcome(&run), Some(Outcome::Failed));
}

#[test]
fn a_run_that_was_cancelled_before_it_had_its_lock_waits_for_it_to_run_its_handlers() {
    let in_group = Plan {
        concurrency: Some("nightly".to_owned()),
        ..steps()
    };
    let (mut run, _) = Run::begun(in_group);
    check(&run.ask(Ask::Cancel), &["cancel_requested, skipped a, skipped b"]);
    assert_eq!(run.machine.awaits_lock(), Some("nightly"));
    check(
        &run.feed(Input::LockTaken),
        &["skipped alarm, started called_off", "start called_off #1"],
    );
}

#[test]
fn a_handler_that_was_asked_to_stop_with_its_owner_goes_on_later() {
    for cancelled in [false, true] {
        let mut run = run();
        if cancelled {
            run.ask(Ask::Cancel);
        }
        run.fail("b");
        undone(&mut run, "a");
        let at_work = if cancelled { "called_off" } else { "alarm" };
        check(&run.feed(Input::Stop), &[&format!("cancel {at_work}")]);
        check(&run.end(at_work, Ending::Dropped), &["interrupt"]);
        check(&run.crash_and_begin(), &[&format!("reconcile {at_work} #1")]);
        run.found(at_work, Found::Redo { evidence: json!({}) });
        run.succeed(at_work);
        run.succeed("tidy");
        assert!(outcome(&run).is_some());
    }
}

#[test]
fn a_paused_run_begins_no_handler_and_a_cancel_lets_them_begin() {
    let mut run = run();
    run.ask(Ask::Pause);
    run.fail("b");
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, undo_started a", "undo a #1"],
    );
    check(
        &undone(&mut run, "a"),
        &[
            "undo_succeeded a, skipped alarm, started called_off",
            "start called_off #1",
        ],
    );
}

#[test]
fn a_resume_among_the_handlers_looks_for_no_undone_work() {
    let mut run = run();
    run.fail("b");
    undone(&mut run, "a");
    run.succeed("alarm");
    check(&run.crash_and_begin(), &["reconcile tidy #1"]);
}

#[test]
fn a_question_of_a_handler_is_answered_in_a_cancelled_run() {
    let mut asking = steps();
    asking.steps[3].uses = APPROVE.to_owned();
    asking.steps[3].with = json!({ "message": "sure?" });
    let (mut run, _) = Run::begun(asking);
    run.ask(Ask::Cancel);
    run.fail("a");
    undone(&mut run, "a");
    let answered = run.ask(approve("called_off"));
    check(
        &answered,
        &[
            "approved called_off, succeeded called_off, started tidy",
            "start tidy #1",
        ],
    );
}
