//! What a machine decides while its process lives.

use rekindle_model::event::{Outcome, SkipReason};
use rekindle_model::failure::code;

use super::*;
use crate::context::INTERRUPTED;

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
fn dependents_of_a_failed_step_are_skipped_naming_it_and_others_go_on() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["b"]),
        step("other", &[]),
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    check(&run.fail("a"), &["failed a, skipped b, skipped c"]);
    for skipped in ["b", "c"] {
        let why = SkipReason::Needs {
            failed: StepId::plain("a"),
        };
        assert_eq!(run.state(skipped), StepState::Skipped { why });
    }
    check(
        &run.succeed("other"),
        &["succeeded other, run_finished", "finish"],
    );
    assert_eq!(
        run.machine.state().outcome,
        Some(Outcome::Failed),
        "there is no component that came through"
    );
}

#[test]
fn run_if_decides_by_how_the_needs_ended() {
    let when = |condition: &str| RunIf::Expr(condition.to_owned());
    for (need_fails, run_if, expect) in [
        (false, RunIf::Success, "running"),
        (true, RunIf::Success, "skipped"),
        (false, RunIf::Failure, "skipped"),
        (true, RunIf::Failure, "running"),
        (false, RunIf::Always, "running"),
        (true, RunIf::Always, "running"),
        (false, when("steps.a.of == 'a'"), "running"),
        (false, when("steps.a.of == 'b'"), "skipped"),
        (true, when("steps.a is defined"), "skipped"),
        (true, when("steps.a.of == 'a'"), "failed"),
    ] {
        let (mut run, _) = Run::begun(plan(
            4,
            vec![
                step("a", &[]),
                PlanStep {
                    run_if: run_if.clone(),
                    ..step("b", &["a"])
                },
            ],
        ));
        if need_fails {
            run.fail("a")
        } else {
            run.succeed("a")
        };
        assert_eq!(
            run.state("b").name(),
            expect,
            "{run_if:?}, need fails: {need_fails}"
        );
    }
}

