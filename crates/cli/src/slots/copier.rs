//! Copies the journal of the runs that this process drives to every location of their tiers, and finds out who else
//! goes on with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rekindle_engine::{Replica, TakenOver};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::load_system;
use rekindle_vault::{Remembered, SegmentStore, Tier, TierError, TierMode};
use tokio::sync::watch;

use super::owed::Owed;
use super::spot::{Source, Spot, State, says_absent};
use super::writer::Writer;
use super::{fenced, owed, seen};
use crate::error::CliError;
use crate::ground::Ground;
use crate::keys::OpenKey;

/// How far copies may be behind the journal while a run is driven.
pub(crate) const COPY_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody else goes on with a run of which there is nothing to copy.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long what a look has told is good for: a look that took longer is done once more before anything follows from it.
const LOOK_HOLDS_FOR: Duration = Duration::from_secs(1);
/// How long the end of a run may be held up by catching others up: a slot takes milliseconds, so that hundreds are.
const CATCH_UP_FOR: Duration = Duration::from_secs(5);

/// Copies runs of one system.
pub(crate) struct Copier {
    ground: Ground,
    source: Source,
    opening: Opening,
    /// The locations, with the names of their tiers.
    locations: Vec<(String, String)>,
    every: Duration,
    runs: Mutex<BTreeMap<RunId, Arc<Copies>>>,
}

/// The copies of one run.
struct Copies {
    /// Held while they are written, so that they are by one at a time.
    spots: tokio::sync::Mutex<Vec<Spot>>,
    /// When it was begun to look, the last time that nobody else was found.
    looked: Mutex<Option<Stamp>>,
    lost: watch::Sender<Option<TakenOver>>,
}

/// What opens a location.
pub(super) struct Opening {
    key: Arc<OpenKey>,
    base: PathBuf,
    remembered: Remembered,
}

impl Opening {
    /// Opens a location; the error is none where no vault stands there and none ever stood.
    pub(super) async fn place(&self, tier: &str, url: &str) -> Result<SegmentStore, Option<TierError>> {
        let keyring = Arc::clone(&self.key.keyring);
        let urls = [url.to_owned()];
        let (base, wrapped) = (&self.base, &self.key.wrapped);
        let mode = TierMode::Existing;
        let opened = Tier::open_known(tier, &urls, base, keyring, wrapped, mode, &self.remembered).await;
        let opened = opened.map_err(|error| {
            let known = self.remembered.read(tier, self.key.keyring.repository());
            let new = known.is_ok_and(|known| !known.contains(url));
            (!(new && says_absent(&error))).then_some(error)
        })?;
        opened.segment_stores().into_iter().next().ok_or(None)
    }
}

impl Copier {
    /// Returns what copies runs of a system; none for one without tiers.
    pub(crate) fn new(
        ground: &Ground,
        key: Arc<OpenKey>,
        system: &System,
        every: Duration,
    ) -> Result<Option<Arc<Self>>, CliError> {
        Ok(Self::of(ground, key, system, every, true).map(Arc::new))
    }

    /// Returns what copies runs of a system, which are driven here or only caught up.
    pub(super) fn of(
        ground: &Ground,
        key: Arc<OpenKey>,
        system: &System,
        every: Duration,
        drives: bool,
    ) -> Option<Self> {
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
        let state = &ground.workspace.state;
        Some(Self {
            source: Source {
                journal: Arc::clone(&ground.journal),
                clock: Arc::clone(&ground.clock),
                writer: Writer::of(state),
                state: state.clone(),
                drives,
            },
            opening: Opening {
                key,
                base: ground.workspace.system_dir(),
                remembered: Remembered::of(state),
            },
            ground: ground.clone(),
            locations,
            every,
            runs: Mutex::default(),
        })
    }

