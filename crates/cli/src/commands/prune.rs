//! `rekindle prune`

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::time;
use rekindle_replica::prune::Removal;
use rekindle_report::text;
use rekindle_workspace::Error;
use rekindle_workspace::operations::prune::{self, PruneRequest, PruneResult};
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Remove the replicas of old finished runs' journals from the tiers
///
/// This removes a run's replica if it is older than the tier's `retain`, or if `journal compact` has removed the run
/// here; but at the earliest a day after the run's end. It keeps the replica if the run is not over, if the run sealed
/// a recovery set that some tier still holds, or if the run has lost a record here. One small object stays for each
/// run. It shows a workspace that once had the run that the run was ended elsewhere. This removes no snapshot, set or
/// pack.
///
/// Age counts from the newest replica in each location. So if the clock of this host is ahead, nothing is removed too
/// early. If a host with a clock that is ahead has written replicas itself, runs look older by that difference: check
/// --dry-run first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Prunes, or shows what that would remove.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = PruneRequest {
        tiers: args.tiers.clone(),
        dry_run: args.dry_run,
    };
    let PruneResult {
        removed,
        kept,
        complete,
    } = prune::prune(&app.application, &request).await?;
    let body = json!({ "dry_run": args.dry_run, "removed": removed, "kept": kept });
    app.printer.data(&body, || said(&removed, &kept, args.dry_run))?;
    Ok(if complete { Exit::Done } else { Exit::Partial })
}

fn said(done: &[Removal], kept: &BTreeMap<&str, usize>, dry_run: bool) -> String {
    let mut said = String::new();
    for one in done {
        said.push_str(&format!(
            "{:<8} {}  {}  {:>3} segments  {:>9}  {}: {}\n",
            one.tier,
            one.run,
            time::show(one.at),
            one.segments,
            text::bytes(one.bytes),
            one.workflow,
            one.why
        ));
    }
    let segments: u64 = done.iter().map(|one| one.segments).sum();
    let bytes: u64 = done.iter().map(|one| one.bytes).sum();
    said.push_str(&match done.is_empty() {
        true => "nothing to remove\n".to_owned(),
        false => format!(
            "{} {segments} segments of {} runs, {}\n",
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
