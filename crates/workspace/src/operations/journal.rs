//! The journal, looked after: verified, exported, imported, its index rebuilt, old runs removed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_journal::archive::{Bundle, Counts, Format, Import, Imports};
use rekindle_journal_local::compact::Plan;
use rekindle_journal_local::{ArchiveRef, LogView, OpenOptions, OpenReport, Upkeep};
use rekindle_model::id::Hash32;
use rekindle_model::problem::ProblemKind;
use rekindle_replica::repair::Repaired;
use rekindle_replica::replicator;
use rekindle_vault::regular;

use crate::Application;
use crate::error::Error;
use crate::files::{blocking, write_new};
use crate::open::ReadOnlyWorkspace;
use crate::replica;
use crate::trust::layout_to_read;

pub use rekindle_journal_local::verify::{Cost, Finding, Verification};

/// Reads the whole journal, compares everything in it, and changes nothing.
///
/// # Errors
/// A newer format, or a file that cannot be read. Damage is no error: the findings name it.
pub async fn verify(app: &Application) -> Result<Verification, Error> {
    let state = layout_to_read(app)?.state;
    Ok(blocking(move || rekindle_journal_local::verify::verify(&state)).await??)
}

/// The runs to export.
pub struct ExportRequest {
    /// Their ids, as people type them; none for every run.
    pub runs: Option<Vec<String>>,
    /// The form of the file.
    pub format: Format,
    /// The new file.
    pub file: PathBuf,
}

/// What an export has written.
pub struct ExportResult {
    /// How much of what is in the file.
    pub counts: Counts,
    /// The file's length.
    pub bytes: usize,
    /// The hash at its end.
    pub hash: Hash32,
}

/// Writes runs to a new file, beside any owner of the workspace.
///
/// # Errors
/// An unknown run, a run that is not whole, or a file that is there already.
pub async fn export(app: &Application, request: ExportRequest) -> Result<ExportResult, Error> {
    let ExportRequest { runs, format, file } = request;
    // Opened once, so that what the log lacks and the index has is logged again.
    let workspace = ReadOnlyWorkspace::open_and_notice(app).await?;
    let mut named = Vec::new();
    for word in runs.iter().flatten() {
        named.push(workspace.context.run(word).await?);
    }
    let context = workspace.let_go().await;
    let (view, _) = LogView::open(&context.layout.state).await?;
    if runs.is_none() {
        named = view.run_ids().collect();
    }
    let bundle = Bundle::of(&view, named).await?;
    blocking(move || {
        let (bytes, hash) = bundle.encode(format)?;
        write_new(&file, &bytes)?;
        Ok(ExportResult {
            counts: bundle.counts(),
            bytes: bytes.len(),
            hash,
        })
    })
    .await?
}

/// Imports the runs of a file, once the whole file is checked.
///
/// # Errors
/// The file is damaged, a run differs from the one that is here, or another process holds the workspace.
pub async fn import(app: &Application, file: &Path) -> Result<Imports, Error> {
    let (state, file) = (app.layout()?.state, file.to_owned());
    blocking(move || {
        let bytes = regular::read(&file, u64::MAX)
            .map_err(|error| Error::io(format_args!("read {}", file.display()), &error))?;
        let (bundle, hash) = Bundle::decode(&bytes)?;
        let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
        Ok(upkeep.import(&bundle, hash)?)
    })
    .await?
}

/// The journal with its new index.
pub struct RebuildResult {
    /// What opening it found. Runs that replicas have mended are not quarantined any more.
    pub report: OpenReport,
    /// The runs that replicas have mended.
    pub mended: Vec<Repaired>,
}

