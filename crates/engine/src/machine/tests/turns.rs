//! What a machine decides about turns: of its run in the run's group, of its steps in theirs.

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
fn a_run_that_gives_way_to_those_it_waits_for_has_failed_and_says_for_whom() {
    let (mut run, _) = Run::begun(grouped(vec![step("a", &[]), step("b", &["a"])]));
    run.feed(Input::TurnOf(RunId(Uuid::from_u128(9))));
    let cycle = cycle(&run);
    let skipped = "deadlocked, skipped a, skipped b, run_finished";
    check(&run.feed(Input::Deadlock(cycle.clone())), &[skipped, "finish"]);
    let state = run.machine.state();
    assert_eq!(state.outcome, Some(Outcome::Failed));
    assert_eq!(state.awaits_turn, None);
    assert_eq!(state.deadlock.as_ref().unwrap().cycle, cycle);
    let why = SkipReason::Deadlock;
    assert_eq!(run.state("a"), StepState::Skipped { why });

    // Opened again, it waits for its turn as ever.
    run.ask_undriven(Ask::RetryFailed).unwrap();
    assert!(run.crash_and_begin().is_empty());
    assert_eq!(run.machine.state().deadlock, None);
    check(&run.feed(Input::Turn), &["started a", "start a #1"]);
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
    run.feed(Input::Turn);
    run.succeed("a");
    assert!(
        run.crash_and_begin().is_empty(),
        "others may have their turn by now"
    );
    let cycle = cycle(&run);
    let gives_way = "deadlocked, failed b, undo_started a, undo_stuck a, run_finished";
    check(&run.feed(Input::Deadlock(cycle)), &[gives_way, "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Stuck));
    let StepState::Failed { error } = run.state("b") else {
        panic!("{:?}", run.states());
    };
    assert_eq!(error.code, code::DEADLOCK);

    // The undo is tried again, in the run's turn.
    run.ask_undriven(again("a")).unwrap();
    assert!(run.crash_and_begin().is_empty());
    check(&run.feed(Input::Turn), &["undo_started a", "undo a #2"]);
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
    run.feed(Input::Turn);
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
