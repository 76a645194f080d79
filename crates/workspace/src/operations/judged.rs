//! What validations found of the stored copies, in whichever run: a recovery, a proof of a backup, a drill.

use std::collections::BTreeMap;

use rekindle_journal::RunFilter;
use rekindle_model::id::{RunId, SnapshotId};
use rekindle_model::origin::RunKind;
use rekindle_report::copies::{Position, Saw, sightings};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::run_spec::LoadedSpec;

/// How many runs are searched, the newest first.
const LOOKED_AT: usize = 200;

/// The newest validation of each snapshot.
#[derive(Debug, Default)]
pub(super) struct Judged(BTreeMap<String, Validation>);

#[derive(Clone, Copy, Debug)]
struct Validation {
    position: Position,
    run: RunId,
    valid: bool,
}

impl Judged {
    /// Returns the snapshots that are invalid.
    pub(super) fn invalid(&self) -> impl Iterator<Item = SnapshotId> {
        let invalid = self.0.iter().filter(|(_, found)| !found.valid);
        invalid.filter_map(|(snapshot, _)| snapshot.parse().ok())
    }

    /// Returns the run that found a snapshot valid, if the newest validation did.
    pub(super) fn valid(&self, snapshot: SnapshotId) -> Option<RunId> {
        let found = self.0.get(&snapshot.to_string())?;
        found.valid.then_some(found.run)
    }
}

/// Returns what the newest runs found of the snapshots of these components.
///
/// # Errors
/// The journal cannot be listed.
pub(super) async fn copies(context: &WorkspaceContext, components: &[String]) -> Result<Judged, Error> {
    let mut newest: BTreeMap<String, Validation> = BTreeMap::new();
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
            let found = Validation {
                position: seen.position,
                run: seen.run,
                valid: seen.saw == Saw::Whole,
            };
            let known = newest.entry(snapshot).or_insert(found);
            if known.position < found.position {
                *known = found;
            }
        }
    }
    Ok(Judged(newest))
}