/// Sets the journal's index aside and rebuilds it. If a run has lost records, its replicas repair it.
///
/// # Errors
/// Another process holds the workspace, or the journal cannot be read or written.
pub async fn rebuild(app: &Application) -> Result<RebuildResult, Error> {
    let layout = app.layout()?;
    let state = layout.state.clone();
    let mut report = blocking(move || Upkeep::rebuild(&state, &OpenOptions::default())).await??;
    for damage in &report.damage {
        app.notices.warn(format!(
            "the journal's log is damaged: {} at byte {}: {}",
            damage.segment.display(),
            damage.offset,
            damage.what
        ));
    }
    let copies = replica::find_repairs(app, &layout, &report.quarantined).await;
    let mended = match copies.is_empty() {
        true => Vec::new(),
        false => replica::repair(app, &layout, copies).await?,
    };
    report
        .quarantined
        .retain(|(run, _)| mended.iter().all(|mended| mended.run != *run));
    Ok(RebuildResult { report, mended })
}

/// The runs to remove.
pub struct CompactRequest {
    /// Finished runs whose newest record is older than this.
    pub before: DateTime<Utc>,
    /// Where they are kept. If a person has not said so, no run is removed.
    pub archive: Option<Archive>,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
}

/// Where removed runs are kept.
pub enum Archive {
    /// In this new file.
    File(PathBuf),
    /// Nowhere: they are removed for good.
    Nowhere,
}

/// The result of a compact, or its plan.
pub struct CompactResult {
    /// What it removed, or would remove.
    pub plan: Plan,
    /// The archive that has the runs.
    pub archive: Option<ArchiveRef>,
}

/// Removes old runs, and the segments and blobs that only they needed.
///
/// # Errors
/// It would remove runs and `archive` is none, the archive is not what was written, a file cannot be written, or another
/// process holds the workspace.
pub async fn compact(app: &Application, request: CompactRequest) -> Result<CompactResult, Error> {
    let CompactRequest {
        before,
        archive,
        dry_run,
    } = request;
    let (state, now) = (app.layout()?.state, app.clock.now().utc);
    let dir = state.clone();
    let (mut upkeep, plan) = blocking(move || {
        let (upkeep, _) = Upkeep::open(&dir, &OpenOptions::default())?;
        let plan = upkeep.plan(before)?;
        Ok::<_, Error>((upkeep, plan))
    })
    .await??;
    if dry_run {
        return Ok(CompactResult { plan, archive: None });
    }
    if archive.is_none() && !plan.runs.is_empty() {
        let message = format!(
            "{} runs would be removed and are in no archive; nothing was done",
            plan.runs.len()
        );
        return Err(Error::new(ProblemKind::Invalid, "archive_needed", message));
    }
    let archive = match archive {
        Some(Archive::File(file)) if !plan.runs.is_empty() => Some(archived(&state, &plan, file).await?),
        _ => None,
    };
    let compacted = blocking(move || {
        upkeep.compact(&plan, archive.as_ref(), now, |_| ControlFlow::Continue(()))?;
        Ok::<_, Error>(CompactResult { plan, archive })
    })
    .await??;
    for run in &compacted.plan.runs {
        replicator::forget(&state, run.run);
    }
    Ok(compacted)
}

/// Exports the runs, reads the file back, and returns what to remember of it.
async fn archived(state: &Path, plan: &Plan, file: PathBuf) -> Result<ArchiveRef, Error> {
    let (view, _) = LogView::open(state).await?;
    let bundle = Bundle::of(&view, plan.runs.iter().map(|run| run.run)).await?;
    blocking(move || {
        let (bytes, hash) = bundle.encode(Format::Archive)?;
        // Interrupted since it was written, the same command finds the same archive.
        if !regular::read(&file, u64::MAX).is_ok_and(|present| present == bytes) {
            write_new(&file, &bytes)?;
        }
        let stored = regular::read(&file, u64::MAX)
            .map_err(|error| Error::io(format_args!("read {} back", file.display()), &error))?;
        let (_, read) = Bundle::decode(&stored)?;
        if read != hash {
            let message = format!("{} is not what was written; nothing was removed", file.display());
            return Err(Error::new(ProblemKind::DataLost, "archive_damaged", message));
        }
        Ok(ArchiveRef {
            file: file.display().to_string(),
            hash,
        })
    })
    .await?
}
