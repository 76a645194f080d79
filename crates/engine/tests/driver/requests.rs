//! Requests that people make to runs: to a driven one, to one that nobody drives, and with a kill in between.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rekindle_engine::{APPROVE, Ask, Control, Ended, EngineError, Refusal};
use rekindle_model::event::Outcome;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{RunId, StepId};
use rekindle_plan::Catalog;
use serde_json::json;

use crate::bench::{
    Act, Bench, Breaking, BreaksAt, SECOND, failure_of, finished, history, new_run, question, state_of, step,
    value,
};

fn approve(step: &str) -> Ask {
    let step = StepId::from(step);
    Ask::Approve { step }
}

fn again(step: &str) -> Ask {
    let step = StepId::from(step);
    Ask::Retry { step }
}

fn leave_out(step: &str) -> Ask {
    let step = StepId::from(step);
    Ask::Skip { step }
}

/// Returns `a ─ confirm ─ b`, where `confirm` asks a person.
fn asking() -> Bench {
    let steps = vec![
        step("a", &[]),
        question("confirm", &["a"]),
        step("b", &["confirm"]),
    ];
    Bench::new(1, steps).with("a", Act::echo()).with("b", Act::echo())
}

const ASKED: [&str; 5] = [
    "run_created",
    "step_started a",
    "step_succeeded a",
    "step_started confirm",
    "approval_requested confirm",
];

/// Returns once the run has this record.
async fn until(bench: &Bench, run: RunId, line: &str) {
    while !history(&*bench.journal, run)
        .await
        .iter()
        .any(|found| found == line)
    {
        tokio::time::sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_of_a_driven_run_is_durable_on_return_and_lets_it_go_on() {
    let bench = asking();
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let ask = async {
        // Hours pass, and the run waits.
        tokio::time::sleep(SECOND * 36_000).await;
        assert_eq!(history(&*bench.journal, run).await, ASKED);
        bench.ask(&engine, run, approve("confirm")).await.unwrap();
        let seen = history(&*bench.journal, run).await;
        assert_eq!(
            seen[5..8],
            ["approved confirm", "step_succeeded confirm", "step_started b"]
        );
    };
    let control = Control::default();
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), ask);
    assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_run_that_nobody_drives_is_honoured_by_its_next_driver() {
    let bench = asking();
    let run = {
        let engine = bench.engine();
        let run = engine.create(new_run()).await.unwrap();
        let control = Control::default();
        tokio::select! {
            ended = bench.drive(&engine, run, &control) => panic!("it should not end: {ended:?}"),
            () = until(&bench, run, "approval_requested confirm") => {}
        }
        // The engine that drove it no longer does: the request goes to the journal.
        bench.ask(&engine, run, approve("confirm")).await.unwrap();
        run
    };
    assert_eq!(history(&*bench.journal, run).await[5..], ["approved confirm"]);
    let again = bench.ask(&bench.engine(), run, approve("confirm")).await;
    let decided = matches!(
        &again,
        Err(EngineError::Refused {
            why: Refusal::Decided { .. },
            ..
        })
    );
    assert!(decided, "{again:?}");
    let state = bench.resume(run).await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
    assert_eq!(state_of(&state, "confirm"), "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_journals_nothing_driven_or_not() {
    let bench = asking();
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let refused = async |ask: Ask, expect: &str| {
        let before = history(&*bench.journal, run).await;
        let error = bench.ask(&engine, run, ask).await.unwrap_err();
        let told = format!("do what was asked of run {run}: {expect}");
        assert_eq!(error.to_string(), told);
        assert_eq!(history(&*bench.journal, run).await, before);
    };
    let nowhere = "the run has no step confrm; did you mean `confirm`?";
    refused(approve("confrm"), nowhere).await;
    let ask = async {
        until(&bench, run, "approval_requested confirm").await;
        refused(approve("confrm"), nowhere).await;
        refused(
            approve("b"),
            "b does not wait for approval, it is pending; confirm does",
        )
        .await;
        refused(Ask::Unpause, "it is not paused").await;
        bench.ask(&engine, run, Ask::Cancel).await.unwrap();
    };
    let control = Control::default();
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), ask);
    let state = finished(ended);
    assert_eq!(state.outcome, Some(Outcome::Cancelled));
    assert_eq!(failure_of(&state, "confirm").code, code::CANCELLED);
    let over = bench.ask(&engine, run, Ask::Pause).await;
    assert!(
        matches!(
            &over,
            Err(EngineError::Refused {
                why: Refusal::Over { .. },
                ..
            })
        ),
        "{over:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_waits_through_a_kill_until_it_is_let_go_on() {
    let slow = Act::new(|_, _| async {
        tokio::time::sleep(SECOND * 5).await;
        Ok(value(json!(1)))
    });
    let bench = Bench::new(2, vec![step("a", &[]), step("b", &["a"])])
        .with("a", slow)
        .with("b", Act::echo());
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let pause = async {
        tokio::time::sleep(SECOND).await;
        bench.ask(&engine, run, Ask::Pause).await.unwrap();
        tokio::time::sleep(SECOND * 3600).await;
    };
    tokio::select! {
        ended = bench.drive(&engine, run, &control) => panic!("it should not end: {ended:?}"),
        () = pause => {}
    }
    let seen = history(&*bench.journal, run).await;
    assert_eq!(seen[2..], ["pause_requested", "step_succeeded a"]);

    let heir = bench.engine();
    heir.adopt(run, "a test").await.unwrap();
    let control = Control::default();
    let unpause = async {
        tokio::time::sleep(SECOND * 3600).await;
        assert_eq!(
            history(&*bench.journal, run).await.len(),
            5,
            "it started something"
        );
        bench.ask(&heir, run, Ask::Unpause).await.unwrap();
    };
    let (ended, ()) = tokio::join!(bench.drive(&heir, run, &control), unpause);
    assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_only_waits_for_a_person_is_interrupted_at_once_by_a_stop() {
    let bench = asking();
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let stop = async {
        until(&bench, run, "approval_requested confirm").await;
        control.stop.cancel();
    };
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), stop);
    assert!(matches!(ended, Ok(Ended::Interrupted(_))), "{ended:?}");
    assert_eq!(history(&*bench.journal, run).await, ASKED);
}

