//! Reads every segment of a tier and compares it with the journal here.
//!
//! It checks seals, numbers and hashes, then each record's checksum, chain and history, as for an archive.
//! Then it compares the records with this workspace's records of the run. Records that another workspace has
//! appended under a higher epoch are no damage: that workspace continues the run.

use std::path::Path;

use rekindle_journal::{Journal, JournalError, codec};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;
use rekindle_vault::segment::Walked;
use rekindle_vault::{CancellationToken, Segment, SegmentError, SegmentStore, Tier};

use crate::{fence, lag, last_seen};

/// The counts and faults of a check of replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Chains that were read: runs, in as many locations as have them.
    pub chains: u64,
    /// Segments that opened.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// The faults.
    pub faults: Vec<SegmentFault>,
}

impl CheckReport {
    /// Adds one replica.
    pub fn add(&mut self, checked: Checked) {
        self.chains += 1;
        self.segments += checked.segments;
        self.records += checked.records;
        self.faults.extend(checked.faults);
    }
}

/// One thing that is wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFault {
    /// The tier.
    pub tier: String,
    /// The location.
    pub location: String,
    /// The run.
    pub run: RunId,
    /// The segment; the first of several in a row.
    pub segment: u64,
    /// The fault, as a fragment that follows the segment's name: "is missing".
    pub what: String,
    /// The remedy.
    pub remedy: Remedy,
}

/// The remedy for a damaged replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// This workspace has the whole run, and restarts the chain at the end of a verification.
    Restart,
    /// The last segment, of this number, may be another workspace's: a person decides that by adopting the run from this
    /// location.
    Ask(u64),
    /// Another workspace has the run, and restarts the chain.
    Elsewhere,
    /// This workspace does not have the run whole. It is to be adopted from a location that has.
    Adopt,
}

/// Reads the replicas of every run in every location of a tier, one segment in memory at a time. Notes those
/// whose chain must restart. `progress` gets the number of segments so far.
///
/// # Errors
/// A location that could not be read. Damage is a fault in the report.
pub async fn check_tier(
    tier: &Tier,
    journal: &dyn Journal,
    state: &Path,
    stop: &CancellationToken,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<CheckReport, SegmentError> {
    let (mut report, mut unknown) = (CheckReport::default(), None);
    for store in tier.segment_stores() {
        for run in store.runs().await? {
            if stop.is_cancelled() {
                return Ok(report);
            }
            let checked = match check(&store, run, journal, state).await {
                Ok(checked) => checked,
                // The replicas of the other runs are read all the same.
                Err(error) if error.segment().is_some() => {
                    unknown.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(damaged) = checked.owed
                && let Err(error) = lag::add(state, run, store.url(), damaged)
            {
                tracing::warn!(%run, %error, "what a tier lacks could not be noted");
            }
            report.add(checked);
            progress(report.segments);
        }
    }
    match unknown {
        Some(error) if report.faults.is_empty() => Err(error),
        _ => Ok(report),
    }
}

/// The check of one replica.
pub struct Checked {
    segments: u64,
    records: u64,
    /// The faults.
    pub faults: Vec<SegmentFault>,
    /// Whether this workspace has segments that the location lacks, and may write them there. True if segments there are
    /// damaged, false if they are only missing.
    pub owed: Option<bool>,
}

/// This workspace's part in a run.
enum Ours {
    /// Nothing that counts: it never had the run, or has lost a record of it.
    Nothing,
    /// Another workspace continues it.
    Elsewhere,
    /// The hash of each record, the epoch, and whether the run is over.
    Records(Vec<Hash32>, u64, bool),
}

/// Reads a run's replica in one location.
///
/// # Errors
/// The location could not be read, or has a segment that a newer program or another keyring reads.
pub async fn check(
    store: &SegmentStore,
    run: RunId,
    journal: &dyn Journal,
    state: &Path,
) -> Result<Checked, SegmentError> {
    // Read before the segments: a driver of the run may write further ones meanwhile, and notes them.
    let seen = last_seen::read(state, run).get(store.url()).copied();
    let mut history = History::new(run);
    let walked = store.pass(run, |segment| history.take(&segment)).await?;
    // Read after the segments: a driver of the run journals a record before it writes the segment.
    let ours = match fence::read(state, run) {
        Ok(None) => ours(journal, run).await,
        // The other owner is unknown, so only the journal here can be compared.
        Ok(Some(note)) if note.taken.is_by_unknown() => ours(journal, run).await,
        Ok(Some(_)) | Err(_) => Ours::Elsewhere,
    };
    let (damage, unknown): (Vec<_>, Vec<_>) = walked.faults.iter().partition(|fault| fault.is_damage());
    if let ([], Some(unknown)) = (&damage[..], unknown.first()) {
        return Err((*unknown).clone());
    }
    let mut faults: Vec<(u64, String)> = damage.into_iter().filter_map(damage_of).collect();
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
            _ => format!("and those up to segment {seen} are missing at the end"),
        };
        faults.push((walked.last + 1, what));
        lacks = true;
    }
    let remedy = remedy(&ours, &walked, seen);
    let may_write = matches!(ours, Ours::Records(..));
    Ok(Checked {
        segments: walked.segments,
        records: walked.records.len() as u64,
        owed: ((damaged || lacks) && may_write).then_some(damaged),
        faults: faults
            .into_iter()
            .map(|(segment, what)| SegmentFault {
                tier: store.tier().to_owned(),
                location: store.url().to_owned(),
                run,
                segment,
                what,
                remedy,
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

/// Returns the number and the fault of a damaged segment.
fn damage_of(fault: &SegmentError) -> Option<(u64, String)> {
    match fault {
        SegmentError::Missing { n, to, .. } if n == to => Some((*n, "is missing".to_owned())),
        SegmentError::Missing { n, to, .. } => {
            Some((*n, format!("and those up to segment {to} are missing")))
        }
        SegmentError::Damaged { n, fault, .. } => Some((*n, fault.to_string())),
        SegmentError::Unchained { n, why, .. } => {
            Some((*n, format!("does not follow the segments before it: {why}")))
        }
        SegmentError::Removed { .. } | SegmentError::Store(_) | _ => None,
    }
}

/// Returns the first segment of a whole chain that contradicts the journal here under the same epoch, and how.
fn disagreement(walked: &Walked, ours: &[Hash32], epoch: u64) -> Option<(u64, String)> {
    let tail = &walked.tail.as_ref()?.head;
    if tail.epoch != epoch {
        // One of the two workspaces has adopted the run since. The next one that writes finds out which.
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

/// Returns the remedy for a fault.
fn remedy(ours: &Ours, walked: &Walked, seen: Option<u64>) -> Remedy {
    match ours {
        Ours::Records(..) if walked.ends_readably() || seen == Some(walked.last) => Remedy::Restart,
        Ours::Records(..) => Remedy::Ask(walked.last),
        Ours::Elsewhere => Remedy::Elsewhere,
        Ours::Nothing => Remedy::Adopt,
    }
}

/// The records of a chain, added segment by segment. Each must be whole and follow the one before it.
struct History {
    run: RunId,
    state: Option<RunState>,
    newest: Vec<Hash32>,
    /// Whether a segment has replaced records. Then the state is unknown, and only the hashes are checked.
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

    fn take(&mut self, segment: &Segment) {
        let head = &segment.head;
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
        for value in &segment.records {
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
            // A record of a newer version is no damage, and only its hash is checked.
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
