//! The engine creates runs, takes them over, drives them, and passes on the requests that people make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_journal::{Append, Journal};
use rekindle_model::event::{Event, Record, Worker};
use rekindle_model::id::RunId;
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::run::RunState;
use rekindle_model::time::Clock;
use rekindle_plan::{Inputs, Plan};
use serde_json::Value;
use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

use crate::control::{Control, Ended};
use crate::driver;
use crate::error::EngineError;
use crate::groups::Groups;
use crate::machine::Machine;
use crate::nest::SubRuns;
use crate::payload;
use crate::permits::Permits;
use crate::progress::Progress;
use crate::registry::Registry;
use crate::replica::Replica;
use crate::request::{Request, TakenBy, Wish};
use crate::shared::Shared;

/// How often the engine tries a request to a run that is not driven. It tries again if another process appended first.
const UNDRIVEN_TRIES: u32 = 5;

/// The data that a run is created with.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// The workflow's name.
    pub workflow: String,
    /// What the run is for.
    pub kind: RunKind,
    /// The workflow's YAML, which the run is pinned to.
    pub definition: Vec<u8>,
    /// The system's YAML, which the run is pinned to, where it has a system.
    pub system: Option<Vec<u8>>,
    /// The inputs that expand the definition into the plan.
    pub inputs: Inputs,
    /// The command, schedule, API client or step that asks for the run.
    pub trigger: Trigger,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person gave `disaster_at`.
    pub disaster_at_told: bool,
}

