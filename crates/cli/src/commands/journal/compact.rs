//! `rekindle journal compact`

use std::path::PathBuf;

use rekindle_model::next_action::Action;
use rekindle_model::time;
use rekindle_workspace::Error;
use rekindle_workspace::operations::journal::{self, Archive, CompactRequest, CompactResult};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use crate::time_args;

/// Remove old finished runs once they are in an archive, and everything that only they needed
///
/// This removes a log segment if no run in it is kept, and a blob if no run refers to it. It keeps a note of each
/// removed run: that it existed, how it ended, and which archive has it. `journal verify --json` lists these notes,
/// and `journal import` imports the runs again. If this command is interrupted, it loses no kept run; run it again to
/// finish. The replicas of the removed runs' journals stay in the tiers until `rekindle prune` removes them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove finished runs whose newest record is older: 90d, or an instant with its offset
    #[arg(long, value_name = "TIME")]
    older_than: String,
    /// The new file to export them to before they are removed
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Remove them for good, without an archive
    #[arg(long, conflicts_with = "archive")]
    no_archive: bool,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Compacts the journal, or shows what that would remove.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = CompactRequest {
        before: time_args::since(&args.older_than, app.application.clock.now().utc)?,
        archive: match (&args.archive, args.no_archive) {
            (Some(file), _) => Some(Archive::File(file.clone())),
            (None, true) => Some(Archive::Nowhere),
            (None, false) => None,
        },
        dry_run: args.dry_run,
    };
    let result = journal::compact(&app.application, request)
        .await
        .map_err(|error| match error.code() {
            "archive_needed" => error.with_advice("name a new file with --archive FILE, or say --no-archive"),
            _ => error,
        })?;
    let CompactResult { plan, archive } = &result;
    let body = json!({ "dry_run": args.dry_run, "removed": plan.runs, "kept": plan.kept, "segments": plan.segments,
        "blobs": plan.blobs, "blobs_stay": plan.blobs_stay, "archive": archive });
    app.printer.data(&body, || {
        text(&result, args.dry_run, &app.printer.command(&Action::Prune))
    })?;
    Ok(Exit::Done)
}

fn text(result: &CompactResult, dry_run: bool, prune: &str) -> String {
    let CompactResult { plan, archive } = result;
    if plan.is_empty() {
        return format!("nothing to remove; {} runs are kept", plan.kept);
    }
    let mut said = String::new();
    for run in &plan.runs {
        said.push_str(&format!(
            "{}  {}  {} records  {}\n",
            run.run,
            time::show(run.updated.utc),
            run.seq,
            run.workflow
        ));
    }
    said.push_str(&format!(
        "{} {} runs, {} log segments and {} blobs; {} runs are kept\n",
        if dry_run { "would remove" } else { "removed" },
        plan.runs.len(),
        plan.segments.len(),
        plan.blobs.len(),
        plan.kept
    ));
    if !plan.runs.is_empty() {
        said.push_str(&format!(
            "their copies in the tiers stay until `{prune}` removes them\n"
        ));
    }
    if let Some(why) = &plan.blobs_stay {
        said.push_str(&format!("no blob is removed: {why}\n"));
    }
    if let Some(archive) = archive {
        said.push_str(&format!(
            "they are in {}, which ends with {}\n",
            archive.file, archive.hash
        ));
    }
    said
}