    fn copies(&self, run: RunId) -> Arc<Copies> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let spots = self.locations.iter().map(|(tier, url)| Spot::new(tier, url));
            Arc::new(Copies {
                spots: tokio::sync::Mutex::new(spots.collect()),
                looked: Mutex::default(),
                lost: watch::Sender::new(None),
            })
        };
        Arc::clone(runs.entry(run).or_insert_with(begin))
    }

    /// Brings every location up to the journal, all at once.
    async fn copy_all(&self, run: RunId, spots: &mut [Spot]) -> Vec<Result<(), TakenOver>> {
        let all = spots
            .iter_mut()
            .map(|spot| spot.copy(run, &self.source, &self.opening));
        join_all(all).await
    }

    /// Notes that somebody else goes on with a run, and tells everybody who waits.
    fn lose(&self, copies: &Copies, taken: TakenOver) -> TakenOver {
        if let Err(error) = fenced::note(&self.ground.workspace.state, &taken) {
            // The tiers say so again at the next try.
            tracing::warn!(run = %taken.run, %error, "that a run was taken over could not be noted");
        }
        copies.lost.send_replace(Some(taken.clone()));
        taken
    }

    /// Has those locations looked at closely whose slots of a run were found damaged.
    async fn look_closer(&self, run: RunId) {
        let owed = owed::read(&self.source.state, run);
        if owed.damaged.is_empty() {
            return;
        }
        let copies = self.copies(run);
        let mut spots = copies.spots.lock().await;
        let damaged = spots.iter_mut().filter(|spot| owed.damaged.contains(&spot.url));
        damaged.for_each(Spot::look_closer);
    }

    /// Notes, and tells, what locations lack of a run. Returns whether one of them does not even answer.
    async fn settle(&self, run: RunId, tell: bool) -> bool {
        let copies = self.copies(run);
        let spots = copies.spots.lock().await;
        let mut lacking = Owed::default();
        for spot in spots.iter() {
            let State::Down { why, asks, .. } = &spot.state else {
                continue;
            };
            lacking.locations.insert(spot.url.clone());
            if spot.damaged {
                lacking.damaged.insert(spot.url.clone());
            }
            if tell {
                let then = match asks {
                    true => "",
                    false => "; it is copied there once the tier is back",
                };
                self.ground.printer.warn(format!(
                    "tier {} lacks part of the journal of run {run}: {}: {why}{then}",
                    spot.tier, spot.url
                ));
            }
        }
        if let Err(error) = owed::note(&self.source.state, run, &lacking) {
            tracing::warn!(%run, %error, "what a tier lacks could not be noted");
        }
        spots.iter().any(Spot::is_silent)
    }

    /// Copies what locations that are back have missed of earlier runs, and begins anew what was found damaged there.
    async fn catch_up(&self, but: RunId) {
        let begun = self.source.clock.now();
        let owing = owed::runs(&self.source.state).into_iter();
        for run in owing.filter(|run| *run != but) {
            if self.source.clock.now().since(&begun).duration >= CATCH_UP_FOR {
                return;
            }
            let copier = match self.of_earlier(run).await {
                Ok(Some(copier)) => copier,
                Ok(None) => continue,
                // Compacted away: nothing can be copied any more.
                Err(error) if error.code() == "unknown_run" => {
                    forget(&self.source.state, run);
                    continue;
                }
                Err(error) => {
                    tracing::info!(%run, %error, "its slots cannot be caught up");
                    continue;
                }
            };
            copier.look_closer(run).await;
            if let Err(taken) = copier.barrier(run, Duration::ZERO).await {
                tracing::warn!(%run, %taken, "was taken over while a tier was down");
                let _ = owed::note(&self.source.state, run, &Owed::default());
                continue;
            }
            if copier.settle(run, false).await {
                return;
            }
        }
    }

    /// Returns what copies a run that is not driven now, to the tiers of the system that it is pinned to.
    async fn of_earlier(&self, run: RunId) -> Result<Option<Arc<Self>>, CliError> {
        let journal = &self.source.journal;
        let state = RunState::from_records(&journal.read(run).await?)?;
        let Some(system) = state.system else {
            return Ok(None);
        };
        let yaml = journal.blob(system).await?;
        let system = load_system("system.yaml", &String::from_utf8_lossy(&yaml))?.value;
        let key = Arc::clone(&self.opening.key);
        Ok(Self::of(&self.ground, key, &system, self.every, false).map(Arc::new))
    }
}

/// Takes away what is noted of the slots of a run that is not in this workspace any more.
pub(crate) fn forget(state: &Path, run: RunId) {
    for forgotten in [owed::note(state, run, &Owed::default()), seen::forget(state, run)] {
        if let Err(error) = forgotten {
            tracing::info!(%run, %error, "what is noted of its slots stays");
        }
    }
}

#[async_trait]
impl Replica for Copier {
    async fn barrier(&self, run: RunId, fresh: Duration) -> Result<(), TakenOver> {
        let copies = self.copies(run);
        let is_fresh = || {
            let looked = *copies.looked.lock().unwrap_or_else(PoisonError::into_inner);
            !fresh.is_zero() && looked.is_some_and(|at| self.source.clock.now().since(&at).duration <= fresh)
        };
        let lost = || copies.lost.borrow().clone();
        if let Some(taken) = lost() {
            return Err(taken);
        }
        if is_fresh() {
            return Ok(());
        }
        let mut spots = copies.spots.lock().await;
        if let Some(taken) = lost() {
            return Err(taken);
        }
        if is_fresh() {
            return Ok(());
        }
        let mut begun = self.source.clock.now();
        let mut copied = self.copy_all(run, &mut spots).await;
        if self.source.clock.now().since(&begun).duration > LOOK_HOLDS_FOR && copied.iter().all(Result::is_ok)
        {
            // A tier that does not answer, or a stop of this process: what the others have told is old by now. Those that
            // do not answer are left alone.
            begun = self.source.clock.now();
            copied = self.copy_all(run, &mut spots).await;
        }
        let ends = spots
            .iter()
            .filter_map(|spot| Some((spot.url.clone(), spot.seen()?)));
        if let Err(error) = seen::note(&self.source.state, run, &ends.collect()) {
            tracing::info!(%run, %error, "how far its slots were seen could not be noted");
        }
        for copied in copied {
            copied.map_err(|taken| self.lose(&copies, taken))?;
        }
        *copies.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    async fn keep(&self, run: RunId) -> TakenOver {
        let copies = self.copies(run);
        let mut lost = copies.lost.subscribe();
        let found = async {
            // The sender lives as long as the copies.
            match lost.wait_for(Option::is_some).await.map(|taken| taken.clone()) {
                Ok(Some(taken)) => taken,
                _ => std::future::pending().await,
            }
        };
        let copying = async {
            let mut records = self.source.journal.subscribe();
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
                // Whether there is something to copy or not, it is looked who goes on.
                let _ = tokio::time::timeout(LOOK_EVERY, something).await;
                tokio::time::sleep(self.every).await;
                // What has come until now is copied below.
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
        // Whoever waits for the end of this run does not wait for a silent tier once for every earlier one.
        if !self.settle(run, true).await {
            self.catch_up(run).await;
        }
        Ok(())
    }
}
