//! Attempts that fail, panic or take too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_engine::{Reconciled, Registry, Unit};
use rekindle_model::event::Outcome;
use rekindle_model::failure::{Failure, code};
use rekindle_plan::PlanStep;
use serde_json::json;

use crate::bench::{Act, Bench, SECOND, failure_of, record, retry, state_of, step, value};

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_its_backoff_and_continues_from_the_checkpoint() {
    let a = PlanStep {
        retry: retry(3),
        ..step("a", &[])
    };
    let act = Act::new(|cx, checkpoint| async move {
        let done = checkpoint.and_then(|done| done.as_u64()).unwrap_or(0);
        cx.checkpoint(json!(done + 1)).await?;
        match done {
            0 | 1 => Err(Failure::transient("busy", "come back later")),
            _ => Ok(value(json!({ "attempts": cx.attempt, "done": done }))),
        }
    });
    let bench = Bench::new(1, vec![a]).with("a", act);
    let state = bench.finish().await;
    let a = record(&state, "a");
    assert_eq!((a.attempts, a.failures), (3, 2));
    assert_eq!(
        a.checkpoint,
        Some(rekindle_model::event::Payload::Inline(json!(3)))
    );
    let took = a.ended.unwrap().since(&state.created).duration;
    assert!(
        (SECOND * 2..SECOND * 2 + SECOND / 100).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_that_names_its_step_and_takes_nothing_else_down() {
    let bench = Bench::new(4, vec![step("bad", &[]), step("good", &[])])
        .with("good", Act::echo())
        .with(
            "bad",
            Act::new(|_, _| async { panic!("the {} is wrong", "index") }),
        );
    let state = bench.finish().await;
    let failure = failure_of(&state, "bad");
    assert_eq!(
        (failure.code.as_str(), failure.retryable),
        (code::INTERNAL, false)
    );
    assert_eq!(failure.message, "the action of bad panicked: the index is wrong");
    assert_eq!(state_of(&state, "good"), "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_looking_after_a_crash_fails_the_step() {
    let act = Act::new(|_, _| async {
        tokio::time::sleep(SECOND * 99).await;
        Ok(value(json!(1)))
    });
    let act = act.reconciling(|_, _| async { panic!("nothing to see") });
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", act);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    let state = bench.resume(run).await;
    assert_eq!(failure_of(&state, "a").code, code::INTERNAL);
    assert_eq!(state.outcome, Some(Outcome::Failed));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ignores_its_timeout_is_dropped_before_the_next_begins() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let a = PlanStep {
        timeout: Some(SECOND * 60),
        retry: retry(2),
        ..step("a", &[])
    };
    let bench = Bench::new(1, vec![a]).with("a", Act::stubborn(Arc::clone(&dropped)));
    let state = bench.finish().await;
    assert_eq!(failure_of(&state, "a").code, code::TIMEOUT);
    assert_eq!(
        (record(&state, "a").attempts, dropped.load(Ordering::SeqCst)),
        (2, 2)
    );
    // Twice a minute and the grace of ten seconds, and one backoff.
    let took = bench.clock.now().since(&state.created).duration;
    assert!((SECOND * 141..SECOND * 142).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_succeeds_while_it_is_told_to_end_has_succeeded() {
    let a = PlanStep {
        timeout: Some(SECOND),
        ..step("a", &[])
    };
    let act = Act::new(|cx, _| async move {
        cx.stop.cancelled().await;
        Ok(value(json!("just done")))
    });
    let state = Bench::new(1, vec![a]).with("a", act).finish().await;
    assert_eq!(state_of(&state, "a"), "succeeded");
}

#[tokio::test(start_paused = true)]
async fn an_action_that_is_not_known_fails_its_step() {
    let mut bench = Bench::new(1, vec![step("a", &[])]);
    bench.registry = Registry::new();
    let state = bench.finish().await;
    assert_eq!(failure_of(&state, "a").code, "unknown_action");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_down_while_looking_is_looked_at_again_later() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&tries);
    let act = Act::new(|_, _| async {
        tokio::time::sleep(SECOND * 99).await;
        Ok(value(json!("ran")))
    });
    let act = act.reconciling(move |_, _| {
        let nth = counts.fetch_add(1, Ordering::SeqCst);
        async move {
            match nth {
                0 => Err(Failure::transient(code::TIER_UNAVAILABLE, "down")),
                _ => Ok(Reconciled::Complete {
                    output: value(json!("found")),
                    evidence: json!("seen"),
                }),
            }
        }
    });
    let a = PlanStep {
        retry: retry(2),
        ..step("a", &[])
    };
    let bench = Bench::new(1, vec![a]).with("a", act);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    let state = bench.resume(run).await;
    assert_eq!(
        (state_of(&state, "a"), tries.load(Ordering::SeqCst)),
        ("succeeded", 2)
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_tells_how_far_it_is_has_not_stalled() {
    let limited = |id| PlanStep {
        stall_timeout: Some(SECOND * 3),
        ..step(id, &[])
    };
    let telling = Act::new(|cx, _| async move {
        for done in 0..10 {
            cx.progress(done, None, Unit::Items);
            tokio::time::sleep(SECOND).await;
        }
        Ok(value(json!("told")))
    });
    let silent = Act::new(|cx, _| async move {
        cx.stop.cancelled().await;
        Err(Failure::transient("interrupted", "it was told to end"))
    });
    let bench = Bench::new(2, vec![limited("telling"), limited("silent")])
        .with("telling", telling)
        .with("silent", silent);
    let state = bench.finish().await;
    assert_eq!(state_of(&state, "telling"), "succeeded");
    assert_eq!(failure_of(&state, "silent").code, code::STALLED);
    let silent = record(&state, "silent");
    let took = silent
        .ended
        .unwrap()
        .since(&silent.last_started.unwrap())
        .duration;
    assert!((SECOND * 3..SECOND * 4).contains(&took), "{took:?}");
}
