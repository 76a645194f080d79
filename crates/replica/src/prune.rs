//! Removes replicas from the tiers: a plan, which a user may look at, and its execution.
//!
//! A run's segments are removed if it ended longer ago than the tier's retention, or if the journal here was
//! compacted and no longer has the run. They stay if the run
//!
//! - is not over, or waits for a person,
//! - is part of a run whose segments stay,
//! - has sealed a recovery set that some tier still holds,
//! - has lost a record here: its replicas repair it.
//!
//! The age of a run is counted from the newest segment of the location, not from this machine's clock. So a
//! clock that is ahead removes nothing. But if a host with such a clock has written a segment there, other
//! runs look older than they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_journal::{Journal, JournalError, RunFilter, codec};
use rekindle_model::event::{Event, Outcome};
use rekindle_model::id::{RunId, SetId};
use rekindle_vault::segment::prune::Held;
use rekindle_vault::{SegmentError, SegmentStore};
use serde::Serialize;

use crate::location::STALE;

/// How long a run's segments stay at least once it is over. A process that was stopped for that long reads the end of a
/// chain before it trusts that the next number is free.
const GRACE: Duration = Duration::from_secs(24 * 3600);
const _: () = assert!(GRACE.as_secs() > 2 * STALE.as_secs());

/// The planned removals in one location.
#[derive(Default)]
pub struct Plan {
    /// The segments that go, by run.
    pub removals: Vec<Removal>,
    /// How many runs keep their segments, by the reason.
    pub kept: BTreeMap<&'static str, usize>,
    /// Runs whose last segment cannot be read.
    pub faults: Vec<String>,
}

/// The segments of one run in one location.
#[derive(Clone, Debug, Serialize)]
pub struct Removal {
    /// The tier.
    pub tier: String,
    /// The location.
    pub location: String,
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When its last segment was written.
    pub at: DateTime<Utc>,
    /// How many segments go.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why they go.
    pub why: String,
    #[serde(skip)]
    held: Held,
}

/// The facts that decide.
pub struct Rules {
    /// The recovery sets that some tier holds; none if a tier could not answer.
    pub sets: Option<BTreeSet<SetId>>,
    /// The runs that were removed from this workspace.
    pub forgotten: BTreeSet<RunId>,
    /// The runs of this workspace that are not over, or not whole.
    pub open: BTreeSet<RunId>,
    /// Returns the recovery set that a step has begun to seal, from an event.
    pub sealed_set: fn(&Event) -> Option<SetId>,
    /// Now.
    pub now: DateTime<Utc>,
}

impl Rules {
    /// Reads which runs the journal here still needs. `forgotten` are the runs that a compact removed.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub async fn read(
        journal: &dyn Journal,
        forgotten: BTreeSet<RunId>,
        sets: Option<BTreeSet<SetId>>,
        sealed_set: fn(&Event) -> Option<SetId>,
        now: DateTime<Utc>,
    ) -> Result<Self, JournalError> {
        let runs = journal.runs(&RunFilter::default()).await?;
        let open = runs
            .iter()
            .filter(|run| run.outcome.is_none() || run.quarantined.is_some());
        Ok(Self {
            sets,
            forgotten,
            open: open.map(|run| run.run).collect(),
            sealed_set,
            now,
        })
    }
}

