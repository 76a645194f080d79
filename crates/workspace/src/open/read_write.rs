//! A workspace, opened to change it: as its owner, or by way of the owner.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_engine::Permits;
use rekindle_journal::Journal;
use rekindle_journal_local::{LocalJournal, OpenError, OpenOptions, OpenReport};
use rekindle_model::id::RunId;
use rekindle_model::problem::ProblemKind;
use rekindle_server::{Client, ControlSocket, Owner, RunService, Unreachable};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::damage::notice_damage;
use super::log_of_another::LogOfAnother;
use super::refusals::{interrupted, read_only, unreachable};
use super::{KNOCK, PATIENCE, context, may_not_write};
use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::load_system;
use crate::replica;
use crate::run_factory::{ContextRunFactory, worker};
use crate::{staging, yaml_file};

/// How long this process stays the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerLifetime {
    /// Until its own runs have ended, and those that other processes submitted to it.
    UntilIdle,
    /// Until it is stopped. A person may limit how many steps of all runs work at once.
    UntilStopped {
        /// The limit, at least one.
        max_parallel: Option<u32>,
    },
}

/// A workspace, opened to change it.
pub struct ReadWriteWorkspace {
    /// Where it is, its journal and key.
    pub context: WorkspaceContext,
    /// The service that drives runs here.
    pub service: Arc<dyn RunService>,
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
    disk: Arc<LocalJournal>,
    serving: Option<Serving>,
}

/// Returns how many steps may work at once, as the system file says now. A run's pinned copy would come too late. If
/// the file cannot be read, the operations that need more of it report that.
fn max_parallel(layout: &Layout) -> Option<u32> {
    let path = &layout.system_file;
    let text = yaml_file::read_text(path).ok()?;
    load_system(&path.display().to_string(), &text)
        .ok()?
        .value
        .max_parallel
}

/// The control socket, with the task that answers on it.
struct Serving {
    path: PathBuf,
    done: CancellationToken,
    task: JoinHandle<()>,
}

