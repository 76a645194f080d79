//! A workspace, opened only to read it.

use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::{Journal, JournalError};
use rekindle_journal_local::{Holder, LocalJournal, LogView, OpenError, OpenOptions};
use rekindle_model::id::RunId;
use rekindle_server::Client;

use super::damage::{damage, notice_quarantined};
use super::log_of_another::LogOfAnother;
use super::{context, may_not_write};
use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::trust;

/// How long an owner may take to say what it drives. An operation that only reads must not wait for an owner that hangs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A workspace, opened only to read it.
pub struct ReadOnlyWorkspace {
    /// Where it is, its journal and key.
    pub context: WorkspaceContext,
    /// Whether another process works in the workspace. Then it may be driving a run without an end.
    pub held: bool,
    /// Why the log is read as it is; none if the journal was opened.
    pub as_it_is: Option<String>,
    /// Why an operation that runs something would refuse this workspace; none if nobody else can change it.
    pub untrusted: Option<Error>,
    /// The damage that opening found, repaired where possible. Quarantined runs are not in it.
    pub damage: Vec<String>,
    /// None if the log is read beside its owner.
    disk: Option<Arc<LocalJournal>>,
}

impl ReadOnlyWorkspace {
    /// Opens the workspace that the person means, and gives notice of its state.
    ///
    /// # Errors
    /// There is none, or its log cannot be read.
    pub async fn open_and_notice(app: &Application) -> Result<Self, Error> {
        let workspace = Self::open(app).await?;
        if let Some(error) = &workspace.untrusted {
            app.notices.give(trust::warning(error));
        }
        match (&workspace.as_it_is, workspace.held) {
            (Some(why), true) => app.notices.say(why),
            (Some(why), false) => app.notices.warn(why),
            (None, _) => {}
        }
        workspace.damage.iter().for_each(|what| app.notices.warn(what));
        Ok(workspace)
    }

    /// Opens the workspace that the person means.
    ///
    /// If another process works in it, or there is no room or no right to write, this reads the log as it is. Then it
    /// waits for nothing and changes nothing. So it is if another user can change the workspace: nothing is written where
    /// that user has planted a link.
    pub async fn open(app: &Application) -> Result<Self, Error> {
        let layout = Layout::find(&app.selection)?;
        if let Err(error) = trust::check(&app.trust(), &layout) {
            let why = "another user can change this workspace".to_owned();
            return Self::view(app, layout, why, false, Some(error)).await;
        }
        let (why, held) = match LocalJournal::open(&layout.state, OpenOptions::default()).await {
            Ok((disk, report)) => {
                let damage = damage(&report);
                notice_quarantined(app, &layout, &report);
                let disk = Arc::new(disk);
                return Ok(Self {
                    context: context(app, layout, Arc::clone(&disk) as Arc<dyn Journal>),
                    held: false,
                    as_it_is: None,
                    untrusted: None,
                    damage,
                    disk: Some(disk),
                });
            }
            Err(OpenError::Held { pid, .. }) => (format!("{} works in this workspace", Holder { pid }), true),
            Err(OpenError::Journal(error)) if cannot_write(&error) => (format!("cannot {error}"), false),
            Err(error) => return Err(error.into()),
        };
        Self::view(app, layout, why, held, None).await
    }

    /// Opens the log as it is, because of `why`.
    async fn view(
        app: &Application,
        layout: Layout,
        why: String,
        held: bool,
        untrusted: Option<Error>,
    ) -> Result<Self, Error> {
        let (view, report) = LogView::open(&layout.state).await?;
        notice_quarantined(app, &layout, &report);
        Ok(Self {
            context: context(app, layout, Arc::new(view)),
            held,
            untrusted,
            as_it_is: Some(format!("{why}; this is a view of the journal's log as it is now")),
            damage: damage(&report),
            disk: None,
        })
    }

    /// Returns the runs that a process drives now: an empty list if no process works here. Returns none if a process
    /// works here and does not answer at once.
    pub async fn driven(&self) -> Option<Vec<RunId>> {
        if !self.held {
            return Some(Vec::new());
        }
        let asked = Client::connect(&self.context.layout.state);
        let client = tokio::time::timeout(AT_ONCE, asked).await.ok()?.ok()?;
        Some(client.info().runs.clone())
    }

    /// Closes the journal.
    pub async fn close(self) {
        self.let_go().await;
    }

    /// Closes the journal, and returns a context that reads the log from now on, beside any other process.
    pub async fn let_go(self) -> WorkspaceContext {
        let Self { context, disk, .. } = self;
        let journal = Arc::new(LogOfAnother(context.layout.state.clone()));
        let journal = (context.hooks.journal)(journal);
        let context = WorkspaceContext { journal, ..context };
        match disk.map(Arc::into_inner) {
            Some(Some(disk)) => disk.close().await,
            Some(None) => tracing::debug!("the journal is still in use; it closes with the process"),
            None => {}
        }
        context
    }
}

/// Returns whether opening the journal fails only because nothing can be written there.
fn cannot_write(error: &JournalError) -> bool {
    matches!(error, JournalError::DiskFull { .. }) || may_not_write(error)
}
