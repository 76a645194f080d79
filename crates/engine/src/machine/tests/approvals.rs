//! What a machine decides for a step that asks a person.

use rekindle_model::event::{Outcome, SkipReason};
use rekindle_model::failure::code;

use super::*;

/// Returns a run of `a ─ confirm ─ b` in which `confirm` waits, asking.
fn waiting(confirm: PlanStep) -> Run {
    let steps = vec![
        step("a", &[]),
        PlanStep {
            needs: vec![StepId::plain("a")],
            ..confirm
        },
        step("b", &["confirm"]),
    ];
    let (mut run, _) = Run::begun(plan(1, steps));
    let effects = run.succeed("a");
    let timer = run.plan.steps[1]
        .timeout
        .map(|after| format!("timer confirm {}s", after.as_secs_f64()));
    let journaled = "succeeded a, started confirm, approval_requested confirm".to_owned();
    assert_eq!(
        lines(&effects),
        [journaled].into_iter().chain(timer).collect::<Vec<_>>()
    );
    run
}

fn failure(run: &Run, step: &str) -> Failure {
    match run.state(step) {
        StepState::Failed { error } | StepState::Backoff { error, .. } => error,
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_question_is_journaled_with_its_start_and_is_no_task() {
    let run = waiting(question("confirm", &[]));
    assert_eq!(run.states(), ["succeeded", "running", "pending"]);
    let record = run.machine.state().step(&StepId::plain("confirm"));
    assert_eq!(record.awaits().unwrap().prompt, "sure?");
}

#[test]
fn a_question_takes_no_permit() {
    let steps = vec![
        question("confirm", &[]),
        question("really", &[]),
        step("x", &[]),
        step("y", &[]),
    ];
    let (mut run, begun) = Run::begun(plan(1, steps.clone()));
    let journaled =
        "started confirm, approval_requested confirm, started really, approval_requested really, started x";
    check(&begun, &[journaled, "start x #1"]);
    check(&run.succeed("x"), &["succeeded x, started y", "start y #1"]);
    let mut run = Run::new(plan(1, steps));
    let begun = run.feed_with_room(Input::Begin, 0);
    assert_eq!(lines(&begun).len(), 1, "a full process still asks: {begun:?}");
    assert_eq!(run.states(), ["running", "running", "pending", "pending"]);
}

#[test]
fn an_approval_is_the_success_of_the_step_and_says_who() {
    let mut run = waiting(question("confirm", &[]));
    check(
        &run.ask(approve("confirm")),
        &["approved confirm, succeeded confirm, started b", "start b #1"],
    );
    let StepState::Succeeded { output, .. } = run.state("confirm") else {
        panic!("{:?}", run.state("confirm"))
    };
    let at = run.now.utc.to_rfc3339();
    assert_eq!(
        output,
        Payload::Inline(json!({ "by": "ann", "note": "known", "at": at }))
    );
}

#[test]
fn later_steps_can_name_who_approved() {
    let reader = PlanStep {
        with: json!({ "by": "${{ steps.confirm.by }}" }),
        ..step("b", &["confirm"])
    };
    let (mut run, _) = Run::begun(plan(1, vec![question("confirm", &[]), reader]));
    let effects = run.ask(approve("confirm"));
    let Some(Effect::StartStep { with, .. }) = effects.get(1) else {
        panic!("{effects:?}")
    };
    assert_eq!(*with, json!({ "by": "ann" }));
}

#[test]
fn a_rejection_fails_the_step_for_good_whatever_its_retries() {
    let mut run = waiting(PlanStep {
        retry: retry(5),
        ..question("confirm", &[])
    });
    check(
        &run.ask(reject("confirm")),
        &[
            "rejected confirm, failed confirm, skipped b, run_finished",
            "finish",
        ],
    );
    let error = failure(&run, "confirm");
    assert_eq!((error.code.as_str(), error.retryable), (code::REJECTED, false));
    assert_eq!(error.message, "ann rejected it: known");
}

#[test]
fn a_question_that_cannot_be_put_fails_its_step() {
    let broken = PlanStep {
        with: json!({ "message": "${{ steps.nothing.at_all }}" }),
        ..question("confirm", &[])
    };
    let (run, begun) = Run::begun(plan(1, vec![broken, step("b", &["confirm"])]));
    check(
        &begun,
        &[
            "started confirm, failed confirm, skipped b, run_finished",
            "finish",
        ],
    );
    assert_eq!(failure(&run, "confirm").code, code::EXPRESSION);
}

#[test]
fn only_a_step_that_waits_can_be_decided_and_the_refusal_names_those_that_do() {
    let steps = vec![
        question("confirm", &[]),
        question("really", &[]),
        step("x", &["really"]),
    ];
    let (mut run, _) = Run::begun(plan(1, steps));
    let waiting = vec![StepId::plain("confirm"), StepId::plain("really")];
    let (step, state) = (StepId::plain("x"), "pending");
    let expect = Refusal::NotWaiting { step, state, waiting };
    assert_eq!(run.try_ask(approve("x")), Err(expect));
    run.ask(approve("really"));
    let refused = run.try_ask(reject("really")).unwrap_err();
    assert!(
        matches!(
            refused,
            Refusal::NotWaiting {
                state: "succeeded",
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_question_waits_on_through_a_crash_without_being_looked_at_or_put_again() {
    let mut run = waiting(question("confirm", &[]));
    check(&run.crash_and_begin(), &["recheck a"]);
    let a = StepId::plain("a");
    check(&run.feed(Input::Rechecked { step: a, gone: None }), &[]);
    check(
        &run.ask(approve("confirm")),
        &["approved confirm, succeeded confirm, started b", "start b #1"],
    );
}

#[test]
fn a_decision_that_came_while_nobody_drove_the_run_is_honoured_when_it_is_driven() {
    for (ask, event, expect) in [
        (approve("confirm"), "approved confirm", "succeeded confirm"),
        (reject("confirm"), "rejected confirm", "failed confirm"),
    ] {
        let mut run = waiting(question("confirm", &[]));
        assert_eq!(run.ask_undriven(ask).unwrap(), [event]);
        let refused = run.ask_undriven(approve("confirm")).unwrap_err();
        assert!(
            matches!(&refused, Refusal::Decided { by, .. } if by == "ann"),
            "{refused}"
        );
        let begun = run.crash_and_begin();
        assert_eq!(lines(&begun)[0], expect);
    }
}

#[test]
fn a_decision_beats_a_timeout_that_nobody_noticed() {
    let mut run = waiting(PlanStep {
        timeout: Some(SECOND * 5),
        ..question("confirm", &[])
    });
    run.pass(SECOND * 60);
    run.ask_undriven(approve("confirm")).unwrap();
    assert_eq!(lines(&run.crash_and_begin())[0], "succeeded confirm");
}

#[test]
fn the_time_to_decide_counts_from_the_question_and_across_crashes() {
    let timely = || {
        waiting(PlanStep {
            timeout: Some(SECOND * 5),
            ..question("confirm", &[])
        })
    };
    let mut run = timely();
    run.pass(SECOND * 2);
    check(&run.feed(Input::Wake), &["timer confirm 3s"]);
    check(&run.crash_and_begin(), &["recheck a", "timer confirm 3s"]);
    // The wall clock jumps ahead by a day: within one boot that is no time at all.
    run.now.utc += SECOND * 86_400;
    check(&run.feed(Input::Wake), &["timer confirm 3s"]);
    run.pass(SECOND * 3);
    let effects = run.feed(Input::Wake);
    check(&effects, &["failed confirm"]);
    let error = failure(&run, "confirm");
    assert_eq!(error.code, code::TIMEOUT);
    assert_eq!(error.message, "nobody decided within 5s");
    // After a reboot the wall is all there is.
    let mut run = timely();
    run.now = Stamp {
        utc: run.now.utc + SECOND * 4,
        boot_ns: 0,
        boot_id: Uuid::from_u128(2),
    };
    check(&run.crash_and_begin(), &["recheck a", "timer confirm 1s"]);
}

#[test]
fn a_question_that_nobody_answered_is_put_again_where_the_policy_says_so() {
    let mut run = waiting(PlanStep {
        timeout: Some(SECOND * 5),
        retry: retry(2),
        ..question("confirm", &[])
    });
    run.pass(SECOND * 5);
    check(&run.feed(Input::Wake), &["failed confirm", "timer confirm 1s"]);
    run.pass(SECOND);
    check(
        &run.feed(Input::Wake),
        &["started confirm, approval_requested confirm", "timer confirm 5s"],
    );
    let refused = run.try_ask(again("confirm")).unwrap_err();
    assert!(matches!(refused, Refusal::NothingToRetry { .. }), "{refused}");
}

#[test]
fn a_run_that_only_waits_for_a_person_goes_on_waiting_and_a_stop_interrupts_it_at_once() {
    let mut run = waiting(question("confirm", &[]));
    check(&run.feed(Input::Wake), &[]);
    check(&run.feed(Input::Stop), &["interrupt"]);
}

#[test]
fn a_cancellation_fails_a_question_as_cancelled() {
    let mut run = waiting(question("confirm", &[]));
    check(
        &run.ask(Ask::Cancel),
        &[
            "cancel_requested, failed confirm, skipped b, run_finished",
            "finish",
        ],
    );
    assert_eq!(failure(&run, "confirm").code, code::CANCELLED);
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_question_may_be_left_out() {
    let mut run = waiting(question("confirm", &[]));
    check(
        &run.ask(leave_out("confirm")),
        &["skipped confirm, started b", "start b #1"],
    );
}

#[test]
fn a_question_is_taken_back_when_what_it_rests_on_is_gone_and_put_again_later() {
    let mut run = waiting(question("confirm", &[]));
    run.crash_and_begin();
    let gone = Input::Rechecked {
        step: StepId::plain("a"),
        gone: Some("gone".to_owned()),
    };
    check(
        &run.feed(gone),
        &["invalidated a, invalidated confirm, started a", "start a #2"],
    );
    check(
        &run.succeed("a"),
        &["succeeded a, started confirm, approval_requested confirm"],
    );
    run.crash_and_begin();
    run.feed(Input::Rechecked {
        step: StepId::plain("a"),
        gone: Some("gone".to_owned()),
    });
    check(
        &run.fail("a"),
        &["failed a, skipped confirm, skipped b, run_finished", "finish"],
    );
    let why = SkipReason::Needs {
        failed: StepId::plain("a"),
    };
    assert_eq!(run.state("confirm"), StepState::Skipped { why });
}

/// A kill hits the process after each record of a history with a decision. The next process ends the run the same way.
#[test]
fn a_run_that_is_cut_after_any_record_ends_the_same() {
    for granted in [true, false] {
        let mut whole = waiting(question("confirm", &[]));
        whole.ask(if granted {
            approve("confirm")
        } else {
            reject("confirm")
        });
        if granted {
            whole.succeed("b");
        }
        for cut in 1..=whole.records.len() {
            let mut run = Run::new(Plan::clone(&whole.plan));
            run.records = whole.records[..cut].to_vec();
            if run
                .records
                .iter()
                .any(|record| matches!(record.event, Event::RunFinished { .. }))
            {
                continue;
            }
            run.crash();
            let mut effects = run.feed(Input::Begin);
            for _ in 0..20 {
                if effects.contains(&Effect::Finish) {
                    break;
                }
                effects = match effects
                    .iter()
                    .rev()
                    .find(|effect| !matches!(effect, Effect::Append(_)))
                {
                    Some(Effect::Recheck { step, .. }) => run.feed(Input::Rechecked {
                        step: step.clone(),
                        gone: None,
                    }),
                    Some(Effect::Reconcile { step, .. }) => {
                        let evidence = json!("redo");
                        run.found(&step.to_string(), Found::Redo { evidence })
                    }
                    Some(Effect::StartStep { step, .. }) => run.succeed(&step.to_string()),
                    None if run.state("confirm").name() == "running" => run.ask(if granted {
                        approve("confirm")
                    } else {
                        reject("confirm")
                    }),
                    other => panic!("cut after {cut}: {other:?}, {:?}", run.states()),
                };
            }
            let outcome = |run: &Run| (run.states(), run.machine.state().outcome);
            assert_eq!(outcome(&run), outcome(&whole), "cut after {cut}");
            let decisions = run
                .records
                .iter()
                .filter(|record| matches!(record.event, Event::Approved { .. } | Event::Rejected { .. }));
            assert_eq!(decisions.count(), 1, "cut after {cut}: decided once");
        }
    }
}
