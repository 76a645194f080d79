//! Copies of a run's journal elsewhere: which acts wait for them, and what follows when another host takes a run over.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use rekindle_engine::{Control, EngineError, Replica, TakenOver};
use rekindle_journal::Journal;
use rekindle_model::id::RunId;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bench::{Act, Bench, finished, history, new_run, step, value};

/// Copies that say how far they are, and that can show a takeover of the run.
struct Copies {
    journal: Arc<dyn Journal>,
    /// The newest record that is in them.
    seq: AtomicU64,
    taken: AtomicBool,
    found: Notify,
    barriers: Mutex<Vec<Duration>>,
    ended: AtomicUsize,
}

impl Copies {
    fn of(bench: &Bench) -> Arc<Self> {
        Arc::new(Self {
            journal: Arc::clone(&bench.journal),
            seq: AtomicU64::new(0),
            taken: AtomicBool::new(false),
            found: Notify::new(),
            barriers: Mutex::default(),
            ended: AtomicUsize::new(0),
        })
    }

    fn look(&self, run: RunId) -> Result<(), TakenOver> {
        if !self.taken.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.found.notify_one();
        Err(taken(run))
    }
}

fn taken(run: RunId) -> TakenOver {
    TakenOver {
        run,
        host: "elsewhere".into(),
        workspace: Uuid::from_u128(9),
        at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        epoch: 2,
        tier: "near".into(),
        url: "file:///near".into(),
    }
}

#[async_trait]
impl Replica for Copies {
    async fn barrier(&self, run: RunId, fresh: Duration) -> Result<(), TakenOver> {
        self.barriers.lock().unwrap().push(fresh);
        let records = self.journal.read(run).await.unwrap();
        self.seq.store(records.len() as u64, Ordering::SeqCst);
        self.look(run)
    }

    async fn keep(&self, run: RunId) -> TakenOver {
        self.found.notified().await;
        taken(run)
    }

    async fn end(&self, run: RunId) -> Result<(), TakenOver> {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.look(run)
    }
}

#[tokio::test(start_paused = true)]
async fn creation_and_adoption_are_copied_before_anything_acts_and_a_barrier_waits_for_the_rest() {
    let bench = Bench::new(1, vec![step("a", &[])]);
    let copies = Copies::of(&bench);
    let inside = Arc::clone(&copies);
    let bench = bench.with(
        "a",
        Act::new(move |cx, _| {
            let copies = Arc::clone(&inside);
            async move {
                cx.barrier().await;
                Ok(value(json!(copies.seq.load(Ordering::SeqCst))))
            }
        }),
    );
    let engine = bench.engine().with_replica(copies.clone());
    let run = engine.create(new_run()).await.unwrap();
    assert_eq!(copies.seq.load(Ordering::SeqCst), 1);
    let engine = bench.engine().with_replica(copies.clone());
    engine.adopt(run, "a test").await.unwrap();
    assert_eq!(copies.seq.load(Ordering::SeqCst), 2);
    let state = finished(bench.drive(&engine, run, &Control::default()).await);
    // Its own start is in the copies by then.
    assert_eq!(copies.seq.load(Ordering::SeqCst), 3);
    assert!(state.outcome.is_some());
    assert_eq!(copies.ended.load(Ordering::SeqCst), 1);
    let zero = Duration::ZERO;
    assert_eq!(
        *copies.barriers.lock().unwrap(),
        [zero, zero, Duration::from_secs(1), zero]
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_a_run_drops_what_is_at_work_and_appends_nothing_more() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(2, vec![step("long", &[]), step("last", &[])]);
    let copies = Copies::of(&bench);
    let inside = Arc::clone(&copies);
    let bench = bench.with("long", Act::stubborn(Arc::clone(&dropped))).with(
        "last",
        Act::new(move |cx, _| {
            inside.taken.store(true, Ordering::SeqCst);
            async move {
                cx.barrier().await;
                panic!("it went on after the run was lost");
            }
        }),
    );
    let engine = bench.engine().with_replica(copies.clone());
    let run = engine.create(new_run()).await.unwrap();
    let ended = bench.drive(&engine, run, &Control::default()).await;
    assert!(
        matches!(&ended, Err(EngineError::TakenOver(found)) if *found == taken(run)),
        "{ended:?}"
    );
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(copies.ended.load(Ordering::SeqCst), 0);
    let told = history(&*bench.journal, run).await;
    assert_eq!(told, ["run_created", "step_started long", "step_started last"]);
    // This host cannot adopt the run again either.
    let again = bench.engine().with_replica(copies).adopt(run, "a test").await;
    assert!(matches!(again, Err(EngineError::TakenOver(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_found_lost_at_its_end_is_lost() {
    let bench = Bench::new(1, vec![step("a", &[])]);
    let copies = Copies::of(&bench);
    let inside = Arc::clone(&copies);
    let bench = bench.with(
        "a",
        Act::new(move |_, _| {
            inside.taken.store(true, Ordering::SeqCst);
            async { Ok(value(json!(1))) }
        }),
    );
    let engine = bench.engine().with_replica(copies);
    let run = engine.create(new_run()).await.unwrap();
    let ended = bench.drive(&engine, run, &Control::default()).await;
    assert!(matches!(ended, Err(EngineError::TakenOver(_))), "{ended:?}");
}