#[test]
fn what_its_own_condition_skips_is_no_failure() {
    let steps = vec![
        step("a", &[]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("cleanup", &["a"])
        },
        step("after_cleanup", &["cleanup"]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("alarm", &["after_cleanup"])
        },
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    run.succeed("a");
    for (skipped, run_if) in [
        ("cleanup", "failure"),
        ("after_cleanup", "success"),
        ("alarm", "failure"),
    ] {
        let why = SkipReason::Condition {
            run_if: run_if.to_owned(),
        };
        assert_eq!(run.state(skipped), StepState::Skipped { why });
    }
    assert_eq!(run.machine.state().outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_step_on_failure_runs_when_what_failed_lies_further_back() {
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        PlanStep {
            run_if: RunIf::Failure,
            ..step("alarm", &["b"])
        },
    ];
    let (mut run, _) = Run::begun(plan(4, steps));
    check(
        &run.fail("a"),
        &["failed a, skipped b, started alarm", "start alarm #1"],
    );
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
        "whoever is as urgent waited for longer"
    );
    run.machine.yield_to(Some(7));
    check(&run.feed(Input::Wake), &["started b", "start b #1"]);
    assert_eq!(run.machine.starved(), Some(9));
    run.machine.yield_to(None);
    check(&run.feed(Input::Wake), &["started c", "start c #1"]);
    assert_eq!(run.machine.starved(), None);
}

#[test]
fn a_run_of_a_group_begins_and_goes_on_only_once_it_is_its_turn() {
    let grouped = || Plan {
        concurrency: Some("nightly".to_owned()),
        ..plan(9, vec![step("a", &[]), step("b", &["a"])])
    };
    let holder = rekindle_model::id::RunId(uuid::Uuid::from_u128(3));
    let (mut run, begun) = Run::begun(grouped());
    check(&begun, &[]);
    assert_eq!(run.machine.awaits_turn(), Some("nightly"));
    check(&run.feed(Input::TurnOf(holder)), &["turn_awaited"]);
    check(&run.feed(Input::TurnOf(holder)), &[]);
    assert_eq!(run.machine.state().awaits_turn.as_ref().unwrap().holder, holder);
    check(&run.feed(Input::Turn), &["turn_taken, started a", "start a #1"]);
    assert_eq!(run.machine.awaits_turn(), None);
    // After a crash it is anybody's turn again, and nothing is even looked at before.
    check(&run.crash_and_begin(), &[]);
    assert_eq!(run.machine.awaits_turn(), Some("nightly"));
    check(&run.feed(Input::Turn), &["reconcile a #1"]);

    // A wait can be stopped, paused and cancelled.
    let (mut run, _) = Run::begun(grouped());
    run.feed(Input::TurnOf(holder));
    run.ask(Ask::Pause);
    assert_eq!(run.machine.awaits_turn(), None, "it stands in nobody's way");
    run.ask(Ask::Unpause);
    assert_eq!(run.machine.awaits_turn(), Some("nightly"));
    check(&run.feed(Input::Stop), &["interrupt"]);
    run.crash_and_begin();
    check(
        &run.ask(Ask::Cancel),
        &["cancel_requested, skipped a, skipped b, run_finished", "finish"],
    );
}

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
fn the_programs_of_an_attempt_are_handed_to_whoever_takes_its_step_up_next() {
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
fn a_stop_starts_nothing_and_journals_no_interrupted_attempt_as_failed() {
    let steps = vec![step("a", &[]), step("b", &[]), step("c", &["b"])];
    let (mut run, _) = Run::begun(plan(2, steps));
    check(&run.feed(Input::Stop), &["cancel a", "cancel b"]);
    let checkpoint = Input::Noted {
        step: StepId::plain("a"),
        attempt: 1,
        note: Note::Checkpoint(Payload::Inline(json!(1))),
    };
    check(&run.feed(checkpoint), &["checkpoint a"]);
    check(
        &run.end(
            "a",
            Ending::Failed(Failure::transient(INTERRUPTED, "asked to stop")),
        ),
        &[],
    );
    check(&run.succeed("b"), &["succeeded b", "interrupt"]);
    assert_eq!(run.states(), ["running", "succeeded", "pending"]);
}

#[test]
fn a_stop_drops_what_does_not_end_and_leaves_it_to_be_reconciled() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.feed(Input::Stop);
    check(&run.end("a", Ending::Dropped), &["interrupt"]);
    check(&run.crash_and_begin(), &["reconcile a #1"]);
}

#[test]
fn a_run_whose_last_step_succeeds_while_stopping_is_over() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    run.feed(Input::Stop);
    check(&run.succeed("a"), &["succeeded a, run_finished", "finish"]);
}

#[test]
fn a_cancellation_skips_what_has_not_begun_and_fails_what_has() {
    let waiting = PlanStep {
        retry: retry(2),
        ..step("waiting", &[])
    };
    let always = PlanStep {
        run_if: RunIf::Always,
        ..step("always", &["a"])
    };
    let (mut run, _) = Run::begun(plan(3, vec![step("a", &[]), step("b", &[]), waiting, always]));
    run.fail_for_now("waiting");
    check(
        &run.ask(Ask::Cancel),
        &[
            "cancel_requested, skipped waiting, skipped always",
            "cancel a",
            "cancel b",
        ],
    );
    check(&run.succeed("b"), &["succeeded b"]);
    check(
        &run.end("a", Ending::Dropped),
        &["failed a, run_finished", "finish"],
    );
    assert_eq!(run.machine.state().outcome, Some(Outcome::Cancelled));
    let StepState::Failed { error } = run.state("a") else {
        panic!("{:?}", run.state("a"))
    };
    assert_eq!(error.code, code::CANCELLED);
}

#[test]
fn a_cancellation_overtakes_a_stop() {
    let (mut run, _) = Run::begun(plan(1, vec![step("a", &[])]));
    check(&run.feed(Input::Stop), &["cancel a"]);
    check(&run.ask(Ask::Cancel), &["cancel_requested", "cancel a"]);
    check(
        &run.end("a", Ending::Dropped),
        &["failed a, run_finished", "finish"],
    );
}

