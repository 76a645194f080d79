//! The targets of the system over a period.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rekindle_journal::RunFilter;
use rekindle_report::targets::TargetRow;
use rekindle_report::window::{self, JudgedRun};

use crate::error::Error;
use crate::open::ReadOnlyWorkspace;
use crate::operations::status;
use crate::read_run::ReadRun;
use crate::run_spec;

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
        if let Some(read) = ReadRun::among(context, run.run).await? {
            runs.extend(JudgedRun::of(&read.evidence, &read.plan, &system));
        }
    }
    let tiers = status::status(workspace).await?.tiers;
    Ok(Judgement {
        from,
        to,
        targets: window::over(&system, &runs, &tiers),
    })
}
