//! Which runs' slots are removed from the tiers: planned, shown, and then done.
//!
//! A run's slots go where it has been over for longer than the tier keeps things, or where `journal compact` has removed
//! the run from this workspace. Never those of a run that is not over, that waits for a person, that is part of one whose
//! slots stay, that has sealed a recovery set which some tier still holds, or of which a record is lost here: its slots
//! are what it is mended by.
//!
//! How long ago a run was over is counted from the newest slot of the location, not from this machine's clock: one that
//! is ahead removes nothing. That does not cover slots which a host with such a clock has written: by theirs, other runs
//! are older than they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_journal::{Journal, JournalError, RunFilter, codec};
use rekindle_journal_local::LogView;
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, SetId};
use rekindle_vault::slot::prune::Held;
use rekindle_vault::{SlotError, SlotPlace};
use serde::Serialize;

use super::spot::STALE;

/// How long a run's slots stay once it is over, whatever else is said. A process that was stopped for as long as this
/// looks for the end of a chain before it trusts that the next number is free.
const GRACE: Duration = Duration::from_secs(24 * 3600);
const _: () = assert!(GRACE.as_secs() > 2 * STALE.as_secs());

/// What would be done in one location.
#[derive(Default)]
pub(crate) struct Plan {
    /// The slots that go, by run.
    pub(crate) removals: Vec<Removal>,
    /// How many runs keep their slots, by the reason.
    pub(crate) kept: BTreeMap<&'static str, usize>,
    /// What could not be told.
    pub(crate) faults: Vec<String>,
}

/// The slots of one run in one location.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Removal {
    /// The tier.
    pub(crate) tier: String,
    /// The location.
    pub(crate) location: String,
    /// The run.
    pub(crate) run: RunId,
    /// Its workflow.
    pub(crate) workflow: String,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// When its last slot was written.
    pub(crate) at: DateTime<Utc>,
    /// How many slots go.
    pub(crate) slots: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Why they go.
    pub(crate) why: String,
    #[serde(skip)]
    held: Held,
}

/// What decides.
pub(crate) struct Rules {
    /// The recovery sets that some tier holds; none where a tier could not be asked.
    pub(crate) sets: Option<BTreeSet<SetId>>,
    /// The runs that were removed from this workspace.
    pub(crate) forgotten: BTreeSet<RunId>,
    /// The runs of this workspace that are not over, or not whole.
    pub(crate) open: BTreeSet<RunId>,
    /// Now.
    pub(crate) now: DateTime<Utc>,
}

impl Rules {
    /// Reads what this workspace knows.
    pub(crate) async fn read(
        view: &LogView,
        sets: Option<BTreeSet<SetId>>,
        now: DateTime<Utc>,
    ) -> Result<Self, JournalError> {
        let runs = Journal::runs(view, &RunFilter::default()).await?;
        let open = runs
            .iter()
            .filter(|run| run.outcome.is_none() || run.quarantined.is_some());
        Ok(Self {
            sets,
            forgotten: view.forgotten().collect(),
            open: open.map(|run| run.run).collect(),
            now,
        })
    }
}

/// Plans for one location of a tier that keeps things for `retain`.
///
/// # Errors
/// A location that cannot be listed.
pub(crate) async fn plan(
    place: &SlotPlace,
    retain: Option<Duration>,
    rules: &Rules,
) -> Result<Plan, SlotError> {
    let mut plan = Plan::default();
    let mut all: BTreeMap<RunId, Held> = BTreeMap::new();
    for run in place.runs().await? {
        match place.held(run).await {
            Ok(Some(held)) => {
                all.insert(run, held);
            }
            Ok(None) => {}
            // Whose it is cannot be told.
            Err(error) if error.slot().is_some() => {
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
            Ok(why) if is_of_a_set(place, *run, rules).await? => {
                tracing::debug!(%run, why, "has sealed a set that is kept");
                *plan.kept.entry("sealed a recovery set that is kept").or_default() += 1;
            }
            Ok(why) => {
                going.insert(*run, why);
            }
            Err(why) => *plan.kept.entry(why).or_default() += 1,
        }
    }
    // What is part of a run that stays, stays with it.
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
        if held.slots == 0 {
            continue;
        }
        let head = &held.tail.head;
        plan.removals.push(Removal {
            tier: place.tier().to_owned(),
            location: place.url().to_owned(),
            run,
            workflow: head.workflow.clone(),
            outcome: head.outcome,
            at: head.at,
            slots: held.slots,
            bytes: held.bytes,
            why,
            held,
        });
    }
    Ok(plan)
}

/// Carries one removal out; false where somebody has gone on with the run since it was planned.
///
/// # Errors
/// The location did not do it.
pub(crate) async fn remove(place: &SlotPlace, removal: &Removal) -> Result<bool, SlotError> {
    place.close(&removal.held).await
}

/// Returns why a run's slots go, or else why they stay.
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
async fn is_of_a_set(place: &SlotPlace, run: RunId, rules: &Rules) -> Result<bool, SlotError> {
    let (mut sealed, mut seq, mut unread) = (BTreeSet::new(), 0, false);
    let walked = place
        .pass(run, |slot| {
            seq = slot.head.first;
            for value in &slot.records {
                match codec::decode(&codec::key(run, seq), value) {
                    Ok(record) => sealed.extend(rekindle_actions::sealed_set(&record.event)),
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
