//! The values that steps pass to each other, small and large.

use std::sync::Arc;

use rekindle_engine::{Output, Reconciled};
use rekindle_model::event::{Event, Outcome, Payload};
use rekindle_model::failure::Failure;
use rekindle_model::id::StepId;
use rekindle_model::next_action::{Action, NextAction};
use rekindle_plan::PlanStep;
use serde_json::{Value, json};

use crate::bench::{Act, Bench, Log, SECOND, failure_of, record, step, value};

fn large() -> Value {
    json!({ "files": (0..500).map(|n| format!("folder/file_{n}.txt")).collect::<Vec<_>>() })
}

#[tokio::test(start_paused = true)]
async fn a_large_output_is_a_blob_in_the_journal_and_a_value_for_every_reader() {
    let log = Log::default();
    let logs = log.clone();
    let read = Act::new(move |cx, _| {
        let seen = &cx.steps.get(&StepId::plain("make")).unwrap().output;
        logs.add(cx.with["last"] == "folder/file_499.txt" && *seen == large());
        async {
            tokio::time::sleep(SECOND).await;
            Ok(value(json!(1)))
        }
    });
    let with = json!({ "last": "${{ steps.make.files[499] }}" });
    let bench = Bench::new(
        1,
        vec![
            step("make", &[]),
            PlanStep {
                with,
                ..step("read", &["make"])
            },
        ],
    )
    .with("make", Act::new(|_, _| async { Ok(value(large())) }))
    .with("read", read);
    let run = bench.kill_once(tokio::time::sleep(SECOND / 2)).await;
    let state = bench.resume(run).await;
    assert_eq!(
        log.lines(),
        ["true", "true"],
        "live, and read back by another process"
    );
    let rekindle_model::step::StepState::Succeeded { output, .. } = record(&state, "make").state else {
        panic!("{state:?}")
    };
    assert!(matches!(output, Payload::Blob(_)), "{output:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_checkpoint_comes_back_whole() {
    let act = Act::new(|cx, checkpoint| async move {
        if checkpoint == Some(large()) {
            return Ok(value(json!("whole")));
        }
        cx.checkpoint(large()).await?;
        std::future::pending().await
    });
    let act = act.reconciling(|_, checkpoint| async move {
        Ok(Reconciled::Continue {
            evidence: json!({ "whole": checkpoint == Some(large()) }),
        })
    });
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", act);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    let state = bench.resume(run).await;
    assert_eq!(state.outcome, Some(Outcome::Succeeded));
    let records = bench.journal.read(run).await.unwrap();
    let evidence = records.iter().find_map(|record| match &record.event {
        Event::StepReconciled { evidence, .. } => Some(evidence.clone()),
        _ => None,
    });
    assert_eq!(evidence, Some(json!({ "whole": true })));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_an_action_says_is_too_large_for_the_journal() {
    let long = || "é".repeat(20_000);
    let measures = || {
        (0..900)
            .map(|n| (format!("measure_number_{n}_ms"), f64::from(n)))
            .collect()
    };
    let talkative = Act::new(move |_, _| async move {
        Ok(Output {
            value: large(),
            measures: measures(),
        })
    });
    let failing = Act::new(move |_, _| async move {
        let run = Action::Plan {
            workflow: Some(long()),
        };
        Err(Failure::permanent(&long(), long())
            .with_hint(long())
            .with_next(run, "is too long to be journaled")
            .with_next(Action::Verify, "is not"))
    });
    let adopting = Act::new(|_, _| async { std::future::pending().await });
    let adopting = adopting.reconciling(move |_, _| async move {
        Ok(Reconciled::Complete {
            output: Output {
                value: large(),
                measures: measures(),
            },
            evidence: large(),
        })
    });
    let steps = vec![
        step("talkative", &[]),
        step("failing", &[]),
        step("adopting", &[]),
    ];
    let bench = Bench::new(4, steps)
        .with("talkative", talkative)
        .with("failing", failing)
        .with("adopting", adopting);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    let state = bench.resume(run).await;
    assert_eq!(state.outcome, Some(Outcome::Failed));
    let failure = failure_of(&state, "failing");
    assert!(failure.message.contains("bytes in all"));
    assert_eq!(failure.next, [NextAction::new(Action::Verify, "is not").into()]);
    for id in ["talkative", "adopting"] {
        let rekindle_model::step::StepState::Succeeded { measures, .. } = record(&state, id).state else {
            panic!("{id}: {state:?}")
        };
        assert!(measures["measures_left_out"] > 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_gone_is_not_looked_for() {
    let log = Log::default();
    let act = |log: &Log| {
        let checks = log.clone();
        Act::echo().rechecking(move |cx, _| {
            checks.add(format_args!("recheck {}", cx.step.id));
            None
        })
    };
    let last = Act::new(|cx, _| async move {
        match cx.attempt {
            1 => std::future::pending().await,
            _ => Ok(value(json!(null))),
        }
    });
    let steps = vec![step("a", &[]), step("b", &["a"]), step("last", &["b"])];
    let bench = Bench::new(1, steps)
        .with("a", act(&log).lasting())
        .with("b", act(&log))
        .with("last", last);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    bench.resume(run).await;
    assert_eq!(log.lines(), ["recheck b"]);
}

#[tokio::test(start_paused = true)]
async fn an_artefact_that_is_gone_is_made_again_with_what_rests_on_it() {
    let log = Log::default();
    let act = |log: &Log| {
        let (runs, checks) = (log.clone(), log.clone());
        let act = Act::new(move |cx, _| {
            runs.add(format_args!("run {} #{}", cx.step.id, cx.attempt));
            async move { Ok(value(json!(cx.attempt))) }
        });
        act.rechecking(move |cx, output| {
            checks.add(format_args!("recheck {} {output}", cx.step.id));
            (cx.step.id.as_str() == "b").then(|| "the file is gone".to_owned())
        })
    };
    let last = Act::new(|cx, _| async move {
        if cx.attempt == 1 {
            std::future::pending().await
        } else {
            Ok(value(cx.with.clone()))
        }
    });
    let with = json!("${{ steps.b.outputs }}");
    let steps = vec![
        step("a", &[]),
        step("b", &["a"]),
        PlanStep {
            with,
            ..step("last", &["b"])
        },
    ];
    let bench = Bench::new(1, steps)
        .with("a", act(&log))
        .with("b", act(&log))
        .with("last", last);
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    let state = bench.resume(run).await;
    assert_eq!(
        log.lines(),
        ["run a #1", "run b #1", "recheck a 1", "recheck b 1", "run b #2"]
    );
    let rekindle_model::step::StepState::Succeeded { output, .. } = record(&state, "last").state else {
        panic!("{state:?}")
    };
    assert_eq!(output, Payload::Inline(json!(2)), "it saw the new output");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_the_history_names_and_nobody_has_is_an_error_and_not_a_null() {
    let bench = Bench::new(1, vec![step("make", &[]), step("wait", &["make"])])
        .with("make", Act::new(|_, _| async { Ok(value(large())) }))
        .with("wait", Act::new(|_, _| async { std::future::pending().await }));
    let run = bench.kill_once(tokio::time::sleep(SECOND)).await;
    // The records without their blobs, as after a copy that forgot them.
    let copy = Arc::new(rekindle_journal::MemoryJournal::new());
    for (seq, record) in (0..).zip(Arc::unwrap_or_clone(bench.journal.read(run).await.unwrap())) {
        let append = rekindle_journal::Append {
            run,
            expected_seq: seq,
            epoch: record.epoch,
            events: vec![record.event],
            now: record.time,
        };
        rekindle_journal::Journal::append(&*copy, append).await.unwrap();
    }
    let bench = bench.on(copy);
    let engine = bench.engine();
    engine.adopt(run, "a test").await.unwrap();
    let ended = bench.drive(&engine, run, &Default::default()).await;
    assert!(
        matches!(ended, Err(rekindle_engine::EngineError::Value { .. })),
        "{ended:?}"
    );
}
