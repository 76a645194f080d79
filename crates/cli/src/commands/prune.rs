//! `rekindle prune`

use std::collections::{BTreeMap, BTreeSet};

use rekindle_journal_local::LogView;
use rekindle_model::id::SetId;
use rekindle_report::text;
use rekindle_vault::SlotPlace;
use serde_json::json;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::moment;
use crate::slots::prune::{self, Plan, Removal, Rules};
use crate::tiers::Tiers;

/// Remove from the tiers the copies of the journals of runs that have been over for long
///
/// A run's copy goes once it is older than the tier's `retain`, or once `journal compact` has removed the run here, and
/// a day after its end at the earliest. Never that of a run that is not over, of one that sealed a recovery set which
/// some tier still holds, or of one that has lost a record here. One small object stays for each run: by it a workspace
/// that once had the run finds that it was ended elsewhere. Snapshots, sets and packs are not removed.
///
/// Time is counted from the newest copy in each location, so that a clock here that is ahead removes nothing. Where a
/// host whose clock was ahead has written copies itself, runs look as much older as that: look at --dry-run first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Prunes, or tells what that would remove.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    // Of all tiers: what one of them still holds keeps its run's slots in every other.
    let all = Tiers::open(app, &[]).await?;
    let named = Tiers::named(&all.system, &args.tiers)?;
    let mut exit = all.exit();
    let (view, _) = LogView::open(&all.workspace.state).await?;
    let rules = Rules::read(&view, sets(app, &all).await, app.clock.now().utc).await?;
    let mut planned: Vec<(SlotPlace, Plan)> = Vec::new();
    for (name, tier) in all
        .reachable()
        .filter(|(name, _)| named.iter().any(|one| one == name))
    {
        let retain = all.spec(name).and_then(|spec| spec.retain).map(|period| period.0);
        for (url, why) in tier.down() {
            app.printer
                .warn(format!("tier {name}: {url} does not answer: {why}"));
            exit = exit.max(Exit::Partial);
        }
        for place in tier.slot_places() {
            match prune::plan(&place, retain, &rules).await {
                Ok(plan) => planned.push((place, plan)),
                Err(error) => {
                    app.printer.warn(format!("tier {name}: {error}"));
                    exit = exit.max(Exit::Partial);
                }
            }
        }
    }
    let mut done: Vec<Removal> = Vec::new();
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, plan) in planned {
        plan.faults.iter().for_each(|fault| app.printer.warn(fault));
        for (why, runs) in plan.kept {
            *kept.entry(why).or_default() += runs;
        }
        for removal in plan.removals {
            let removed = match args.dry_run {
                true => Ok(true),
                false => prune::remove(&place, &removal).await,
            };
            match removed {
                Ok(true) => done.push(removal),
                Ok(false) => app.printer.warn(format!(
                    "somebody has gone on with run {} in {}: nothing of it was removed there",
                    removal.run, removal.location
                )),
                Err(error) => {
                    app.printer.warn(format!(
                        "tier {}: {error}; run this again to finish",
                        removal.tier
                    ));
                    exit = exit.max(Exit::Partial);
                }
            }
        }
    }
    let body = json!({ "dry_run": args.dry_run, "removed": done, "kept": kept });
    app.printer.data(&body, || said(&done, &kept, args.dry_run))?;
    Ok(exit)
}

/// Returns the recovery sets that the tiers hold; none where one of them could not be asked.
async fn sets(app: &App, tiers: &Tiers) -> Option<BTreeSet<SetId>> {
    let mut sets = BTreeSet::new();
    let mut all = tiers.exit() == Exit::Done;
    for (name, tier) in tiers.reachable() {
        all &= tier.down().is_empty();
        match tier.sets().await {
            Ok(found) => sets.extend(found),
            Err(error) => {
                app.printer.warn(format!("tier {name}: {error}"));
                all = false;
            }
        }
    }
    if !all {
        app.printer.warn(
            "which recovery sets are kept is not known of every tier, so nothing of a run that sealed one is removed",
        );
    }
    all.then_some(sets)
}

fn said(done: &[Removal], kept: &BTreeMap<&str, usize>, dry_run: bool) -> String {
    let mut said = String::new();
    for one in done {
        said.push_str(&format!(
            "{:<8} {}  {}  {:>3} slots  {:>9}  {}: {}\n",
            one.tier,
            one.run,
            moment::show(one.at),
            one.slots,
            text::bytes(one.bytes),
            one.workflow,
            one.why
        ));
    }
    let slots: u64 = done.iter().map(|one| one.slots).sum();
    let bytes: u64 = done.iter().map(|one| one.bytes).sum();
    said.push_str(&match done.is_empty() {
        true => "nothing to remove\n".to_owned(),
        false => format!(
            "{} {slots} slots of {} runs, {}\n",
            if dry_run { "would remove" } else { "removed" },
            done.iter().map(|one| one.run).collect::<BTreeSet<_>>().len(),
            text::bytes(bytes)
        ),
    });
    for (why, runs) in kept {
        said.push_str(&format!("kept: {runs} chains of runs that {why}\n"));
    }
    said
}
