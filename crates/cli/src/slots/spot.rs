//! One location, and how far its chain of one run has come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle_engine::TakenOver;
use rekindle_journal::{Journal, JournalError, blobs_of, codec};
use rekindle_model::event::Event;
use rekindle_model::id::RunId;
use rekindle_model::time::{Clock, Stamp};
use rekindle_vault::slot::{Weight, plan};
use rekindle_vault::{Created, Slot, SlotError, SlotHead, SlotPlace, TierError};

use super::copier::Opening;
use super::end::{End, agree, decoded, outcome_after};
use super::writer::Writer;

/// How long a location may take before the run goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a location that has refused is left alone.
const AGAIN: Duration = Duration::from_secs(5);
/// How long one is left alone that has not answered at all: asking costs [`PATIENCE`] each time.
const SILENCE: Duration = Duration::from_secs(60);
/// How late a process is woken at most on a busy machine, once its patience is at an end: later, and it was stopped.
const LATE: Duration = Duration::from_secs(1);
/// How long a location may take whose slots are all read, because some of them are damaged.
const THOROUGH_PATIENCE: Duration = Duration::from_secs(30);
/// How often a chain may turn out to be further than it was, before it is left for later.
const TRIES: usize = 4;
/// How long it holds where a chain ended. Whoever was stopped for longer looks for its end again: slots of a run that was
/// over in the meantime may have been removed ([`super::prune`]), and the next number among them, but never this soon.
pub(super) const STALE: Duration = Duration::from_secs(3600);

/// Whose records are copied, and by whom.
pub(super) struct Source {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Writer,
    /// The workspace's own folder.
    pub(super) state: PathBuf,
    /// Whether the runs are driven here; else their copies are caught up only, and nothing else is done for them.
    pub(super) drives: bool,
}

/// A location for one run.
pub(super) struct Spot {
    pub(super) tier: String,
    pub(super) url: String,
    place: Option<SlotPlace>,
    /// Where its chain ends, once that is known.
    end: Option<End>,
    /// When that was looked at last.
    looked: Option<Stamp>,
    /// Whether slots are damaged there: then all of them are read before any is added.
    pub(super) damaged: bool,
    pub(super) state: State,
    /// What the run is, once it was read.
    about: Option<About>,
}

/// What each slot says of its run.
#[derive(Clone)]
struct About {
    workflow: String,
    parent: Option<RunId>,
}

/// How a location stood when it was asked last.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// It has everything.
    Copied,
    /// There is no vault, and never was one: nothing is lacking.
    Absent,
    /// It lacks something.
    Down {
        why: String,
        /// When that was found.
        since: Stamp,
        /// How long it is left alone from then on.
        pause: Duration,
        /// Whether a person is to be asked before anything is written there.
        asks: bool,
    },
}

/// Why a location could not be brought up to the journal.
pub(super) enum Fault {
    Taken(Box<TakenOver>),
    Down(String),
    /// What is there cannot be read, and it may be another workspace's; nothing is driven that would be lost by that.
    Unknown(String),
    Absent,
    /// The chain is further than it was.
    Moved,
}

impl From<SlotError> for Fault {
    fn from(error: SlotError) -> Self {
        Self::Down(error.to_string())
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        Self::Down(format!("cannot {error}"))
    }
}

impl Spot {
    pub(super) fn new(tier: &str, url: &str) -> Self {
        Self {
            tier: tier.to_owned(),
            url: url.to_owned(),
            place: None,
            end: None,
            looked: None,
            damaged: false,
            state: State::Copied,
            about: None,
        }
    }

    /// Returns the number of the last slot that agrees with the journal, where it is known.
    pub(super) fn seen(&self) -> Option<u64> {
        self.end.as_ref().map(|end| end.n)
    }

    /// Has all slots read before any is added: some of them are damaged.
    pub(super) fn look_closer(&mut self) {
        (self.end, self.damaged) = (None, true);
    }