impl ReadWriteWorkspace {
    /// Opens the workspace that the person means, works in it, and closes it.
    ///
    /// An owner that is about to leave accepts no more runs. Then the work starts again, with the next owner or as the
    /// owner.
    ///
    /// # Errors
    /// The workspace cannot be opened, or the work fails.
    pub async fn with<T>(
        app: &Application,
        work: impl AsyncFn(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begun = app.clock.now();
        loop {
            let workspace = Self::open(app, app.layout()?, OwnerLifetime::UntilIdle).await?;
            let again = workspace.other_owner().is_some();
            let done = work(&workspace).await;
            workspace.close().await;
            match done {
                Err(error)
                    if again
                        && error.is_of_leaving()
                        && app.clock.now().since(&begun).duration < PATIENCE
                        && !app.stop.is_cancelled() =>
                {
                    tracing::debug!(%error, "the owner leaves; asking the next one");
                    tokio::time::sleep(KNOCK).await;
                }
                done => return done,
            }
        }
    }

    /// Becomes the owner of a workspace, or connects to its owner. Waits up to 5 s for a holder that answers nobody.
    pub async fn open(app: &Application, layout: Layout, lifetime: OwnerLifetime) -> Result<Self, Error> {
        let begun = app.clock.now();
        let mut announced = false;
        let mut mended = None;
        loop {
            let held = match LocalJournal::open(&layout.state, OpenOptions::default()).await {
                Ok((disk, report)) if mended.is_none() && !report.quarantined.is_empty() => {
                    let copies = replica::find_repairs(app, &layout, &report.quarantined).await;
                    if copies.is_empty() {
                        staging::sweep(&layout.state, &disk).await;
                        return Self::own(app, layout, disk, &report, lifetime);
                    }
                    // The repair needs the journal for itself. Another process that opens the journal in between may
                    // repair it as well.
                    disk.close().await;
                    if let Err(error) = replica::repair(app, &layout, copies).await {
                        app.notices.warn(format!(
                            "the journal could not be repaired from the tiers: {error}"
                        ));
                    }
                    mended = Some(report);
                    continue;
                }
                Ok((disk, mut report)) => {
                    if let Some(first) = mended.take() {
                        // The report of the first opening still needs its notices.
                        report.relogged += first.relogged;
                        report.rebuilt.splice(0..0, first.rebuilt);
                    }
                    staging::sweep(&layout.state, &disk).await;
                    return Self::own(app, layout, disk, &report, lifetime);
                }
                Err(held @ OpenError::Held { .. }) => held,
                Err(OpenError::Journal(error)) if may_not_write(&error) => return Err(read_only(&error)),
                Err(error) => return Err(error.into()),
            };
            match Client::connect(&layout.state).await {
                Ok(client) => return Ok(Self::other(app, layout, client)),
                // The holder opens or closes, or it only reads.
                Err(Unreachable::Nobody { .. }) => {}
                Err(error) => return Err(unreachable(error, &layout.state)),
            }
            if app.clock.now().since(&begun).duration >= PATIENCE {
                return Err(held.into());
            }
            if !announced {
                app.notices
                    .say("waiting for another process to let go of this workspace");
                announced = true;
            }
            tokio::select! {
                () = tokio::time::sleep(KNOCK) => {}
                () = app.stop.cancelled() => return Err(interrupted()),
            }
        }
    }

    fn own(
        app: &Application,
        layout: Layout,
        disk: LocalJournal,
        report: &OpenReport,
        lifetime: OwnerLifetime,
    ) -> Result<Self, Error> {
        notice_damage(app, &layout, report);
        let disk = Arc::new(disk);
        let context = context(app, layout, Arc::clone(&disk) as Arc<dyn Journal>);
        let limit = match lifetime {
            OwnerLifetime::UntilStopped { max_parallel } => max_parallel,
            OwnerLifetime::UntilIdle => None,
        };
        let permits = limit.or_else(|| max_parallel(&context.layout));
        let permits = permits.and_then(|count| usize::try_from(count).ok());
        let owner = Owner::new(
            Arc::clone(&context.journal),
            Arc::new(ContextRunFactory(context.clone())),
            Arc::clone(&context.clock),
            worker(),
            app.stop.clone(),
            lifetime != OwnerLifetime::UntilIdle,
            Permits::new(permits.unwrap_or(Permits::USUAL)),
        );
        let serving = match ControlSocket::bind(&context.layout.state) {
            Ok(socket) => Some(Serving::begin(owner.clone(), socket)),
            Err(error) => {
                app.notices.warn(format!(
                    "other processes cannot reach this one while it works: {error}"
                ));
                None
            }
        };
        Ok(Self {
            service: Arc::new(owner.clone()),
            context,
            place: Place::Own(Own { owner, disk, serving }),
        })
    }

    fn other(app: &Application, layout: Layout, client: Client) -> Self {
        let journal = Arc::new(LogOfAnother(layout.state.clone()));
        Self {
            service: Arc::new(client.clone()),
            context: context(app, layout, journal),
            place: Place::Other(client),
        }
    }

    /// Returns the owner, if it is this process.
    pub fn owner(&self) -> Option<&Owner> {
        match &self.place {
            Place::Own(own) => Some(&own.owner),
            Place::Other(_) => None,
        }
    }

    /// Returns the process id of the owner, if it is another process.
    pub fn other_owner(&self) -> Option<u32> {
        match &self.place {
            Place::Own(_) => None,
            Place::Other(client) => Some(client.info().pid),
        }
    }

    /// Returns the runs that another process drives.
    pub fn driven_by_other(&self) -> &[RunId] {
        match &self.place {
            Place::Own(_) => &[],
            Place::Other(client) => &client.info().runs,
        }
    }

    /// Returns the path of the socket on which others reach this owner.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Own(own) => own.serving.as_ref().map(|serving| serving.path.as_path()),
            Place::Other(_) => None,
        }
    }

    /// Returns the refusal of an operation whose process must itself be the owner.
    pub fn held_by_other(&self) -> Error {
        let pid = self.other_owner().unwrap_or_default();
        Error::new(
            ProblemKind::Held,
            "held",
            format!("process {pid} owns this workspace already"),
        )
        .with_advice("end that process first; every other operation submits to it")
    }

    /// Returns whether the owner drives a run now.
    pub async fn drives(&self, run: RunId) -> bool {
        match &self.place {
            Place::Own(own) => own.owner.info().runs.contains(&run),
            Place::Other(_) => Client::connect(&self.context.layout.state)
                .await
                .is_ok_and(|client| client.info().runs.contains(&run)),
        }
    }

    /// Ends this session. An owner stays until the runs that were submitted to it have ended, and then closes the
    /// journal. Acknowledged records are durable in any case.
    pub async fn close(self) {
        let Self {
            context,
            service,
            place,
        } = self;
        let Place::Own(Own { owner, disk, serving }) = place else {
            return;
        };
        let runs = owner.info().runs.len();
        if runs > 0 {
            context.notices.say(format!(
                "staying until {runs} submitted runs have ended (a stop interrupts them)"
            ));
        }
        owner.leave().await;
        if let Some(serving) = serving {
            serving.end().await;
        }
        staging::sweep(&context.layout.state, &*disk).await;
        drop((context, service, owner));
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
        // If the task has panicked, it answers nobody any more, as this wants.
        let _ = self.task.await;
    }
}