/// Step `a` fails in its first attempt and succeeds in later ones.
fn failing_once() -> Bench {
    let act = Act::new(|cx, _| async move {
        match cx.attempt {
            1 => Err(Failure::permanent("broken", "it broke")),
            _ => Ok(value(json!({ "attempt": cx.attempt }))),
        }
    });
    Bench::new(1, vec![step("a", &[]), step("b", &["a"])])
        .with("a", act)
        .with("b", Act::echo())
}

#[tokio::test]
async fn a_failed_run_is_opened_again_by_a_retry() {
    let bench = failing_once();
    let state = bench.finish().await;
    assert_eq!(state.outcome, Some(Outcome::Failed));
    let engine = bench.engine();
    bench.ask(&engine, state.id, again("a")).await.unwrap();
    let seen = history(&*bench.journal, state.id).await;
    assert_eq!(
        seen[5..],
        [
            "run_reopened",
            "retry_requested a",
            "step_invalidated a",
            "step_invalidated b"
        ]
    );
    let state = bench.resume(state.id).await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_left_out_of_a_finished_run_lets_the_rest_go_on() {
    let bench = failing_once();
    let run = bench.finish().await.id;
    bench.ask(&bench.engine(), run, leave_out("a")).await.unwrap();
    let state = bench.resume(run).await;
    assert_eq!(
        ["a", "b"].map(|id| state_of(&state, id)),
        ["skipped", "succeeded"]
    );
    assert_eq!(state.outcome, Some(Outcome::Partial));
}

/// A request at the very end of a drive always gets an answer, and the answer fits the state of the run.
#[tokio::test(start_paused = true)]
async fn a_request_that_meets_the_end_of_the_run_is_answered() {
    for after in [SECOND - SECOND / 1000, SECOND, SECOND + SECOND / 1000] {
        let slow = Act::new(|_, _| async {
            tokio::time::sleep(SECOND).await;
            Ok(value(json!(1)))
        });
        let bench = Bench::new(1, vec![step("a", &[])]).with("a", slow);
        let engine = bench.engine();
        let run = engine.create(new_run()).await.unwrap();
        let control = Control::default();
        let ask = async {
            tokio::time::sleep(after).await;
            bench.ask(&engine, run, Ask::Cancel).await
        };
        let (ended, answer) = tokio::join!(bench.drive(&engine, run, &control), ask);
        let outcome = finished(ended).outcome;
        match answer {
            Ok(()) => assert_eq!(outcome, Some(Outcome::Cancelled)),
            Err(EngineError::Refused {
                why: Refusal::Over { outcome: told },
                ..
            }) => assert_eq!(outcome, Some(told)),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A kill hits the process before or after each append of a run. The next process ends the run the same way.
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_append_changes_nothing_about_what_was_decided() {
    let whole = asking();
    let engine = whole.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let ask = async {
        until(&whole, run, "approval_requested confirm").await;
        whole.ask(&engine, run, approve("confirm")).await.unwrap();
    };
    let (ended, ()) = tokio::join!(whole.drive(&engine, run, &control), ask);
    let expect = finished(ended);
    for nth in 0..4 {
        for at in [BreaksAt::Before(nth), BreaksAt::After(nth)] {
            let bench = asking();
            let breaking = Breaking {
                journal: Arc::clone(&bench.journal),
                at,
                appends: AtomicUsize::new(0),
            };
            let broken = bench.clone().on(Arc::new(breaking));
            let engine = broken.engine();
            let run = engine.create(new_run()).await.unwrap();
            let control = Control::default();
            let ask = async {
                tokio::time::sleep(SECOND).await;
                // The answer may be an error, since the kill may come first.
                drop(broken.ask(&engine, run, approve("confirm")).await);
            };
            let (ended, ()) = tokio::join!(broken.drive(&engine, run, &control), ask);
            assert!(ended.is_err(), "{at:?}: {ended:?}");

            let heir = bench.engine();
            let state = heir.load(run).await.unwrap();
            if state.outcome.is_none() {
                heir.adopt(run, "a test").await.unwrap();
                let control = Control::default();
                let ask = async {
                    tokio::time::sleep(SECOND).await;
                    drop(bench.ask(&heir, run, approve("confirm")).await);
                };
                let (ended, ()) = tokio::join!(bench.drive(&heir, run, &control), ask);
                finished(ended);
            }
            let state = heir.load(run).await.unwrap();
            assert_eq!(state.outcome, expect.outcome, "{at:?}");
            for id in ["a", "confirm", "b"] {
                assert_eq!(state_of(&state, id), state_of(&expect, id), "{at:?}");
            }
            let decided = history(&*bench.journal, run).await;
            let decided = decided.iter().filter(|line| *line == "approved confirm").count();
            assert_eq!(decided, 1, "{at:?}: decided once");
        }
    }
}

#[test]
fn the_registry_knows_the_question_and_checks_it() {
    let registry = asking().registry;
    assert_eq!(registry.names(), ["a", APPROVE, "b"]);
    assert!(
        registry
            .check(APPROVE, &json!({ "message": "go on?" }))
            .is_empty()
    );
    assert_eq!(registry.check(APPROVE, &json!({})).len(), 1);
}
