//! Replicates the journal of the runs that this process drives to every location of their tiers, and finds
//! out if another workspace continues one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rekindle_engine::{Replica, TakenOver};
use rekindle_journal::{Journal, JournalError};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_model::time::{Clock, Stamp};
use rekindle_vault::TierAccess;
use tokio::sync::watch;

use crate::error::ReplicaError;
use crate::lag::{self, Lag};
use crate::location::{LocationState, ReplicaLocation};
use crate::notice::{Notice, Notify};
use crate::primary::Primary;
use crate::writer::Writer;
use crate::{fence, last_seen};

/// How far replicas may lag behind the journal while a run is driven.
pub const REPLICATE_EVERY: Duration = Duration::from_secs(1);
/// How often a replicator looks for another owner of a run that has nothing to replicate.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How old the result of a look may be. A look that took longer is repeated before the run relies on it.
const LOOK_HOLDS_FOR: Duration = Duration::from_secs(1);
/// How long catching up earlier runs may hold up the end of a run. A segment takes milliseconds, so this is hundreds.
const CATCH_UP_FOR: Duration = Duration::from_secs(5);

/// The context that a workspace gives its replicators.
#[derive(Clone)]
pub struct Replication {
    /// The journal that is replicated.
    pub journal: Arc<dyn Journal>,
    /// The source of `now`.
    pub clock: Arc<dyn Clock>,
    /// The workspace's own folder, `.rekindle`.
    pub state: PathBuf,
    /// Opens the tiers.
    pub access: Arc<TierAccess>,
    /// Reads the text of a system file, to which an earlier run is pinned.
    pub read_system: fn(&str) -> Result<System, String>,
    /// Receives the notices for the user.
    pub notify: Notify,
    /// How far replicas may lag: [`REPLICATE_EVERY`].
    pub every: Duration,
}

/// Replicates runs of one system.
pub struct Replicator {
    with: Replication,
    primary: Primary,
    /// The locations, with the names of their tiers.
    locations: Vec<(String, String)>,
    runs: Mutex<BTreeMap<RunId, Arc<Replicas>>>,
}

/// The replicas of one run.
struct Replicas {
    /// Held while they are written: one task writes at a time.
    locations: tokio::sync::Mutex<Vec<ReplicaLocation>>,
    /// When the last look began that found no other owner.
    looked: Mutex<Option<Stamp>>,
    lost: watch::Sender<Option<TakenOver>>,
}

impl Replicator {
    /// Returns the replicator for the driven runs of a system; none for a system without tiers.
    pub fn new(with: &Replication, system: &System) -> Option<Arc<Self>> {
        Self::of(with, system, true).map(Arc::new)
    }

    /// Returns the replicator for the runs of a system, whether driven here or only caught up.
    pub(crate) fn of(with: &Replication, system: &System, drives: bool) -> Option<Self> {
        let locations: Vec<(String, String)> = system
            .tiers
            .iter()
            .flat_map(|(name, tier)| {
                let urls = tier.locations().into_iter();
                urls.map(move |url| (name.clone(), url.to_owned()))
            })
            .collect();
        if locations.is_empty() {
            return None;
        }
        Some(Self {
            primary: Primary {
                journal: Arc::clone(&with.journal),
                clock: Arc::clone(&with.clock),
                writer: Writer::of(&with.state),
                state: with.state.clone(),
                drives,
            },
            with: with.clone(),
            locations,
            runs: Mutex::default(),
        })
    }

