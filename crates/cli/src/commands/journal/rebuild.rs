//! `rekindle journal rebuild`

use rekindle_journal_local::{OpenOptions, Upkeep};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::files::blocking;
use rekindle_workspace::replica;

/// Set the journal's index aside and make it anew from the log
///
/// Every command does so by itself where the index cannot be relied on. What only the index still has is put into the
/// log first. The old folder stays beside the new one. A run that has lost records in both is mended by its copies in
/// the tiers, where they have them.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Rebuilds the index.
pub(crate) async fn run(app: &App, _args: &Args) -> Result<Exit, Error> {
    let layout = app.application.layout()?;
    let state = layout.state.clone();
    let mut report = blocking(move || Upkeep::rebuild(&state, &OpenOptions::default())).await??;
    let copies = replica::find_repairs(&app.application, &layout, &report.quarantined).await;
    let mended = match copies.is_empty() {
        true => Vec::new(),
        false => replica::repair(&app.application, &layout, copies).await?,
    };
    report
        .quarantined
        .retain(|(run, _)| mended.iter().all(|mended| mended.run != *run));
    for damage in &report.damage {
        app.printer.warn(format!(
            "the journal's log is damaged: {} at byte {}: {}",
            damage.segment.display(),
            damage.offset,
            damage.what
        ));
    }
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
