//! The owner: drives the runs that clients submit to it, and sends updates on them.

mod admission;
mod follow;
mod nested;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rekindle_engine::{Control, Ended, Engine, EngineError, Groups, NewRun, Permits, Request, TakenBy};
use rekindle_journal::{Journal, JournalError};
use rekindle_model::event::{Outcome, Payload, Record, Worker};
use rekindle_model::id::RunId;
use rekindle_model::origin::Origin;
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::time::{Clock, Stamp};
use rekindle_plan::{Inputs, Plan};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::{End, OwnerInfo, RunUpdate, STOPPING, Submission};
use crate::run_service::RunService;

use admission::Admission;
use follow::Follower;
pub use follow::updates_of;
pub use sweep::{Pace, Sweeper};

/// How many messages a follower may lag behind before its stream waits for it.
const BACKLOG: usize = 256;

/// The definitions to which a run is pinned.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's YAML.
    pub definition: Vec<u8>,
    /// The system's YAML, if the run has a system.
    pub system: Option<Vec<u8>>,
    /// Parameters and loops.
    pub inputs: Inputs,
    /// What it is for, and who asked for it.
    pub origin: Origin,
}

/// A run that can be driven.
pub struct Ready {
    /// The engine, with the actions of this run.
    pub engine: Engine,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The values that expressions can name.
    pub scope: Value,
}

