//! The snapshots that a validation found invalid, in whichever run: a recovery, a proof of a backup, a verification.

use std::collections::BTreeMap;

use rekindle_journal::RunFilter;
use rekindle_model::id::SnapshotId;
use rekindle_model::origin::RunKind;
use rekindle_report::copies::{Position, Saw, sightings};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::run_spec::LoadedSpec;

/// How many runs are searched, the newest first.
const LOOKED_AT: usize = 200;

/// Returns the snapshots of these components whose newest validation found them invalid.
///
/// # Errors
/// The journal cannot be listed.
pub(super) async fn snapshots(
    context: &WorkspaceContext,
    components: &[String],
) -> Result<Vec<SnapshotId>, Error> {
    let mut newest: BTreeMap<String, (Position, Saw)> = BTreeMap::new();
    let runs = context.journal.runs(&RunFilter::default()).await?;
    let judged = runs.iter().filter(|run| run.kind != RunKind::Custom);
    for run in judged.take(LOOKED_AT) {
        // A run that cannot be read says nothing about a copy.
        let Ok(evidence) = context.evidence(run.run).await else {
            continue;
        };
        let read = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await;
        let Ok(plan) = read.and_then(|pinned| pinned.plan()) else {
            continue;
        };
        for seen in sightings(&evidence, &plan) {
            // One that reads a copy in one tier validates nothing.
            let validated = seen.tier.is_none()
                && matches!(seen.saw, Saw::Whole | Saw::Invalid)
                && components.contains(&seen.component);
            let Some(snapshot) = seen.snapshot.filter(|_| validated) else {
                continue;
            };
            let known = newest.entry(snapshot).or_insert((seen.position, seen.saw));
            if known.0 < seen.position {
                *known = (seen.position, seen.saw);
            }
        }
    }
    let invalid = newest.into_iter().filter(|(_, (_, saw))| *saw == Saw::Invalid);
    Ok(invalid
        .filter_map(|(snapshot, _)| snapshot.parse().ok())
        .collect())
}
