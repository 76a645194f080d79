//! What a machine decides for a run that another process left.

use rekindle_model::event::{Outcome, SkipReason, Verdict};
use rekindle_model::failure::code;

use super::*;

fn redo() -> Found {
    Found::Redo {
        evidence: json!("nothing there"),
    }
}

fn adopt(value: Value) -> Found {
    let output = Payload::Inline(value.clone());
    Found::Complete {
        output,
        value,
        measures: Measures::new(),
        evidence: json!("all there"),
    }
}

#[test]
fn what_was_cut_off_is_reconciled_before_anything_else_happens_to_it() {
    let evidence = json!("half there");
    for (found, expect, checkpoint_kept) in [
        (
            adopt(json!(1)),
            &["reconciled a, succeeded a, started b", "start b #1"][..],
            None,
        ),
        (
            Found::Continue { evidence },
            &["reconciled a, started a", "start a #2"],
            Some(true),
        ),
        (redo(), &["reconciled a, started a", "start a #2"], Some(false)),
    ] {
        let (mut run, _) = Run::begun(plan(1, vec![step("a", &[]), step("b", &["a"])]));
        let progress = Payload::Inline(json!(7));
        run.feed(Input::Noted {
            step: StepId::plain("a"),
            attempt: 1,
            note: Note::Checkpoint(progress.clone()),
        });
        let begun = run.crash_and_begin();
        check(&begun, &["reconcile a #1"]);
        let Some(Effect::Reconcile { checkpoint, .. }) = begun.first() else {
            panic!("{begun:?}")
        };
        assert_eq!(*checkpoint, Some(progress.clone()));
        let effects = run.found("a", found);
        check(&effects, expect);
        if let (Some(kept), Some(Effect::StartStep { checkpoint, .. })) = (checkpoint_kept, effects.get(1)) {
            assert_eq!(*checkpoint, kept.then_some(progress));
        }
    }
}

#[test]
fn a_crash_uses_up_no_attempt() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: retry(2),
            ..step("a", &[])
        }],
    ));
    for attempt in 2..6 {
        run.crash_and_begin();
        check(
            &run.found("a", redo()),
            &["reconciled a, started a", &format!("start a #{attempt}")],
        );
    }
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
}

#[test]
fn a_resumed_run_waits_only_for_what_remains() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: retry(9),
            ..step("a", &[])
        }],
    ));
    run.fail_for_now("a");
    run.pass(SECOND / 4);
    check(&run.crash_and_begin(), &["timer a 0.75s"]);
    // The wall clock jumps ahead by a day: within one boot that is no time at all.
    run.now.utc += SECOND * 86_400;
    check(&run.crash_and_begin(), &["timer a 0.75s"]);
    // A reboot with a clock that was set back by two days: no longer than the wait was.
    run.now = Stamp {
        utc: run.now.utc - SECOND * 2 * 86_400,
        boot_ns: 0,
        boot_id: Uuid::from_u128(2),
    };
    check(&run.crash_and_begin(), &["timer a 1s"]);
    run.now.utc += SECOND * 3 * 86_400;
    check(&run.crash_and_begin(), &["started a", "start a #2"]);
}

#[test]
fn a_verdict_that_was_journaled_without_its_start_is_sought_again() {
    for verdict in [Verdict::Complete, Verdict::Continue, Verdict::Redo] {
        let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
        let step = StepId::plain("a");
        run.journal(vec![Event::StepReconciled {
            step,
            attempt: 1,
            verdict,
            evidence: Value::Null,
        }]);
        check(&run.crash_and_begin(), &["reconcile a #1"]);
        check(
            &run.found("a", redo()),
            &["reconciled a, started a", "start a #2"],
        );
    }
}

#[test]
fn looking_that_fails_is_tried_again_and_then_fails_the_step() {
    for verdict in [None, Some(Verdict::Complete), Some(Verdict::Continue)] {
        let (mut run, _) = Run::begun(plan(
            1,
            vec![PlanStep {
                retry: retry(2),
                ..step("a", &[])
            }],
        ));
        if let Some(verdict) = verdict {
            let step = StepId::plain("a");
            run.journal(vec![Event::StepReconciled {
                step,
                attempt: 1,
                verdict,
                evidence: Value::Null,
            }]);
        }
        run.crash_and_begin();
        let down = || Found::Failed(Failure::transient(code::TIER_UNAVAILABLE, "the tier is down"));
        check(&run.found("a", down()), &["timer a 1s"]);
        run.pass(SECOND);
        check(&run.feed(Input::Wake), &["reconcile a #1"]);
        run.found("a", down());
        let StepState::Failed { error } = run.state("a") else {
            panic!("{verdict:?}: {:?}", run.state("a"))
        };
        assert_eq!(error.code, code::TIER_UNAVAILABLE);
        assert_eq!(run.machine.state().outcome, Some(Outcome::Failed));
    }
}

