//! Creating, adopting, and who may drive.

use std::sync::Arc;

use rekindle_engine::{APPROVE, Action, Control, EngineError, NewRun, Progress, Unit};
use rekindle_model::id::StepId;
use rekindle_plan::{Catalog, Inputs};
use serde_json::{Value, json};

use crate::bench::{Act, Bench, SECOND, finished, history, new_run, step, value};

#[tokio::test(start_paused = true)]
async fn a_run_is_pinned_to_the_bytes_that_it_began_with() {
    let bench = Bench::new(1, vec![]);
    let params = json!({ "long": "x".repeat(5000) });
    let Value::Object(params) = params else {
        unreachable!()
    };
    let inputs = Inputs {
        params,
        ..Inputs::default()
    };
    let new = NewRun {
        system: Some(b"system: s".to_vec()),
        inputs: inputs.clone(),
        ..new_run()
    };
    let engine = bench.engine();
    let run = engine.create(new).await.unwrap();
    let state = engine.load(run).await.unwrap();
    assert_eq!(
        bench.journal.blob(state.definition).await.unwrap(),
        b"workflow: test"
    );
    assert_eq!(
        bench.journal.blob(state.system.unwrap()).await.unwrap(),
        b"system: s"
    );
    let rekindle_model::event::Payload::Blob(hash) = state.inputs else {
        panic!("{:?}", state.inputs)
    };
    let read: Inputs = serde_json::from_slice(&bench.journal.blob(hash).await.unwrap()).unwrap();
    assert_eq!(read, inputs);
}

#[tokio::test(start_paused = true)]
async fn an_adoption_raises_the_epoch_and_names_its_process() {
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", Act::echo());
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let state = engine.adopt(run, "resumed by hand").await.unwrap();
    assert_eq!((state.epoch, state.seq), (2, 2));
    assert_eq!(
        (
            state.adoptions[0].worker.host.as_str(),
            state.adoptions[0].why.as_str()
        ),
        ("here", "resumed by hand")
    );
    finished(bench.drive(&engine, run, &Control::default()).await);
}

#[tokio::test(start_paused = true)]
async fn only_who_holds_a_run_drives_it_and_only_once_at_a_time() {
    let act = Act::new(|_, _| async {
        tokio::time::sleep(SECOND).await;
        Ok(value(json!(1)))
    });
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", act);
    let engine = bench.engine();
    let run = engine.create(new_run()).await.unwrap();
    let control = Control::default();
    let stranger = bench.drive(&bench.engine(), run, &control).await;
    assert!(
        matches!(stranger, Err(EngineError::NotAdopted { .. })),
        "{stranger:?}"
    );
    let (one, other) = tokio::join!(
        bench.drive(&engine, run, &control),
        bench.drive(&engine, run, &control)
    );
    finished(one);
    assert!(
        matches!(other, Err(EngineError::AlreadyDriven { .. })),
        "{other:?}"
    );
    let lines = history(&*bench.journal, run).await;
    finished(bench.drive(&engine, run, &control).await);
    assert_eq!(
        history(&*bench.journal, run).await,
        lines,
        "driving what is over does nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn listeners_receive_the_progress_of_steps() {
    let act = Act::new(|cx, _| async move {
        cx.progress(3, Some(9), Unit::Bytes);
        Ok(value(json!(1)))
    });
    let bench = Bench::new(1, vec![step("a", &[])]).with("a", act);
    let engine = bench.engine();
    let mut told = engine.progress();
    let run = engine.create(new_run()).await.unwrap();
    finished(bench.drive(&engine, run, &Control::default()).await);
    let expect = Progress {
        run,
        step: StepId::plain("a"),
        done: 3,
        total: Some(9),
        unit: Unit::Bytes,
    };
    assert_eq!(told.try_recv().unwrap(), expect);
}

#[tokio::test(start_paused = true)]
async fn a_registry_can_be_decorated_without_the_product_knowing() {
    let mut bench = Bench::new(1, vec![step("a", &[])]).with("a", Act::echo());
    let mut seen = Vec::new();
    bench.registry = bench.registry.map(|name, action| -> Arc<dyn Action> {
        seen.push(name.to_owned());
        let act = Act::new(move |cx, checkpoint| {
            let action = Arc::clone(&action);
            async move {
                action
                    .run(&cx, checkpoint)
                    .await
                    .map(|out| value(json!({ "inner": out.value })))
            }
        });
        Arc::new(act)
    });
    assert_eq!(
        (seen, bench.registry.names()),
        (vec!["a".to_owned()], vec!["a".to_owned(), APPROVE.to_owned()])
    );
    let state = bench.finish().await;
    let rekindle_model::step::StepState::Succeeded { output, .. } = crate::bench::record(&state, "a").state
    else {
        panic!("{state:?}")
    };
    assert_eq!(
        output,
        rekindle_model::event::Payload::Inline(json!({ "inner": { "of": "a" } }))
    );
}
