//! What a machine decides about attempts: which follows which, what it gets, and when.

use rekindle_model::failure::code;

use super::*;
use crate::context::INTERRUPTED;

#[test]
fn a_code_that_the_policy_excludes_is_final_whatever_the_failure_says() {
    let policy = Retry {
        non_retryable: vec!["busy".to_owned()],
        ..retry(5)
    };
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: policy,
            ..step("a", &[])
        }],
    ));
    check(&run.fail_for_now("a"), &["failed a, run_finished", "finish"]);
}

#[test]
fn the_sway_of_a_wait_is_journaled_with_it_and_a_crash_throws_no_new_dice() {
    let mut policy = retry(5);
    policy.backoff.jitter = 0.5;
    policy.backoff.initial = Period(SECOND * 100);
    policy.backoff.max = Period(SECOND * 100);
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: policy,
            ..step("a", &[])
        }],
    ));
    run.fail_for_now("a");
    let StepState::Backoff { retry_at, .. } = run.state("a") else {
        panic!("{:?}", run.states());
    };
    let wait = (retry_at - run.now.utc).to_std().unwrap();
    assert!(
        wait != SECOND * 100 && wait >= SECOND * 50 && wait <= SECOND * 150,
        "{wait:?}"
    );
    run.pass(SECOND * 10);
    let resumed = run.crash_and_begin();
    let left = (wait - SECOND * 10).as_secs_f64();
    check(&resumed, &[&format!("timer a {left}s")]);
}

#[test]
fn a_failed_attempt_is_followed_by_others_until_the_policy_ends() {
    let a = PlanStep {
        retry: retry(3),
        ..step("a", &[])
    };
    let (mut run, _) = Run::begun(plan(1, vec![a, step("b", &["a"])]));
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    run.pass(SECOND / 2);
    check(&run.feed(Input::Wake), &["timer a 0.5s"]);
    run.pass(SECOND / 2);
    check(&run.feed(Input::Wake), &["started a", "start a #2"]);
    check(&run.fail_for_now("a"), &["failed a", "timer a 2s"]);
    run.pass(SECOND * 2);
    check(&run.feed(Input::Wake), &["started a", "start a #3"]);
    check(
        &run.fail_for_now("a"),
        &["failed a, skipped b, run_finished", "finish"],
    );
}

#[test]
fn a_failure_that_only_a_person_can_mend_interrupts_the_run_once_the_attempts_are_used_up() {
    let a = PlanStep {
        retry: Retry {
            interrupt_on: vec!["busy".to_owned()],
            ..retry(2)
        },
        ..step("a", &[])
    };
    let (mut run, _) = Run::begun(plan(2, vec![a, step("b", &["a"]), step("c", &[])]));
    check(&run.fail_for_now("a"), &["failed a", "timer a 1s"]);
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2"]);
    check(&run.fail_for_now("a"), &["failed a", "cancel c"]);
    check(&run.end("c", Ending::Dropped), &["interrupt"]);
    assert_eq!(run.states(), ["backoff", "pending", "running"]);
    run.pass(SECOND);
    check(
        &run.crash_and_begin(),
        &["started a", "start a #3", "reconcile c #1"],
    );
    check(&run.succeed("a"), &["succeeded a, started b", "start b #1"]);
}

#[test]
fn a_step_that_waits_for_its_next_attempt_takes_no_permit() {
    let a = PlanStep {
        retry: retry(2),
        ..step("a", &[])
    };
    let (mut run, _) = Run::begun(plan(1, vec![a, step("b", &[])]));
    check(
        &run.fail_for_now("a"),
        &["failed a, started b", "start b #1", "timer a 1s"],
    );
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &[]);
    check(&run.succeed("b"), &["succeeded b, started a", "start a #2"]);
}

#[test]
fn the_next_attempt_gets_the_checkpoint_of_the_last() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: retry(2),
            ..step("a", &[])
        }],
    ));
    let progress = Payload::Inline(json!(41));
    let checkpoint = Input::Noted {
        step: StepId::plain("a"),
        attempt: 1,
        note: Note::Checkpoint(progress.clone()),
    };
    check(&run.feed(checkpoint), &["checkpoint a"]);
    run.fail_for_now("a");
    run.pass(SECOND);
    let effects = run.feed(Input::Wake);
    let Some(Effect::StartStep { checkpoint, .. }) = effects.get(1) else {
        panic!("{effects:?}")
    };
    assert_eq!(*checkpoint, Some(progress));
}

