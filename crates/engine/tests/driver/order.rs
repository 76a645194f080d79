//! Append before act: which records are durable when an action begins, and how many actions are at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_engine::{Control, Engine, Groups, STALE};
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, StepId};
use rekindle_plan::{Plan, PlanStep};
use serde_json::json;
use tokio::sync::Mutex;

use crate::bench::{Act, Bench, Log, SECOND, failure_of, finished, history, new_run, state_of, step, value};

#[tokio::test(start_paused = true)]
async fn a_start_and_the_success_before_it_are_durable_before_the_action_is_called() {
    let log = Log::default();
    let mut bench = Bench::new(2, vec![step("a", &[]), step("b", &["a"])]);
    for name in ["a", "b"] {
        let (journal, log) = (Arc::clone(&bench.journal), log.clone());
        let act = Act::new(move |cx, _| {
            let (journal, log) = (Arc::clone(&journal), log.clone());
            async move {
                log.add(history(&*journal, cx.run).await.join(", "));
                Ok(value(json!(1)))
            }
        });
        bench = bench.with(name, act);
    }
    let state = bench.finish().await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
    let seen = [
        "run_created, step_started a",
        "run_created, step_started a, step_succeeded a, step_started b",
    ];
    assert_eq!(log.lines(), seen);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_durable_when_it_returns() {
    let bench = Bench::new(1, vec![step("a", &[])]);
    let journal = Arc::clone(&bench.journal);
    let act = Act::new(move |cx, _| {
        let journal = Arc::clone(&journal);
        async move {
            assert!(!cx.checkpoint_due(), "it has only begun");
            tokio::time::sleep(SECOND).await;
            assert!(cx.checkpoint_due());
            cx.checkpoint(json!({ "at": 5 })).await?;
            assert!(!cx.checkpoint_due(), "one was just recorded");
            Ok(value(json!(history(&*journal, cx.run).await)))
        }
    });
    let state = bench.with("a", act).finish().await;
    let rekindle_model::step::StepState::Succeeded { output, .. } = crate::bench::record(&state, "a").state
    else {
        panic!("{state:?}")
    };
    let seen = json!(["run_created", "step_started a", "step_checkpoint a"]);
    assert_eq!(output, rekindle_model::event::Payload::Inline(seen));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_over_records_nothing_more() {
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let bench = Bench::new(1, vec![step("a", &[]), step("b", &["a"])])
        .with(
            "a",
            Act::new(move |cx, _| {
                let keeps = Arc::clone(&keeps);
                async move {
                    *keeps.lock().await = Some(cx);
                    Ok(value(json!(1)))
                }
            }),
        )
        .with(
            "b",
            Act::new(move |_, _| {
                let kept = Arc::clone(&kept);
                async move {
                    let stale = kept.lock().await.take().unwrap();
                    stale.checkpoint(json!(2)).await?;
                    Ok(value(json!("it was recorded")))
                }
            }),
        );
    let state = bench.finish().await;
    assert_eq!(failure_of(&state, "b").code, STALE);
    assert!(
        !history(&*bench.journal, state.id)
            .await
            .iter()
            .any(|line| line.starts_with("step_checkpoint"))
    );
}

/// Returns an action that takes a second, and how many of them were at work at once.
fn counted(most: &Arc<AtomicUsize>) -> Act {
    let (most, now) = (Arc::clone(most), Arc::new(AtomicUsize::new(0)));
    Act::new(move |_, _| {
        let (most, now) = (Arc::clone(&most), Arc::clone(&now));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SECOND).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(value(json!(1)))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_parallel_are_at_work() {
    let most = Arc::new(AtomicUsize::new(0));
    let steps = (0..10).map(|n| step(&format!("a[{n}]"), &[])).collect();
    let bench = Bench::new(3, steps).with("a", counted(&most));
    let state = bench.finish().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(bench.clock.now().since(&state.created).duration, SECOND * 4);
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_process_share_its_permits() {
    let most = Arc::new(AtomicUsize::new(0));
    let steps = (0..4).map(|n| step(&format!("a[{n}]"), &[])).collect();
    let bench = Bench::new(4, steps).with("a", counted(&most));
    let engine = bench.engine().with_limits(2, SECOND);
    let (one, other) = (
        engine.create(new_run()).await.unwrap(),
        engine.create(new_run()).await.unwrap(),
    );
    let control = Control::default();
    let (one, other) = tokio::join!(
        bench.drive(&engine, one, &control),
        bench.drive(&engine, other, &control)
    );
    for state in [finished(one), finished(other)] {
        assert_eq!(state.outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn one_failure_stops_only_what_rests_on_it() {
    let steps = vec![
        step("bad[x]", &[]),
        step("good[y]", &[]),
        step("good[x]", &["bad[x]"]),
    ];
    let bench = Bench::new(4, steps).with("good", Act::echo()).with(
        "bad",
        Act::new(|_, _| async { Err(rekindle_model::failure::Failure::permanent("bad", "it is bad")) }),
    );
    let state = bench.finish().await;
    let states = ["bad[x]", "good[y]", "good[x]"].map(|id| state_of(&state, id));
    assert_eq!(states, ["failed", "succeeded", "skipped"]);
    assert_eq!(state.outcome, Some(Outcome::Partial));
}

#[tokio::test(start_paused = true)]
async fn one_step_of_a_group_is_at_work_at_a_time_in_whatever_run() {
    let grouped = |id| PlanStep {
        concurrency: Some("disk".to_owned()),
        ..step(id, &[])
    };
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let act = || {
        let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
        Act::new(move |_, _| {
            let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
            async move {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(SECOND).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                Ok(value(json!(null)))
            }
        })
    };
    let bench = Bench::new(4, vec![grouped("a"), grouped("b"), grouped("c")]);
    let bench = ["a", "b", "c"]
        .into_iter()
        .fold(bench, |bench, name| bench.with(name, act()));
    let groups = Arc::new(Groups::default());
    let engines = [0, 1].map(|_| bench.engine().with_groups(Arc::clone(&groups)));
    let begun = tokio::time::Instant::now();
    let drive = async |engine: &Engine| {
        let run = engine.create(new_run()).await.unwrap();
        bench.drive(engine, run, &Control::default()).await
    };
    let (first, second) = tokio::join!(drive(&engines[0]), drive(&engines[1]));
    for ended in [first, second] {
        assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1, "two were at work at once");
    assert_eq!(
        begun.elapsed().as_secs(),
        6,
        "nobody waited for longer than for the others"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_in_a_group_is_looked_into_and_goes_on_in_one_lock() {
    let grouped = PlanStep {
        concurrency: Some("disk".to_owned()),
        ..step("a", &[])
    };
    let act = Act::new(|_, _| async {
        tokio::time::sleep(SECOND).await;
        Ok(value(json!(1)))
    });
    let bench = Bench::new(1, vec![grouped]).with("a", act);
    let run = bench.kill_once(tokio::time::sleep(SECOND / 2)).await;
    let state = bench.resume(run).await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
    let seen = history(&*bench.journal, run).await;
    let looked = seen.iter().filter(|line| line.starts_with("step_reconciled"));
    assert_eq!(looked.count(), 1, "{seen:?}");
}

/// The runs and steps, in the order in which the steps began.
type Order = Arc<std::sync::Mutex<Vec<(RunId, StepId)>>>;

/// Returns an action that takes a second, and notes the run and the step in which it began.
fn noting(order: &Order) -> Act {
    let order = Arc::clone(order);
    Act::new(move |cx, _| {
        let order = Arc::clone(&order);
        async move {
            order.lock().unwrap().push((cx.run, cx.step.id.clone()));
            tokio::time::sleep(SECOND).await;
            Ok(value(json!(1)))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_next_permit_of_the_process_is_the_most_urgent_steps_in_whatever_run() {
    let order = Order::default();
    let patient = |n: u32| PlanStep {
        priority: 9,
        ..step(&format!("a[{n}]"), &[])
    };
    let urgent = |n: u32| PlanStep {
        priority: 1,
        ..step(&format!("a[{n}]"), &[])
    };
    let bench = Bench::new(4, (0..3).map(patient).collect()).with("a", noting(&order));
    let late = Bench {
        plan: Arc::new(Plan {
            steps: (0..2).map(urgent).collect(),
            ..(*bench.plan).clone()
        }),
        ..bench.clone()
    };
    let engine = bench.engine().with_limits(1, SECOND);
    let first = engine.create(new_run()).await.unwrap();
    let second = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let afterwards = async {
        // The first run has the only permit by now.
        tokio::time::sleep(SECOND / 2).await;
        late.drive(&engine, second, &control).await
    };
    let (one, other) = tokio::join!(bench.drive(&engine, first, &control), afterwards);
    for ended in [one, other] {
        assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
    }
    let runs: Vec<RunId> = order.lock().unwrap().iter().map(|(run, _)| *run).collect();
    assert_eq!(runs, [first, second, second, first, first]);
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_as_urgent_take_locks_on_the_permits() {
    let order = Order::default();
    let steps = (0..3).map(|n| step(&format!("a[{n}]"), &[])).collect();
    let bench = Bench::new(4, steps).with("a", noting(&order));
    let engine = bench.engine().with_limits(1, SECOND);
    let first = engine.create(new_run()).await.unwrap();
    let second = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let (one, other) = tokio::join!(
        bench.drive(&engine, first, &control),
        bench.drive(&engine, second, &control)
    );
    for ended in [one, other] {
        assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
    }
    let runs: Vec<RunId> = order.lock().unwrap().iter().map(|(run, _)| *run).collect();
    assert_eq!(runs, [first, second, first, second, first, second]);
}

#[tokio::test(start_paused = true)]
async fn one_run_of_a_group_is_at_work_at_a_time_and_a_kill_gives_its_lock_back() {
    let order = Order::default();
    let bench = Bench::new(1, vec![step("a", &[]), step("b", &["a"])]);
    let bench = ["a", "b"]
        .into_iter()
        .fold(bench, |bench, name| bench.with(name, noting(&order)));
    let bench = Bench {
        plan: Arc::new(Plan {
            concurrency: Some("nightly".to_owned()),
            ..(*bench.plan).clone()
        }),
        ..bench
    };
    let engine = bench.engine();
    let first = engine.create(new_run()).await.unwrap();
    let second = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let killed = async {
        // Dropping the future that drives the run is like a kill.
        let driven = bench.drive(&engine, first, &control);
        assert!(tokio::time::timeout(SECOND / 2, driven).await.is_err());
        // The first run is resumed only after the second run, which waits, has taken the lock.
        tokio::time::sleep(SECOND).await;
        engine.adopt(first, "a kill").await.unwrap();
        bench.drive(&engine, first, &control).await
    };
    let (one, other) = tokio::join!(killed, bench.drive(&engine, second, &control));
    for ended in [one, other] {
        assert_eq!(finished(ended).outcome, Some(Outcome::Succeeded));
    }
    let runs: Vec<RunId> = order.lock().unwrap().iter().map(|(run, _)| *run).collect();
    assert_eq!(runs, [first, second, second, first, first], "none came between");
    let waits = async |run| {
        let lines = history(&*bench.journal, run).await;
        let about = |line: &&String| line.starts_with("turn_") || line.as_str() == "run_adopted";
        lines.iter().filter(about).cloned().collect::<Vec<String>>()
    };
    assert_eq!(waits(second).await, ["turn_awaited", "turn_taken"]);
    assert_eq!(waits(first).await, ["run_adopted", "turn_awaited", "turn_taken"]);
}
