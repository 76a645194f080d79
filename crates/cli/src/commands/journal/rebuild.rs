//! `rekindle journal rebuild`

use rekindle_workspace::Error;
use rekindle_workspace::operations::journal::{self, RebuildResult};
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Set the journal's index aside and rebuild it from the log
///
/// Every command does this by itself if the index cannot be trusted. Records that only the index has are written to
/// the log first. The old folder stays beside the new one. If a run has lost records in both, its replicas in the
/// tiers repair it, if they have these records.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Rebuilds the index.
pub(crate) async fn run(app: &App, _args: &Args) -> Result<Exit, Error> {
    let RebuildResult { report, mended } = journal::rebuild(&app.application).await?;
    let quarantined: Vec<_> = report
        .quarantined
        .iter()
        .map(|(run, why)| json!({ "run": run, "why": why }))
        .collect();
    let body = json!({ "commit": report.commit, "runs": report.runs, "commits": report.replayed,
        "logged_again": report.relogged, "set_aside": report.set_aside, "mended": mended, "quarantined": quarantined });
    app.printer.data(&body, || {
        let mut said = format!(
            "{} runs from {} commits of the log; {} records were logged again first\n",
            report.runs, report.replayed, report.relogged
        );
        for path in &report.set_aside {
            said.push_str(&format!("the old index is {}\n", path.display()));
        }
        for (run, why) in &report.quarantined {
            said.push_str(&format!("run {run} is quarantined: {why}\n"));
        }
        said
    })?;
    Ok(match report.quarantined.is_empty() {
        true => Exit::Done,
        false => Exit::DataLost,
    })
}
