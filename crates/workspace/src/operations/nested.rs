//! The runs that steps of a run began, at any depth, and how a person names their steps: `deploy/confirm` is the step
//! `confirm` of the run that the step `deploy` began.

use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::id::{RunId, StepId};
use rekindle_report::Evidence;

use crate::context::WorkspaceContext;
use crate::error::Error;

/// An unfinished run that a step waits for.
pub struct Below {
    /// The way to it: the names of the steps, with `/` between them.
    pub path: String,
    /// All that the journal proves about it.
    pub evidence: Evidence,
}

/// A step, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The run that has it.
    pub run: RunId,
    /// Its name there.
    pub step: StepId,
    /// The steps around that run, the innermost first, each with its run.
    pub around: Vec<(RunId, StepId)>,
}

/// Returns the unfinished runs that steps of a run began, at any depth.
///
/// # Errors
/// The journal cannot be read.
pub async fn below(context: &WorkspaceContext, run: RunId) -> Result<Vec<Below>, Error> {
    let unfinished = context.interrupted().await?;
    let (mut found, mut around) = (Vec::new(), vec![(run, String::new())]);
    while let Some((run, way)) = around.pop() {
        // The list has the newest first.
        for (inner, step) in unfinished.iter().rev().filter_map(|of| begun_by(of, run)) {
            let path = format!("{way}{step}");
            around.push((inner, format!("{path}/")));
            let evidence = context.evidence(inner).await?;
            found.push(Below { path, evidence });
        }
    }
    Ok(found)
}

fn begun_by(found: &RunSummary, run: RunId) -> Option<(RunId, &StepId)> {
    let parent = found.parent().filter(|parent| parent.run == run)?;
    Some((found.run, &parent.step))
}

/// Finds the step that `path` names in a run. If no run on the way is there, the step is one of the last that is.
///
/// # Errors
/// The journal cannot be read.
pub async fn locate(context: &WorkspaceContext, run: RunId, path: &str) -> Result<Located, Error> {
    let mut located = Located {
        run,
        step: StepId::from(path),
        around: Vec::new(),
    };
    if !path.contains('/') {
        return Ok(located);
    }
    let runs = context.journal.runs(&RunFilter::default()).await?;
    loop {
        let path = located.step.as_str().to_owned();
        let next = path.match_indices('/').find_map(|(at, _)| {
            let step = StepId::from(&path[..at]);
            let mut newest = runs.iter().filter_map(|of| begun_by(of, located.run));
            let inner = newest.find(|(_, of)| **of == step)?.0;
            Some((inner, step, StepId::from(&path[at + 1..])))
        });
        let Some((inner, step, rest)) = next else {
            return Ok(located);
        };
        located.around.insert(0, (located.run, step));
        (located.run, located.step) = (inner, rest);
    }
}
