//! What a machine decides for a step that waits for a run of its own.

use super::*;
use crate::context::INTERRUPTED;
use crate::nest::WORKFLOW;

fn call(id: &str, needs: &[&str]) -> PlanStep {
    PlanStep {
        uses: WORKFLOW.to_owned(),
        ..step(id, needs)
    }
}

#[test]
fn a_step_that_waits_for_a_run_takes_no_room() {
    let steps = vec![call("x", &[]), call("y", &[]), step("a", &[]), step("b", &[])];
    let (mut run, begun) = Run::begun(plan(1, steps.clone()));
    let journaled = "started x, started y, started a";
    check(&begun, &[journaled, "start x #1", "start y #1", "start a #1"]);
    check(&run.succeed("a"), &["succeeded a, started b", "start b #1"]);
    // Nor one of the process's permits, also when it is looked into after a crash.
    let mut run = Run::new(plan(1, steps));
    let begun = run.feed_with_room(Input::Begin, 0);
    check(&begun, &["started x, started y", "start x #1", "start y #1"]);
    assert!(
        run.machine.starved().is_some(),
        "what needs a permit waits for one"
    );
    run.crash();
    let again = run.feed_with_room(Input::Begin, 0);
    check(&again, &["reconcile x #1", "reconcile y #1"]);
    let evidence = Value::Null;
    let input = Input::Reconciled {
        step: StepId::plain("x"),
        found: Found::Continue { evidence },
    };
    check(
        &run.feed_with_room(input, 0),
        &["reconciled x, started x", "start x #2"],
    );
}

#[test]
fn where_its_run_is_interrupted_so_is_the_run_around_it() {
    let (mut run, _) = Run::begun(plan(2, vec![call("x", &[]), step("a", &[]), step("b", &["x"])]));
    let interrupted = || Ending::Failed(Failure::transient(INTERRUPTED, "its disk is full"));
    check(&run.end("x", interrupted()), &["cancel a"]);
    check(&run.end("a", interrupted()), &["interrupt"]);
    assert_eq!(
        run.states(),
        ["running", "running", "pending"],
        "both are cut off"
    );
    check(&run.crash_and_begin(), &["reconcile x #1", "reconcile a #1"]);
}

#[test]
fn what_is_cancelled_or_out_of_time_is_given_up_and_what_is_stopped_is_not() {
    let timely = |id| PlanStep {
        timeout: Some(SECOND),
        ..call(id, &[])
    };
    let told = |effects: &[Effect]| {
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::CancelStep { for_good, .. } => Some(*for_good),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let begun = || Run::begun(plan(1, vec![timely("x")])).0;
    let mut run = begun();
    assert_eq!(told(&run.ask(Ask::Cancel)), [true]);
    let mut run = begun();
    run.pass(SECOND);
    assert_eq!(told(&run.feed(Input::Wake)), [true]);
    let mut run = begun();
    assert_eq!(told(&run.feed(Input::Stop)), [false]);
    assert_eq!(
        told(&run.ask(Ask::Cancel)),
        [true],
        "it is told that there is no more to come"
    );
}
