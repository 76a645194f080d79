//! What the tests drive: plans made by hand, actions made of closures, a clock, journals that break.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{
    APPROVE, Action, Ask, Control, Ended, Engine, EngineError, NewRun, Output, Reconciled, Registry, Request,
    StepContext,
};
use rekindle_journal::{Append, Journal, JournalError, MemoryJournal, RunFilter, RunSummary};
use rekindle_model::event::{Event, Record, Worker};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::run::RunState;
use rekindle_model::step::StepRecord;
use rekindle_model::system::Period;
use rekindle_model::time::{Clock, Stamp};
use rekindle_plan::{Backoff, Inputs, Plan, PlanStep, Problem, Retry, RunIf};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Returns a step that runs the action of its template's name, on success, once.
pub(crate) fn step(id: &str, needs: &[&str]) -> PlanStep {
    let id = StepId::from(id);
    PlanStep {
        template: id.template().to_owned(),
        each: id
            .keys()
            .first()
            .map(|key| ("component".to_owned(), (*key).to_owned()))
            .into_iter()
            .collect(),
        item: None,
        uses: id.template().to_owned(),
        with: Value::Null,
        needs: needs.iter().map(|need| StepId::from(*need)).collect(),
        run_if: RunIf::Success,
        retry: Retry::default(),
        timeout: None,
        deadline: None,
        stall_timeout: None,
        concurrency: None,
        compensate: None,
        continue_on_error: false,
        max_interruptions: 10,
        max_parallel: None,
        handler: None,
        priority: 100,
        id,
    }
}

/// Returns a step that asks a person.
pub(crate) fn question(id: &str, needs: &[&str]) -> PlanStep {
    PlanStep {
        uses: APPROVE.to_owned(),
        with: json!({ "message": "sure?" }),
        ..step(id, needs)
    }
}

/// Returns a policy of so many attempts, a second apart, without jitter.
pub(crate) fn retry(max_attempts: u32) -> Retry {
    let backoff = Backoff {
        initial: Period(SECOND),
        factor: 1.0,
        max: Period(SECOND * 60),
        jitter: 0.0,
    };
    Retry {
        max_attempts,
        backoff,
        non_retryable: Vec::new(),
        interrupt_on: Vec::new(),
    }
}

/// A clock that shows tokio's time, which tests pause.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn start() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Stamp {
        let elapsed = self.0.elapsed();
        Stamp {
            utc: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap() + elapsed,
            boot_ns: u64::try_from(elapsed.as_nanos()).unwrap(),
            boot_id: Uuid::from_u128(1),
        }
    }
}

type Going<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type OnRun = dyn Fn(StepContext, Option<Value>) -> Going<Result<Output, Failure>> + Send + Sync;
type OnReconcile = dyn Fn(StepContext, Option<Value>) -> Going<Result<Reconciled, Failure>> + Send + Sync;
type OnRecheck = dyn Fn(StepContext, Value) -> Option<String> + Send + Sync;

/// An action made of closures. Without others, a cut-off attempt is redone and artefacts stay.
pub(crate) struct Act {
    run: Box<OnRun>,
    reconcile: Box<OnReconcile>,
    recheck: Box<OnRecheck>,
    lasts: bool,
}

