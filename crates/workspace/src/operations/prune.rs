//! Removes the journal replicas of old runs from the tiers.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_journal_local::LogView;
use rekindle_model::id::SetId;
use rekindle_replica::prune::{self, Plan, Removal, Rules};
use rekindle_vault::SegmentStore;

use crate::Application;
use crate::error::Error;
use crate::tiers::Tiers;

/// The tiers to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Only in these tiers; empty for all.
    pub tiers: Vec<String>,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
}

/// The result of a prune, or its plan.
pub struct PruneResult {
    /// The replicas that it removed, or would remove.
    pub removed: Vec<Removal>,
    /// How many chains of segments were kept, for each reason.
    pub kept: BTreeMap<&'static str, usize>,
    /// Whether every location could be pruned.
    pub complete: bool,
}

/// Prunes, or plans a prune.
///
/// # Errors
/// An unknown tier, or a journal that cannot be read.
pub async fn prune(app: &Application, request: &PruneRequest) -> Result<PruneResult, Error> {
    // Read all tiers: if one of them still holds a run's data, every other one keeps the run's segments.
    let all = Tiers::open(app, &[]).await?;
    let named = Tiers::named(&all.system, &request.tiers)?;
    let mut complete = all.all_answered();
    let (view, _) = LogView::open(&all.layout.state).await?;
    let (forgotten, now) = (view.forgotten().collect(), app.clock.now().utc);
    let sealed_set = rekindle_actions::sealed_set;
    let rules = Rules::read(&view, forgotten, sets(app, &all).await, sealed_set, now).await?;
    let mut planned: Vec<(SegmentStore, Plan)> = Vec::new();
    for (name, tier) in all
        .reachable()
        .filter(|(name, _)| named.iter().any(|one| one == name))
    {
        let retain = all.spec(name).and_then(|spec| spec.retain).map(|period| period.0);
        for (url, why) in tier.down() {
            app.notices
                .warn(format!("tier {name}: {url} does not answer: {why}"));
            complete = false;
        }
        for place in tier.segment_stores() {
            match prune::plan(&place, retain, &rules).await {
                Ok(plan) => planned.push((place, plan)),
                Err(error) => {
                    app.notices.warn(format!("tier {name}: {error}"));
                    complete = false;
                }
            }
        }
    }
    let mut done: Vec<Removal> = Vec::new();
    let mut kept: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (place, plan) in planned {
        plan.faults.iter().for_each(|fault| app.notices.warn(fault));
        for (why, runs) in plan.kept {
            *kept.entry(why).or_default() += runs;
        }
        for removal in plan.removals {
            let removed = match request.dry_run {
                true => Ok(true),
                false => prune::remove(&place, &removal).await,
            };
            match removed {
                Ok(true) => done.push(removal),
                Ok(false) => app.notices.warn(format!(
                    "a process has continued run {} in {}: nothing of it was removed there",
                    removal.run, removal.location
                )),
                Err(error) => {
                    app.notices.warn(format!(
                        "tier {}: {error}; run this again to finish",
                        removal.tier
                    ));
                    complete = false;
                }
            }
        }
    }
    Ok(PruneResult {
        removed: done,
        kept,
        complete,
    })
}

/// Returns the recovery sets that the tiers hold; none if a tier could not be asked.
async fn sets(app: &Application, tiers: &Tiers) -> Option<BTreeSet<SetId>> {
    let mut sets = BTreeSet::new();
    let mut all = tiers.all_answered();
    for (name, tier) in tiers.reachable() {
        all &= tier.down().is_empty();
        match tier.sets().await {
            Ok(found) => sets.extend(found),
            Err(error) => {
                app.notices.warn(format!("tier {name}: {error}"));
                all = false;
            }
        }
    }
    if !all {
        app.notices.warn(
            "which recovery sets are kept is not known of every tier, so nothing of a run that sealed one is removed",
        );
    }
    all.then_some(sets)
}