#[test]
fn the_programs_of_an_attempt_are_handed_to_the_next_process_that_takes_up_its_step() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: retry(2),
            ..step("a", &[])
        }],
    ));
    let child = |pid| Child {
        program: ProcessId { pid, start_ticks: 1 },
        supervisor: None,
        boot_id: Uuid::from_u128(1),
    };
    let started = |attempt, pid| Input::Noted {
        step: StepId::plain("a"),
        attempt,
        note: Note::Child(child(pid)),
    };
    let handed = |effects: &[Effect]| match effects.last() {
        Some(Effect::StartStep { children, .. } | Effect::Reconcile { children, .. }) => children.clone(),
        _ => panic!("{effects:?}"),
    };
    check(&run.feed(started(1, 7)), &["child_started a"]);
    run.feed(started(1, 8));
    assert_eq!(handed(&run.crash_and_begin()), [child(7), child(8)]);
    let evidence = Value::Null;
    let again = run.found("a", Found::Redo { evidence });
    assert_eq!(
        handed(&again),
        [child(7), child(8)],
        "a second look costs nothing"
    );
    run.feed(started(2, 9));
    run.fail_for_now("a");
    run.pass(SECOND);
    assert_eq!(handed(&run.feed(Input::Wake)), [child(9)]);
}

#[test]
fn an_attempt_that_is_over_can_neither_record_nor_end() {
    let (mut run, _) = Run::begun(plan(
        1,
        vec![PlanStep {
            retry: retry(3),
            ..step("a", &[])
        }],
    ));
    let checkpoint = |attempt| Input::Noted {
        step: StepId::plain("a"),
        attempt,
        note: Note::Checkpoint(Payload::NONE),
    };
    let ended = |attempt| Input::Ended {
        step: StepId::plain("a"),
        attempt,
        ending: succeeded(json!(0)),
    };
    run.fail_for_now("a");
    check(&run.feed(checkpoint(1)), &["timer a 1s"]);
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2"]);
    check(&run.feed(checkpoint(1)), &[]);
    check(&run.feed(ended(1)), &[]);
    check(&run.feed(checkpoint(2)), &["checkpoint a"]);
    check(&run.feed(ended(2)), &["succeeded a, run_finished", "finish"]);
}

#[test]
fn an_attempt_past_its_timeout_is_told_to_end_and_may_be_tried_again() {
    let a = PlanStep {
        timeout: Some(SECOND * 5),
        retry: retry(2),
        ..step("a", &[])
    };
    let (mut run, begun) = Run::begun(plan(1, vec![a]));
    check(&begun, &["started a", "start a #1", "timer a 5s"]);
    run.pass(SECOND * 5);
    check(&run.feed(Input::Wake), &["cancel a"]);
    let interrupted = Ending::Failed(Failure::transient(INTERRUPTED, "asked to stop"));
    check(&run.end("a", interrupted), &["failed a", "timer a 1s"]);
    let StepState::Backoff { error, .. } = run.state("a") else {
        panic!("{:?}", run.state("a"))
    };
    assert_eq!((error.code.as_str(), error.retryable), (code::TIMEOUT, true));
    run.pass(SECOND);
    check(&run.feed(Input::Wake), &["started a", "start a #2", "timer a 5s"]);
    run.pass(SECOND * 9);
    check(&run.feed(Input::Wake), &["cancel a"]);
    check(
        &run.end("a", Ending::Dropped),
        &["failed a, run_finished", "finish"],
    );
}

#[test]
fn a_jump_of_the_wall_clock_neither_ends_nor_prolongs_a_wait() {
    for jump in [chrono::TimeDelta::days(1), chrono::TimeDelta::days(-1)] {
        let (mut run, _) = Run::begun(plan(
            1,
            vec![PlanStep {
                retry: retry(2),
                ..step("a", &[])
            }],
        ));
        run.fail_for_now("a");
        run.now.utc += jump;
        check(&run.feed(Input::Wake), &["timer a 1s"]);
        run.pass(SECOND);
        check(&run.feed(Input::Wake), &["started a", "start a #2"]);
    }
}