/// Plans for one location of a tier that keeps things for `retain`.
///
/// # Errors
/// A location that cannot be listed.
pub async fn plan(
    store: &SegmentStore,
    retain: Option<Duration>,
    rules: &Rules,
) -> Result<Plan, SegmentError> {
    let mut plan = Plan::default();
    let mut all: BTreeMap<RunId, Held> = BTreeMap::new();
    for run in store.runs().await? {
        match store.held(run).await {
            Ok(Some(held)) => {
                all.insert(run, held);
            }
            Ok(None) => {}
            // It may be another workspace's, so it stays.
            Err(error) if error.segment().is_some() => {
                plan.faults.push(error.to_string());
                *plan.kept.entry("cannot be read").or_default() += 1;
            }
            Err(error) => return Err(error),
        }
    }
    let newest = all.values().map(|held| held.tail.head.at).max();
    let as_of = newest.map_or(rules.now, |newest| newest.min(rules.now));
    let mut going: BTreeMap<RunId, String> = BTreeMap::new();
    for (run, held) in &all {
        match verdict(*run, held, as_of, retain, rules) {
            Ok(why) if is_of_a_set(store, *run, rules).await? => {
                tracing::debug!(%run, why, "has sealed a set that is kept");
                *plan.kept.entry("sealed a recovery set that is kept").or_default() += 1;
            }
            Ok(why) => {
                going.insert(*run, why);
            }
            Err(why) => *plan.kept.entry(why).or_default() += 1,
        }
    }
    // A run that is part of a staying run stays too.
    loop {
        let parent = |run: &RunId| all.get(run).and_then(|held| held.tail.head.parent);
        let stays =
            |run: &RunId| parent(run).is_some_and(|of| all.contains_key(&of) && !going.contains_key(&of));
        let Some(run) = going.keys().copied().find(stays) else {
            break;
        };
        going.remove(&run);
        *plan.kept.entry("are part of a run that is kept").or_default() += 1;
    }
    for (run, why) in going {
        let Some(held) = all.remove(&run) else { continue };
        if held.segments == 0 {
            continue;
        }
        let head = &held.tail.head;
        plan.removals.push(Removal {
            tier: store.tier().to_owned(),
            location: store.url().to_owned(),
            run,
            workflow: head.workflow.clone(),
            outcome: head.outcome,
            at: head.at,
            segments: held.segments,
            bytes: held.bytes,
            why,
            held,
        });
    }
    Ok(plan)
}

/// Executes one removal; returns false if another process has continued the run since the plan.
///
/// # Errors
/// The location failed.
pub async fn remove(store: &SegmentStore, removal: &Removal) -> Result<bool, SegmentError> {
    store.close(&removal.held).await
}

/// Returns why a run's segments go, or else why they stay.
fn verdict(
    run: RunId,
    held: &Held,
    as_of: DateTime<Utc>,
    retain: Option<Duration>,
    rules: &Rules,
) -> Result<String, &'static str> {
    let head = &held.tail.head;
    let over = !matches!(head.outcome, None | Some(Outcome::Stuck));
    if !over || rules.open.contains(&run) {
        return Err("are not over");
    }
    let age = (as_of - head.at).to_std().unwrap_or_default();
    if age <= GRACE {
        return Err("are not old enough");
    }
    if rules.forgotten.contains(&run) {
        return Ok("this workspace has removed the run".to_owned());
    }
    match retain.filter(|retain| age > *retain) {
        Some(retain) => Ok(format!("older than {}", humantime::format_duration(retain))),
        None => Err("are not old enough"),
    }
}

/// Returns whether a run has sealed a recovery set that some tier still holds, or may have.
async fn is_of_a_set(store: &SegmentStore, run: RunId, rules: &Rules) -> Result<bool, SegmentError> {
    let (mut sealed, mut seq, mut unread) = (BTreeSet::new(), 0, false);
    let walked = store
        .pass(run, |segment| {
            seq = segment.head.first;
            for value in &segment.records {
                match codec::decode(&codec::key(run, seq), value) {
                    Ok(record) => sealed.extend((rules.sealed_set)(&record.event)),
                    Err(_) => unread = true,
                }
                seq += 1;
            }
        })
        .await?;
    if walked.closed {
        return Ok(false);
    }
    let unread = unread || !walked.faults.is_empty();
    Ok(match &rules.sets {
        Some(sets) => unread || !sealed.is_disjoint(sets),
        None => unread || !sealed.is_empty(),
    })
}
