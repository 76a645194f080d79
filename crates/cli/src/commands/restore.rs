//! `rekindle restore`

use std::path::PathBuf;

use rekindle_model::shown;
use rekindle_report::text;
use rekindle_report::unheld::unheld_of;
use rekindle_workspace::Error;
use rekindle_workspace::operations::restore::{self, RestoreRequest, RestoreResult};
use rekindle_workspace::tiers::Tiers;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use crate::time_args;

/// Write one snapshot into a folder; after an interruption, the same command continues
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The snapshot: COMPONENT for its newest, COMPONENT@TIME for the newest before then, or a unique beginning or end of its id
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// The folder; it must be empty or absent, or hold only what this same command left when it was interrupted
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only this path, or only paths that match, relative to the snapshot's root. If the snapshot has a name that is
    /// written like the glob, that name is meant
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave owners and set-id bits out: everything belongs to the user who restores. Without this, owners that cannot
    /// be set are named, and count as a partial failure (exit 3)
    #[arg(long)]
    no_owner: bool,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Restores.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let request = RestoreRequest {
        snapshot: time_args::snapshot(app, &tiers, &args.snapshot)?,
        to: args.to.clone(),
        include: args.include.clone(),
        no_owner: args.no_owner,
    };
    let result = restore::restore(&tiers, &request, &app.application.stop).await?;
    show(app, &result)?;
    Ok(match &result.report {
        report if !report.lost.is_empty() => Exit::DataLost,
        report if !report.unheld.is_empty() => Exit::Partial,
        _ => Exit::of_tiers(&tiers),
    })
}

fn show(app: &App, result: &RestoreResult) -> Result<(), Error> {
    let RestoreResult {
        snapshot,
        root,
        preferred,
        report,
    } = result;
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|file| json!({ "path": file.path, "size": file.size, "why": file.why }))
        .collect();
    let body = json!({
        "snapshot": snapshot, "root": root, "files": report.files, "dirs": report.dirs, "symlinks": report.symlinks,
        "bytes_total": report.bytes_total, "bytes_written": report.bytes_written, "bytes_kept": report.bytes_kept,
        "nodes": report.nodes, "lost": lost, "elsewhere": report.elsewhere, "unheld": report.unheld,
    });
    app.printer.data(&body, || {
        let mut said = format!(
            "{} files, {} folders, {} links in {}: {} written, {} were right already\n",
            report.files,
            report.dirs,
            report.symlinks,
            root.display(),
            text::bytes(report.bytes_written),
            text::bytes(report.bytes_kept),
        );
        for file in &report.lost {
            said.push_str(&format!(
                "LOST {} ({}): {}\n",
                shown::line(&file.path.display()),
                text::bytes(file.size),
                file.why
            ));
        }
        said
    })?;
    for one in unheld_of(&json!(report.unheld)) {
        app.printer.warn(one.sentence());
    }
    for one in &report.elsewhere {
        app.printer.warn(format!(
            "{} of {} files came from tier {}, not from {preferred}: {}",
            text::bytes(one.bytes),
            one.files,
            one.tier,
            one.why
        ));
    }
    Ok(())
}
