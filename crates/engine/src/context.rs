//! The action's view of its run, and its reports while it works.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_journal::{Journal, JournalError};
use rekindle_model::event::Payload;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, Again};
use rekindle_model::process::Child;
use rekindle_model::step::StepRecord;
use rekindle_model::time::{Clock, Stamp};
use rekindle_plan::PlanStep;
use rpds::RedBlackTreeMapSync;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::nest::SubRuns;
use crate::payload;
use crate::progress::{Progress, Unit};
use crate::replica::Replica;

/// The code of an attempt that was asked to stop, and stopped.
pub const INTERRUPTED: &str = "interrupted";

/// The code of a checkpoint that came from an attempt which is over.
pub const STALE: &str = "stale_attempt";

/// The least time between checkpoints. A record costs a sync of the disk, and a second of work is cheap to repeat.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// How old the last check for a takeover may be, if a missed takeover costs no more than work done twice.
const STILL_OURS: Duration = Duration::from_secs(1);

/// One attempt of a step. Clones are the same attempt.
#[derive(Clone)]
pub struct StepContext {
    /// The run.
    pub run: RunId,
    /// The step as planned; its `with` is not rendered.
    pub step: Arc<PlanStep>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The parameters, rendered.
    pub with: Value,
    /// When the disaster struck, for a recovery.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a person gave `disaster_at`. Else it is assumed.
    pub disaster_at_told: bool,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Says when to end early, for a graceful stop, a cancellation or a timeout. The action then records a checkpoint
    /// if that helps, and returns a failure with the code [`INTERRUPTED`]. If it does not end within a grace period,
    /// the engine drops it.
    pub stop: CancellationToken,
    /// Says, beside `stop`, that no later attempt will continue this one: the run is cancelled, or the time is up.
    pub given_up: CancellationToken,
    /// The steps of the run that had ended when this one began, whether or not it needs them.
    pub steps: EndedSteps,
    pub(crate) link: Link,
}

/// A step that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// The action.
    pub uses: String,
    /// How it ended, and the attempts that led to it.
    pub state: StepRecord,
    /// Its output in full, even if the journal keeps it as a blob; null unless it succeeded.
    pub output: Value,
}

/// The steps of a run that have ended, by name. A clone costs nothing, however many there are, and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct EndedSteps(RedBlackTreeMapSync<StepId, Arc<StepView>>);

impl EndedSteps {
    /// Returns the step of that name, if it has ended.
    pub fn get(&self, step: &StepId) -> Option<&StepView> {
        self.0.get(step).map(Arc::as_ref)
    }

    /// Returns all of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&StepId, &StepView)> {
        self.0.iter().map(|(step, view)| (step, view.as_ref()))
    }

    pub(crate) fn insert(&mut self, step: StepId, view: StepView) {
        self.0.insert_mut(step, Arc::new(view));
    }

    pub(crate) fn remove(&mut self, step: &StepId) {
        self.0.remove_mut(step);
    }
}

impl StepContext {
    /// Records progress from which a next attempt may continue. It is durable on return.
    ///
    /// Each call costs a sync of the disk: ask [`StepContext::checkpoint_due`] first, except before a stop.
    ///
    /// # Errors
    /// [`STALE`] when the attempt is over, [`INTERRUPTED`] when this process no longer drives the run. Either way
    /// the action should end.
    pub async fn checkpoint(&self, progress: Value) -> Result<(), Failure> {
        // An undo that is cut off starts again from its beginning.
        if self.link.work == Work::Undo {
            return Ok(());
        }
        let stored = payload::store(&*self.link.journal, progress, payload::INLINE).await;
        let progress = stored.map_err(|error| {
            let code = if matches!(error, JournalError::DiskFull { .. }) {
                code::DISK_FULL
            } else {
                "journal"
            };
            Failure::transient(code, format!("record a checkpoint: {error}"))
        })?;
        self.note(Note::Checkpoint(progress)).await?;
        *self.link.last.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
        Ok(())
    }

