//! One location of one run, and how far its replica lags behind the journal.

use std::time::Duration;

use rekindle_engine::TakenOver;
use rekindle_journal::{JournalError, blobs_of, codec};
use rekindle_model::event::Event;
use rekindle_model::id::RunId;
use rekindle_model::time::Stamp;
use rekindle_vault::segment::{Weight, plan};
use rekindle_vault::{Created, Segment, SegmentHead, SegmentStore, TierAccess, TierError, TierMode};

use crate::chain_end::{ChainEnd, decoded, find, outcome_after};
use crate::primary::{Fault, Primary};

/// The time after which the run continues without a location.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a location is left alone that has answered with an error.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a location is left alone that has not answered at all: each try costs [`PATIENCE`].
const RETRY_SILENT_AFTER: Duration = Duration::from_secs(60);
/// How late a busy machine wakes a process whose patience is at an end. If it wakes later, it was stopped.
const WOKEN_WITHIN: Duration = Duration::from_secs(1);
/// The same if all segments must be read because some of them are damaged.
const THOROUGH_PATIENCE: Duration = Duration::from_secs(30);
/// How often the end of a chain is read again because another segment has appeared, before it is left for later.
const TRIES: usize = 4;
/// How long the known end of a chain may be relied on. A process that was stopped for longer reads the end again: the run
/// may be over, and `prune` may have removed its segments, the next number among them. It never does so this
/// soon.
pub(crate) const STALE: Duration = Duration::from_secs(3600);

/// A location of one run.
pub(crate) struct ReplicaLocation {
    pub(crate) tier: String,
    pub(crate) url: String,
    store: Option<SegmentStore>,
    /// The end of its chain, once known.
    end: Option<ChainEnd>,
    /// When that was read last.
    looked: Option<Stamp>,
    /// Whether segments are damaged there. If so, all of them are read before one is added.
    pub(crate) damaged: bool,
    pub(crate) state: LocationState,
    /// The facts about the run, once read.
    about: Option<About>,
}

/// The facts about its run that each segment carries.
#[derive(Clone)]
struct About {
    workflow: String,
    parent: Option<RunId>,
}

/// The result of the last call to a location.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LocationState {
    /// The replica has everything.
    UpToDate,
    /// There is no vault, and never was one: nothing is missing.
    Absent,
    /// The replica lacks something.
    Behind {
        why: String,
        /// When that was found.
        since: Stamp,
        /// How long it is left alone from then on.
        pause: Duration,
        /// Whether a person must confirm before anything is written there.
        asks: bool,
    },
}

impl ReplicaLocation {
    pub(crate) fn new(tier: &str, url: &str) -> Self {
        Self {
            tier: tier.to_owned(),
            url: url.to_owned(),
            store: None,
            end: None,
            looked: None,
            damaged: false,
            state: LocationState::UpToDate,
            about: None,
        }
    }

    /// Returns the number of the last segment that agrees with the journal, if known.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.end.as_ref().map(|end| end.n)
    }

    /// Has all segments read before one is added: some of them are damaged.
    pub(crate) fn look_closer(&mut self) {
        (self.end, self.damaged) = (None, true);
    }

    /// Returns whether it has not answered at all.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(
            self.state,
            LocationState::Behind {
                pause: RETRY_SILENT_AFTER,
                ..
            }
        )
    }

    /// Writes the missing segments to the replica, and finds out whether another workspace continues the run
    /// there.
    ///
    /// # Errors
    /// Another workspace continues it. A location that cannot be reached is no error: the state says so.
    pub(crate) async fn catch_up(
        &mut self,
        run: RunId,
        primary: &Primary,
        access: &TierAccess,
    ) -> Result<(), TakenOver> {
        let now = primary.clock.now();
        if let LocationState::Behind { since, pause, .. } = &self.state
            && now.since(since).duration < *pause
        {
            return Ok(());
        }
        let since_looked =
            |now: &Stamp, location: &Self| location.looked.map(|looked| now.since(&looked).duration);
        if since_looked(&now, self).is_some_and(|since| since > STALE) {
            self.end = None;
        }
        let patience = match self.damaged {
            true => THOROUGH_PATIENCE,
            false => PATIENCE,
        };
        let mut caught_up = tokio::time::timeout(patience, self.try_catch_up(run, primary, access)).await;
        let took = primary.clock.now().since(&now).duration;
        // This process was stopped meanwhile, so the silence says nothing about the location.
        if was_stopped(caught_up.is_ok(), took, patience) {
            self.end = None;
            caught_up = tokio::time::timeout(patience, self.try_catch_up(run, primary, access)).await;
        }
        let (fault, pause) = match caught_up {
            Ok(Ok(())) => {
                (self.state, self.damaged) = (LocationState::UpToDate, false);
                self.looked = Some(now);
                return Ok(());
            }
            Ok(Err(fault)) => (fault, RETRY_AFTER),
            // The location may still do the call, so the end of the chain is read again.
            Err(_) => (
                Fault::Down(format!("it has not answered within {patience:?}")),
                RETRY_SILENT_AFTER,
            ),
        };
        self.end = None;
        let (why, asks) = match fault {
            Fault::TakenOver(taken) => return Err(*taken),
            Fault::Absent => {
                self.state = LocationState::Absent;
                return Ok(());
            }
            Fault::Down(why) => (why, false),
            Fault::Unknown(why) => (why, true),
            Fault::Moved => ("its segments keep changing".to_owned(), false),
        };
        tracing::info!(%run, tier = self.tier, url = self.url, why, "a replica lags behind");
        self.state = LocationState::Behind {
            why,
            since: now,
            pause,
            asks,
        };
        Ok(())
    }

    async fn try_catch_up(
        &mut self,
        run: RunId,
        primary: &Primary,
        access: &TierAccess,
    ) -> Result<(), Fault> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self
                .store
                .insert(open(access, &self.tier, &self.url).await?)
                .clone(),
        };
        let about = match &self.about {
            Some(about) => about.clone(),
            None => self.about.insert(about(run, primary).await?).clone(),
        };
        for _ in 0..TRIES {
            let end = match self.end.take() {
                Some(end) => end,
                None => find(&store, run, primary, self.damaged).await?,
            };
            match advance(&store, run, primary, end, &about).await {
                Ok(end) => {
                    self.end = Some(end);
                    return Ok(());
                }
                Err(Fault::Moved) => {}
                Err(fault) => {
                    if let Fault::Down(_) = fault {
                        // A tier that is mounted again is another folder.
                        self.store = None;
                    }
                    return Err(fault);
                }
            }
        }
        Err(Fault::Moved)
    }
}

