//! A run, read with the plan and the system that it is pinned to.

use std::sync::Arc;

use rekindle_journal::RunSummary;
use rekindle_model::id::RunId;
use rekindle_model::origin::RunKind;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_plan::Plan;
use rekindle_report::Evidence;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::run_spec::LoadedSpec;

/// How many runs are searched, the newest first, if only the newest of a kind matter.
const LOOKED_AT: usize = 200;

/// What a run proves.
pub(crate) struct ReadRun {
    /// What the journal proves.
    pub(crate) evidence: Evidence,
    /// Its steps.
    pub(crate) plan: Plan,
    /// The system that it is pinned to.
    pub(crate) system: Arc<System>,
}

impl ReadRun {
    /// Reads a run.
    ///
    /// # Errors
    /// The journal cannot give it, or this version does not understand its workflow.
    pub(crate) async fn read(context: &WorkspaceContext, run: RunId) -> Result<Self, Error> {
        Self::of(context, context.evidence(run).await?).await
    }

    /// Reads what an already read journal is pinned to.
    pub(crate) async fn of(context: &WorkspaceContext, evidence: Evidence) -> Result<Self, Error> {
        let pinned = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
        Ok(Self {
            plan: pinned.plan()?,
            system: pinned.system,
            evidence,
        })
    }

    /// Reads one of many runs. One that is damaged, or that this version does not understand, is left out with a warning, so
    /// that it does not hide what the others prove.
    ///
    /// # Errors
    /// The journal cannot be read at all.
    pub(crate) async fn among(context: &WorkspaceContext, run: RunId) -> Result<Option<Self>, Error> {
        let left_out = |error: &Error| context.notices.warn(format!("run {run} is left out: {error}"));
        let evidence = match context.evidence(run).await {
            Ok(evidence) => evidence,
            Err(error) if error.kind() == ProblemKind::DataLost => {
                left_out(&error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Self::of(context, evidence).await.inspect_err(left_out).ok())
    }
}

/// Returns the newest of these runs that are of one of the kinds, the newest first.
pub(crate) fn newest<'r>(
    runs: &'r [RunSummary],
    kinds: &'r [RunKind],
) -> impl Iterator<Item = &'r RunSummary> {
    let of_kind = runs.iter().filter(move |run| kinds.contains(&run.kind));
    of_kind.take(LOOKED_AT)
}
