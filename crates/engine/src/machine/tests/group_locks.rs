//! How a machine decides on locks: of its run in the run's group, and of its steps in their groups.

use rekindle_model::event::{Outcome, SkipReason, Waits};
use rekindle_model::failure::code;

use super::*;

fn grouped(steps: Vec<PlanStep>) -> Plan {
    Plan {
        concurrency: Some("nightly".to_owned()),
        ..plan(9, steps)
    }
}

/// Returns this run and another one, each of which waits for the other.
fn cycle(run: &Run) -> Vec<Waits> {
    let other = RunId(Uuid::from_u128(9));
    [run.machine.state().id, other]
        .map(|run| Waits {
            run,
            group: Some("nightly".to_owned()),
        })
        .to_vec()
}

#[test]
fn a_run_of_a_group_begins_and_goes_on_only_once_it_is_its_lock() {
    let grouped = || Plan {
        concurrency: Some("nightly".to_owned()),
        ..plan(9, vec![step("a", &[]), step("b", &["a"])])
    };
    let holder = rekindle_model::id::RunId(uuid::Uuid::from_u128(3));
    let (mut run, begun) = Run::begun(grouped());
    check(&begun, &[]);
    assert_eq!(run.machine.awaits_lock(), Some("nightly"));
    check(&run.feed(Input::LockHeldBy(holder)), &["turn_awaited"]);
    check(&run.feed(Input::LockHeldBy(holder)), &[]);
    assert_eq!(run.machine.state().awaits_lock.as_ref().unwrap().holder, holder);
    check(
        &run.feed(Input::LockTaken),
        &["turn_taken, started a", "start a #1"],
    );
    assert_eq!(run.machine.awaits_lock(), None);
    // After a crash the lock is free again. Without its lock, the run does not even reconcile.
    check(&run.crash_and_begin(), &[]);
    assert_eq!(run.machine.awaits_lock(), Some("nightly"));
    check(&run.feed(Input::LockTaken), &["reconcile a #1"]);

    // A wait can be stopped, paused and cancelled.
    let (mut run, _) = Run::begun(grouped());
    run.feed(Input::LockHeldBy(holder));
    run.ask(Ask::Pause);
    assert_eq!(run.machine.awaits_lock(), None, "it delays no other run");
    run.ask(Ask::Unpause);
    assert_eq!(run.machine.awaits_lock(), Some("nightly"));
    check(&run.feed(Input::Stop), &["interrupt"]);
    run.crash_and_begin();
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, skipped a, skipped b, run_finished", "finish"],
    );
}

#[test]
fn a_step_of_a_group_starts_once_it_is_its_lock() {
    let grouped = |id, needs: &[&str]| PlanStep {
        concurrency: Some("disk".to_owned()),
        ..step(id, needs)
    };
    let steps = vec![grouped("a", &[]), grouped("b", &[]), step("c", &[])];
    let (mut run, begun) = Run::begun(plan(3, steps));
    check(&begun, &["started c", "start c #1"]);
    assert_eq!(run.machine.wanted().iter().collect::<Vec<_>>(), ["disk"]);
    run.machine.give_lock("disk");
    check(&run.feed(Input::Wake), &["started a", "start a #1"]);
    assert!(run.machine.wanted().contains("disk"), "b waits for the next lock");
    check(&run.succeed("a"), &["succeeded a"]);
    run.machine.give_lock("disk");
    check(&run.feed(Input::Wake), &["started b", "start b #1"]);
    // A step that was cut off takes its lock to be reconciled, and continues under the same lock.
    check(&run.crash_and_begin(), &["reconcile c #1"]);
    run.machine.give_lock("disk");
    check(&run.feed(Input::Wake), &["reconcile b #1"]);
    let evidence = Value::Null;
    run.machine.give_lock("disk");
    let found = run.found("b", Found::Redo { evidence });
    check(&found, &["reconciled b, started b", "start b #2"]);
}

#[test]
fn a_run_that_gives_way_to_those_it_waits_for_has_failed_and_says_for_whom() {
    let (mut run, _) = Run::begun(grouped(vec![step("a", &[]), step("b", &["a"])]));
    run.feed(Input::LockHeldBy(RunId(Uuid::from_u128(9))));
    let cycle = cycle(&run);
    let skipped = "deadlocked, skipped a, skipped b, run_finished";
    check(&run.feed(Input::Deadlock(cycle.clone())), &[skipped, "finish"]);
    let state = run.machine.state();
    assert_eq!(state.outcome, Some(Outcome::Failed));
    assert_eq!(state.awaits_lock, None);
    assert_eq!(state.deadlock.as_ref().unwrap().cycle, cycle);
    let why = SkipReason::Deadlock;
    assert_eq!(run.state("a"), StepState::Skipped { why });

    // When the run is opened again, it waits for its group lock.
    run.ask_undriven(Ask::RetryFailed).unwrap();
    assert!(run.crash_and_begin().is_empty());
    assert_eq!(run.machine.state().deadlock, None);
    check(&run.feed(Input::LockTaken), &["started a", "start a #1"]);
}

