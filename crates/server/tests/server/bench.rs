//! An owner to ask things of, in this process and over its socket.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{
    Action, Ask, Engine, EngineError, INTERRUPTED, Output, Permits, Reconciled, Registry, Replica, Request,
    StepContext, TakenOver,
};
use rekindle_journal::{Journal, MemoryJournal};
use rekindle_model::event::{Event, Worker};
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::time::SystemClock;
use rekindle_plan::{Inputs, Problem as Fault, expand, load_workflow};
use rekindle_server::{
    Client, ControlSocket, End, Owner, Purpose, Ready, RunFactory, RunService, RunSpec, RunUpdate, Submission,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Two steps, the second of which waits for a permit.
pub(crate) const GATED: &str = "
workflow: gated
steps:
  - id: first
    uses: pass
  - id: second
    uses: gate
    needs: [first]
";

/// How long anything here may take; nothing waits that long unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// An owner with its socket in a folder of its own.
pub(crate) struct Bench {
    pub(crate) owner: Owner,
    pub(crate) client: Client,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) stop: CancellationToken,
    pub(crate) hangs: Arc<Hangs>,
    gate: Arc<Semaphore>,
    done: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryJournal::new())).await
    }

    /// Returns an owner that was stopped in the middle of a run, with that run.
    pub(crate) async fn interrupted() -> (Self, RunId) {
        let bench = Self::new().await;
        let run = bench.client.submit(gated()).await.unwrap();
        let mut told = bench.client.follow(run, 0).await.unwrap();
        until(&mut told, "step_started", "second").await;
        bench.stop.cancel();
        assert_eq!(all(&mut told).await.1, End::Interrupted);
        (bench, run)
    }

    /// Returns an owner of what another has left.
    pub(crate) async fn over(journal: Arc<dyn Journal>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, done) = (CancellationToken::new(), CancellationToken::new());
        let gate = Arc::new(Semaphore::new(0));
        let hangs = Arc::new(Hangs::default());
        let shop = Shop {
            journal: Arc::clone(&journal),
            hangs: Arc::clone(&hangs),
            gate: Arc::clone(&gate),
            failed: Arc::default(),
        };
        let owner = Owner::new(
            Arc::clone(&journal),
            Arc::new(shop),
            Arc::new(SystemClock),
            worker(),
            stop.clone(),
            false,
            Permits::default(),
        );
        let socket = ControlSocket::bind(dir.path()).unwrap();
        let (serves, until) = (owner.clone(), done.clone());
        let serving = tokio::spawn(async move { serves.serve(socket, until.cancelled()).await });
        let client = within(Client::connect(dir.path())).await.unwrap();
        Self {
            owner,
            client,
            journal,
            stop,
            hangs,
            gate,
            done,
            serving,
            _dir: dir,
        }
    }

    /// Lets one gated step continue.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// Ends this owner, and returns the next one of its journal.
    pub(crate) async fn next(self) -> Self {
        let journal = Arc::clone(&self.journal);
        self.end().await;
        Self::over(journal).await
    }

    /// Ends the socket, as the end of the process does.
    pub(crate) async fn end(self) {
        self.done.cancel();
        within(self.serving).await.unwrap();
    }
}

pub(crate) fn worker() -> Worker {
    Worker {
        host: "bench".to_owned(),
        pid: std::process::id(),
        version: "0.0.0".to_owned(),
    }
}

pub(crate) fn gated() -> Submission {
    Submission {
        workflow: "gated".to_owned(),
        kind: RunKind::Custom,
        definition: GATED.to_owned(),
        system: String::new(),
        inputs: Inputs::default(),
        trigger: Trigger::command("a test"),
        disaster_at: None,
    }
}

/// A step that three attempts fail of what only time mends, each of which interrupts the run.
pub(crate) fn flaky() -> Submission {
    let definition = "
workflow: flaky
steps:
  - id: only
    uses: flaky
    retry: {max_attempts: 1, interrupt_on: [busy], backoff: {initial: 1ms, max: 1ms}}
";
    Submission {
        workflow: "flaky".to_owned(),
        definition: definition.to_owned(),
        ..gated()
    }
}

pub(crate) fn ask(ask: Ask) -> Request {
    Request {
        by: "a test".to_owned(),
        note: Some("because".to_owned()),
        ask,
    }
}

/// Waits for what must come.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it took too long")
}

/// Returns the updates on a run up to an event of this name; fails if the run ends before it.
pub(crate) async fn until(told: &mut mpsc::Receiver<RunUpdate>, event: &str, step: &str) {
    within(async {
        loop {
            match told.recv().await.expect("the owner is there") {
                RunUpdate::Record(record)
                    if record.event.name() == event
                        && record.event.step().is_none_or(|id| id.as_str() == step) =>
                {
                    return;
                }
                RunUpdate::Ended(end) => panic!("ended before {event} of {step}: {end:?}"),
                RunUpdate::Record(_) | RunUpdate::Below { .. } | RunUpdate::Progress { .. } => {}
            }
        }
    })
    .await;
}

/// Returns all updates on a run, and its end.
pub(crate) async fn all(told: &mut mpsc::Receiver<RunUpdate>) -> (Vec<Event>, End) {
    within(async {
        let mut events = Vec::new();
        loop {
            match told.recv().await.expect("an end is always told") {
                RunUpdate::Record(record) => events.push(record.event),
                RunUpdate::Below { .. } | RunUpdate::Progress { .. } => {}
                RunUpdate::Ended(end) => return (events, end),
            }
        }
    })
    .await
}

