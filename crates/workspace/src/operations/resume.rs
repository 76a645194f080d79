//! The runs that a person means who resumes without a name.

use std::collections::BTreeSet;

use rekindle_journal::RunSummary;
use rekindle_model::id::RunId;
use rekindle_report::unfinished::Elsewhere;

use crate::error::Error;
use crate::open::ReadWriteWorkspace;
use crate::replica;

/// An interrupted run, and the other workspace that continues it, if there is one.
pub type Candidate = (RunSummary, Option<Elsewhere>);

/// The interrupted runs, the oldest first.
pub struct Interrupted {
    /// The runs that may be meant. If other workspaces continue all runs, these are all of them.
    pub candidates: Vec<Candidate>,
    /// The runs that are left to the workspaces which continue them.
    pub left: Vec<(RunSummary, Elsewhere)>,
}

/// Finds the interrupted runs. A run that another workspace continues is a candidate only if all of them are wanted, or
/// if there is no other.
///
/// # Errors
/// The journal cannot be read.
pub async fn interrupted(workspace: &ReadWriteWorkspace, all: bool) -> Result<Interrupted, Error> {
    let mut interrupted = workspace.context.interrupted().await?;
    // A run continues the runs that are part of it.
    let runs: BTreeSet<RunId> = interrupted.iter().map(|run| run.run).collect();
    interrupted.retain(|run| run.parent().is_none_or(|parent| !runs.contains(&parent.run)));
    let state = &workspace.context.layout.state;
    let found = interrupted.into_iter().rev().map(|run| {
        let held = replica::elsewhere(state, run.run);
        (run, held)
    });
    let (own, held): (Vec<_>, Vec<_>) = found.partition(|(_, held)| all || held.is_none());
    Ok(match own.is_empty() {
        true => Interrupted {
            candidates: held,
            left: Vec::new(),
        },
        false => Interrupted {
            candidates: own,
            left: held
                .into_iter()
                .filter_map(|(run, held)| Some((run, held?)))
                .collect(),
        },
    })
}