#[test]
fn what_a_run_had_begun_before_it_gives_way_fails_and_what_it_cannot_take_back_is_stuck() {
    let compensate = Compensate {
        uses: "test".to_owned(),
        with: json!({}),
    };
    let lock = PlanStep {
        compensate: Some(compensate),
        ..step("a", &[])
    };
    let (mut run, _) = Run::begun(grouped(vec![lock, step("b", &["a"])]));
    run.feed(Input::LockTaken);
    run.succeed("a");
    assert!(
        run.crash_and_begin().is_empty(),
        "others may have their lock by now"
    );
    let cycle = cycle(&run);
    let gives_way = "deadlocked, failed b, undo_started a, undo_stuck a, run_finished";
    check(&run.feed(Input::Deadlock(cycle)), &[gives_way, "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Stuck));
    let StepState::Failed { error } = run.state("b") else {
        panic!("{:?}", run.states());
    };
    assert_eq!(error.code, code::DEADLOCK);

    // The run tries the undo again, under its lock.
    run.ask_undriven(again("a")).unwrap();
    assert!(run.crash_and_begin().is_empty());
    check(&run.feed(Input::LockTaken), &["undo_started a", "undo a #2"]);
}

#[test]
fn a_cancelled_run_that_gives_way_stays_cancelled() {
    let (mut run, _) = Run::begun(grouped(vec![PlanStep {
        compensate: Some(Compensate {
            uses: "test".to_owned(),
            with: json!({}),
        }),
        ..step("a", &[])
    }]));
    run.feed(Input::LockTaken);
    run.crash_and_begin();
    check(&run.ask(Ask::Cancel), &["cancel_requested, failed a"]);
    let cycle = cycle(&run);
    let gives_way = "deadlocked, undo_started a, undo_stuck a, run_finished";
    check(&run.feed(Input::Deadlock(cycle)), &[gives_way, "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Stuck));
    let StepState::Failed { error } = run.state("a") else {
        panic!("{:?}", run.states());
    };
    assert_eq!(error.code, code::CANCELLED);
}

fn limited() -> Plan {
    Plan {
        deadline: Some(SECOND * 60),
        ..grouped(vec![step("a", &[])])
    }
}

#[test]
fn the_deadline_of_a_run_counts_from_its_lock() {
    let other = RunId(Uuid::from_u128(9));
    let (mut run, begun) = Run::begun(limited());
    check(&begun, &[]);
    check(&run.feed(Input::LockHeldBy(other)), &["turn_awaited"]);
    run.pass(SECOND * 100);
    check(&run.feed(Input::Wake), &[]);
    let taken = ["turn_taken, started a", "start a #1", "timer a 60s"];
    check(&run.feed(Input::LockTaken), &taken);
    run.pass(SECOND * 60);
    check(&run.feed(Input::Wake), &["deadline_passed", "cancel a"]);
}

#[test]
fn a_resume_begins_the_deadline_of_a_run_with_a_lock_no_sooner_and_no_later() {
    let other = RunId(Uuid::from_u128(9));
    for waits in [true, false] {
        let (mut run, _) = Run::begun(limited());
        if waits {
            run.feed(Input::LockHeldBy(other));
            run.pass(SECOND * 100);
            // The process dies before the run has its lock. So the deadline has not begun.
            check(&run.crash_and_begin(), &[]);
            run.feed(Input::LockHeldBy(other));
        }
        run.feed(Input::LockTaken);
        run.pass(SECOND * 20);
        // The resumed run waits for its group lock again. This wait counts against the deadline, since the run had begun.
        check(&run.crash_and_begin(), &["timer a 40s"]);
        check(
            &run.feed(Input::LockHeldBy(other)),
            &["turn_awaited", "timer a 40s"],
        );
        run.pass(SECOND * 10);
        let again = ["turn_taken", "reconcile a #1", "timer a 30s"];
        check(&run.feed(Input::LockTaken), &again);
        run.pass(SECOND * 30);
        check(&run.feed(Input::Wake), &["deadline_passed", "cancel a"]);
    }
}

#[test]
fn a_run_that_is_opened_again_has_its_deadline_from_its_next_lock() {
    let (mut run, _) = Run::begun(limited());
    run.feed(Input::LockTaken);
    run.pass(SECOND * 50);
    run.fail("a");
    run.ask_undriven(again("a")).unwrap();
    run.pass(SECOND * 50);
    check(&run.crash_and_begin(), &[]);
    check(
        &run.feed(Input::LockTaken),
        &["started a", "start a #2", "timer a 60s"],
    );
}