    fn replicas(&self, run: RunId) -> Arc<Replicas> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let locations = self.locations.iter();
            let locations = locations.map(|(tier, url)| ReplicaLocation::new(tier, url));
            Arc::new(Replicas {
                locations: tokio::sync::Mutex::new(locations.collect()),
                looked: Mutex::default(),
                lost: watch::Sender::new(None),
            })
        };
        Arc::clone(runs.entry(run).or_insert_with(begin))
    }

    /// Brings every location up to the journal, all at the same time.
    async fn catch_up_all(
        &self,
        run: RunId,
        locations: &mut [ReplicaLocation],
    ) -> Vec<Result<(), TakenOver>> {
        let all = locations
            .iter_mut()
            .map(|location| location.catch_up(run, &self.primary, &self.with.access));
        join_all(all).await
    }

    /// Notes that another workspace continues a run, and wakes every task that waits for that.
    fn lose(&self, replicas: &Replicas, taken: TakenOver) -> TakenOver {
        if let Err(error) = fence::note(&self.primary.state, &taken) {
            // The tiers say so again at the next try.
            tracing::warn!(run = %taken.run, %error, "that a run was taken over could not be noted");
        }
        replicas.lost.send_replace(Some(taken.clone()));
        taken
    }

    /// Reads every segment in the locations where some of the run's segments were found damaged.
    async fn look_closer(&self, run: RunId) {
        let lag = lag::read(&self.primary.state, run);
        if lag.damaged.is_empty() {
            return;
        }
        let replicas = self.replicas(run);
        let mut locations = replicas.locations.lock().await;
        let damaged = locations
            .iter_mut()
            .filter(|location| lag.damaged.contains(&location.url));
        damaged.for_each(ReplicaLocation::look_closer);
    }

    /// Notes which locations lag behind, and reports them. Returns whether one of them does not even answer.
    async fn note_lag(&self, run: RunId, report: bool) -> bool {
        let replicas = self.replicas(run);
        let locations = replicas.locations.lock().await;
        let mut lacking = Lag::default();
        for location in locations.iter() {
            let LocationState::Behind { why, asks, .. } = &location.state else {
                continue;
            };
            lacking.locations.insert(location.url.clone());
            if location.damaged {
                lacking.damaged.insert(location.url.clone());
            }
            if report {
                (self.with.notify)(Notice::Behind {
                    run,
                    tier: location.tier.clone(),
                    url: location.url.clone(),
                    why: why.clone(),
                    asks: *asks,
                });
            }
        }
        if let Err(error) = lag::write(&self.primary.state, run, &lacking) {
            tracing::warn!(%run, %error, "what a tier lacks could not be noted");
        }
        locations.iter().any(ReplicaLocation::is_silent)
    }

    /// Catches up replicas of earlier runs in locations that are back, and restarts damaged chains.
    async fn catch_up_earlier(&self, but: RunId) {
        let begun = self.primary.clock.now();
        let owing = lag::runs(&self.primary.state).into_iter();
        for run in owing.filter(|run| *run != but) {
            if self.primary.clock.now().since(&begun).duration >= CATCH_UP_FOR {
                return;
            }
            let replicator = match self.of_earlier(run).await {
                Ok(Some(replicator)) => replicator,
                Ok(None) => continue,
                // Compacted away: nothing can be copied any more.
                Err(ReplicaError::Journal(JournalError::UnknownRun(_))) => {
                    forget(&self.primary.state, run);
                    continue;
                }
                Err(error) => {
                    tracing::info!(%run, %error, "its segments cannot be caught up");
                    continue;
                }
            };
            replicator.look_closer(run).await;
            if let Err(taken) = replicator.barrier(run, Duration::ZERO).await {
                tracing::warn!(%run, %taken, "was taken over while a tier was down");
                let _ = lag::write(&self.primary.state, run, &Lag::default());
                continue;
            }
            if replicator.note_lag(run, false).await {
                return;
            }
        }
    }

    /// Returns the replicator of a run that is not driven now, for the tiers of the system that it is pinned to.
    async fn of_earlier(&self, run: RunId) -> Result<Option<Self>, ReplicaError> {
        let journal = &self.primary.journal;
        let state = RunState::from_records(&journal.read(run).await?)?;
        let Some(system) = state.system else {
            return Ok(None);
        };
        let yaml = journal.blob(system).await?;
        let system =
            (self.with.read_system)(&String::from_utf8_lossy(&yaml)).map_err(ReplicaError::System)?;
        Ok(Self::of(&self.with, &system, false))
    }
}

