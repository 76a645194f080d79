//! The components whose proof a backup owes.

use std::collections::BTreeMap;

use rekindle_journal::RunFilter;
use rekindle_model::origin::RunKind;
use rekindle_model::system::{Component, System};
use rekindle_report::backup::{ProofRow, backup_table};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::read_run::{self, ReadRun};

/// Returns the components of a backup whose proof is due.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn due(
    context: &WorkspaceContext,
    system: &System,
    captured: &[String],
) -> Result<Vec<String>, Error> {
    let paced = |component: &Component| component.prove.every().is_some_and(|every| !every.is_zero());
    let newest = match system.components.values().any(paced) {
        true => newest_proofs(context).await?,
        false => BTreeMap::new(),
    };
    let now = context.clock.now().utc;
    // A component without data of its own is proven with those that it reads.
    let is_captured = |name: &str| {
        let own = system.component(name).map(|(own, _)| own);
        own.is_some_and(|own| captured.iter().any(|name| name == own))
    };
    let is_due = |(name, component): &(&String, &Component)| {
        let concerned = match component.source {
            Some(_) => is_captured(name),
            None => system.needs_data_of(component).any(is_captured),
        };
        // A proof that found the component not valid is due again.
        let good = newest.get(*name).filter(|proof| proof.valid == Some(true));
        let at = good.and_then(|proof| proof.at);
        concerned
            && component.prove.every().is_some_and(|every| {
                let age = at.map(|at| (now - at).to_std().unwrap_or_default());
                age.is_none_or(|age| age >= every)
            })
    };
    let due = system.components.iter().filter(is_due);
    Ok(due.map(|(name, _)| name.clone()).collect())
}

/// Returns the newest proof of each component, as the newest sealed set keeps them.
async fn newest_proofs(context: &WorkspaceContext) -> Result<BTreeMap<String, ProofRow>, Error> {
    let runs = context.journal.runs(&RunFilter::default()).await?;
    for run in read_run::newest(&runs, &[RunKind::Backup]) {
        // A run that cannot be read proves nothing.
        let Some(read) = ReadRun::read(context, run.run).await.ok() else {
            continue;
        };
        let table = backup_table(&read.evidence, &read.plan);
        if table.set.is_some() {
            return Ok(table.proofs);
        }
    }
    Ok(BTreeMap::new())
}