/// The purpose for which a run is assembled.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// The owner will create the run and drive it.
    Create,
    /// The owner will create the run and drive it, for a step of another run. No person at a terminal
    /// confirmed it.
    Nest,
    /// The owner will take the run over in its present state and drive it.
    Adopt(&'a RunState),
    /// The run comes from another workspace, and a person wants this workspace to take it over.
    Bring(&'a RunState),
    /// The run will receive a request in its current state, while no process drives it.
    Ask(&'a RunState),
}

/// Puts runs together: opens keys and tiers, expands definitions. The command line's part.
#[async_trait]
pub trait RunFactory: Send + Sync {
    /// Returns an engine for a run that is pinned to these parts.
    ///
    /// # Errors
    /// The definition does not expand, the key does not open, or something prevents the purpose.
    async fn ready(&self, parts: &RunSpec, purpose: Purpose<'_>) -> Result<Ready, Problem>;

    /// Returns an engine's error as a problem for people.
    fn problem(&self, error: EngineError) -> Problem;
}

/// The owner of a workspace. Clones are the same owner.
#[derive(Clone)]
pub struct Owner {
    shared: Arc<Shared>,
}

struct Shared {
    journal: Arc<dyn Journal>,
    factory: Arc<dyn RunFactory>,
    clock: Arc<dyn Clock>,
    worker: Worker,
    since: Stamp,
    stays: bool,
    /// Cancelled when the owner accepts no more runs, because a client asked it to stop or because it leaves.
    stop: CancellationToken,
    admission: Admission,
    runs: Mutex<BTreeMap<RunId, Driven>>,
    /// The locks of all groups, across all runs.
    groups: Arc<Groups>,
    /// How many steps of all runs may work at once.
    permits: Arc<Permits>,
    /// How many runs the owner drives or is taking up.
    busy: watch::Sender<usize>,
    /// The runs that received a request while no process drove them.
    asked: Mutex<BTreeSet<RunId>>,
    /// Wakes the sweeper for them.
    nudge: Notify,
}

/// A run that is driven now.
#[derive(Clone)]
struct Driven {
    engine: Engine,
    plan: Arc<Plan>,
    /// Interrupts it alone.
    stop: CancellationToken,
    end: watch::Receiver<Option<End>>,
}

impl Owner {
    /// Returns an owner that drives the runs of `journal`. `permits` limits how many steps work at once. `stop` ends
    /// the owner gracefully: every run can be resumed. `stays` says whether the owner remains when it has no run left.
    pub fn new(
        journal: Arc<dyn Journal>,
        factory: Arc<dyn RunFactory>,
        clock: Arc<dyn Clock>,
        worker: Worker,
        stop: CancellationToken,
        stays: bool,
        permits: Permits,
    ) -> Self {
        let since = clock.now();
        let shared = Shared {
            journal,
            factory,
            clock,
            worker,
            since,
            stays,
            stop: stop.child_token(),
            admission: Admission::default(),
            runs: Mutex::default(),
            groups: Arc::default(),
            permits: Arc::new(permits),
            busy: watch::Sender::new(0),
            asked: Mutex::default(),
            nudge: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns the owner's identity and its runs.
    pub fn info(&self) -> OwnerInfo {
        OwnerInfo {
            pid: self.shared.worker.pid,
            version: self.shared.worker.version.clone(),
            since: self.shared.since.utc,
            stays: self.shared.stays,
            runs: self.shared.runs().keys().copied().collect(),
        }
    }

    /// Takes over a run that came from another workspace, for the workspace with the id `workspace`. Drives the run
    /// once `held` confirms that this workspace holds it.
    ///
    /// # Errors
    /// It fails as [`RunService::resume`] does, or `held` fails. Then the owner does not drive the run.
    pub async fn bring(
        &self,
        run: RunId,
        why: &str,
        workspace: Uuid,
        held: impl Future<Output = Result<(), Problem>>,
    ) -> Result<(), Problem> {
        let _busy = self.begin().await?;
        let _alone = self.shared.admission.alone_with(run).await;
        let (parts, state) = self.parts(run).await?;
        // This only refuses a run that its parent will continue. Nothing is appended before the run is held.
        self.given_up_by(&state).await?;
        let ready = self.ready(&parts, Purpose::Bring(&state)).await?;
        let adopted = ready.engine.adopt_into(run, why, Some(workspace)).await;
        adopted.map_err(|error| self.shared.factory.problem(error))?;
        held.await?;
        self.drive(run, ready);
        Ok(())
    }

    /// Waits until no run is driven.
    pub async fn idle(&self) {
        let mut busy = self.shared.busy.subscribe();
        // The sender lives as long as this.
        let _ = busy.wait_for(|count| *count == 0).await;
    }

    /// Waits until the owner drives no run, and accepts none from then on. Otherwise the end of this process would
    /// strand a run that came in between.
    pub async fn leave(&self) {
        loop {
            self.idle().await;
            let _admitted = self.shared.admission.enter().await;
            if *self.shared.busy.borrow() == 0 {
                self.shared.stop.cancel();
                return;
            }
        }
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, Problem> {
        let records = self.shared.journal.read(run).await;
        records.map_err(|error| self.shared.journal_problem(error))
    }

    fn driven(&self, run: RunId) -> Option<Driven> {
        self.shared.runs().get(&run).cloned()
    }

    /// Starts to take up a run. The owner counts as busy until the result is dropped.
    async fn begin(&self) -> Result<Busy, Problem> {
        let _admitted = self.shared.admission.enter().await;
        self.shared.admit()?;
        Ok(Busy::begin(&self.shared))
    }

    /// Returns a run as the owner drives it, or none. Waits for the admission in progress first: a run is in the
    /// journal a moment before the owner drives it.
    async fn admitted(&self, run: RunId) -> Option<Driven> {
        drop(self.shared.admission.enter().await);
        let _alone = self.shared.admission.alone_with(run).await;
        self.driven(run)
    }

    /// Returns the definitions to which a journaled run is pinned.
    async fn parts(&self, run: RunId) -> Result<(RunSpec, RunState), Problem> {
        let state = RunState::from_records(&self.read(run).await?)
            .map_err(|error| self.shared.factory.problem(error.into()))?;
        let blob = async |hash| {
            let bytes = self.shared.journal.blob(hash).await;
            bytes.map_err(|error| self.shared.journal_problem(error))
        };
        let inputs = match &state.inputs {
            Payload::Inline(value) => serde_json::from_value(value.clone()),
            Payload::Blob(hash) => serde_json::from_slice(&blob(*hash).await?),
        };
        let inputs = inputs.map_err(|error| {
            Problem::new(
                ProblemKind::DataLost,
                "corrupt_inputs",
                format!("the inputs of run {run} cannot be read: {error}"),
            )
        })?;
        let parts = RunSpec {
            definition: blob(state.definition).await?,
            system: match state.system {
                Some(hash) => Some(blob(hash).await?),
                None => None,
            },
            workflow: state.workflow.clone(),
            inputs,
            origin: state.origin(),
        };
        Ok((parts, state))
    }

    /// Journals a request to a run that no process drives, and wakes the sweeper. The caller holds the run's
    /// admission lock.
    async fn request_undriven(&self, run: RunId, request: Request) -> Result<(), Problem> {
        let (parts, state) = self.parts(run).await?;
        let asked = Purpose::Ask(&state);
        let ready = self.shared.factory.ready(&parts, asked).await?;
        let done = ready.engine.request(run, ready.plan, request).await;
        done.map_err(|error| self.shared.factory.problem(error))?;
        self.shared.was_asked(run);
        Ok(())
    }

    /// Makes a request to one run, driven or not.
    async fn request_alone(&self, run: RunId, request: Request) -> Result<(), Problem> {
        let driven = match self.driven(run) {
            Some(driven) => driven,
            None => {
                // No process may take the run over before the request is in its journal. Otherwise that record would
                // overtake the new driver, which would stop.
                let alone = self.shared.admission.alone_with(run).await;
                match self.driven(run) {
                    Some(driven) => {
                        drop(alone);
                        driven
                    }
                    None => return self.request_undriven(run, request).await,
                }
            }
        };
        let Driven {
            engine,
            plan,
            mut end,
            ..
        } = driven;
        let taken = engine.request(run, plan, request).await;
        let taken = taken.map_err(|error| self.shared.factory.problem(error))?;
        if taken == TakenBy::Journal {
            // The driving has ended, and the run is about to leave the owner. Only then can the owner take it up
            // again.
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                let _ = ended(&mut end).await;
                shared.was_asked(run);
            });
        }
        Ok(())
    }

    /// Returns an engine for a run that is pinned to these parts. Its steps can start runs beside it.
    async fn ready(&self, parts: &RunSpec, purpose: Purpose<'_>) -> Result<Ready, Problem> {
        let ready = self.shared.factory.ready(parts, purpose).await?;
        Ok(Ready {
            engine: ready
                .engine
                .with_groups(Arc::clone(&self.shared.groups))
                .with_permits(Arc::clone(&self.shared.permits))
                .with_sub_runs(Arc::new(self.clone())),
            ..ready
        })
    }

    /// Drives a run that `ready.engine` has created here, once the engine has copied the run elsewhere.
    fn drive_new(&self, run: RunId, ready: Ready) -> Driven {
        let engine = ready.engine.clone();
        self.drive_after(run, ready, async move { engine.copied(run).await })
    }

    /// Drives a run that `ready.engine` holds, in a task of its own.
    fn drive(&self, run: RunId, ready: Ready) -> Driven {
        self.drive_after(run, ready, std::future::ready(Ok(())))
    }

    fn drive_after(
        &self,
        run: RunId,
        ready: Ready,
        first: impl Future<Output = Result<(), EngineError>> + Send + 'static,
    ) -> Driven {
        let (told, end) = watch::channel(None);
        let stop = self.shared.stop.child_token();
        let driven = Driven {
            engine: ready.engine.clone(),
            plan: Arc::clone(&ready.plan),
            stop: stop.clone(),
            end,
        };
        let shared = Arc::clone(&self.shared);
        shared.runs().insert(run, driven.clone());
        // The task removes the run before it announces the end. `Busy` counts the run out even if driving panics.
        let busy = Busy::begin(&shared);
        let leave = Leave {
            shared,
            run,
            _busy: busy,
        };
        tokio::spawn(async move {
            let control = Control { stop };
            let Ready { engine, plan, scope } = ready;
            // A run that is to stop starts no step, so it need not be copied first.
            let first = tokio::select! {
                first = first => first,
                () = control.stop.cancelled() => Ok(()),
            };
            let ended = match first {
                Ok(()) => engine.drive(run, plan, scope, &control).await,
                Err(error) => Err(error),
            };
            let end = match ended {
                Ok(Ended::Finished(state)) => End::Finished(state.outcome.unwrap_or(Outcome::Failed)),
                Ok(Ended::Interrupted(_)) => End::Interrupted,
                Err(error) => End::Broken(leave.shared.factory.problem(error)),
            };
            leave.shared.runs().remove(&run);
            // There may be no follower.
            let _ = told.send(Some(end));
        });
        driven
    }
}

/// Removes a run from the owner when its driving ends.
struct Leave {
    shared: Arc<Shared>,
    run: RunId,
    _busy: Busy,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.runs().remove(&self.run);
    }
}

/// A run that is driven or being adopted; it counts until this is dropped.
struct Busy(Arc<Shared>);

impl Busy {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.busy.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Driven>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal_problem(&self, error: JournalError) -> Problem {
        self.factory.problem(EngineError::Journal(error))
    }

    /// Notes a request to a run that no process drives, and wakes the sweeper.
    fn was_asked(&self, run: RunId) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(run);
        drop(asked);
        self.nudge.notify_one();
    }

    /// Refuses if the owner stops or leaves: then it accepts no more runs.
    fn admit(&self) -> Result<(), Problem> {
        match self.stop.is_cancelled() {
            true => Err(Problem::new(
                ProblemKind::Held,
                STOPPING,
                "the process that owns this workspace is stopping",
            )
            .with_advice("run the command again in a moment; nothing was begun")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl RunService for Owner {
    async fn submit(&self, submission: Submission) -> Result<RunId, Problem> {
        let shared = &self.shared;
        let _admitted = shared.admission.enter().await;
        shared.admit()?;
        let parts = RunSpec {
            workflow: submission.workflow,
            definition: submission.definition.into_bytes(),
            system: (!submission.system.is_empty()).then(|| submission.system.into_bytes()),
            inputs: submission.inputs,
            origin: Origin {
                kind: submission.kind,
                trigger: submission.trigger,
            },
        };
        let ready = self.ready(&parts, Purpose::Create).await?;
        let told = submission.disaster_at;
        let new = NewRun {
            workflow: parts.workflow,
            kind: parts.origin.kind,
            definition: parts.definition,
            system: parts.system,
            inputs: parts.inputs,
            trigger: parts.origin.trigger,
            disaster_at: Some(told.unwrap_or_else(|| shared.clock.now().utc)),
            disaster_at_told: told.is_some(),
        };
        let created = ready.engine.create_here(new).await;
        let run = created.map_err(|error| shared.factory.problem(error))?;
        self.drive_new(run, ready);
        Ok(run)
    }

    async fn resume(&self, run: RunId) -> Result<(), Problem> {
        let _busy = self.begin().await?;
        let _alone = self.shared.admission.alone_with(run).await;
        if self.driven(run).is_some() {
            return Ok(());
        }
        let (parts, state) = self.parts(run).await?;
        if let Some(given_up) = self.given_up_by(&state).await? {
            self.request_undriven(run, given_up).await?;
        }
        let ready = self.ready(&parts, Purpose::Adopt(&state)).await?;
        let adopted = ready.engine.adopt(run, "resumed").await;
        adopted.map_err(|error| self.shared.factory.problem(error))?;
        // The state may be older than a request that came just now.
        let (_, state) = self.parts(run).await?;
        self.drive_adopted(&state, ready).await;
        Ok(())
    }

    async fn request(&self, run: RunId, request: Request) -> Result<(), Problem> {
        self.request_with_those_below(run, request).await
    }

    async fn follow(&self, run: RunId, after: u64) -> Result<mpsc::Receiver<RunUpdate>, Problem> {
        let records = self.shared.journal.subscribe();
        let driven = self.driven(run);
        // Refuse an unknown run now, rather than return an empty stream.
        self.read(run).await?;
        let (told, receiver) = mpsc::channel(BACKLOG);
        let follower = Follower {
            owner: self.clone(),
            run,
            last: after,
            told,
            below: BTreeMap::new(),
        };
        tokio::spawn(async move {
            // It is no error if the follower has disconnected.
            let _ = follower.follow(records, driven).await;
        });
        Ok(receiver)
    }
}

/// Waits for the end of a driven run; returns none if its driving broke off.
async fn ended(end: &mut watch::Receiver<Option<End>>) -> Option<End> {
    end.wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|end| end.clone())
}