/// Removes the notes of a run that is not in this workspace any more.
pub fn forget(state: &Path, run: RunId) {
    for forgotten in [
        lag::write(state, run, &Lag::default()),
        last_seen::remove(state, run),
    ] {
        if let Err(error) = forgotten {
            tracing::info!(%run, %error, "the note of its segments stays");
        }
    }
}

#[async_trait]
impl Replica for Replicator {
    async fn barrier(&self, run: RunId, fresh: Duration) -> Result<(), TakenOver> {
        let replicas = self.replicas(run);
        let is_fresh = || {
            let looked = *replicas.looked.lock().unwrap_or_else(PoisonError::into_inner);
            !fresh.is_zero() && looked.is_some_and(|at| self.primary.clock.now().since(&at).duration <= fresh)
        };
        let lost = || replicas.lost.borrow().clone();
        if let Some(taken) = lost() {
            return Err(taken);
        }
        if is_fresh() {
            return Ok(());
        }
        let mut locations = replicas.locations.lock().await;
        if let Some(taken) = lost() {
            return Err(taken);
        }
        if is_fresh() {
            return Ok(());
        }
        let mut begun = self.primary.clock.now();
        let mut caught_up = self.catch_up_all(run, &mut locations).await;
        if self.primary.clock.now().since(&begun).duration > LOOK_HOLDS_FOR
            && caught_up.iter().all(Result::is_ok)
        {
            // A tier did not answer in time, or this process was stopped: the other answers are old by now. Those that do
            // not answer are left alone.
            begun = self.primary.clock.now();
            caught_up = self.catch_up_all(run, &mut locations).await;
        }
        let ends = locations
            .iter()
            .filter_map(|location| Some((location.url.clone(), location.seen()?)));
        if let Err(error) = last_seen::advance(&self.primary.state, run, &ends.collect()) {
            tracing::info!(%run, %error, "how far its segments were seen could not be noted");
        }
        for one in caught_up {
            one.map_err(|taken| self.lose(&replicas, taken))?;
        }
        *replicas.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    async fn keep(&self, run: RunId) -> TakenOver {
        let replicas = self.replicas(run);
        let mut lost = replicas.lost.subscribe();
        let found = async {
            // The sender lives as long as the replicas.
            match lost.wait_for(Option::is_some).await.map(|taken| taken.clone()) {
                Ok(Some(taken)) => taken,
                _ => std::future::pending().await,
            }
        };
        let copying = async {
            let mut records = self.primary.journal.subscribe();
            loop {
                let something = async {
                    use tokio::sync::broadcast::error::RecvError;
                    loop {
                        match records.recv().await {
                            Ok(record) if record.run != run => {}
                            Ok(_) | Err(RecvError::Lagged(_)) => break,
                            Err(RecvError::Closed) => std::future::pending().await,
                        }
                    }
                };
                // Also without new records: a barrier finds another owner.
                let _ = tokio::time::timeout(LOOK_EVERY, something).await;
                tokio::time::sleep(self.with.every).await;
                // The barrier replicates all records up to now.
                records = records.resubscribe();
                if let Err(taken) = self.barrier(run, Duration::ZERO).await {
                    return taken;
                }
            }
        };
        tokio::select! {
            taken = found => taken,
            taken = copying => taken,
        }
    }

    async fn end(&self, run: RunId) -> Result<(), TakenOver> {
        self.look_closer(run).await;
        self.barrier(run, Duration::ZERO).await?;
        // A silent tier holds up the end of this run once, and not once for each earlier run.
        if !self.note_lag(run, true).await {
            self.catch_up_earlier(run).await;
        }
        Ok(())
    }
}
