//! An open workspace: the journal under its lock, until the command ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::{
    Journal, JournalError, LogView, OpenError, OpenOptions, OpenReport, RunFilter, RunSummary, SledJournal,
};
use rekindle_model::id::{Hash32, RunId};
use rekindle_report::{Evidence, blobs_of};
use serde_json::Value;

use crate::App;
use crate::error::{CliError, QUARANTINED};
use crate::exit::Exit;
use crate::lookup;
use crate::workspace::Workspace;

/// How long a command waits for the workspace's owner to end before it gives up (design: 5 s).
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks again.
const KNOCK: Duration = Duration::from_millis(100);

/// An open workspace.
pub struct Session {
    /// Where it stands.
    pub workspace: Workspace,
    /// The journal, with the hooks around it.
    pub journal: Arc<dyn Journal>,
    /// None where the journal is only looked at.
    disk: Option<Arc<SledJournal>>,
    /// Whether another process works in the workspace, so that a run without an end may be on its way.
    pub held: bool,
}

impl Session {
    /// Opens the workspace, waiting up to 5 s for another process to let go of it.
    pub async fn open(app: &App, workspace: Workspace) -> Result<Self, CliError> {
        let begun = app.clock.now();
        let mut told = false;
        let (disk, report) = loop {
            match SledJournal::open(&workspace.state, OpenOptions::default()).await {
                Ok(opened) => break opened,
                Err(OpenError::Held { .. }) if app.clock.now().since(&begun).duration < PATIENCE => {
                    if !told {
                        app.printer
                            .say("waiting for another process to let go of this workspace");
                        told = true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(KNOCK) => {}
                        () = app.signals.stop().cancelled() => {
                            return Err(CliError::new(Exit::Held, "held", "interrupted while waiting for the workspace"));
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self::opened(app, workspace, disk, &report))
    }

    fn opened(app: &App, workspace: Workspace, disk: SledJournal, report: &OpenReport) -> Self {
        tracing::debug!(?report, "journal opened");
        warn_of_damage(app, report);
        let disk = Arc::new(disk);
        let journal = (app.hooks.journal)(Arc::clone(&disk) as Arc<dyn Journal>);
        Self {
            workspace,
            journal,
            disk: Some(disk),
            held: false,
        }
    }

    /// Opens the workspace that the global options name for looking only.
    ///
    /// Where another process works in it, or there is no room or no right to write, the log is read as it stands:
    /// nothing waits and nothing is changed.
    pub async fn look_here(app: &App) -> Result<Self, CliError> {
        let workspace = Workspace::find_here(&app.global)?;
        let (why, held) = match SledJournal::open(&workspace.state, OpenOptions::default()).await {
            Ok((disk, report)) => return Ok(Self::opened(app, workspace, disk, &report)),
            Err(OpenError::Held { pid, .. }) => {
                let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                (format!("{holder} works in this workspace"), true)
            }
            Err(OpenError::Journal(error)) if cannot_write(&error) => (format!("cannot {error}"), false),
            Err(error) => return Err(error.into()),
        };
        let told = format!("{why}; this is a view of the journal's log as it stands");
        match held {
            true => app.printer.say(told),
            false => app.printer.warn(told),
        }
        let (view, report) = LogView::open(&workspace.state).await?;
        warn_of_damage(app, &report);
        Ok(Self {
            workspace,
            journal: (app.hooks.journal)(Arc::new(view)),
            disk: None,
            held,
        })
    }

    /// Opens the workspace that the global options name.
    pub async fn open_here(app: &App) -> Result<Self, CliError> {
        let workspace = Workspace::find_here(&app.global)?;
        Self::open(app, workspace).await
    }

    /// Closes the journal; what was acknowledged is durable either way.
    pub async fn close(self) {
        drop(self.journal);
        let Some(disk) = self.disk else { return };
        match Arc::into_inner(disk) {
            Some(disk) => disk.close().await,
            None => tracing::debug!("the journal is still in use; it closes with the process"),
        }
    }

    /// Returns the run that `word` means.
    pub async fn run(&self, word: &str) -> Result<RunId, CliError> {
        lookup::run(&*self.journal, word).await
    }

    /// Returns the runs without an end, newest first.
    pub async fn interrupted(&self) -> Result<Vec<RunSummary>, CliError> {
        let filter = RunFilter {
            finished: Some(false),
            ..RunFilter::default()
        };
        Ok(self.journal.runs(&filter).await?)
    }

    /// Reads all that the journal proves about a run.
    pub async fn evidence(&self, run: RunId) -> Result<Evidence, CliError> {
        let records = self.journal.read(run).await?;
        let mut blobs: BTreeMap<Hash32, Value> = BTreeMap::new();
        for hash in blobs_of(&records) {
            let bytes = self.journal.blob(hash).await?;
            let value = serde_json::from_slice(&bytes).map_err(|error| {
                CliError::new(
                    Exit::DataLost,
                    "corrupt_blob",
                    format!("blob {hash} of run {run} is no JSON: {error}"),
                )
            })?;
            blobs.insert(hash, value);
        }
        Ok(Evidence::new(records, blobs)?)
    }
}

/// Returns whether the journal cannot be opened only because nothing can be written beside it.
fn cannot_write(error: &JournalError) -> bool {
    use std::io::ErrorKind as Kind;
    match error {
        JournalError::DiskFull { .. } => true,
        JournalError::Io { source, .. } => {
            matches!(source.kind(), Kind::ReadOnlyFilesystem | Kind::PermissionDenied)
        }
        _ => false,
    }
}

/// What opening has repaired, and what it could not, is told: nothing is skipped silently.
fn warn_of_damage(app: &App, report: &OpenReport) {
    for damage in &report.damage {
        let place = format!("{} at byte {}", damage.segment.display(), damage.offset);
        app.printer
            .warn(format!("the journal's log is damaged: {place}: {}", damage.what));
    }
    if report.relogged > 0 {
        let told = "records that the journal's log had lost were taken from its index and logged again";
        app.printer.warn(format!("{} {told}", report.relogged));
    }
    for why in &report.rebuilt {
        app.printer
            .warn(format!("the journal's index was rebuilt from the log: {why}"));
    }
    for (run, why) in &report.quarantined {
        app.printer
            .warn(format!("run {run} is quarantined, the others go on: {why}"));
    }
    if !report.quarantined.is_empty() {
        app.printer.warn(QUARANTINED);
    }
}
