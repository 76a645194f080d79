//! The status: whether the system can come back, how long that takes, how much is lost, and where the proof is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::event::Outcome;
use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::origin::RunKind;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_plan::Plan;
use rekindle_report::Evidence;
use rekindle_report::backup::{BackupTable, backup_table};
use rekindle_report::copies::{Sighting, position, sightings};
use rekindle_report::recovery::{RecoveryTable, recovery_table};
use rekindle_report::status::{Findings, Gone, KeyFault, Lost, Proven, Status};
use rekindle_report::unfinished::Unfinished;
use rekindle_vault::{CatalogCheck, Lacking, ObjectName, Tier, TierError};

use crate::error::Error;
use crate::guards::partial_recovery;
use crate::keys::{self, OpenKey, UnlockBy, kit};
use crate::open::ReadOnlyWorkspace;
use crate::run_spec::{self, LoadedSpec};
use crate::{lookup, replica, tiers};

/// How many runs the status reads in any case, the newest first: the proof is usually in a recent run.
const LOOKED_AT: usize = 200;
/// How many runs it reads at most to find a set of each tier: a tier may be due rarely, or never have got one.
const LOOKED_AT_FOR_TIERS: usize = 2_000;
/// How long a tier may take to answer. The status must not wait for a location that hangs.
const TIER_PATIENCE: Duration = Duration::from_secs(1);

/// Answers from the journal, the tiers and the key.
///
/// # Errors
/// The system file is invalid, or the journal cannot be read.
pub async fn status(workspace: &ReadOnlyWorkspace) -> Result<Status, Error> {
    let layout = &workspace.context.layout;
    let system = run_spec::system(layout)?;
    let seen = Seen::read(workspace, &system).await?;
    let partial = partial_recovery::unsettled(&workspace.context, &system, &[]).await?;
    let (lost, unchecked, key_fault) = match open_key(workspace) {
        Ok(key) => {
            let (lost, unchecked) = lost(workspace, &system, &key).await;
            (lost, unchecked, None)
        }
        Err(Closed::Locked) => (Vec::new(), vec!["the key needs its passphrase".to_owned()], None),
        Err(Closed::Fault(fault)) => (Vec::new(), Vec::new(), Some(fault)),
    };
    let findings = Findings {
        system: &system,
        backups: &seen.backups,
        recoveries: &seen.recoveries,
        sightings: &seen.sightings,
        tiers: reachable(&system, &layout.system_dir()).await,
        lost,
        unchecked,
        key_fault,
        gone: gone(&system, &run_spec::data_root(&layout.system_dir(), &system)),
        unfinished: seen.unfinished.clone(),
        partial_recovery: partial.first().map(|partial| partial.run),
        now: workspace.context.clock.now().utc,
    };
    let mut status = rekindle_report::status::status(&findings);
    let fault = keys::pinned(layout).map(|pinned| kit::kit_fault(&pinned, &tiers::urls(layout)));
    if let Ok(Some(_)) = fault {
        status.next.push(NextAction::new(
            Action::ExportKit,
            "without the kit, the loss of this machine is the loss of the backups",
        ));
    }
    Ok(status)
}

/// The proofs in the runs, the newest first.
#[derive(Default)]
struct Seen {
    backups: Vec<Proven<BackupTable>>,
    recoveries: Vec<Proven<RecoveryTable>>,
    sightings: Vec<Sighting>,
    unfinished: Vec<Unfinished>,
}

