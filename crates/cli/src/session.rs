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
use rekindle_engine::Permits;
use rekindle_journal::{
    Append, Holder, Journal, JournalError, LogView, OpenError, OpenOptions, OpenReport, RunFilter,
    RunSummary, SledJournal,
};
use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};
use rekindle_plan::load_system;
use rekindle_server::{Client, ControlSocket, Desk, Owner, Problem, Unreachable};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::error::{CliError, QUARANTINED};
use crate::exit::Exit;
use crate::ground::Ground;
use crate::partial_recovery;
use crate::slots::repair;
use crate::workshop::{Shop, worker};
use crate::workspace::Workspace;
use crate::yaml_file;

/// How long a command waits for a process that holds the workspace and answers nobody (design: 5 s).
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks again.
pub(crate) const KNOCK: Duration = Duration::from_millis(100);

/// How long an owner may take to say what it drives. Who only looks must not wait for one that hangs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long an owner is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Until its own runs, and those that were submitted to it, have ended.
    Leaves,
    /// Until it is told to stop. So many steps of all runs are at work at once, where a person said so.
    Stays {
        /// How many, at least one.
        max_parallel: Option<u32>,
    },
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

/// Returns how many steps may be at work at once, as the system file says it now: of a run's pinned one it would be too
/// late. Whoever needs more of a file that cannot be read than this is told of it.
fn max_parallel(workspace: &Workspace) -> Option<u32> {
    let path = &workspace.system_file;
    let text = yaml_file::read_text(path).ok()?;
    load_system(&path.display().to_string(), &text)
        .ok()?
        .value
        .max_parallel
}

/// The control socket, answered on.
struct Serving {
    path: std::path::PathBuf,
    done: CancellationToken,
    task: JoinHandle<()>,
}

impl Session {
    /// Does something in the workspace that the global options name, and lets go of it.
    ///
    /// An owner that is about to leave takes nothing on. Then it is all begun again, with the next owner or as the
    /// owner.
    pub async fn here(
        app: &App,
        work: impl AsyncFn(&Self) -> Result<Exit, CliError>,
    ) -> Result<Exit, CliError> {
        let begun = app.clock.now();
        loop {
            let session = Self::open(app, Workspace::find_here(&app.global)?, Seat::Leaves).await?;
            let again = session.other_owner().is_some();
            let done = work(&session).await;
            session.close().await;
            match done {
                Err(error)
                    if again
                        && error.is_of_leaving()
                        && app.clock.now().since(&begun).duration < PATIENCE
                        && !app.signals.stop().is_cancelled() =>
                {
                    tracing::debug!(%error, "the owner leaves; asking the next one");
                    tokio::time::sleep(KNOCK).await;
                }
                done => return done,
            }
        }
    }

