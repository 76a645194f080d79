//! `rekindle journal compact`

use rekindle_model::problem::ProblemKind;
use rekindle_model::time;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rekindle_journal::archive::{Bundle, Format};
use rekindle_journal_local::compact::Plan;
use rekindle_journal_local::{ArchiveRef, LogView, OpenOptions, Upkeep};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use crate::time_args;
use rekindle_workspace::Error;
use rekindle_workspace::files::{blocking, write_new};

/// Remove runs that have been over for long, once they are in an archive, and what only they needed
///
/// A log segment goes when none of its runs is kept, a blob when no run refers to it. That a run existed, how it ended
/// and which archive it is in stays: `journal verify --json` lists it. `journal import` brings runs back. Interrupted,
/// nothing that is kept is lost, and the same command finishes. The copies of their journals in the tiers stay until
/// `rekindle prune` removes them.
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
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Compacts the journal, or tells what that would remove.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let now = app.application.clock.now().utc;
    let before = time_args::since(&args.older_than, now)?;
    let state = app.application.layout()?.state;
    let (dir, options) = (state.clone(), OpenOptions::default());
    let (mut upkeep, plan) = blocking(move || {
        let (upkeep, _) = Upkeep::open(&dir, &options)?;
        let plan = upkeep.plan(before)?;
        Ok::<_, Error>((upkeep, plan))
    })
    .await??;
    let mut archived = None;
    if !args.dry_run {
        if !plan.runs.is_empty() {
            archived = match (&args.archive, args.no_archive) {
                (Some(file), _) => Some(archive(&state, &plan, file).await?),
                (None, true) => None,
                (None, false) => {
                    return Err(Error::usage(format!(
                        "{} runs would be removed and are in no archive; nothing was done",
                        plan.runs.len()
                    ))
                    .with_advice("name a new file with --archive FILE, or say --no-archive"));
                }
            };
        }
        let (planned, archive) = (plan.clone(), archived.clone());
        blocking(move || upkeep.compact(&planned, archive.as_ref(), now, |_| ControlFlow::Continue(())))
            .await??;
        for run in &plan.runs {
            rekindle_replica::replicator::forget(&state, run.run);
        }
    }
    let body = json!({ "dry_run": args.dry_run, "removed": plan.runs, "kept": plan.kept, "segments": plan.segments,
        "blobs": plan.blobs, "blobs_stay": plan.blobs_stay, "archive": archived });
    app.printer
        .data(&body, || text(&plan, args.dry_run, archived.as_ref()))?;
    Ok(Exit::Done)
}

/// Exports the runs, reads the file back, and returns what to remember of it.
async fn archive(state: &Path, plan: &Plan, file: &Path) -> Result<ArchiveRef, Error> {
    let (view, _) = LogView::open(state).await?;
    let runs: Vec<_> = plan.runs.iter().map(|run| run.run).collect();
    let bundle = Bundle::of(&view, runs).await?;
    let path = file.to_owned();
    blocking(move || {
        let (bytes, hash) = bundle.encode(Format::Archive)?;
        // Interrupted since it was written, the same command finds the same archive.
        if !std::fs::read(&path).is_ok_and(|present| present == bytes) {
            write_new(&path, &bytes)?;
        }
        let stored = std::fs::read(&path)
            .map_err(|error| Error::io(format_args!("read {} back", path.display()), &error))?;
        let (_, read) = Bundle::decode(&stored)?;
        if read != hash {
            let message = format!("{} is not what was written; nothing was removed", path.display());
            return Err(Error::new(ProblemKind::DataLost, "archive_damaged", message));
        }
        Ok(ArchiveRef {
            file: path.display().to_string(),
            hash,
        })
    })
    .await?
}

fn text(plan: &Plan, dry_run: bool, archive: Option<&ArchiveRef>) -> String {
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
        said.push_str("their copies in the tiers stay until `rekindle prune` removes them\n");
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