    /// Records a program that the action has started and still holds. The action may let it run once this returns, and
    /// not before. A later attempt then begins only after that program is gone.
    ///
    /// While an action only looks at the world, this records nothing: such a program changes nothing.
    ///
    /// # Errors
    /// As [`StepContext::checkpoint`]; the action must then end the program.
    pub async fn child_started(&self, child: Child) -> Result<(), Failure> {
        match self.link.work {
            Work::Attempt | Work::Undo => self.note(Note::Child(child)).await,
            Work::Look => Ok(()),
        }
    }

    async fn note(&self, note: Note) -> Result<(), Failure> {
        let gone = || {
            Failure::transient(INTERRUPTED, "this process no longer drives the run").with_next(
                Action::Resume {
                    run: Some(self.run),
                    again: Again::Nothing,
                },
                "continues from the last checkpoint",
            )
        };
        let (done, answer) = oneshot::channel();
        let asked = Asked {
            step: self.step.id.clone(),
            attempt: self.attempt,
            note,
            done,
        };
        self.link.asking.send(asked).await.map_err(|_| gone())?;
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!(
                    "attempt {} of {} is over; it records nothing more",
                    self.attempt, self.step.id
                );
                Err(Failure::permanent(STALE, message))
            }
            Err(_) => Err(gone()),
        }
    }

    /// Returns whether a second has passed since the last checkpoint, or since the attempt began.
    pub fn checkpoint_due(&self) -> bool {
        let last = *self.link.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.now().since(&last).duration >= CHECKPOINT_EVERY
    }

    /// Says that the attempt has not stalled, when the action cannot say how far it is.
    pub fn alive(&self) {
        *self.link.sign.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.link.clock.now());
    }

    /// Waits until every copy of the run's journal that can be reached has all of it, and shows no takeover. Call it
    /// before an effect that a process which has lost the run must not have.
    ///
    /// If another host has taken the run over, it does not return: the driver drops the attempt.
    pub async fn barrier(&self) {
        self.look(Duration::ZERO).await;
    }

    /// Does what [`StepContext::barrier`] does, unless the last check is at most a second old. So frequent calls cost
    /// nothing. A process that was stopped for a while checks before it continues.
    pub async fn still_ours(&self) {
        self.look(STILL_OURS).await;
    }

    async fn look(&self, fresh: Duration) {
        if let Some(replica) = &self.link.replica
            && let Err(taken) = replica.barrier(self.run, fresh).await
        {
            tracing::debug!(%taken, step = %self.step.id, "the attempt waits to be dropped");
            std::future::pending::<()>().await;
        }
    }

    /// Returns the driver for runs beside this one, if the engine has one.
    pub fn sub_runs(&self) -> Option<Arc<dyn SubRuns>> {
        self.link.sub_runs.clone()
    }

    /// Says how far the attempt is, for progress bars, and that it has not stalled. It costs next to nothing, and
    /// nothing is journaled.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: Unit) {
        let told = Progress {
            run: self.run,
            step: self.step.id.clone(),
            done,
            total,
            unit,
        };
        self.alive();
        // Nobody may be listening.
        let _ = self.link.progress.send(told);
    }
}

impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}, {}, attempt {}", self.run, self.step.id, self.attempt)
    }
}

/// An attempt's way back to the driver of its run.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) asking: mpsc::Sender<Asked>,
    pub(crate) work: Work,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) sub_runs: Option<Arc<dyn SubRuns>>,
    pub(crate) replica: Option<Arc<dyn Replica>>,
    /// The driver's clock, even if the action is shown another one.
    pub(crate) clock: Arc<dyn Clock>,
    /// When the attempt last gave a sign of progress, unless the driver has taken that already.
    pub(crate) sign: Arc<Mutex<Option<Stamp>>>,
    /// When the attempt began or last recorded a checkpoint.
    pub(crate) last: Arc<Mutex<Stamp>>,
}

/// The purpose that an action was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// To do the step's work.
    Attempt,
    /// To undo the effects of another action.
    Undo,
    /// To look at the effects of an attempt.
    Look,
}

/// A record that an attempt can ask the driver to journal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    /// How far it is.
    Checkpoint(Payload),
    /// A program that it has started.
    Child(Child),
}

/// A note to be journaled.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) step: StepId,
    pub(crate) attempt: u32,
    pub(crate) note: Note,
    /// Receives true once the note is durable, false when the attempt is over.
    pub(crate) done: oneshot::Sender<bool>,
}
