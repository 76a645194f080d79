//! How long a recovery will take: by earlier ones before it begins, and by its own pace while it is at work.

use rekindle_journal::RunFilter;
use rekindle_model::id::RunId;
use rekindle_model::origin::RunKind;
use rekindle_report::burndown::{Burndown, burndown};
use rekindle_report::forecast::Took;
use rekindle_report::recovery::recovery_table;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::read_run::{self, ReadRun};

/// Returns what the newest recoveries and drills took: for each component the newest in which it came back.
///
/// # Errors
/// The journal cannot be listed.
pub async fn took_before(context: &WorkspaceContext) -> Result<Took, Error> {
    let runs = context.journal.runs(&RunFilter::default()).await?;
    let mut newest = Took::default();
    for run in read_run::newest(&runs, &[RunKind::Recover, RunKind::Drill]) {
        // A run that cannot be read forecasts nothing.
        let Some(read) = ReadRun::read(context, run.run).await.ok() else {
            continue;
        };
        if read.evidence.state.outcome.is_none() {
            continue;
        }
        let table = recovery_table(&read.evidence, &read.plan, &read.system);
        let took = Took::of(&read.evidence, &read.plan, &table);
        for (name, of_it) in took.components {
            newest.components.entry(name).or_insert(of_it);
        }
        newest.all = newest.all.or(took.all);
    }
    Ok(newest)
}

/// Returns how an unfinished recovery stands against its RTOs now; none if it is over, or no recovery.
///
/// # Errors
/// The run cannot be read.
pub async fn of_run(
    context: &WorkspaceContext,
    run: RunId,
    before: &Took,
) -> Result<Option<Burndown>, Error> {
    let evidence = context.evidence(run).await?;
    if evidence.state.kind != RunKind::Recover || evidence.state.outcome.is_some() {
        return Ok(None);
    }
    let read = ReadRun::of(context, evidence).await?;
    let now = context.clock.now();
    Ok(Some(burndown(
        &read.evidence,
        &read.plan,
        &read.system,
        before,
        &now,
    )))
}
