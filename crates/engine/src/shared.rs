//! The state that an engine shares with the drivers of its runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekindle_journal::Journal;
use rekindle_model::event::Worker;
use rekindle_model::id::RunId;
use rekindle_model::time::Clock;
use tokio::sync::{broadcast, mpsc};

use crate::error::EngineError;
use crate::groups::Groups;
use crate::nest::SubRuns;
use crate::permits::Permits;
use crate::progress::{BACKLOG, Progress};
use crate::registry::Registry;
use crate::replica::Replica;
use crate::request::Wish;

/// The default for how long an action may take to end after it was asked to. It is enough to sync a window of a
/// restore, and less than the 90 s after which service managers kill.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// How many requests the queue of a run's driver holds. If it is full, a further request waits until there is room.
const WISHES: usize = 16;

/// The state that all runs of an engine share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) worker: Worker,
    pub(crate) progress: broadcast::Sender<Progress>,
    /// One permit for each step that may be at work.
    pub(crate) permits: Arc<Permits>,
    pub(crate) grace: Duration,
    /// The locks of all groups.
    pub(crate) groups: Arc<Groups>,
    /// Drives the runs that steps begin, if set.
    pub(crate) sub_runs: Option<Arc<dyn SubRuns>>,
    /// Keeps copies of the journal elsewhere, if set.
    pub(crate) replica: Option<Arc<dyn Replica>>,
    /// The runs that this process holds.
    held: Arc<Mutex<BTreeMap<RunId, Held>>>,
    /// Serializes appends to runs that are not driven. A caller locks it before the read that its append rests on.
    /// So no request, no adoption and no beginning of a drive comes in between.
    pub(crate) undriven: Arc<tokio::sync::Mutex<()>>,
}

/// How this process holds a run.
struct Held {
    /// The epoch that it may append under.
    epoch: u64,
    /// The queue of its driver, while the run is driven.
    driver: Option<mpsc::Sender<Wish>>,
}

impl Shared {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        registry: Registry,
        clock: Arc<dyn Clock>,
        worker: Worker,
    ) -> Self {
        Self {
            journal,
            registry,
            clock,
            worker,
            progress: broadcast::Sender::new(BACKLOG),
            permits: Arc::default(),
            grace: DEFAULT_GRACE,
            groups: Arc::default(),
            sub_runs: None,
            replica: None,
            held: Arc::default(),
            undriven: Arc::default(),
        }
    }

    /// Returns the same state for an engine that holds no run yet.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            held: Arc::default(),
            undriven: Arc::default(),
            ..self.clone()
        }
    }

    /// Waits until every copy that can be reached has all that the journal has of a run.
    pub(crate) async fn copied(&self, run: RunId) -> Result<(), EngineError> {
        match &self.replica {
            Some(replica) => Ok(replica.barrier(run, Duration::ZERO).await?),
            None => Ok(()),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<RunId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hold(&self, run: RunId, epoch: u64) {
        let mut held = self.held();
        let driver = held.remove(&run).and_then(|held| held.driver);
        held.insert(run, Held { epoch, driver });
    }

    /// Returns the queue of a run's driver, if it still takes requests.
    pub(crate) fn driver_of(&self, run: RunId) -> Option<mpsc::Sender<Wish>> {
        let held = self.held();
        let driver = held.get(&run)?.driver.as_ref();
        driver.filter(|driver| !driver.is_closed()).cloned()
    }

    pub(crate) fn begin_driving(
        self: &Arc<Self>,
        run: RunId,
    ) -> Result<(Driving, mpsc::Receiver<Wish>), EngineError> {
        let mut held = self.held();
        let found = held.get_mut(&run).ok_or(EngineError::NotAdopted { run })?;
        if found.driver.is_some() {
            return Err(EngineError::AlreadyDriven { run });
        }
        let (driver, wishes) = mpsc::channel(WISHES);
        found.driver = Some(driver);
        let driving = Driving {
            shared: Arc::clone(self),
            run,
            epoch: found.epoch,
        };
        Ok((driving, wishes))
    }
}

/// Marks a run as driven, until this is dropped.
pub(crate) struct Driving {
    shared: Arc<Shared>,
    run: RunId,
    /// The epoch that its driver may append under.
    pub(crate) epoch: u64,
}

impl Drop for Driving {
    fn drop(&mut self) {
        if let Some(held) = self.shared.held().get_mut(&self.run) {
            held.driver = None;
        }
    }
}
