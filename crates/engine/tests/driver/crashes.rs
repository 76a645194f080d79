//! Killed at every append, before it and after it: the run ends the same, and nothing whose success is journaled is
//! done again, as the world saw it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rekindle_engine::{Control, EngineError, Reconciled};
use rekindle_journal::{Journal, MemoryJournal};
use rekindle_model::event::{Event, Outcome};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use serde_json::json;

use crate::bench::{Act, Bench, Breaking, BreaksAt, Log, new_run, record, step, value};

/// Returns a diamond with a loop. Each action records two checkpoints and writes down what it does.
fn bench(log: &Log) -> Bench {
    let (runs, looks) = (log.clone(), log.clone());
    let act = Act::new(move |cx, checkpoint| {
        let log = runs.clone();
        async move {
            let from = checkpoint.and_then(|done| done.as_u64()).unwrap_or(0);
            for part in from..2 {
                log.add(format_args!("{} part {part}", cx.step.id));
                cx.checkpoint(json!(part + 1)).await?;
            }
            log.add(format_args!("{} whole", cx.step.id));
            Ok(value(json!({ "of": cx.step.id })))
        }
    });
    let act = act.reconciling(move |cx, checkpoint| {
        let whole = looks.lines().contains(&format!("{} whole", cx.step.id));
        async move {
            let evidence = json!({ "whole": whole, "checkpoint": checkpoint });
            Ok(match (whole, checkpoint) {
                (true, _) => Reconciled::Complete {
                    output: value(json!({ "of": cx.step.id })),
                    evidence,
                },
                (false, Some(_)) => Reconciled::Continue { evidence },
                (false, None) => Reconciled::Redo { evidence },
            })
        }
    });
    let steps = vec![
        step("work", &[]),
        step("work[x]", &["work"]),
        step("work[y]", &["work"]),
        step("work[end]", &["work[x]", "work[y]"]),
    ];
    Bench::new(2, steps).with("work", act)
}

/// Drives a run on a journal that breaks; then, as another process, on the same journal whole. Returns whether it
/// broke.
async fn broken_and_resumed(at: BreaksAt, journal: Arc<dyn Journal>) -> bool {
    let log = Log::default();
    let whole = bench(&log).on(Arc::clone(&journal));
    let breaking = Breaking {
        journal,
        at,
        appends: AtomicUsize::new(0),
    };
    let broken = whole.clone().on(Arc::new(breaking));
    let engine = broken.engine();
    let run = engine.create(new_run()).await.unwrap();
    let ended = broken.drive(&engine, run, &Control::default()).await;
    let broke = matches!(ended, Err(EngineError::Journal(_)));
    let done_before = log.lines().len();
    let succeeded_before = successes(&*whole.journal, run).await;
    let state = match whole.engine().load(run).await.unwrap() {
        state if state.outcome.is_some() => state,
        _ => whole.resume(run).await,
    };
    check(at, &state);
    for line in &log.lines()[done_before..] {
        let step = line.split(' ').next().unwrap();
        assert!(
            !succeeded_before.contains(step),
            "{at:?}: {line} was done again after its journaled success"
        );
    }
    let mut wholes: Vec<String> = log
        .lines()
        .into_iter()
        .filter(|line| line.ends_with("whole"))
        .collect();
    wholes.sort();
    assert_eq!(
        wholes,
        ["work whole", "work[end] whole", "work[x] whole", "work[y] whole"],
        "{at:?}"
    );
    broke
}

fn check(at: BreaksAt, state: &RunState) {
    assert_eq!(state.outcome, Some(Outcome::Succeeded), "{at:?}");
    for id in ["work", "work[x]", "work[y]", "work[end]"] {
        assert_eq!(
            record(state, id).failures,
            0,
            "{at:?}: a crash is no failure of {id}"
        );
    }
}

/// Returns the steps whose success is journaled.
async fn successes(journal: &dyn Journal, run: RunId) -> BTreeSet<String> {
    let records = journal.read(run).await.unwrap();
    let steps = records.iter().filter_map(|record| match &record.event {
        Event::StepSucceeded { step, .. } => Some(step.to_string()),
        _ => None,
    });
    steps.collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_append_ends_the_same_and_repeats_no_success() {
    for side in [BreaksAt::Before, BreaksAt::After] {
        let mut at = 0;
        while broken_and_resumed(side(at), Arc::new(MemoryJournal::new())).await {
            at += 1;
        }
        // One for the beginning, one for each of four ends, two checkpoints for each of four steps.
        assert_eq!(at, 13, "appends of an undisturbed run");
    }
}
