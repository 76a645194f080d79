//! A workspace in use: with whoever owns it, this process or another, or only looked at.
//!
//! [`Session`] is for commands that make something happen. The process that gets the lock is the workspace's owner
//! until the command ends, and answers others on the control socket; a process that does not get it talks to the
//! owner instead. No command knows which: it asks the [`Desk`].
//!
//! [`Look`] is for commands that only read. It disturbs nobody: where the lock is held, the journal's log is read as
//! it stands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_journal::{
    Append, Journal, JournalError, LogView, OpenError, OpenOptions, OpenReport, RunFilter, RunSummary,
    SledJournal,
};
use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};
use rekindle_server::{Client, ControlSocket, Desk, Owner, Problem, Unreachable};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::error::{CliError, QUARANTINED};
use crate::exit::Exit;
use crate::ground::Ground;
use crate::past;
use crate::workshop::{Shop, worker};
use crate::workspace::Workspace;

/// How long a command waits for a process that holds the workspace and answers nobody (design: 5 s).
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks again.
const KNOCK: Duration = Duration::from_millis(100);

/// How long an owner is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Until its own runs, and those that were submitted to it, have ended.
    Leaves,
    /// Until it is told to stop.
    Stays,
}

/// A workspace in which something is to happen.
pub struct Session {
    /// What it stands on.
    pub ground: Ground,
    /// Whoever drives runs here.
    pub desk: Arc<dyn Desk>,
    place: Place,
}

enum Place {
    /// This process is the owner.
    Own(Own),
    /// Another process is.
    Other(Client),
}

struct Own {
    owner: Owner,
    disk: Arc<SledJournal>,
    serving: Option<Serving>,
}

/// The control socket, answered on.
struct Serving {
    path: std::path::PathBuf,
    done: CancellationToken,
    task: JoinHandle<()>,
}

impl Session {
    /// Opens the workspace that the global options name.
    pub async fn open_here(app: &App) -> Result<Self, CliError> {
        Self::open(app, Workspace::find_here(&app.global)?, Seat::Leaves).await
    }

    /// Becomes the owner of a workspace, or finds it; waits up to 5 s for a holder that answers nobody.
    pub async fn open(app: &App, workspace: Workspace, seat: Seat) -> Result<Self, CliError> {
        let begun = app.clock.now();
        let mut told = false;
        loop {
            let held = match SledJournal::open(&workspace.state, OpenOptions::default()).await {
                Ok((disk, report)) => return Self::own(app, workspace, disk, &report, seat),
                Err(held @ OpenError::Held { .. }) => held,
                Err(error) => return Err(error.into()),
            };
            match Client::connect(&workspace.state).await {
                Ok(client) => return Ok(Self::other(app, workspace, client)),
                // It opens or closes, or it only looks.
                Err(Unreachable::Nobody { .. }) => {}
                Err(error) => return Err(Problem::from(error).into()),
            }
            if app.clock.now().since(&begun).duration >= PATIENCE {
                return Err(held.into());
            }
            if !told {
                app.printer
                    .say("waiting for another process to let go of this workspace");
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(KNOCK) => {}
                () = app.signals.stop().cancelled() => {
                    let message = "told to stop while waiting for another process to let go of this workspace";
                    return Err(CliError::new(Exit::Interrupted, "interrupted", message)
                        .with_hint("nothing was begun; run the command again"));
                }
            }
        }
    }

    fn own(
        app: &App,
        workspace: Workspace,
        disk: SledJournal,
        report: &OpenReport,
        seat: Seat,
    ) -> Result<Self, CliError> {
        warn_of_damage(app, &workspace, report);
        let disk = Arc::new(disk);
        let ground = ground(app, workspace, Arc::clone(&disk) as Arc<dyn Journal>);
        let owner = Owner::new(
            Arc::clone(&ground.journal),
            Arc::new(Shop(ground.clone())),
            Arc::clone(&ground.clock),
            worker(),
            app.signals.stop().clone(),
            seat == Seat::Stays,
        );
        let serving = match ControlSocket::bind(&ground.workspace.state) {
            Ok(socket) => Some(Serving::begin(owner.clone(), socket)),
            Err(error) => {
                app.printer.warn(format!(
                    "other commands cannot reach this one while it works: {error}"
                ));
                None
            }
        };
        Ok(Self {
            desk: Arc::new(owner.clone()),
            ground,
            place: Place::Own(Own { owner, disk, serving }),
        })
    }

    fn other(app: &App, workspace: Workspace, client: Client) -> Self {
        let journal = Arc::new(Fresh(workspace.state.clone()));
        Self {
            desk: Arc::new(client.clone()),
            ground: ground(app, workspace, journal),
            place: Place::Other(client),
        }
    }

    /// Returns the owner, where it is this process.
    pub fn owner(&self) -> Option<&Owner> {
        match &self.place {
            Place::Own(own) => Some(&own.owner),
            Place::Other(_) => None,
        }
    }

    /// Returns the process id of the owner, where it is another process.
    pub fn other_owner(&self) -> Option<u32> {
        match &self.place {
            Place::Own(_) => None,
            Place::Other(client) => Some(client.info().pid),
        }
    }

