//! The targets of the system over a period.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rekindle_journal::RunFilter;
use rekindle_model::problem::ProblemKind;
use rekindle_report::targets::TargetRow;
use rekindle_report::window::{self, JudgedRun};

use crate::error::Error;
use crate::open::ReadOnlyWorkspace;
use crate::operations::status;
use crate::run_spec::{self, LoadedSpec};

/// The targets, judged over a period.
pub struct Judgement {
    /// When the period begins.
    pub from: DateTime<Utc>,
    /// When it ends: now.
    pub to: DateTime<Utc>,
    /// The targets.
    pub targets: Vec<TargetRow>,
}

/// Judges the targets of the system by the runs that ended in the last `window`.
///
/// # Errors
/// The system file is invalid, or the journal cannot be read.
pub async fn over(workspace: &ReadOnlyWorkspace, window: Duration) -> Result<Judgement, Error> {
    let context = &workspace.context;
    let system = run_spec::system(&context.layout)?;
    let to = context.clock.now().utc;
    let from = TimeDelta::from_std(window)
        .ok()
        .and_then(|window| to.checked_sub_signed(window))
        .unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut runs = Vec::new();
    for run in context.journal.runs(&RunFilter::default()).await? {
        if run.outcome.is_none() || run.updated.utc < from {
            continue;
        }
        let evidence = match context.evidence(run.run).await {
            Ok(evidence) => evidence,
            // One damaged run must not hide what the others measured.
            Err(error) if error.kind() == ProblemKind::DataLost => {
                context
                    .notices
                    .warn(format!("run {} is left out: {error}", run.run));
                continue;
            }
            Err(error) => return Err(error),
        };
        let read = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await;
        match read.and_then(|pinned| pinned.plan()) {
            Ok(plan) => runs.extend(JudgedRun::of(&evidence, &plan, &system)),
            Err(error) => context
                .notices
                .warn(format!("run {} is left out: {error}", run.run)),
        }
    }
    let tiers = status::status(workspace).await?.tiers;
    Ok(Judgement {
        from,
        to,
        targets: window::over(&system, &runs, &tiers),
    })
}