/// Creates, adopts and drives the runs of one journal. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Returns an engine that acts as `worker`.
    pub fn new(journal: Arc<dyn Journal>, registry: Registry, clock: Arc<dyn Clock>, worker: Worker) -> Self {
        Self {
            shared: Arc::new(Shared::new(journal, registry, clock, worker)),
        }
    }

    /// Returns a fresh engine like this one, under other limits: how many steps of all runs may be at work at once
    /// (at least one), and how long an action may take to end after it was asked to.
    #[must_use]
    pub fn with_limits(self, permits: usize, grace: Duration) -> Self {
        self.with(|shared| {
            shared.permits = Arc::new(Permits::new(permits));
            shared.grace = grace;
        })
    }

    /// Returns a fresh engine like this one, whose steps share their permits with those of other engines.
    #[must_use]
    pub fn with_permits(self, permits: Arc<Permits>) -> Self {
        self.with(|shared| shared.permits = permits)
    }

    /// Returns a fresh engine like this one, whose steps take turns with those of other engines.
    #[must_use]
    pub fn with_groups(self, groups: Arc<Groups>) -> Self {
        self.with(|shared| shared.groups = groups)
    }

    /// Returns a fresh engine like this one, whose steps can have other runs driven beside their own.
    #[must_use]
    pub fn with_sub_runs(self, sub_runs: Arc<dyn SubRuns>) -> Self {
        self.with(|shared| shared.sub_runs = Some(sub_runs))
    }

    /// Returns a fresh engine like this one, which has `replica` keep copies of its runs.
    #[must_use]
    pub fn with_replica(self, replica: Arc<dyn Replica>) -> Self {
        self.with(|shared| shared.replica = Some(replica))
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = self.shared.fresh();
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Creates a run and pins it to its definition. The run is durable on return, and this engine holds it.
    ///
    /// # Errors
    /// [`EngineError::Journal`].
    pub async fn create(&self, new: NewRun) -> Result<RunId, EngineError> {
        let run = self.create_here(new).await?;
        self.copied(run).await?;
        Ok(run)
    }

    /// Creates a run as [`Engine::create`] does, but does not wait for its copies elsewhere. Before the caller
    /// drives the run, it waits for [`Engine::copied`].
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub async fn create_here(&self, new: NewRun) -> Result<RunId, EngineError> {
        let run = RunId::new(&self.shared.clock.now());
        self.create_as(run, new).await?;
        Ok(run)
    }

    /// Waits until every copy that can be reached has all that the journal has of a run.
    ///
    /// # Errors
    /// [`EngineError::TakenOver`] when another host has taken it over.
    pub async fn copied(&self, run: RunId) -> Result<(), EngineError> {
        self.shared.copied(run).await
    }

    /// Creates a run that is the work of another run's step, under the id that the step has recorded. Like
    /// [`Engine::create_here`], it does not wait for the copies elsewhere.
    ///
    /// # Errors
    /// [`EngineError::Journal`]; [`EngineError::Fenced`] if such a run exists already.
    pub async fn create_below(&self, run: RunId, new: NewRun) -> Result<(), EngineError> {
        self.create_as(run, new).await
    }

    async fn create_as(&self, run: RunId, new: NewRun) -> Result<(), EngineError> {
        let Shared { journal, clock, .. } = &*self.shared;
        let definition = journal.put_blob(new.definition).await?;
        let system = match new.system {
            Some(bytes) => Some(journal.put_blob(bytes).await?),
            None => None,
        };
        let inputs =
            serde_json::to_value(&new.inputs).map_err(|error| EngineError::Inputs(error.to_string()))?;
        let inputs = payload::store(&**journal, inputs, payload::INLINE).await?;
        let now = clock.now();
        let trigger = match new.trigger {
            Trigger::Command(line) => Trigger::Command(payload::fit_sentence(&line)),
            other => other,
        };
        let event = Event::RunCreated {
            workflow: new.workflow,
            definition,
            system,
            inputs,
            kind: Some(new.kind),
            trigger,
            disaster_at: new.disaster_at,
            disaster_at_told: new.disaster_at_told,
            old_parent: None,
        };
        journal
            .append(Append {
                run,
                expected_seq: 0,
                epoch: 1,
                events: vec![event],
                now,
            })
            .await?;
        self.shared.hold(run, 1);
        Ok(())
    }

    /// Takes a run over and raises its epoch. From then on, the journal refuses appends of the previous holder.
    ///
    /// # Errors
    /// [`EngineError::Over`] when there is nothing left to drive, [`EngineError::Fenced`] when another process took
    /// it over at the same time, [`EngineError::TakenOver`] when another host has taken it over.
    pub async fn adopt(&self, run: RunId, why: &str) -> Result<RunState, EngineError> {
        self.adopt_into(run, why, None).await
    }

    /// Takes a run over as [`Engine::adopt`] does, from another workspace into the one with the id `workspace`.
    ///
    /// # Errors
    /// As [`Engine::adopt`].
    pub async fn adopt_into(
        &self,
        run: RunId,
        why: &str,
        workspace: Option<Uuid>,
    ) -> Result<RunState, EngineError> {
        let _alone = self.shared.undriven.lock().await;
        let mut state = self.load(run).await?;
        if let Some(outcome) = state.outcome {
            return Err(EngineError::Over { run, outcome });
        }
        let epoch = state.epoch + 1;
        let worker = self.shared.worker.clone();
        let event = Event::RunAdopted {
            epoch,
            worker,
            why: payload::fit_sentence(why),
            workspace,
        };
        let now = self.shared.clock.now();
        let append = Append {
            run,
            expected_seq: state.seq,
            epoch,
            events: vec![event],
            now,
        };
        for record in self.shared.journal.append(append).await? {
            state.fold(&record)?;
        }
        self.shared.copied(run).await?;
        self.shared.hold(run, epoch);
        Ok(state)
    }

    /// Drives a run that this engine has created or adopted, until it is over or stopped.
    ///
    /// `plan` is the expansion of the definition that the run is pinned to. `scope` holds the values that expressions
    /// see: `target`, `system`, `rekindle`. The engine adds `params`, `steps`, `each`, `component` and `run`.
    ///
    /// Dropping the future is as safe as a kill. To continue, adopt the run again.
    ///
    /// # Errors
    /// [`EngineError::Fenced`] when another process has adopted the run, [`EngineError::Journal`] when the journal
    /// failed; then the driver has stopped all actions. [`EngineError::NotAdopted`], [`EngineError::AlreadyDriven`],
    /// [`EngineError::OtherPlan`] and [`EngineError::Value`] come before the driver has done anything.
    pub async fn drive(
        &self,
        run: RunId,
        plan: Arc<Plan>,
        scope: Value,
        control: &Control,
    ) -> Result<Ended, EngineError> {
        let alone = self.shared.undriven.lock().await;
        let (driving, wishes) = self.shared.begin_driving(run)?;
        drop(alone);
        let records = self.read(run).await?;
        driver::drive(
            Arc::clone(&self.shared),
            &records,
            driving.epoch,
            plan,
            scope,
            control,
            wishes,
        )
        .await
    }

    /// Makes a request to a run. The decision is durable on return. If this engine drives the run, the run's driver
    /// decides and begins to act. Else the engine appends the request under the run's present epoch; it takes effect
    /// when the run is adopted and driven.
    ///
    /// `plan` is the expansion of the definition that the run is pinned to. Returns whether the driver or the journal
    /// took the request.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when the request does not fit the run's state: then nothing was journaled.
    /// [`EngineError::Fenced`] when others kept appending to the run, [`EngineError::Journal`] and
    /// [`EngineError::OtherPlan`].
    pub async fn request(
        &self,
        run: RunId,
        plan: Arc<Plan>,
        request: Request,
    ) -> Result<TakenBy, EngineError> {
        let request = request.fit();
        let mut tries = 0;
        loop {
            if let Some(driver) = self.shared.driver_of(run) {
                let (done, answer) = oneshot::channel();
                let wish = Wish {
                    request: request.clone(),
                    done,
                };
                if driver.send(wish).await.is_ok()
                    && let Ok(decided) = answer.await
                {
                    return match decided {
                        Ok(()) => Ok(TakenBy::Driver),
                        Err(why) => Err(EngineError::Refused { run, why }),
                    };
                }
                // The driver has ended without an answer, so the run is not driven now.
            }
            let _alone = self.shared.undriven.lock().await;
            if self.shared.driver_of(run).is_some() {
                continue;
            }
            tries += 1;
            match self.request_undriven(run, &plan, &request).await {
                Err(EngineError::Fenced { .. }) if tries < UNDRIVEN_TRIES => {}
                done => return done.map(|()| TakenBy::Journal),
            }
        }
    }

    async fn request_undriven(
        &self,
        run: RunId,
        plan: &Arc<Plan>,
        request: &Request,
    ) -> Result<(), EngineError> {
        let records = self.read(run).await?;
        let machine = Machine::new(Arc::clone(plan), &records, Value::Null, BTreeMap::new())?;
        let (expected_seq, epoch) = (machine.state().seq, machine.state().epoch);
        let now = self.shared.clock.now();
        let events = machine
            .request_undriven(request, &now)
            .map_err(|why| EngineError::Refused { run, why })?;
        let append = Append {
            run,
            expected_seq,
            epoch,
            events,
            now,
        };
        self.shared.journal.append(append).await?;
        Ok(())
    }

    /// Returns the state of a run.
    ///
    /// # Errors
    /// [`EngineError::Journal`] when there is no such run, or when its history is damaged.
    pub async fn load(&self, run: RunId) -> Result<RunState, EngineError> {
        Ok(RunState::from_records(&self.read(run).await?)?)
    }

    /// Returns a receiver of the progress of running steps, from now on.
    pub fn progress(&self) -> broadcast::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, EngineError> {
        Ok(self.shared.journal.read(run).await?)
    }
}