#[test]
fn a_stop_while_looking_leaves_the_step_to_the_next_process() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.crash_and_begin();
    check(&run.feed(Input::Stop), &["cancel a"]);
    check(&run.found("a", redo()), &["reconciled a", "interrupt"]);
    run.crash_and_begin();
    run.feed(Input::Stop);
    check(&run.found("a", Found::Dropped), &["interrupt"]);
    assert_eq!(run.states(), ["reconciled"]);
}

#[test]
fn a_cancelled_run_that_was_cut_off_ends_cancelled_without_looking() {
    let (mut run, _) = Run::begun(plan(2, vec![step("a", &[]), step("b", &["a"])]));
    run.ask(Ask::Cancel);
    check(&run.crash_and_begin(), &["failed a, run_finished", "finish"]);
    assert_eq!(run.states(), ["failed", "skipped"]);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
}

/// Returns a run of `a ─ b ─ c ─ d` and `x`, in which all but `d` and `x` have succeeded, resumed.
fn chain() -> (Run, Vec<Effect>) {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["b"]),
        step("d", &["c"]),
        step("x", &[]),
    ];
    let (mut run, _) = Run::begun(plan(9, steps));
    for id in ["a", "b", "c"] {
        run.succeed(id);
    }
    let begun = run.crash_and_begin();
    (run, begun)
}

fn rechecked(step: &str, gone: Option<&str>) -> Input {
    Input::Rechecked {
        step: StepId::from(step),
        gone: gone.map(str::to_owned),
    }
}

#[test]
fn what_unfinished_steps_rest_on_is_rechecked_before_anything_else() {
    let (mut run, begun) = chain();
    check(&begun, &["recheck a", "recheck b", "recheck c"]);
    check(&run.feed(rechecked("a", None)), &[]);
    check(&run.feed(rechecked("b", None)), &[]);
    check(
        &run.feed(rechecked("c", None)),
        &["reconcile d #1", "reconcile x #1"],
    );
}

#[test]
fn what_is_gone_runs_again_with_its_dependents_and_nothing_else() {
    let (mut run, _) = chain();
    run.feed(rechecked("a", None));
    check(
        &run.feed(rechecked("b", Some("the file is gone"))),
        &["invalidated b, invalidated c"],
    );
    check(
        &run.feed(rechecked("c", None)),
        &["started b", "start b #2", "reconcile x #1"],
    );
    assert_eq!(
        run.states(),
        ["succeeded", "running", "pending", "running", "running"]
    );
    check(&run.succeed("b"), &["succeeded b, started c", "start c #2"]);
    // What was cut off is looked at once all it needs is there again.
    check(&run.succeed("c"), &["succeeded c", "reconcile d #1"]);
}

#[test]
fn what_was_cut_off_is_skipped_when_what_it_needs_is_gone_for_good() {
    let (mut run, _) = chain();
    run.feed(rechecked("a", None));
    run.feed(rechecked("b", None));
    run.feed(rechecked("c", Some("gone")));
    check(&run.fail("c"), &["failed c, reconciled d, skipped d"]);
    assert_eq!(
        run.state("d"),
        StepState::Skipped {
            why: SkipReason::Needs {
                failed: StepId::plain("c")
            }
        }
    );
}

#[test]
fn the_output_of_what_is_gone_cannot_be_named_any_more() {
    let reader = PlanStep {
        with: json!("${{ steps.a.of }}"),
        run_if: RunIf::Always,
        ..step("b", &["a"])
    };
    let (mut run, _) = Run::begun(plan(9, vec![step("a", &[]), reader]));
    run.succeed("a");
    check(&run.crash_and_begin(), &["recheck a"]);
    check(
        &run.feed(rechecked("a", Some("gone"))),
        &["invalidated a, started a", "start a #2"],
    );
    run.fail("a");
    let StepState::Failed { error } = run.state("b") else {
        panic!("{:?}", run.state("b"))
    };
    assert_eq!(error.code, code::EXPRESSION);
}

#[test]
fn a_history_of_another_plan_is_refused() {
    let (run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    let other = Arc::new(plan(1, vec![step("b", &[])]));
    let error = Machine::new(other, &run.records, json!({}), BTreeMap::new())
        .err()
        .unwrap();
    assert!(matches!(error, crate::EngineError::OtherPlan { step, .. } if step == StepId::plain("a")));
}
