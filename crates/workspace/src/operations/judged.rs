//! What validations found of the stored copies, in whichever run: a recovery, a proof of a backup, a drill.

use std::collections::BTreeMap;

use rekindle_journal::RunFilter;
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, SnapshotId};
use rekindle_model::origin::RunKind;
use rekindle_report::copies::{Position, Saw, position, sightings};
use rekindle_report::recovery::{Validity, recovery_table};
use rekindle_vault::RecoverySet;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::read_run::{self, ReadRun};

/// What is known of stored copies.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The newest validation of each snapshot, and whether it found the snapshot valid.
    validated: BTreeMap<String, (Position, bool)>,
    /// When a copy of a snapshot was last seen damaged.
    damaged: BTreeMap<String, Position>,
    /// The recoveries and drills that succeeded.
    proofs: Vec<ProofOfSet>,
}

/// A recovery or a drill that succeeded.
#[derive(Debug)]
struct ProofOfSet {
    run: RunId,
    position: Position,
    set: String,
    /// The components that it recovered, and whether their validations found them valid.
    components: BTreeMap<String, bool>,
}

impl Judged {
    /// Returns the snapshots that are invalid.
    pub(super) fn invalid(&self) -> impl Iterator<Item = SnapshotId> {
        let invalid = self.validated.iter().filter(|(_, (_, valid))| !valid);
        invalid.filter_map(|(snapshot, _)| snapshot.parse().ok())
    }

    /// Returns the newest run that recovered these components of a set and found them and the whole good, unless a copy was
    /// seen damaged or invalid since.
    pub(super) fn proof(&self, set: &RecoverySet, components: &[String]) -> Option<RunId> {
        let id = set.id.to_string();
        let covers = |proof: &&ProofOfSet| {
            proof.set == id
                && components.iter().all(|name| proof.components.contains_key(name))
                && proof.components.values().any(|valid| *valid)
        };
        let proof = self
            .proofs
            .iter()
            .filter(covers)
            .max_by_key(|proof| proof.position)?;
        let doubted = components
            .iter()
            .filter_map(|name| set.members.get(name))
            .any(|member| {
                let snapshot = member.snapshot.to_string();
                let invalid = self.validated.get(&snapshot).filter(|(_, valid)| !valid);
                let since = [invalid.map(|(at, _)| *at), self.damaged.get(&snapshot).copied()];
                since.into_iter().flatten().any(|at| at > proof.position)
            });
        (!doubted).then_some(proof.run)
    }
}

/// Returns what the newest runs found of the snapshots of these components.
///
/// # Errors
/// The journal cannot be listed.
pub(super) async fn copies(context: &WorkspaceContext, components: &[String]) -> Result<Judged, Error> {
    let mut judged = Judged::default();
    let runs = context.journal.runs(&RunFilter::default()).await?;
    let kinds = [RunKind::Backup, RunKind::Verify, RunKind::Recover, RunKind::Drill];
    for run in read_run::newest(&runs, &kinds) {
        // A run that cannot be read says nothing about a copy.
        let Some(ReadRun {
            evidence,
            plan,
            system,
        }) = ReadRun::read(context, run.run).await.ok()
        else {
            continue;
        };
        for seen in sightings(&evidence, &plan) {
            let Some(snapshot) = seen.snapshot.filter(|_| components.contains(&seen.component)) else {
                continue;
            };
            match seen.saw {
                Saw::Damaged => {
                    let known = judged.damaged.entry(snapshot).or_insert(seen.position);
                    *known = seen.position.max(*known);
                }
                // One that reads a copy in one tier validates nothing.
                Saw::Whole | Saw::Invalid if seen.tier.is_none() => {
                    let found = (seen.position, seen.saw == Saw::Whole);
                    let known = judged.validated.entry(snapshot).or_insert(found);
                    if known.0 < found.0 {
                        *known = found;
                    }
                }
                Saw::Whole | Saw::Invalid | Saw::Present | Saw::Unread => {}
            }
        }
        let recovers = matches!(run.kind, RunKind::Recover | RunKind::Drill);
        if recovers && run.outcome == Some(Outcome::Succeeded) {
            let table = recovery_table(&evidence, &plan, &system);
            let rows = table.components.iter();
            judged.proofs.extend(table.set.map(|set| {
                ProofOfSet {
                    run: run.run,
                    position: position(&evidence),
                    set,
                    components: rows
                        .map(|row| (row.component.clone(), row.valid == Validity::Yes))
                        .collect(),
                }
            }));
        }
    }
    Ok(judged)
}
