//! Runs that are stopped, cancelled, fenced, or whose journal is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_engine::{Ask, Control, Ended, EngineError, INTERRUPTED, Reconciled};
use rekindle_journal::JournalError;
use rekindle_model::event::Outcome;
use rekindle_model::failure::{Failure, code};
use rekindle_model::step::StepState;
use serde_json::json;

use crate::bench::{
    Act, Bench, Breaking, BreaksAt, SECOND, failure_of, finished, history, new_run, record, state_of, step,
    value,
};

/// Returns an action that works until it is stopped, and then records how far it is.
fn graceful() -> Act {
    let act = Act::new(|cx, checkpoint| async move {
        if let Some(done) = checkpoint {
            return Ok(value(json!({ "continued_from": done })));
        }
        cx.stop.cancelled().await;
        cx.checkpoint(json!("half")).await?;
        Err(Failure::transient(INTERRUPTED, "asked to stop"))
    });
    act.reconciling(|_, checkpoint| async move {
        Ok(Reconciled::Continue {
            evidence: json!(checkpoint),
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_is_resumed_from_the_checkpoint_of_its_last_moment() {
    let bench = Bench::new(2, vec![step("a", &[]), step("b", &["a"])])
        .with("a", graceful())
        .with("b", Act::echo());
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let stop = async {
        tokio::time::sleep(SECOND).await;
        control.stop.cancel();
    };
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), stop);
    let Ok(Ended::Interrupted(state)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(["a", "b"].map(|id| state_of(&state, id)), ["running", "pending"]);
    assert_eq!(
        history(&*bench.journal, run).await,
        ["run_created", "step_started a", "step_checkpoint a"]
    );

    let state = bench.resume(run).await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
    let StepState::Succeeded { output, .. } = record(&state, "a").state else {
        panic!("{state:?}")
    };
    assert_eq!(
        output,
        rekindle_model::event::Payload::Inline(json!({ "continued_from": "half" }))
    );
    assert_eq!(
        (record(&state, "a").attempts, record(&state, "a").failures),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_action_that_ignores_a_stop_is_dropped_after_the_grace_period() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", Act::stubborn(Arc::clone(&dropped)));
    let engine = bench.engine().with_limits(4, SECOND * 3);
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let stop = async {
        tokio::time::sleep(SECOND).await;
        control.stop.cancel();
    };
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), stop);
    assert!(matches!(ended, Ok(Ended::Interrupted(_))), "{ended:?}");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let state = engine.load(run).await.unwrap();
    let took = bench.clock.now().since(&state.created).duration;
    assert!((SECOND * 4..SECOND * 5).contains(&took), "{took:?}");
    assert_eq!(
        history(&*bench.journal, run).await,
        ["run_created", "step_started a"],
        "nothing counts as failed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_beginning_starts_nothing() {
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", Act::echo());
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    control.stop.cancel();
    let ended = bench.drive(&engine, run, &control).await;
    assert!(matches!(ended, Ok(Ended::Interrupted(_))), "{ended:?}");
    assert_eq!(history(&*bench.journal, run).await, ["run_created"]);
    let ended = bench.drive(&engine, run, &Control::default()).await;
    assert_eq!(
        finished(ended).outcome,
        Some(Outcome::Succeeded),
        "the same process may go on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_over_and_says_what_it_did_to_each_step() {
    let bench = Bench::new(2, vec![step("a", &[]), step("b", &["a"])])
        .with("a", graceful())
        .with("b", Act::echo());
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let cancel = async {
        tokio::time::sleep(SECOND).await;
        bench.ask(&engine, run, Ask::Cancel).await.unwrap();
    };
    let (ended, ()) = tokio::join!(bench.drive(&engine, run, &control), cancel);
    let state = finished(ended);
    assert_eq!(state.outcome, Some(Outcome::Cancelled));
    assert_eq!(failure_of(&state, "a").code, code::CANCELLED);
    assert_eq!(state_of(&state, "b"), "skipped");
    assert_eq!(state.cancel.as_deref(), Some("ann"));
    assert!(matches!(
        engine.adopt(run, "x").await,
        Err(EngineError::Over { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_process_stops_everything_at_once_and_writes_nothing() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(2, vec![step("a", &[]), step("late", &[])])
        .with("a", Act::stubborn(Arc::clone(&dropped)))
        .with(
            "late",
            Act::new(|_, _| async {
                tokio::time::sleep(SECOND * 2).await;
                Ok(value(json!(1)))
            }),
        );
    let (zombie, heir) = (bench.engine(), bench.engine());
    let run = zombie.create(new_run()).await.unwrap();
    let adopt = async {
        tokio::time::sleep(SECOND).await;
        heir.adopt(run, "the other is gone").await.unwrap();
    };
    let control = Control::default();
    let (ended, ()) = tokio::join!(bench.drive(&zombie, run, &control), adopt);
    assert!(matches!(ended, Err(EngineError::Fenced { .. })), "{ended:?}");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let state = heir.load(run).await.unwrap();
    let took = bench.clock.now().since(&state.created).duration;
    assert!(took < SECOND * 3, "it waited for no grace period: {took:?}");
    let seen = [
        "run_created",
        "step_started a",
        "step_started late",
        "run_adopted",
    ];
    assert_eq!(history(&*bench.journal, run).await, seen);
    let again = bench.drive(&zombie, run, &control).await;
    assert!(matches!(again, Err(EngineError::Fenced { .. })), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_stops_everything_and_performs_nothing_that_was_not_appended() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(2, vec![step("a", &[]), step("b", &[]), step("c", &["b"])])
        .with("a", Act::stubborn(Arc::clone(&dropped)))
        .with("b", Act::echo())
        .with(
            "c",
            Act::new(|_, _| async { panic!("c must not be called: its start is not durable") }),
        );
    let journal = Arc::clone(&bench.journal);
    let breaking = Breaking {
        journal,
        at: BreaksAt::Before(1),
        appends: AtomicUsize::new(0),
    };
    let broken = bench.clone().on(Arc::new(breaking));
    let engine = broken.engine();
    let run = engine.create(new_run()).await.unwrap();
    let ended = broken.drive(&engine, run, &Control::default()).await;
    assert!(
        matches!(ended, Err(EngineError::Journal(JournalError::Poisoned { .. }))),
        "{ended:?}"
    );
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(
        history(&*bench.journal, run).await,
        ["run_created", "step_started a", "step_started b"]
    );
}