    /// Returns whether it has not answered at all.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Down { pause: SILENCE, .. })
    }

    /// Brings the location up to the journal, and looks that nobody else goes on with the run there.
    ///
    /// # Errors
    /// Somebody does. That it cannot be reached is noted in its state.
    pub(super) async fn copy(
        &mut self,
        run: RunId,
        source: &Source,
        opening: &Opening,
    ) -> Result<(), TakenOver> {
        let now = source.clock.now();
        if let State::Down { since, pause, .. } = &self.state
            && now.since(since).duration < *pause
        {
            return Ok(());
        }
        let since_looked = |now: &Stamp, spot: &Self| spot.looked.map(|looked| now.since(&looked).duration);
        if since_looked(&now, self).is_some_and(|since| since > STALE) {
            self.end = None;
        }
        let patience = match self.damaged {
            true => THOROUGH_PATIENCE,
            false => PATIENCE,
        };
        let mut copied = tokio::time::timeout(patience, self.try_copy(run, source, opening)).await;
        let took = source.clock.now().since(&now).duration;
        // Stopped between the look and what followed from it, or while the location was waited for: it was not it that
        // was silent.
        if was_stopped(copied.is_ok(), took, patience) {
            self.end = None;
            copied = tokio::time::timeout(patience, self.try_copy(run, source, opening)).await;
        }
        let (fault, pause) = match copied {
            Ok(Ok(())) => {
                (self.state, self.damaged) = (State::Copied, false);
                self.looked = Some(now);
                return Ok(());
            }
            Ok(Err(fault)) => (fault, AGAIN),
            // What it was asked for may yet come about: the chain is looked at again.
            Err(_) => (
                Fault::Down(format!("it has not answered within {patience:?}")),
                SILENCE,
            ),
        };
        self.end = None;
        let (why, asks) = match fault {
            Fault::Taken(taken) => return Err(*taken),
            Fault::Absent => {
                self.state = State::Absent;
                return Ok(());
            }
            Fault::Down(why) => (why, false),
            Fault::Unknown(why) => (why, true),
            Fault::Moved => ("its slots keep changing".to_owned(), false),
        };
        tracing::info!(%run, tier = self.tier, url = self.url, why, "slots are not copied");
        self.state = State::Down {
            why,
            since: now,
            pause,
            asks,
        };
        Ok(())
    }

    async fn try_copy(&mut self, run: RunId, source: &Source, opening: &Opening) -> Result<(), Fault> {
        let place = match &self.place {
            Some(place) => place.clone(),
            None => {
                let place = opening
                    .place(&self.tier, &self.url)
                    .await
                    .map_err(|error| match error {
                        Some(error) => Fault::Down(error.to_string()),
                        None => Fault::Absent,
                    })?;
                self.place.insert(place).clone()
            }
        };
        let about = match &self.about {
            Some(about) => about.clone(),
            None => self.about.insert(about(run, source).await?).clone(),
        };
        for _ in 0..TRIES {
            let end = match self.end.take() {
                Some(end) => end,
                None => agree(&place, run, source, self.damaged).await?,
            };
            match advance(&place, run, source, end, &about).await {
                Ok(end) => {
                    self.end = Some(end);
                    return Ok(());
                }
                Err(Fault::Moved) => {}
                Err(fault) => {
                    if let Fault::Down(_) = fault {
                        // A tier that was mounted again is another folder.
                        self.place = None;
                    }
                    return Err(fault);
                }
            }
        }
        Err(Fault::Moved)
    }
}

/// Creates the slots that the journal is ahead of the chain; where it is not, looks that nobody else is.
async fn advance(
    place: &SlotPlace,
    run: RunId,
    source: &Source,
    mut end: End,
    about: &About,
) -> Result<End, Fault> {
    let mut values = source.journal.values(run, end.seq).await?;
    if values.is_empty() {
        return match place.is_taken(run, end.n + 1).await? {
            true => Err(Fault::Moved),
            false => Ok(end),
        };
    }
    if end.closed {
        end = End::before_a_beginning(end.n);
        values = source.journal.values(run, 0).await?;
    }
    let records = decoded(run, end.seq, &values)?;
    let epoch = records.last().map_or(0, |record| record.epoch);
    let mut weights: Vec<Weight> = Vec::with_capacity(values.len());
    for (value, record) in values.iter().zip(&records) {
        let mut first = Vec::new();
        for hash in blobs_of(&record.event) {
            if end.blobs.insert(hash) {
                first.push((hash, source.journal.blob(hash).await?));
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
        let slot = Slot {
            head: SlotHead {
                run,
                n: end.n + 1,
                prev: end.hash,
                first: end.seq + 1,
                last,
                newest,
                epoch,
                workspace: source.writer.workspace,
                host: source.writer.host.clone(),
                at: source.clock.now().utc,
                workflow: about.workflow.clone(),
                parent: about.parent,
                outcome,
            },
            records: now_values.iter().map(|value| value.clone().into()).collect(),
            blobs: part.blobs,
        };
        match place.create(&slot).await? {
            Created::Here(hash) => {
                end = End {
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

/// Returns whether this process was stopped while it asked a location, so that what came of it says nothing.
fn was_stopped(answered: bool, took: Duration, patience: Duration) -> bool {
    took > if answered { STALE } else { patience + LATE }
}

async fn about(run: RunId, source: &Source) -> Result<About, JournalError> {
    let records = source.journal.read(run).await?;
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

/// Returns whether an error of opening a location says that no vault is there.
pub(super) fn says_absent(error: &TierError) -> bool {
    matches!(error, TierError::NotAVault { .. } | TierError::Unreachable { .. })
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
