//! One location, and how far its chain of one run has come.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle_engine::TakenOver;
use rekindle_journal::{Journal, JournalError, blobs_of, codec};
use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::time::{Clock, Stamp};
use rekindle_vault::slot::{Link, Weight, plan};
use rekindle_vault::{Created, Slot, SlotError, SlotHead, SlotPlace, TierError};

use super::copier::Opening;
use super::seen;
use super::writer::Writer;

/// How long a location may take before the run goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a location that has refused is left alone.
const AGAIN: Duration = Duration::from_secs(5);
/// How long one is left alone that has not answered at all: asking costs [`PATIENCE`] each time.
const SILENCE: Duration = Duration::from_secs(60);
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

/// The end of a chain that agrees with the journal here.
struct End {
    n: u64,
    hash: Hash32,
    /// The last record that is in it and counts.
    seq: u64,
    newest: Hash32,
    outcome: Option<Outcome>,
    /// The blobs that it has.
    blobs: HashSet<Hash32>,
    /// Whether its records were removed: what comes next begins it anew.
    closed: bool,
}

impl End {
    /// Returns the end of a chain that is to begin anew after slot `n`.
    fn before_a_beginning(n: u64) -> Self {
        Self {
            n,
            hash: Hash32::ZERO,
            seq: 0,
            newest: Hash32::ZERO,
            outcome: None,
            blobs: HashSet::new(),
            closed: false,
        }
    }
}

/// Why a location could not be brought up to the journal.
enum Fault {
    Taken(Box<TakenOver>),
    Down(String),
    /// What is there cannot be read, and it may be another workspace's.
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
        if matches!(copied, Ok(Ok(()))) && source.clock.now().since(&now).duration > STALE {
            // Stopped between the look and what followed from it.
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

/// Finds the end of a chain, and that it agrees with the journal here.
///
/// A chain that does not is somebody else's, unless this workspace has since adopted the run under a higher epoch: then
/// the chain is what others had before they lost it, and its rest is replaced. Where slots are damaged, the chain is to
/// begin anew after its last number: `thorough` looks for damage before its end, too.
async fn agree(place: &SlotPlace, run: RunId, source: &Source, thorough: bool) -> Result<End, Fault> {
    if !thorough {
        match place.tail(run).await {
            Ok(None) => return Ok(End::before_a_beginning(0)),
            Ok(Some(link)) => return Ours::read(run, source).await?.end_at(place, &link, source).await,
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let walked = place.walk(run).await?;
    let ours = Ours::read(run, source).await?;
    let agreed = match &walked.tail {
        None => None,
        Some(link) => Some(ours.end_at(place, link, source).await?),
    };
    if walked.faults.is_empty() {
        return Ok(agreed.unwrap_or_else(|| End::before_a_beginning(0)));
    }
    let seen = seen::read(&source.state, run).get(place.url()).copied();
    if !walked.ends_readably() && seen != Some(walked.last) {
        let last = seen.map_or_else(|| "none".to_owned(), |seen| format!("slot {seen}"));
        return Err(Fault::Unknown(format!(
            "slot {} of the run cannot be read, and the last that this workspace knows there is {last}: another \
             workspace may have written it; `rekindle adopt {} {run}` asks, and then they are begun anew",
            walked.last,
            place.url()
        )));
    }
    tracing::warn!(%run, url = place.url(), last = walked.last, "damaged slots: they are begun anew");
    Ok(End::before_a_beginning(walked.last))
}

/// What this workspace has of a run.
struct Ours {
    run: RunId,
    values: Vec<Vec<u8>>,
}

impl Ours {
    async fn read(run: RunId, source: &Source) -> Result<Self, JournalError> {
        let values = source.journal.values(run, 0).await?;
        Ok(Self { run, values })
    }

    /// Returns the hash of a record; none beyond the last.
    fn newest(&self, seq: u64) -> Option<Hash32> {
        match usize::try_from(seq) {
            Ok(0) => Some(Hash32::ZERO),
            Ok(seq) => self.values.get(seq - 1).map(|value| codec::hash(value)),
            Err(_) => None,
        }
    }

    /// Returns the end of a chain whose last slot this is, where it agrees with what is here.
    async fn end_at(&self, place: &SlotPlace, link: &Link, source: &Source) -> Result<End, Fault> {
        let (run, head) = (self.run, &link.head);
        let seq = match self.newest(head.last) == Some(head.newest) {
            true => head.last,
            false if brought_here(run, &self.values, source)? > head.epoch => {
                if head.closes() {
                    return Ok(End::before_a_beginning(head.n));
                }
                let theirs = match place.chain(run).await {
                    Ok(chain) => chain.values,
                    // What cannot be read cannot be agreed with.
                    Err(error) if error.is_damage() => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                let same = self
                    .values
                    .iter()
                    .zip(&theirs)
                    .take_while(|(ours, theirs)| ours == theirs);
                same.count() as u64
            }
            false => {
                return Err(Fault::Taken(Box::new(TakenOver {
                    run,
                    host: head.host.as_str().into(),
                    workspace: head.workspace,
                    at: head.at,
                    epoch: head.epoch,
                    tier: place.tier().into(),
                    url: place.url().into(),
                })));
            }
        };
        let known = usize::try_from(seq).unwrap_or(0);
        let (mut blobs, mut outcome) = (HashSet::new(), None);
        for record in decoded(run, 0, self.values.get(..known).unwrap_or_default())? {
            blobs.extend(blobs_of(&record.event));
            outcome = outcome_after(outcome, &record.event);
        }
        Ok(End {
            n: head.n,
            hash: link.hash,
            seq,
            newest: self.newest(seq).unwrap_or(Hash32::ZERO),
            outcome,
            blobs,
            closed: head.closes(),
        })
    }
}

/// Returns the epoch under which this workspace has last taken the run over from another one; 0 where it never has.
fn brought_here(run: RunId, values: &[Vec<u8>], source: &Source) -> Result<u64, JournalError> {
    let adoptions = decoded(run, 0, values)?
        .into_iter()
        .filter_map(|record| match record.event {
            Event::RunAdopted { epoch, workspace, .. } if workspace == Some(source.writer.workspace) => {
                Some(epoch)
            }
            _ => None,
        });
    Ok(adoptions.max().unwrap_or(0))
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

async fn about(run: RunId, source: &Source) -> Result<About, JournalError> {
    let records = source.journal.read(run).await?;
    Ok(match records.first().map(|record| &record.event) {
        Some(Event::RunCreated { workflow, parent, .. }) => About {
            workflow: workflow.clone(),
            parent: parent.as_ref().map(|parent| parent.run),
        },
        _ => About {
            workflow: String::new(),
            parent: None,
        },
    })
}

fn decoded(run: RunId, after: u64, values: &[Vec<u8>]) -> Result<Vec<Record>, JournalError> {
    (after + 1..)
        .zip(values)
        .map(|(seq, value)| codec::decode(&codec::key(run, seq), value))
        .collect()
}

fn outcome_after(outcome: Option<Outcome>, event: &Event) -> Option<Outcome> {
    match event {
        Event::RunFinished { outcome, .. } => Some(*outcome),
        Event::RunReopened { .. } => None,
        _ => outcome,
    }
}

/// Returns whether an error of opening a location says that no vault is there.
pub(super) fn says_absent(error: &TierError) -> bool {
    matches!(error, TierError::NotAVault { .. } | TierError::Unreachable { .. })
}