/// Returns the services that must give the same answers.
pub(crate) fn services(bench: &Bench) -> [(&'static str, &dyn RunService); 2] {
    [("owner", &bench.owner), ("client", &bench.client)]
}

pub(crate) async fn names(journal: &dyn Journal, run: RunId) -> Vec<&'static str> {
    let records = journal.read(run).await.unwrap();
    records.iter().map(|record| record.event.name()).collect()
}

/// Where a tier hangs until it is let go of: as a run is put together, as its creation is copied, as its end is.
#[derive(Debug, Default)]
pub(crate) struct Hangs {
    adopting: AtomicBool,
    creating: AtomicBool,
    ending: AtomicBool,
    /// How many wait.
    waiting: AtomicUsize,
    goes_on: Notify,
}

/// What a tier hangs at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Adopting,
    Creating,
    Ending,
}

impl Hangs {
    fn at(&self, at: At) -> &AtomicBool {
        match at {
            At::Adopting => &self.adopting,
            At::Creating => &self.creating,
            At::Ending => &self.ending,
        }
    }

    /// Lets the next one that comes there wait.
    pub(crate) fn set(&self, at: At) {
        self.at(at).store(true, Ordering::SeqCst);
    }

    /// Waits until a caller waits there.
    pub(crate) async fn reached(&self) {
        within(async {
            while self.waiting.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Lets the waiter continue.
    pub(crate) fn go_on(&self) {
        self.goes_on.notify_one();
    }

    async fn here(&self, at: At) {
        if self.at(at).swap(false, Ordering::SeqCst) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.goes_on.notified().await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Copies to a tier that hangs.
struct Copies(Arc<Hangs>);

#[async_trait]
impl Replica for Copies {
    async fn barrier(&self, _run: RunId, _fresh: Duration) -> Result<(), TakenOver> {
        self.0.here(At::Creating).await;
        Ok(())
    }

    async fn keep(&self, _run: RunId) -> TakenOver {
        std::future::pending().await
    }

    async fn end(&self, _run: RunId) -> Result<(), TakenOver> {
        self.0.here(At::Ending).await;
        Ok(())
    }
}

struct Shop {
    journal: Arc<dyn Journal>,
    hangs: Arc<Hangs>,
    gate: Arc<Semaphore>,
    /// How often a flaky step has failed.
    failed: Arc<AtomicUsize>,
}

#[async_trait]
impl RunFactory for Shop {
    async fn ready(&self, parts: &RunSpec, purpose: Purpose<'_>) -> Result<Ready, Problem> {
        // Yields as opening a key does, so that other tasks run in between. `Purpose::Ask` yields long, so that they
        // get far.
        let turns = if matches!(purpose, Purpose::Ask(_)) {
            200
        } else {
            1
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if matches!(purpose, Purpose::Adopt(_)) {
            self.hangs.here(At::Adopting).await;
        }
        let text = String::from_utf8_lossy(&parts.definition);
        let refused = |found: rekindle_plan::Diagnostics| {
            Problem::new(ProblemKind::Invalid, "invalid_file", found.to_string()).with_advice("correct it")
        };
        let workflow = load_workflow(&parts.workflow, &text).map_err(refused)?;
        let registry = Registry::new()
            .with("pass", Pass)
            .with("flaky", Flaky(Arc::clone(&self.failed)))
            .with("gate", Gate(Arc::clone(&self.gate)));
        let plan = expand(&workflow, None, &parts.inputs, &registry).map_err(refused)?;
        let engine = Engine::new(
            Arc::clone(&self.journal),
            registry,
            Arc::new(SystemClock),
            worker(),
        )
        .with_replica(Arc::new(Copies(Arc::clone(&self.hangs))));
        Ok(Ready {
            engine,
            plan: Arc::new(plan),
            scope: json!({}),
        })
    }

    fn problem(&self, error: EngineError) -> Problem {
        let kind = match error {
            EngineError::Over { .. } => ProblemKind::Invalid,
            _ => ProblemKind::Failed,
        };
        Problem::new(kind, "engine", error.to_string())
    }
}

struct Pass;

#[async_trait]
impl Action for Pass {
    fn check(&self, _with: &Value) -> Vec<Fault> {
        Vec::new()
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, _cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        Ok(Output::default())
    }
}

/// Fails three times in all, in any process.
struct Flaky(Arc<AtomicUsize>);

#[async_trait]
impl Action for Flaky {
    fn check(&self, _with: &Value) -> Vec<Fault> {
        Vec::new()
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, _cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0..3 => Err(Failure::permanent("busy", "not yet")),
            _ => Ok(Output::default()),
        }
    }
}

struct Gate(Arc<Semaphore>);

#[async_trait]
impl Action for Gate {
    fn check(&self, _with: &Value) -> Vec<Fault> {
        Vec::new()
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        tokio::select! {
            permit = self.0.acquire() => {
                permit.expect("the gate is never closed").forget();
                Ok(Output::default())
            }
            () = cx.stop.cancelled() => Err(Failure::transient(INTERRUPTED, "told to stop")),
        }
    }
}
