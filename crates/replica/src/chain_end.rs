//! Compares the end of a chain with the journal here. The result decides which workspace continues a run, and
//! whether a damaged chain may restart.

use std::collections::HashSet;

use rekindle_engine::TakenOver;
use rekindle_journal::{JournalError, blobs_of, codec};
use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_vault::SegmentStore;
use rekindle_vault::segment::Link;
use uuid::Uuid;

use crate::last_seen;
use crate::primary::{Fault, Primary};

/// The end of a chain that agrees with the journal here.
pub(crate) struct ChainEnd {
    pub(crate) n: u64,
    pub(crate) hash: Hash32,
    /// The last record of the chain that agrees with the journal here.
    pub(crate) seq: u64,
    pub(crate) newest: Hash32,
    pub(crate) outcome: Option<Outcome>,
    /// The blobs that it has.
    pub(crate) blobs: HashSet<Hash32>,
    /// Whether its records were removed. If so, the next segment restarts the chain.
    pub(crate) closed: bool,
}

impl ChainEnd {
    /// Returns the end of a chain that will restart after segment `n`.
    pub(crate) fn before_restart(n: u64) -> Self {
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

/// Finds the end of a chain, and checks that it agrees with the journal here.
///
/// - A chain that does not agree is another workspace's. But if this workspace has since adopted the run under a higher
///   epoch, the other one has lost it, and the rest of the chain is replaced.
/// - A chain with damaged segments restarts after its last number. `thorough` also finds damage before the end.
/// - If the last segment cannot be read, and its number is above the last that this workspace knows, another workspace
///   wrote it. A driver of the run is fenced by that.
pub(crate) async fn find(
    store: &SegmentStore,
    run: RunId,
    primary: &Primary,
    thorough: bool,
) -> Result<ChainEnd, Fault> {
    if !thorough {
        match store.tail(run).await {
            Ok(None) => return Ok(ChainEnd::before_restart(0)),
            Ok(Some(link)) => {
                return Ours::read(run, primary)
                    .await?
                    .end_at(store, &link, primary)
                    .await;
            }
            Err(error) if error.segment().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let walked = store.walk(run).await?;
    let ours = Ours::read(run, primary).await?;
    let agreed = match &walked.tail {
        None => None,
        Some(link) => Some(ours.end_at(store, link, primary).await?),
    };
    if walked.faults.is_empty() {
        return Ok(agreed.unwrap_or_else(|| ChainEnd::before_restart(0)));
    }
    let seen = last_seen::read(&primary.state, run).get(store.url()).copied();
    if !walked.ends_readably() && seen.is_none_or(|seen| seen < walked.last) && primary.drives {
        // To lose a number is to lose the run, even if the winner is unknown.
        return Err(Fault::TakenOver(Box::new(TakenOver {
            run,
            host: "unknown".into(),
            workspace: Uuid::nil(),
            at: primary.clock.now().utc,
            epoch: 0,
            tier: store.tier().into(),
            url: store.url().into(),
        })));
    }
    if !walked.ends_readably() && seen != Some(walked.last) {
        let last = seen.map_or_else(|| "none".to_owned(), |seen| format!("segment {seen}"));
        return Err(Fault::Unknown(format!(
            "segment {} of the run cannot be read, and the last that this workspace knows there is {last}: another \
             workspace may have written it",
            walked.last
        )));
    }
    if let Some(unknown) = walked.faults.iter().find(|fault| !fault.is_damage()) {
        // A newer program or another keyring can read it: it is not damaged, and the chain does not
        // restart.
        return Err(unknown.clone().into());
    }
    tracing::warn!(%run, url = store.url(), last = walked.last, "a replica is damaged: its chain restarts");
    Ok(ChainEnd::before_restart(walked.last))
}

/// This workspace's records of a run.
struct Ours {
    run: RunId,
    values: Vec<Vec<u8>>,
}

impl Ours {
    async fn read(run: RunId, primary: &Primary) -> Result<Self, JournalError> {
        let values = primary.journal.values(run, 0).await?;
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

    /// Returns the end of a chain with this last segment, if it agrees with the journal here.
    async fn end_at(&self, store: &SegmentStore, link: &Link, primary: &Primary) -> Result<ChainEnd, Fault> {
        let (run, head) = (self.run, &link.head);
        let records = decoded(run, 0, &self.values)?;
        let seq = match self.newest(head.last) == Some(head.newest) {
            true if head.epoch <= epoch_of(&records) => head.last,
            false if brought_here(&records, primary) > head.epoch => {
                if head.closes() {
                    return Ok(ChainEnd::before_restart(head.n));
                }
                let theirs = match store.chain(run).await {
                    Ok(chain) => chain.values,
                    // An unreadable segment cannot agree.
                    Err(error) if error.segment().is_some() => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                let same = self
                    .values
                    .iter()
                    .zip(&theirs)
                    .take_while(|(ours, theirs)| ours == theirs);
                same.count() as u64
            }
            // Even if its records are ours: a segment of a higher epoch precedes records that are not here.
            _ => {
                return Err(Fault::TakenOver(Box::new(TakenOver {
                    run,
                    host: head.host.as_str().into(),
                    workspace: head.workspace,
                    at: head.at,
                    epoch: head.epoch,
                    tier: store.tier().into(),
                    url: store.url().into(),
                })));
            }
        };
        let known = usize::try_from(seq).unwrap_or(0);
        let (mut blobs, mut outcome) = (HashSet::new(), None);
        for record in records.iter().take(known) {
            blobs.extend(blobs_of(&record.event));
            outcome = outcome_after(outcome, &record.event);
        }
        Ok(ChainEnd {
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

/// Returns the newest epoch of any record; 0 if there is none.
fn epoch_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.epoch).max().unwrap_or(0)
}

/// Returns the epoch under which this workspace last adopted the run from another one; 0 if it never did.
fn brought_here(records: &[Record], primary: &Primary) -> u64 {
    let adoptions = records.iter().filter_map(|record| match record.event {
        Event::RunAdopted { epoch, workspace, .. } if workspace == Some(primary.writer.workspace) => {
            Some(epoch)
        }
        _ => None,
    });
    adoptions.max().unwrap_or(0)
}

/// Returns the records after a number, from their values.
pub(crate) fn decoded(run: RunId, after: u64, values: &[Vec<u8>]) -> Result<Vec<Record>, JournalError> {
    (after + 1..)
        .zip(values)
        .map(|(seq, value)| codec::decode(&codec::key(run, seq), value))
        .collect()
}

/// Returns a run's outcome after one more event.
pub(crate) fn outcome_after(outcome: Option<Outcome>, event: &Event) -> Option<Outcome> {
    match event {
        Event::RunFinished { outcome, .. } => Some(*outcome),
        Event::RunReopened { .. } => None,
        _ => outcome,
    }
}
