//! Which steps a machine starts, in which order, and with which parameters.

use rekindle_model::event::Outcome;
use rekindle_model::failure::code;

use super::*;

#[test]
fn a_success_and_the_starts_that_it_unlocks_are_one_append() {
    let (mut run, begun) = Run::begun(plan(
        4,
        vec![
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["a"]),
            step("d", &["b", "c"]),
        ],
    ));
    check(&begun, &["started a", "start a #1"]);
    check(
        &run.succeed("a"),
        &["succeeded a, started b, started c", "start b #1", "start c #1"],
    );
    check(&run.succeed("c"), &["succeeded c"]);
    check(&run.succeed("b"), &["succeeded b, started d", "start d #1"]);
    check(&run.succeed("d"), &["succeeded d, run_finished", "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_plan_without_steps_succeeds_at_once() {
    let (run, begun) = Run::begun(plan(1, vec![]));
    check(&begun, &["run_finished", "finish"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
}

#[test]
fn the_most_urgent_start_first_and_no_more_than_allowed() {
    let urgent = |id: &str, priority| PlanStep {
        priority,
        ..step(id, &[])
    };
    let steps = vec![
        urgent("late", 9),
        urgent("soon", 1),
        urgent("tie", 1),
        urgent("mid", 5),
    ];
    let (mut run, begun) = Run::begun(plan(2, steps));
    check(
        &begun,
        &["started soon, started tie", "start soon #1", "start tie #1"],
    );
    assert!(
        run.machine.starved().is_none(),
        "the plan's own limit is no lack of room"
    );
    check(
        &run.succeed("tie"),
        &["succeeded tie, started mid", "start mid #1"],
    );
}

#[test]
fn without_room_in_the_process_nothing_starts_and_the_machine_says_so() {
    let mut run = Run::new(plan(4, vec![step("a", &[]), step("b", &[])]));
    check(&run.feed_with_room(Input::Begin, 1), &["started a", "start a #1"]);
    assert_eq!(run.machine.starved(), Some(100));
    check(&run.feed_with_room(Input::Wake, 1), &["started b", "start b #1"]);
    assert_eq!(run.machine.starved(), None);
}

#[test]
fn a_permit_that_a_more_urgent_step_of_another_run_waits_for_is_left_to_it() {
    let urgent = |id: &str, priority| PlanStep {
        priority,
        ..step(id, &[])
    };
    let mut run = Run::new(plan(4, vec![urgent("a", 1), urgent("b", 5), urgent("c", 9)]));
    run.machine.yield_to(Some(5));
    check(&run.feed(Input::Begin), &["started a", "start a #1"]);
    assert_eq!(
        run.machine.starved(),
        Some(5),
        "an equally urgent step has waited longer"
    );
    run.machine.yield_to(Some(7));
    check(&run.feed(Input::Wake), &["started b", "start b #1"]);
    assert_eq!(run.machine.starved(), Some(9));
    run.machine.yield_to(None);
    check(&run.feed(Input::Wake), &["started c", "start c #1"]);
    assert_eq!(run.machine.starved(), None);
}

#[test]
fn an_expression_that_fails_is_a_failed_attempt_whose_action_is_never_called() {
    let broken = PlanStep {
        with: json!({ "x": "${{ steps.a.nothing }}" }),
        ..step("b", &["a"])
    };
    let (mut run, _) = Run::begun(plan(4, vec![step("a", &[]), broken, step("c", &["b"])]));
    check(
        &run.succeed("a"),
        &[
            "succeeded a, started b, failed b, skipped c, run_finished",
            "finish",
        ],
    );
    let StepState::Failed { error } = run.state("b") else {
        panic!("{:?}", run.state("b"))
    };
    assert_eq!(error.code, code::EXPRESSION);
    assert!(error.message.contains("steps.a.nothing"), "{error}");
}

#[test]
fn parameters_are_rendered_from_outputs_loops_components_and_the_run() {
    let with = json!({
        "n": "${{ steps.locate.n }}", "one": "${{ steps.restore['x'].ok }}", "c": "${{ component.name }}",
        "priority": "${{ component.priority }}", "run": "${{ run.id }}", "p": "${{ params.p }}", "e": "${{ each.component }}",
    });
    let last = PlanStep {
        with,
        ..step("validate[x]", &["locate", "restore[x]"])
    };
    let mut whole = plan(4, vec![step("locate", &[]), step("restore[x]", &[]), last]);
    whole.params.insert("p".to_owned(), json!([1, 2]));
    let mut run = Run::new(whole);
    let ambient = json!({ "system": { "components": { "x": { "priority": 3 } } }, "params": "hidden" });
    run.machine = Machine::new(Arc::clone(&run.plan), &run.records, ambient, BTreeMap::new()).unwrap();
    run.feed(Input::Begin);
    run.end("locate", succeeded(json!({ "n": 5 })));
    let effects = run.end("restore[x]", succeeded(json!({ "ok": true })));
    let Some(Effect::StartStep { with, .. }) = effects.get(1) else {
        panic!("{effects:?}")
    };
    let id = run.machine.state().id;
    assert_eq!(
        *with,
        json!({ "n": 5, "one": true, "c": "x", "priority": 3, "run": id, "p": [1, 2], "e": "x" })
    );
}