impl Seen {
    async fn read(workspace: &ReadOnlyWorkspace, system: &System) -> Result<Self, Error> {
        let mut seen = Self::default();
        let runs = workspace.context.journal.runs(&RunFilter::default()).await?;
        let driven = workspace.driven().await;
        let open: Vec<&RunSummary> = lookup::open(&runs).collect();
        for (n, run) in runs.iter().enumerate() {
            let is_open = open.iter().any(|one| one.run == run.run);
            let of_tier = n < LOOKED_AT_FOR_TIERS && run.kind == RunKind::Backup && seen.lacks_a_tier(system);
            if n >= LOOKED_AT && !is_open && !of_tier && !seen.lacks(run.kind) {
                continue;
            }
            let evidence = match workspace.context.evidence(run.run).await {
                Ok(evidence) => evidence,
                // One damaged run must not block the answers of the others.
                Err(error) if error.kind() == ProblemKind::DataLost => {
                    workspace
                        .context
                        .notices
                        .warn(format!("run {} is left out: {error}", run.run));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let read = LoadedSpec::read(&*workspace.context.journal, &evidence.state, &evidence.inputs).await;
            let read = read.and_then(|pinned| Ok((pinned.plan()?, pinned.system)));
            if is_open {
                let plan = read.as_ref().ok().map(|(plan, _)| plan);
                let driven = driven.as_ref().map(|driven| driven.contains(&run.run));
                let mut unfinished = Unfinished::of(&evidence, plan, driven);
                unfinished.elsewhere = replica::elsewhere(&workspace.context.layout.state, run.run);
                seen.unfinished.push(unfinished);
            }
            match read {
                Ok((plan, system)) => seen.take(&evidence, &plan, &system),
                // If this version does not understand a workflow any more, its run proves nothing about copies.
                Err(error) => workspace
                    .context
                    .notices
                    .warn(format!("run {} is left out: {error}", run.run)),
            }
        }
        Ok(seen)
    }

    /// Returns whether a run of this kind may prove something that no newer run has proven. The backup that counts may
    /// be behind many other runs, and so may the newest check of its copies.
    fn lacks(&self, kind: RunKind) -> bool {
        let ready = |backup: &Proven<BackupTable>| backup.table.recoverable == Some(true);
        match kind {
            RunKind::Backup | RunKind::Verify => !self.backups.iter().any(ready),
            RunKind::Recover | RunKind::Drill => {
                self.recoveries.is_empty() || !self.backups.iter().any(ready)
            }
            RunKind::Custom => false,
        }
    }

    /// Returns whether no recoverable set of a tier was seen yet.
    fn lacks_a_tier(&self, system: &System) -> bool {
        let has = |tier: &String| {
            let mut ready = self
                .backups
                .iter()
                .filter(|one| one.table.recoverable == Some(true));
            ready.any(|one| one.table.stored_in.contains(tier))
        };
        !system.tiers.keys().all(has)
    }

    fn take(&mut self, evidence: &Evidence, plan: &Plan, system: &System) {
        let state = &evidence.state;
        self.sightings.extend(sightings(evidence, plan));
        if !matches!(state.outcome, Some(outcome) if outcome != Outcome::Cancelled) {
            return;
        }
        match state.kind {
            RunKind::Backup => self.backups.push(proven(evidence, backup_table(evidence, plan))),
            RunKind::Recover | RunKind::Drill => {
                let table = recovery_table(evidence, plan, system);
                // A drill of the verification recovers nothing.
                if !table.components.is_empty() {
                    self.recoveries.push(proven(evidence, table));
                }
            }
            RunKind::Verify | RunKind::Custom => {}
        }
    }
}

fn proven<T>(evidence: &Evidence, table: T) -> Proven<T> {
    Proven {
        run: evidence.state.id,
        at: evidence.state.updated.utc,
        position: position(evidence),
        interruptions: evidence.state.adoptions.len(),
        table,
    }
}

/// Why the key is not open.
enum Closed {
    /// It needs its passphrase, and the status asks nobody for one.
    Locked,
    /// It does not open.
    Fault(KeyFault),
}

fn open_key(workspace: &ReadOnlyWorkspace) -> Result<OpenKey, Closed> {
    let layout = &workspace.context.layout;
    let unlocker = &workspace.context.unlocker;
    let locked = !unlocker.passphrase_at_hand
        && keys::pinned(layout).is_ok_and(|pinned| pinned.unlock == UnlockBy::Passphrase);
    if locked {
        return Err(Closed::Locked);
    }
    keys::open(layout, unlocker).map_err(|error| {
        Closed::Fault(KeyFault {
            text: format!("the key does not open: {error}"),
            next: error.next(),
        })
    })
}

/// Returns the data of the system that is not where it should be.
fn gone(system: &System, root: &Path) -> Gone {
    if run_spec::uses_root(system) && !root.exists() {
        return Gone::Root(root.display().to_string());
    }
    let is_gone = |name: &&str| {
        let source = system.components.get(*name).and_then(|it| it.source.as_ref());
        let claim = source.and_then(|spec| rekindle_sources::open(spec).ok()?.claim());
        claim.is_some_and(|claim| root.join(claim.path).symlink_metadata().is_err())
    };
    let names = system.components_by_priority().into_iter().filter(is_gone);
    match names.map(str::to_owned).collect::<Vec<_>>() {
        gone if gone.is_empty() => Gone::Nothing,
        gone => Gone::Components(gone),
    }
}

/// Asks the tiers what they should hold and do not. Also returns why it is not known, where it is not: the status waits
/// for no tier that hangs.
async fn lost(workspace: &ReadOnlyWorkspace, system: &System, key: &OpenKey) -> (Vec<Lost>, Vec<String>) {
    let layout = &workspace.context.layout;
    let (mut open, mut lacking, mut unchecked) = (Vec::new(), Vec::new(), Vec::new());
    for (name, spec) in &system.tiers {
        let opened = tiers::open_tier(layout, key, name, spec);
        match tokio::time::timeout(TIER_PATIENCE, opened).await {
            Ok(Ok(tier)) => open.push(Arc::new(tier)),
            Ok(Err(error)) if error.is_damage() => {
                lacking.push(Lacking::unopened(name, None, &error.to_string()));
            }
            // That a tier does not answer is said of it already.
            Ok(Err(TierError::Unreachable { .. } | TierError::Gone { .. } | TierError::NotAVault { .. })) => {
            }
            Ok(Err(error)) => unchecked.push(error.to_string()),
            Err(_) => unchecked.push(format!("tier {name} took longer than {TIER_PATIENCE:?}")),
        }
    }
    match tokio::time::timeout(TIER_PATIENCE, tiers::lacking(&open, CatalogCheck::Newest)).await {
        Ok(found) => lacking.extend(found),
        Err(_) => unchecked.push(format!("the tiers took longer than {TIER_PATIENCE:?}")),
    }
    let lost = lacking.into_iter().map(|lost| Lost {
        tier: lost.tier,
        id: match lost.object {
            Some(ObjectName::Set(id)) => Some(id.to_string()),
            Some(ObjectName::Snapshot(id)) => Some(id.to_string()),
            _ => None,
        },
        text: lost.text,
    });
    (lost.collect(), unchecked)
}

/// Asks every tier of the system at once whether it answers. This needs no key.
async fn reachable(system: &System, base: &Path) -> BTreeMap<String, Option<String>> {
    let mut asked = tokio::task::JoinSet::new();
    for (name, tier) in &system.tiers {
        let urls = tiers::locations(tier);
        let (name, base) = (name.clone(), base.to_owned());
        asked.spawn(async move {
            let mut why = None;
            for url in urls {
                match tokio::time::timeout(TIER_PATIENCE, Tier::read_wrapped_key(&name, &url, &base)).await {
                    Ok(Ok(_)) => return (name, None),
                    Ok(Err(error)) => why = Some(tiers::bare(&name, &error)),
                    Err(_) => why = Some(format!("{url} took longer than {TIER_PATIENCE:?}")),
                }
            }
            (name, Some(why.unwrap_or_else(|| "it has no location".to_owned())))
        });
    }
    let mut found = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        found.extend(answer);
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::load_system;

    use super::*;

    #[tokio::test]
    async fn the_reason_why_a_tier_does_not_answer_names_the_location_and_no_tier() {
        let folder = tempfile::tempdir().unwrap();
        let text = "system: s\nroot: data\ntiers:\n  near: {url: 'file://./near'}\ncomponents:\n  a: {source: {type: files, path: a}}\n";
        let system = load_system("system.yaml", text).unwrap();
        let why = |found: BTreeMap<String, Option<String>>| found["near"].clone().unwrap();
        let absent = why(reachable(&system.value, folder.path()).await);
        std::fs::create_dir(folder.path().join("near")).unwrap();
        let empty = why(reachable(&system.value, folder.path()).await);
        for why in [absent, empty] {
            assert!(why.contains("near") && !why.contains("tier"), "{why}");
        }
    }
}