#[test]
fn the_outcome_is_partial_when_a_component_came_through_whole() {
    let steps = || {
        vec![
            step("restore[x]", &[]),
            step("restore[y]", &[]),
            step("validate[x]", &["restore[x]"]),
            step("total", &[]),
        ]
    };
    for (failing, expect) in [
        (&[][..], Outcome::Succeeded),
        (&["restore[y]"], Outcome::Partial),
        (&["total"], Outcome::Partial),
        (&["restore[x]", "restore[y]"], Outcome::Failed),
        (&["validate[x]", "restore[y]"], Outcome::Failed),
    ] {
        let (mut run, _) = Run::begun(plan(9, steps()));
        for id in ["restore[x]", "restore[y]", "total", "validate[x]"] {
            if run.state(id).name() == "running" {
                if failing.contains(&id) {
                    run.fail(id)
                } else {
                    run.succeed(id)
                };
            }
        }
        assert_eq!(run.machine.state().outcome, Some(expect), "{failing:?}");
    }
}

#[test]
fn the_outcome_is_partial_when_one_of_two_tiers_has_a_verified_copy() {
    let looped = |id: &str, needs: &[&str]| {
        let keys = StepId::from(id);
        let named = ["component", "tier"].into_iter().map(str::to_owned);
        PlanStep {
            each: named.zip(keys.keys().into_iter().map(str::to_owned)).collect(),
            ..step(id, needs)
        }
    };
    let steps = || {
        vec![
            looped("snapshot[x]", &[]),
            looped("store[x,a]", &["snapshot[x]"]),
            looped("store[x,b]", &["snapshot[x]"]),
            looped("verify[x,a]", &["store[x,a]"]),
            looped("verify[x,b]", &["store[x,b]"]),
            PlanStep {
                run_if: RunIf::Always,
                ..looped("clean[x]", &["verify[x,a]", "verify[x,b]"])
            },
        ]
    };
    for (failing, expect) in [
        (&["store[x,b]"][..], Outcome::Partial),
        (&["verify[x,b]"], Outcome::Partial),
        (&["verify[x,a]", "verify[x,b]"], Outcome::Failed),
        (&["verify[x,a]", "store[x,b]"], Outcome::Failed),
        (&["snapshot[x]"], Outcome::Failed),
    ] {
        let (mut run, _) = Run::begun(plan(9, steps()));
        let order = [
            "snapshot[x]",
            "store[x,a]",
            "store[x,b]",
            "verify[x,a]",
            "verify[x,b]",
            "clean[x]",
        ];
        for id in order {
            if run.state(id).name() == "running" {
                if failing.contains(&id) {
                    run.fail(id)
                } else {
                    run.succeed(id)
                };
            }
        }
        assert_eq!(run.machine.state().outcome, Some(expect), "{failing:?}");
    }
}

#[test]
fn the_summary_counts_and_names_what_failed() {
    let (mut run, _) = Run::begun(plan(4, vec![step("a", &[]), step("b", &["a"]), step("c", &[])]));
    run.pass(SECOND * 3);
    run.fail("a");
    run.succeed("c");
    assert_eq!(
        run.machine.state().summary,
        json!({ "steps": 3, "succeeded": 1, "failed": 1, "skipped": 1, "duration_ms": 3000, "clock_uncertain": false,
            "failed_steps": ["a"], "failed_steps_left_out": 0 })
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

#[test]
fn a_step_of_a_group_starts_once_it_is_its_turn() {
    let grouped = |id, needs: &[&str]| PlanStep {
        concurrency: Some("disk".to_owned()),
        ..step(id, needs)
    };
    let steps = vec![grouped("a", &[]), grouped("b", &[]), step("c", &[])];
    let (mut run, begun) = Run::begun(plan(3, steps));
    check(&begun, &["started c", "start c #1"]);
    assert_eq!(run.machine.wanted().iter().collect::<Vec<_>>(), ["disk"]);
    run.machine.give_turn("disk");
    check(&run.feed(Input::Wake), &["started a", "start a #1"]);
    assert!(run.machine.wanted().contains("disk"), "b waits for the next turn");
    check(&run.succeed("a"), &["succeeded a"]);
    run.machine.give_turn("disk");
    check(&run.feed(Input::Wake), &["started b", "start b #1"]);
    // What was cut off takes its turn to be looked at, and goes on in it.
    check(&run.crash_and_begin(), &["reconcile c #1"]);
    run.machine.give_turn("disk");
    check(&run.feed(Input::Wake), &["reconcile b #1"]);
    let evidence = Value::Null;
    run.machine.give_turn("disk");
    let found = run.found("b", Found::Redo { evidence });
    check(&found, &["reconciled b, started b", "start b #2"]);
}