/// Opens a location.
async fn open(access: &TierAccess, tier: &str, url: &str) -> Result<SegmentStore, Fault> {
    let opened = access.open(tier, &[url.to_owned()], TierMode::Existing).await;
    let opened = opened.map_err(|error| {
        let says_absent = matches!(error, TierError::NotAVault { .. } | TierError::Unreachable { .. });
        let is_new = access.has_stored_in(tier, url).is_ok_and(|stored| !stored);
        match says_absent && is_new {
            true => Fault::Absent,
            false => Fault::Down(error.to_string()),
        }
    })?;
    opened.segment_stores().into_iter().next().ok_or(Fault::Absent)
}

/// Creates the segments that the chain lacks. If it lacks none, checks that the next number is still free.
async fn advance(
    store: &SegmentStore,
    run: RunId,
    primary: &Primary,
    mut end: ChainEnd,
    about: &About,
) -> Result<ChainEnd, Fault> {
    let mut values = primary.journal.values(run, end.seq).await?;
    if values.is_empty() {
        return match store.is_taken(run, end.n + 1).await? {
            true => Err(Fault::Moved),
            false => Ok(end),
        };
    }
    if end.closed {
        end = ChainEnd::before_restart(end.n);
        values = primary.journal.values(run, 0).await?;
    }
    let records = decoded(run, end.seq, &values)?;
    let epoch = records.last().map_or(0, |record| record.epoch);
    let mut weights: Vec<Weight> = Vec::with_capacity(values.len());
    for (value, record) in values.iter().zip(&records) {
        let mut first = Vec::new();
        for hash in blobs_of(&record.event) {
            if end.blobs.insert(hash) {
                first.push((hash, primary.journal.blob(hash).await?));
            }
        }
        weights.push((value.len(), first));
    }
    let (mut values, mut records) = (values.as_slice(), records.as_slice());
    for part in plan(&weights) {
        let (now_values, later) = values.split_at(part.records.min(values.len()));
        let (now_records, later_records) = records.split_at(part.records.min(records.len()));
        (values, records) = (later, later_records);
        let last = end.seq + now_values.len() as u64;
        let newest = now_values.last().map_or(end.newest, |value| codec::hash(value));
        let outcome = now_records.iter().fold(end.outcome, |outcome, record| {
            outcome_after(outcome, &record.event)
        });
        let segment = Segment {
            head: SegmentHead {
                run,
                n: end.n + 1,
                prev: end.hash,
                first: end.seq + 1,
                last,
                newest,
                epoch,
                workspace: primary.writer.workspace,
                host: primary.writer.host.clone(),
                at: primary.clock.now().utc,
                workflow: about.workflow.clone(),
                parent: about.parent,
                outcome,
            },
            records: now_values.iter().map(|value| value.clone().into()).collect(),
            blobs: part.blobs,
        };
        match store.create(&segment).await? {
            Created::Here(hash) => {
                end = ChainEnd {
                    n: end.n + 1,
                    hash,
                    seq: last,
                    newest,
                    outcome,
                    blobs: end.blobs,
                    closed: false,
                };
            }
            Created::Taken => return Err(Fault::Moved),
        }
    }
    Ok(end)
}

/// Returns whether this process was stopped while it waited for a location, so that a missing answer means
/// nothing.
fn was_stopped(answered: bool, took: Duration, patience: Duration) -> bool {
    took > if answered { STALE } else { patience + WOKEN_WITHIN }
}

async fn about(run: RunId, primary: &Primary) -> Result<About, JournalError> {
    let records = primary.journal.read(run).await?;
    let created = records.first().map(|record| &record.event);
    let origin = created.and_then(Event::origin);
    Ok(match created {
        Some(Event::RunCreated { workflow, .. }) => About {
            workflow: workflow.clone(),
            parent: origin.and_then(|origin| origin.trigger.parent().map(|parent| parent.run)),
        },
        _ => About {
            workflow: String::new(),
            parent: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_while_a_location_is_asked_is_not_its_silence() {
        let seconds = Duration::from_secs;
        for (answered, took, stopped) in [
            (false, PATIENCE, false),
            (false, PATIENCE + seconds(1), false),
            (false, PATIENCE + seconds(10), true),
            (true, PATIENCE + seconds(10), false),
            (true, STALE + seconds(1), true),
        ] {
            assert_eq!(
                was_stopped(answered, took, PATIENCE),
                stopped,
                "{answered} {took:?}"
            );
        }
    }
}