    /// Returns where others reach this owner.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Own(own) => own.serving.as_ref().map(|serving| serving.path.as_path()),
            Place::Other(_) => None,
        }
    }

    /// Returns the refusal of a command that must itself be the owner.
    pub fn held_by_other(&self) -> CliError {
        let pid = self.other_owner().unwrap_or_default();
        CliError::new(
            Exit::Held,
            "held",
            format!("process {pid} owns this workspace already"),
        )
        .with_hint("submit to it: every other command does by itself")
    }

    /// Returns whether somebody drives a run now.
    pub async fn drives(&self, run: RunId) -> bool {
        match &self.place {
            Place::Own(own) => own.owner.info().runs.contains(&run),
            Place::Other(_) => Client::connect(&self.ground.workspace.state)
                .await
                .is_ok_and(|client| client.info().runs.contains(&run)),
        }
    }

    /// Ends this session. An owner stays until the runs that were submitted to it have ended, and then closes the
    /// journal; what was acknowledged is durable either way.
    pub async fn close(self) {
        let Self { ground, desk, place } = self;
        let Place::Own(Own { owner, disk, serving }) = place else {
            return;
        };
        let runs = owner.info().runs.len();
        if runs > 0 {
            ground.printer.say(format!(
                "staying until {runs} submitted runs have ended (Ctrl-C interrupts them)"
            ));
        }
        owner.idle().await;
        if let Some(serving) = serving {
            serving.end().await;
        }
        drop((ground, desk, owner));
        match Arc::into_inner(disk) {
            Some(disk) => disk.close().await,
            None => tracing::debug!("the journal is still in use; it closes with the process"),
        }
    }
}

impl Serving {
    fn begin(owner: Owner, socket: ControlSocket) -> Self {
        let done = CancellationToken::new();
        let until = done.clone();
        let path = socket.path().to_owned();
        let task = tokio::spawn(async move { owner.serve(&socket, until.cancelled()).await });
        Self { path, done, task }
    }

    async fn end(self) {
        self.done.cancel();
        // One that broke answers nobody any more, which is what is wanted.
        let _ = self.task.await;
    }
}

/// A workspace that is only looked at.
pub struct Look {
    /// What it stands on.
    pub ground: Ground,
    /// Whether another process works in the workspace, so that a run without an end may be on its way.
    pub held: bool,
    /// None where the log is read beside its owner.
    disk: Option<Arc<SledJournal>>,
}

impl Look {
    /// Opens the workspace that the global options name.
    ///
    /// Where another process works in it, or there is no room or no right to write, the log is read as it stands:
    /// nothing waits and nothing is changed.
    pub async fn here(app: &App) -> Result<Self, CliError> {
        let workspace = Workspace::find_here(&app.global)?;
        let (why, held) = match SledJournal::open(&workspace.state, OpenOptions::default()).await {
            Ok((disk, report)) => {
                warn_of_damage(app, &workspace, &report);
                let disk = Arc::new(disk);
                return Ok(Self {
                    ground: ground(app, workspace, Arc::clone(&disk) as Arc<dyn Journal>),
                    held: false,
                    disk: Some(disk),
                });
            }
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
        warn_of_damage(app, &workspace, &report);
        Ok(Self {
            ground: ground(app, workspace, Arc::new(view)),
            held,
            disk: None,
        })
    }

    /// Closes the journal.
    pub async fn close(self) {
        self.let_go().await;
    }

    /// Closes the journal and returns the ground with the log to be read from now on, whoever works there.
    pub async fn let_go(self) -> Ground {
        let Self { ground, disk, .. } = self;
        let journal = Arc::new(Fresh(ground.workspace.state.clone()));
        let journal = (ground.hooks.journal)(journal);
        let ground = Ground { journal, ..ground };
        match disk.map(Arc::into_inner) {
            Some(Some(disk)) => disk.close().await,
            Some(None) => tracing::debug!("the journal is still in use; it closes with the process"),
            None => {}
        }
        ground
    }
}

fn ground(app: &App, workspace: Workspace, journal: Arc<dyn Journal>) -> Ground {
    Ground {
        workspace,
        journal: (app.hooks.journal)(journal),
        clock: Arc::clone(&app.clock),
        hooks: app.hooks.clone(),
        printer: app.printer,
        key: Arc::default(),
    }
}

/// The log of a workspace that another process owns, read anew for each question: it grows.
struct Fresh(std::path::PathBuf);

impl Fresh {
    async fn view(&self) -> Result<LogView, JournalError> {
        match LogView::open(&self.0).await {
            Ok((view, _)) => Ok(view),
            Err(OpenError::Journal(error)) => Err(error),
            Err(error) => Err(JournalError::Index(error.to_string())),
        }
    }
}

#[async_trait]
impl Journal for Fresh {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        self.view().await?.append(append).await
    }

    async fn read(&self, run: RunId) -> Result<Vec<Record>, JournalError> {
        self.view().await?.read(run).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.view().await?.runs(filter).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        // Who follows a run asks its owner.
        broadcast::Sender::new(1).subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.view().await?.put_blob(bytes).await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.view().await?.blob(hash).await
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
fn warn_of_damage(app: &App, workspace: &Workspace, report: &OpenReport) {
    tracing::debug!(?report, "journal opened");
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
        if let Some(left) = past::left(app, workspace, *run) {
            app.printer.warn(left);
        }
    }
    if !report.quarantined.is_empty() {
        app.printer.warn(QUARANTINED);
    }
}