impl Act {
    pub(crate) fn new<F>(run: impl Fn(StepContext, Option<Value>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Output, Failure>> + Send + 'static,
    {
        Self {
            run: Box::new(move |cx, checkpoint| Box::pin(run(cx, checkpoint))),
            reconcile: Box::new(|_, _| {
                Box::pin(async {
                    Ok(Reconciled::Redo {
                        evidence: json!("redo"),
                    })
                })
            }),
            recheck: Box::new(|_, _| None),
            lasts: false,
        }
    }

    /// Returns an action that says what its step is.
    pub(crate) fn echo() -> Self {
        Self::new(|cx, _| async move { Ok(value(json!({ "of": cx.step.id }))) })
    }

    /// Returns an action that never ends, even after a stop, and counts how often it was dropped.
    pub(crate) fn stubborn(dropped: Arc<AtomicUsize>) -> Self {
        Self::new(move |_, _| {
            let counts = CountsDrop(Arc::clone(&dropped));
            async move {
                let _counts = counts;
                std::future::pending().await
            }
        })
    }

    pub(crate) fn reconciling<F>(
        mut self,
        reconcile: impl Fn(StepContext, Option<Value>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Reconciled, Failure>> + Send + 'static,
    {
        self.reconcile = Box::new(move |cx, checkpoint| Box::pin(reconcile(cx, checkpoint)));
        self
    }

    pub(crate) fn rechecking(
        mut self,
        recheck: impl Fn(StepContext, Value) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.recheck = Box::new(recheck);
        self
    }
}

impl Act {
    /// Returns the action as one whose artefacts cannot be gone.
    pub(crate) fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }
}

struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Action for Act {
    fn check(&self, _with: &Value) -> Vec<Problem> {
        Vec::new()
    }

    fn can_be_gone(&self) -> bool {
        !self.lasts
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        (self.reconcile)(cx.clone(), checkpoint.cloned()).await
    }

    async fn recheck(&self, cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        Ok((self.recheck)(cx.clone(), output.clone()))
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        (self.run)(cx.clone(), checkpoint).await
    }
}

pub(crate) fn value(value: Value) -> Output {
    Output {
        value,
        ..Output::default()
    }
}

pub(crate) fn new_run() -> NewRun {
    NewRun {
        workflow: "test".to_owned(),
        kind: RunKind::Custom,
        definition: b"workflow: test".to_vec(),
        system: None,
        inputs: Inputs::default(),
        trigger: Trigger::command("a test"),
        disaster_at: None,
        disaster_at_told: false,
    }
}

/// A plan, its actions and a journal.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) registry: Registry,
}

impl Bench {
    pub(crate) fn new(max_parallel: usize, steps: Vec<PlanStep>) -> Self {
        let (workflow, description) = ("test".to_owned(), None);
        Self {
            journal: Arc::new(MemoryJournal::new()),
            clock: TokioClock::start(),
            plan: Arc::new(Plan {
                workflow,
                description,
                params: Map::new(),
                deadline: None,
                concurrency: None,
                max_parallel,
                steps,
            }),
            registry: Registry::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, action: Act) -> Self {
        self.registry.insert(name, Arc::new(action));
        self
    }

    pub(crate) fn on(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Returns what a new process would have.
    pub(crate) fn engine(&self) -> Engine {
        let worker = Worker {
            host: "here".to_owned(),
            pid: 1,
            version: "0".to_owned(),
        };
        Engine::new(
            Arc::clone(&self.journal),
            self.registry.clone(),
            Arc::clone(&self.clock),
            worker,
        )
    }

    pub(crate) async fn drive(
        &self,
        engine: &Engine,
        run: RunId,
        control: &Control,
    ) -> Result<Ended, EngineError> {
        engine
            .drive(run, Arc::clone(&self.plan), json!({}), control)
            .await
    }

    /// Ann asks something of a run.
    pub(crate) async fn ask(&self, engine: &Engine, run: RunId, ask: Ask) -> Result<(), EngineError> {
        let request = Request {
            by: "ann".to_owned(),
            note: Some("known".to_owned()),
            ask,
        };
        engine
            .request(run, Arc::clone(&self.plan), request)
            .await
            .map(drop)
    }

    /// Creates a run and drives it to its end.
    pub(crate) async fn finish(&self) -> RunState {
        let engine = self.engine();
        let run = engine.create(new_run()).await.unwrap();
        finished(self.drive(&engine, run, &Control::default()).await)
    }

    /// Takes a run over in a new process and drives it to its end.
    pub(crate) async fn resume(&self, run: RunId) -> RunState {
        let engine = self.engine();
        engine.adopt(run, "a test").await.unwrap();
        finished(self.drive(&engine, run, &Control::default()).await)
    }

    /// Creates a run and drops its driver, as a kill does, once `until` has happened.
    pub(crate) async fn kill_once(&self, until: impl Future<Output = ()>) -> RunId {
        let engine = self.engine();
        let run = engine.create(new_run()).await.unwrap();
        let control = Control::default();
        tokio::select! {
            ended = self.drive(&engine, run, &control) => panic!("it should not end: {ended:?}"),
            () = until => run,
        }
    }
}

pub(crate) fn finished(ended: Result<Ended, EngineError>) -> RunState {
    match ended {
        Ok(Ended::Finished(state)) => state,
        other => panic!("not finished: {other:?}"),
    }
}

pub(crate) fn record(state: &RunState, step: &str) -> StepRecord {
    state.step(&StepId::from(step))
}

pub(crate) fn state_of(state: &RunState, step: &str) -> &'static str {
    record(state, step).state.name()
}

pub(crate) fn failure_of(state: &RunState, step: &str) -> Failure {
    match record(state, step).state {
        rekindle_model::step::StepState::Failed { error } => error,
        other => panic!("{step} did not fail: {other:?}"),
    }
}

/// Returns the events of a run as short lines, one a record.
pub(crate) async fn history(journal: &dyn Journal, run: RunId) -> Vec<String> {
    let line = |record: &Record| match record.event.step() {
        Some(step) => format!("{} {step}", record.event.name()),
        None => record.event.name().to_owned(),
    };
    journal.read(run).await.unwrap().iter().map(line).collect()
}

/// What was done, in order, as the world saw it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, what: impl fmt::Display) {
        self.0.lock().unwrap().push(what.to_string());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Where a journal breaks: at its n-th append that is neither a creation nor an adoption.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BreaksAt {
    /// The journal does not write the append.
    Before(usize),
    /// The journal writes the append, but returns an error.
    After(usize),
}

/// A journal that breaks once and for all, as if the process were killed there.
pub(crate) struct Breaking {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) at: BreaksAt,
    pub(crate) appends: AtomicUsize,
}

#[async_trait]
impl Journal for Breaking {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        let begins = matches!(
            append.events.first(),
            Some(Event::RunCreated { .. } | Event::RunAdopted { .. })
        );
        if begins {
            return self.journal.append(append).await;
        }
        let poisoned = || JournalError::Poisoned {
            why: "a test".to_owned(),
        };
        let nth = self.appends.fetch_add(1, Ordering::SeqCst);
        match self.at {
            BreaksAt::Before(at) | BreaksAt::After(at) if nth < at => self.journal.append(append).await,
            BreaksAt::After(at) if nth == at => {
                self.journal.append(append).await?;
                Err(poisoned())
            }
            _ => Err(poisoned()),
        }
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.journal.read(run).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.journal.values(run, after).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.journal.runs(filter).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.journal.subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.journal.put_blob(bytes).await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.journal.blob(hash).await
    }
}
