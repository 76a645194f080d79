//! Every slot of a tier, read back and compared with the journal.
//!
//! Seals, numbers, hashes, then each record's checksum, chain and history, as for an archive; then that what this
//! workspace has of the run says the same. Records that somebody else has appended under a higher epoch are no damage:
//! they are how a run is gone on with elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_actions::{SlotFault, SlotReader, SlotsReport};
use rekindle_journal::{Journal, JournalError, codec};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;
use rekindle_vault::segment::Walked;
use rekindle_vault::{CancellationToken, Segment, SegmentError, SegmentStore, Tier};

use super::{fenced, owed, seen};

/// What compares slots with a workspace's journal, and notes what is to be written anew.
pub(crate) struct Reader {
    pub(crate) journal: Arc<dyn Journal>,
    /// The workspace's own folder.
    pub(crate) state: PathBuf,
}

#[async_trait]
impl SlotReader for Reader {
    async fn read(
        &self,
        tier: &Tier,
        stop: &CancellationToken,
        told: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<SlotsReport, SegmentError> {
        let (mut report, mut unknown) = (SlotsReport::default(), None);
        for place in tier.segment_stores() {
            for run in place.runs().await? {
                if stop.is_cancelled() {
                    return Ok(report);
                }
                let checked = match check(&place, run, &*self.journal, &self.state).await {
                    Ok(checked) => checked,
                    // What the other runs' slots say is to be known all the same.
                    Err(error) if error.segment().is_some() => {
                        unknown.get_or_insert(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if let Some(damaged) = checked.owed
                    && let Err(error) = owed::add(&self.state, run, place.url(), damaged)
                {
                    tracing::warn!(%run, %error, "what a tier lacks could not be noted");
                }
                report.add(checked);
                told(report.slots);
            }
        }
        match unknown {
            Some(error) if report.faults.is_empty() => Err(error),
            _ => Ok(report),
        }
    }
}

/// What was read of one chain.
pub(crate) struct Checked {
    slots: u64,
    records: u64,
    /// What is wrong.
    pub(crate) faults: Vec<SlotFault>,
    /// Whether this workspace has what the location lacks, and may write it there: true where what is there is damaged.
    pub(crate) owed: Option<bool>,
}

/// Adds a chain to what was read.
pub(crate) trait Add {
    fn add(&mut self, checked: Checked);
}

impl Add for SlotsReport {
    fn add(&mut self, checked: Checked) {
        self.chains += 1;
        self.slots += checked.slots;
        self.records += checked.records;
        self.faults.extend(checked.faults);
    }
}

/// What this workspace has of a run.
enum Ours {
    /// Nothing that counts: it never had the run, or has lost a record of it.
    Nothing,
    /// Another workspace goes on with it.
    Elsewhere,
    /// The hash of each record, the epoch, and whether the run is over.
    Records(Vec<Hash32>, u64, bool),
}

/// Reads a run's slots in one location.
///
/// # Errors
/// The location could not be read, or has a slot that a newer program or another keyring reads.
pub(crate) async fn check(
    place: &SegmentStore,
    run: RunId,
    journal: &dyn Journal,
    state: &Path,
) -> Result<Checked, SegmentError> {
    // Read before the slots: whoever drives the run meanwhile writes further ones, and notes them.
    let seen = seen::read(state, run).get(place.url()).copied();
    let mut history = History::new(run);
    let walked = place.pass(run, |slot| history.take(&slot)).await?;
    // Read after the slots: whoever drives the run meanwhile journals first.
    let ours = match fenced::noted(state, run) {
        Ok(None) => ours(journal, run).await,
        // Nobody can tell who has it: what is here is what there is to compare with.
        Ok(Some(note)) if note.taken.is_by_unknown() => ours(journal, run).await,
        Ok(Some(_)) | Err(_) => Ours::Elsewhere,
    };
    let (damage, unknown): (Vec<_>, Vec<_>) = walked.faults.iter().partition(|fault| fault.is_damage());
    if let ([], Some(unknown)) = (&damage[..], unknown.first()) {
        return Err((*unknown).clone());
    }
    let mut faults: Vec<(u64, String)> = damage.into_iter().filter_map(told).collect();
    if faults.is_empty() && !walked.closed {
        faults.extend(history.fault.clone());
    }
    let mut damaged = !faults.is_empty();
    let mut lacks = false;
    if let (false, Ours::Records(records, epoch, over)) = (damaged, &ours) {
        faults.extend(disagreement(&walked, records, *epoch));
        damaged = !faults.is_empty();
        lacks = *over && !walked.closed && walked.records.len() < records.len();
    }
    if let (Ours::Records(..), Some(seen)) = (&ours, seen)
        && seen > walked.last
    {
        let what = match seen - walked.last {
            1 => "is missing at the end".to_owned(),
            _ => format!("and those up to slot {seen} are missing at the end"),
        };
        faults.push((walked.last + 1, what));
        lacks = true;
    }
    let next = next(&ours, &walked, seen, place.url(), run);
    let may_write = matches!(ours, Ours::Records(..));
    Ok(Checked {
        slots: walked.segments,
        records: walked.records.len() as u64,
        owed: ((damaged || lacks) && may_write).then_some(damaged),
        faults: faults
            .into_iter()
            .map(|(slot, what)| SlotFault {
                tier: place.tier().to_owned(),
                location: place.url().to_owned(),
                run,
                slot,
                what,
                next: next.clone(),
            })
            .collect(),
    })
}

async fn ours(journal: &dyn Journal, run: RunId) -> Ours {
    let (Ok(values), Ok(records)) = (journal.values(run, 0).await, journal.read(run).await) else {
        return Ours::Nothing;
    };
    match RunState::from_records(&records) {
        Ok(state) => Ours::Records(
            values.iter().map(|value| codec::hash(value)).collect(),
            state.epoch,
            state.outcome.is_some(),
        ),
        Err(_) => Ours::Nothing,
    }
}

/// Returns the slot that a fault is about, and what is wrong with it.
fn told(fault: &SegmentError) -> Option<(u64, String)> {
    match fault {
        SegmentError::Missing { n, to, .. } if n == to => Some((*n, "is missing".to_owned())),
        SegmentError::Missing { n, to, .. } => Some((*n, format!("and those up to slot {to} are missing"))),
        SegmentError::Damaged { n, fault, .. } => Some((*n, fault.to_string())),
        SegmentError::Unchained { n, why, .. } => {
            Some((*n, format!("does not follow the slots before it: {why}")))
        }
        SegmentError::Removed { .. } | SegmentError::Store(_) | _ => None,
    }
}

/// Returns where a whole chain says something else than the journal here under an epoch that is not above its own.
fn disagreement(walked: &Walked, ours: &[Hash32], epoch: u64) -> Option<(u64, String)> {
    let tail = &walked.tail.as_ref()?.head;
    if tail.epoch != epoch {
        // One of the two has adopted the run since; who goes on with it is found by the next who writes.
        return None;
    }
    if walked.closed {
        let at = usize::try_from(tail.last).ok()?.checked_sub(1)?;
        let same = ours.get(at) == Some(&tail.newest) && ours.len() as u64 >= tail.last;
        return (!same).then(|| {
            (
                tail.n,
                "closes another history than this workspace has".to_owned(),
            )
        });
    }
    let mut theirs = (1_u64..).zip(&walked.records);
    let (seq, (_, n)) = theirs
        .find(|(seq, (hash, _))| ours.get(usize::try_from(seq - 1).unwrap_or(usize::MAX)) != Some(hash))?;
    let what = match seq > ours.len() as u64 {
        true => format!(
            "has record {seq}, and this workspace's journal has {}",
            ours.len()
        ),
        false => format!("has another record {seq} than this workspace's journal"),
    };
    Some((*n, what))
}

/// Returns what becomes of a fault, and what a person can do.
fn next(ours: &Ours, walked: &Walked, seen: Option<u64>, url: &str, run: RunId) -> String {
    match ours {
        Ours::Records(..) if walked.ends_readably() || seen == Some(walked.last) => {
            "this workspace has the run: when `rekindle verify` ends, its slots are begun anew there"
                .to_owned()
        }
        Ours::Records(..) => format!(
            "slot {} may be another workspace's: `rekindle adopt {url} {run}` asks, and then they are begun anew",
            walked.last
        ),
        Ours::Elsewhere => "another workspace has the run, and begins its slots there anew".to_owned(),
        Ours::Nothing => format!(
            "this workspace does not have the run whole: `rekindle adopt URL {run}` brings it here from a location that \
             does, and then its slots are begun anew"
        ),
    }
}

/// The records of a chain, as its slots come: each is to be whole and to follow the one before it.
struct History {
    run: RunId,
    state: Option<RunState>,
    newest: Vec<Hash32>,
    /// Whether a slot has replaced records: what they had led to is not known any more, only that the rest follows.
    replaced: bool,
    fault: Option<(u64, String)>,
}

impl History {
    fn new(run: RunId) -> Self {
        Self {
            run,
            state: None,
            newest: Vec::new(),
            replaced: false,
            fault: None,
        }
    }

    fn take(&mut self, slot: &Segment) {
        let head = &slot.head;
        if head.begins() {
            *self = Self::new(self.run);
        }
        if head.closes() || self.fault.is_some() {
            return;
        }
        let keep = usize::try_from(head.first - 1).unwrap_or(usize::MAX);
        if keep < self.newest.len() {
            self.newest.truncate(keep);
            self.replaced = true;
        }
        for value in &slot.records {
            if let Err(why) = self.add(value) {
                self.fault = Some((head.n, why));
                return;
            }
        }
    }

    fn add(&mut self, value: &[u8]) -> Result<(), String> {
        let seq = self.newest.len() as u64 + 1;
        let record = match codec::decode(&codec::key(self.run, seq), value) {
            Ok(record) => record,
            // What a newer version has written is not looked into, and is no damage.
            Err(JournalError::NewerFormat { .. }) => {
                self.replaced = true;
                self.newest.push(codec::hash(value));
                return Ok(());
            }
            Err(error) => return Err(format!("has a record that is damaged: cannot {error}")),
        };
        if record.prev != self.newest.last().copied().unwrap_or(Hash32::ZERO) {
            return Err(format!(
                "has a record {seq} that does not follow record {}",
                seq - 1
            ));
        }
        self.newest.push(codec::hash(value));
        if self.replaced {
            return Ok(());
        }
        let folded = match &mut self.state {
            Some(state) => state.fold(&record),
            None => RunState::created(&record).map(|state| self.state = Some(state)),
        };
        folded.map_err(|error| format!("has a history that contradicts itself: {error}"))
    }
}
