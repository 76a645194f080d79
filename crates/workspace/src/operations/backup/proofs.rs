//! The components whose proof a backup owes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekindle_journal::RunFilter;
use rekindle_model::origin::RunKind;
use rekindle_model::system::{Component, System};
use rekindle_report::backup::{BackupTable, ProofRow, backup_table};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::run_spec::LoadedSpec;

/// How many backups are searched for the last proof of a component. If none of them has one, the proof is due.
const LOOKED_AT: usize = 200;

/// Returns the components that a backup recovers into its sandbox: those whose proof is due, and all that they read.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn due(
    context: &WorkspaceContext,
    system: &System,
    captured: &[String],
) -> Result<Vec<String>, Error> {
    let paced = |component: &Component| component.prove.every().is_some_and(|every| !every.is_zero());
    let last = match system.components.values().any(paced) {
        true => last_proofs(context).await?,
        false => BTreeMap::new(),
    };
    let now = context.clock.now().utc;
    // A component without data of its own is proven with those that it reads.
    let taken = |name: &String, component: &Component| match component.source {
        Some(_) => captured.contains(name),
        None => reads(component).any(|read| captured.iter().any(|name| name == read)),
    };
    let is_due = |(name, component): &(&String, &Component)| {
        taken(name, component)
            && component.prove.every().is_some_and(|every| {
                let age = last.get(*name).map(|at| (now - *at).to_std().unwrap_or_default());
                age.is_none_or(|age| age >= every)
            })
    };
    let mut wanted: Vec<&str> = system
        .components
        .iter()
        .filter(is_due)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut found = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some((own, component)) = system.component(name) else {
            continue;
        };
        if found.insert(own.to_owned()) {
            wanted.extend(reads(component));
        }
    }
    Ok(found.into_iter().collect())
}

/// Returns the components whose data a component's recovery or validation needs.
fn reads(component: &Component) -> impl Iterator<Item = &str> {
    let after = component.after.iter().map(|after| after.component());
    component.reads.iter().map(String::as_str).chain(after)
}

/// Returns when each component was last found valid by a proof.
async fn last_proofs(context: &WorkspaceContext) -> Result<BTreeMap<String, DateTime<Utc>>, Error> {
    let mut last = BTreeMap::new();
    let runs = context.journal.runs(&RunFilter::default()).await?;
    let backups = runs.iter().filter(|run| run.kind == RunKind::Backup);
    for run in backups.take(LOOKED_AT) {
        // A run that cannot be read proves nothing.
        let Ok(evidence) = context.evidence(run.run).await else {
            continue;
        };
        let read = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await;
        let Ok(plan) = read.and_then(|pinned| pinned.plan()) else {
            continue;
        };
        let BackupTable { proofs, .. } = backup_table(&evidence, &plan);
        let Some(sealed) = evidence.state.outcome.map(|_| evidence.state.updated.utc) else {
            continue;
        };
        for (name, ProofRow { at, valid, .. }) in proofs {
            if valid == Some(true) {
                last.entry(name).or_insert(at.unwrap_or(sealed));
            }
        }
    }
    Ok(last)
}