    /// Becomes the owner of a workspace, or finds it; waits up to 5 s for a holder that answers nobody.
    pub async fn open(app: &App, workspace: Workspace, seat: Seat) -> Result<Self, CliError> {
        let begun = app.clock.now();
        let mut told = false;
        let mut mended = None;
        loop {
            let held = match SledJournal::open(&workspace.state, OpenOptions::default()).await {
                Ok((disk, report)) if mended.is_none() && !report.quarantined.is_empty() => {
                    let copies = repair::look(app, &workspace, &report.quarantined).await;
                    if copies.is_empty() {
                        return Self::own(app, workspace, disk, &report, seat);
                    }
                    // Mending needs the journal for itself. Whoever gets it in between may mend it as well.
                    disk.close().await;
                    if let Err(error) = copies.mend(app, &workspace).await {
                        app.printer
                            .warn(format!("what the tiers have of it could not be put in: {error}"));
                    }
                    mended = Some(report);
                    continue;
                }
                Ok((disk, mut report)) => {
                    if let Some(first) = mended.take() {
                        // What the first opening has found and done is still to be told.
                        report.relogged += first.relogged;
                        report.rebuilt.splice(0..0, first.rebuilt);
                    }
                    return Self::own(app, workspace, disk, &report, seat);
                }
                Err(held @ OpenError::Held { .. }) => held,
                Err(OpenError::Journal(error)) if may_not_write(&error) => return Err(no_right(&error)),
                Err(error) => return Err(error.into()),
            };
            match Client::connect(&workspace.state).await {
                Ok(client) => return Ok(Self::other(app, workspace, client)),
                // It opens or closes, or it only looks.
                Err(Unreachable::Nobody { .. }) => {}
                Err(error) => return Err(unreachable(error, &workspace.state)),
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
                () = app.signals.stop().cancelled() => return Err(interrupted()),
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
        let told = match seat {
            Seat::Stays { max_parallel } => max_parallel,
            Seat::Leaves => None,
        };
        let permits = told.or_else(|| max_parallel(&ground.workspace));
        let permits = permits.and_then(|count| usize::try_from(count).ok());
        let owner = Owner::new(
            Arc::clone(&ground.journal),
            Arc::new(Shop(ground.clone())),
            Arc::clone(&ground.clock),
            worker(),
            app.signals.stop().clone(),
            seat != Seat::Leaves,
            Permits::new(permits.unwrap_or(Permits::USUAL)),
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
        owner.leave().await;
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
        let task = tokio::spawn(async move { owner.serve(socket, until.cancelled()).await });
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
    /// Why the log is read as it stands, where it is.
    pub as_it_stands: Option<String>,
    /// What was damaged, and mended where it could be; the runs apart that are quarantined.
    pub damage: Vec<String>,
    /// None where the log is read beside its owner.
    disk: Option<Arc<SledJournal>>,
}

impl Look {
    /// Opens the workspace that the global options name, and tells how it was found.
    pub async fn here(app: &App) -> Result<Self, CliError> {
        let look = Self::open(app).await?;
        match (&look.as_it_stands, look.held) {
            (Some(why), true) => app.printer.say(why),
            (Some(why), false) => app.printer.warn(why),
            (None, _) => {}
        }
        look.damage.iter().for_each(|what| app.printer.warn(what));
        Ok(look)
    }

    /// Opens the workspace that the global options name.
    ///
    /// Where another process works in it, or there is no room or no right to write, the log is read as it stands:
    /// nothing waits and nothing is changed.
    pub async fn open(app: &App) -> Result<Self, CliError> {
        let workspace = Workspace::find_here(&app.global)?;
        let (why, held) = match SledJournal::open(&workspace.state, OpenOptions::default()).await {
            Ok((disk, report)) => {
                let damage = damage(&report);
                warn_of_quarantined(app, &workspace, &report);
                let disk = Arc::new(disk);
                return Ok(Self {
                    ground: ground(app, workspace, Arc::clone(&disk) as Arc<dyn Journal>),
                    held: false,
                    as_it_stands: None,
                    damage,
                    disk: Some(disk),
                });
            }
            Err(OpenError::Held { pid, .. }) => (format!("{} works in this workspace", Holder { pid }), true),
            Err(OpenError::Journal(error)) if cannot_write(&error) => (format!("cannot {error}"), false),
            Err(error) => return Err(error.into()),
        };
        let (view, report) = LogView::open(&workspace.state).await?;
        warn_of_quarantined(app, &workspace, &report);
        Ok(Self {
            ground: ground(app, workspace, Arc::new(view)),
            held,
            as_it_stands: Some(format!("{why}; this is a view of the journal's log as it stands")),
            damage: damage(&report),
            disk: None,
        })
    }

    /// Returns the runs that a process drives now: none where nobody works here. None at all where somebody does and
    /// does not say at once which.
    pub async fn driven(&self) -> Option<Vec<RunId>> {
        if !self.held {
            return Some(Vec::new());
        }
        let asked = Client::connect(&self.ground.workspace.state);
        let client = tokio::time::timeout(AT_ONCE, asked).await.ok()?.ok()?;
        Some(client.info().runs.clone())
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

/// Returns why whoever listens cannot be talked to; one that hangs is named, so that it can be ended.
pub(crate) fn unreachable(error: Unreachable, state: &Path) -> CliError {
    let holder = rekindle_journal::owner(state).ok().flatten();
    match (&error, holder) {
        (Unreachable::Silent { path }, Some(holder)) => CliError::new(
            Exit::Held,
            "owner_silent",
            format!(
                "{holder} owns this workspace and does not answer on {}",
                path.display()
            ),
        )
        .with_hint(ends(holder)),
        _ => Problem::from(error).into(),
    }
}

/// Returns that a process has the workspace and cannot be asked for anything.
pub(crate) fn answers_nobody(holder: Holder) -> CliError {
    CliError::new(
        Exit::Held,
        "held",
        format!("{holder} works in this workspace and answers nobody"),
    )
    .with_hint(ends(holder))
}

/// What to do about a process that keeps the workspace and does not answer.
pub(crate) fn ends(holder: Holder) -> String {
    let kill = holder
        .pid
        .map_or_else(|| "kill it".to_owned(), |pid| format!("`kill -9 {pid}`"));
    format!("wait for its end, or {kill}: it is safe to kill, `rekindle resume` goes on with its runs")
}

/// Returns that a person did not want to wait any longer.
pub(crate) fn interrupted() -> CliError {
    let message = "told to stop while waiting for another process to let go of this workspace";
    CliError::new(Exit::Interrupted, "interrupted", message)
        .with_hint("nothing was begun; run the command again")
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

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.view().await?.read(run).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        Journal::values(&self.view().await?, run, after).await
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
    matches!(error, JournalError::DiskFull { .. }) || may_not_write(error)
}

/// Returns whether there is no right to write in the workspace.
fn may_not_write(error: &JournalError) -> bool {
    use std::io::ErrorKind as Kind;
    match error {
        JournalError::Io { source, .. } => {
            matches!(source.kind(), Kind::ReadOnlyFilesystem | Kind::PermissionDenied)
        }
        _ => false,
    }
}

/// Returns the refusal of what needs to write in a workspace that may only be read. Nothing is there to be resumed: a
/// run that had begun stands as it did.
fn no_right(error: &JournalError) -> CliError {
    CliError::new(Exit::Failed, "read_only", format!("cannot {error}")).with_hint(
        "nothing was begun: what runs is journaled first; mount that file system writable, or run the command as the \
         user who owns the workspace. Commands that only look work meanwhile",
    )
}

/// What opening has repaired, and what it could not, is told: nothing is skipped silently.
fn warn_of_damage(app: &App, workspace: &Workspace, report: &OpenReport) {
    damage(report).iter().for_each(|what| app.printer.warn(what));
    warn_of_quarantined(app, workspace, report);
}

/// Returns what opening has found damaged.
fn damage(report: &OpenReport) -> Vec<String> {
    tracing::debug!(?report, "journal opened");
    let mut found: Vec<String> = report
        .damage
        .iter()
        .map(|damage| {
            let place = format!("{} at byte {}", damage.segment.display(), damage.offset);
            format!("the journal's log is damaged: {place}: {}", damage.what)
        })
        .collect();
    if report.relogged > 0 {
        let told = "records that the journal's log had lost were taken from its index and logged again";
        found.push(format!("{} {told}", report.relogged));
    }
    let rebuilt = report.rebuilt.iter();
    found.extend(rebuilt.map(|why| format!("the journal's index was rebuilt from the log: {why}")));
    found
}

fn warn_of_quarantined(app: &App, workspace: &Workspace, report: &OpenReport) {
    for (run, why) in &report.quarantined {
        app.printer
            .warn(format!("run {run} is quarantined, the others go on: {why}"));
        if let Some(left) = partial_recovery::left(app, workspace, *run) {
            app.printer.warn(left);
        }
    }
    if !report.quarantined.is_empty() {
        app.printer.warn(QUARANTINED);
    }
}
