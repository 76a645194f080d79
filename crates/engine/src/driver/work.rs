//! The work of one task for one step: an attempt, a reconciliation, a recheck or an undo.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle_journal::JournalError;
use rekindle_model::event::{Measures, Payload};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::StepId;
use rekindle_model::planted::{self, Fault};
use rekindle_model::process::Child;
use rekindle_model::time::Stamp;
use rekindle_plan::PlanStep;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::action::{Action, Output, Reconciled};
use crate::context::{Asked, Link, StepContext, Work};
use crate::machine::{Ending, Found, Input, Machine, Undone};
use crate::nest;
use crate::orphans;
use crate::payload::{self, LoadError};
use crate::shared::Shared;

/// The step, the attempt and the kind of work of a task.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) step: StepId,
    pub(super) attempt: u32,
    pub(super) task: Task,
}

#[derive(Clone, Debug)]
pub(super) enum Task {
    Run {
        checkpoint: Option<Payload>,
        children: Vec<Child>,
    },
    Reconcile {
        checkpoint: Option<Payload>,
        children: Vec<Child>,
    },
    Recheck {
        output: Value,
    },
    Undo {
        children: Vec<Child>,
    },
}

/// The signals between the driver and an attempt.
#[derive(Clone)]
pub(super) struct Reins {
    /// Asks the attempt to end.
    pub(super) stop: CancellationToken,
    /// Says, beside `stop`, that no later attempt will continue this one.
    pub(super) given_up: CancellationToken,
    /// When the attempt last gave a sign of progress.
    pub(super) sign: Arc<Mutex<Option<Stamp>>>,
}

/// The result of a task: an input for the machine, or the journal's error when it could not store an output.
pub(super) type Report = Result<Input, JournalError>;

/// Returns the context that the action sees.
pub(super) fn context(
    shared: &Shared,
    machine: &Machine,
    step: PlanStep,
    job: &Job,
    with: Value,
    Reins { stop, given_up, sign }: Reins,
    asking: mpsc::Sender<Asked>,
) -> StepContext {
    let state = machine.state();
    StepContext {
        run: state.id,
        step: Arc::new(step),
        attempt: job.attempt,
        with,
        disaster_at: state.disaster_at,
        disaster_at_told: state.disaster_at_told,
        clock: Arc::clone(&shared.clock),
        stop,
        given_up,
        steps: machine.views().clone(),
        link: Link {
            journal: Arc::clone(&shared.journal),
            asking,
            work: match job.task {
                Task::Run { .. } => Work::Attempt,
                Task::Undo { .. } => Work::Undo,
                Task::Reconcile { .. } | Task::Recheck { .. } => Work::Look,
            },
            progress: shared.progress.clone(),
            clock: Arc::clone(&shared.clock),
            sign,
            sub_runs: shared.sub_runs.clone(),
            replica: shared.replica.clone(),
            last: Arc::new(Mutex::new(shared.clock.now())),
        },
    }
}

/// Does the work and says how it ended.
pub(super) async fn perform(shared: Arc<Shared>, cx: StepContext, task: Task) -> Report {
    let (step, attempt) = (cx.step.id.clone(), cx.attempt);
    match task {
        Task::Run { checkpoint, children } => {
            let ending = run(&shared, &cx, checkpoint, &children).await?;
            Ok(Input::Ended {
                step,
                attempt,
                ending,
            })
        }
        Task::Reconcile { checkpoint, children } => {
            let found = reconcile(&shared, &cx, checkpoint, &children).await?;
            Ok(Input::Reconciled { step, found })
        }
        Task::Undo { children } => {
            let ending = undo(&shared, &cx, &children).await;
            Ok(Input::Undone {
                step,
                attempt,
                ending,
            })
        }
        Task::Recheck { output } => {
            let gone = recheck(&shared, &cx, &output).await;
            Ok(Input::Rechecked { step, gone })
        }
    }
}

/// Returns the input that follows for a step when its task panicked.
pub(super) fn broken(job: Job, error: JoinError) -> Input {
    let Job { step, attempt, task } = job;
    let why = match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!(
                "the action of {step} panicked: {}",
                text.as_deref().unwrap_or("it left no message")
            )
        }
        Err(error) => format!("the action of {step} was lost: {error}"),
    };
    let failure = Failure::permanent(code::INTERNAL, why)
        .with_hint("this is a defect of Rekindle; please report it with the history of the run");
    match task {
        Task::Run { .. } => Input::Ended {
            step,
            attempt,
            ending: Ending::Failed(failure),
        },
        Task::Reconcile { .. } => Input::Reconciled {
            step,
            found: Found::Failed(failure),
        },
        Task::Undo { .. } => Input::Undone {
            step,
            attempt,
            ending: Undone::Failed(failure),
        },
        Task::Recheck { .. } => {
            tracing::warn!(%step, why = failure.message, "could not be rechecked");
            Input::Rechecked { step, gone: None }
        }
    }
}

async fn run(
    shared: &Shared,
    cx: &StepContext,
    checkpoint: Option<Payload>,
    children: &[Child],
) -> Result<Ending, JournalError> {
    let (action, checkpoint) = match prepare(shared, cx, checkpoint).await {
        Ok(prepared) => prepared,
        Err(failure) => return Ok(Ending::Failed(failure)),
    };
    if planted::is(Fault::OutcomeBeforeEffect) {
        let (late, action) = (cx.clone(), Arc::clone(&action));
        tokio::spawn(async move { action.run(&late, checkpoint).await });
        return Ok(Ending::Succeeded {
            output: Payload::NONE,
            value: Value::Null,
            measures: Measures::new(),
        });
    }
    let work = async {
        cx.still_ours().await;
        orphans::end(children).await?;
        action.run(cx, checkpoint).await
    };
    // The run that a given-up step waits for is cancelled, and may have steps to undo and handlers to run first.
    let may_drop = || !(nest::nests(&cx.step) && cx.given_up.is_cancelled());
    match until_dropped_if(&cx.stop, shared.grace, may_drop, work).await {
        None => Ok(Ending::Dropped),
        Some(Err(failure)) => Ok(Ending::Failed(failure)),
        Some(Ok(Output { value, measures })) => {
            let (measures, limit) = payload::fit_measures(measures);
            let output = payload::store(&*shared.journal, value.clone(), limit).await?;
            Ok(Ending::Succeeded {
                output,
                value,
                measures,
            })
        }
    }
}

async fn undo(shared: &Shared, cx: &StepContext, children: &[Child]) -> Undone {
    let action = match known(shared, &cx.step) {
        Ok(action) => action,
        Err(failure) => return Undone::Failed(failure),
    };
    let work = async {
        cx.still_ours().await;
        orphans::end(children).await?;
        action.run(cx, None).await
    };
    match until_dropped(&cx.stop, shared.grace, work).await {
        None => Undone::Dropped,
        Some(Err(failure)) => Undone::Failed(failure),
        Some(Ok(_)) => Undone::Succeeded,
    }
}

async fn reconcile(
    shared: &Shared,
    cx: &StepContext,
    checkpoint: Option<Payload>,
    children: &[Child],
) -> Result<Found, JournalError> {
    let (action, checkpoint) = match prepare(shared, cx, checkpoint).await {
        Ok(prepared) => prepared,
        Err(failure) => return Ok(Found::Failed(failure)),
    };
    let work = async {
        let found = orphans::end(children).await?;
        Ok((action.reconcile(cx, checkpoint.as_ref()).await?, found))
    };
    let (reconciled, found) = match until_dropped(&cx.stop, shared.grace, work).await {
        None => return Ok(Found::Dropped),
        Some(Err(failure)) => return Ok(Found::Failed(failure)),
        Some(Ok(looked)) => looked,
    };
    match reconciled {
        Reconciled::Continue { evidence } => Ok(Found::Continue {
            evidence: orphans::with_found(evidence, found),
        }),
        Reconciled::Redo { evidence } => Ok(Found::Redo {
            evidence: orphans::with_found(evidence, found),
        }),
        Reconciled::Complete {
            output: Output { value, measures },
            evidence,
        } => {
            let (measures, limit) = payload::fit_measures(measures);
            let output = payload::store(&*shared.journal, value.clone(), limit).await?;
            Ok(Found::Complete {
                output,
                value,
                measures,
                evidence: orphans::with_found(evidence, found),
            })
        }
    }
}

/// Returns why the artefact is gone, if it is. If the action cannot find out, the artefact counts as present, and a
/// later step finds a missing one.
async fn recheck(shared: &Shared, cx: &StepContext, output: &Value) -> Option<String> {
    let action = known(shared, &cx.step).ok()?;
    match until_dropped(&cx.stop, shared.grace, action.recheck(cx, output)).await? {
        Ok(gone) => gone,
        Err(failure) => {
            tracing::warn!(run = %cx.run, step = %cx.step.id, %failure, "could not be rechecked");
            None
        }
    }
}

async fn prepare(
    shared: &Shared,
    cx: &StepContext,
    checkpoint: Option<Payload>,
) -> Result<(Arc<dyn Action>, Option<Value>), Failure> {
    let action = known(shared, &cx.step)?;
    let checkpoint = match checkpoint {
        None => None,
        Some(payload) => Some(
            payload::load(&*shared.journal, &payload)
                .await
                .map_err(unreadable)?,
        ),
    };
    Ok((action, checkpoint))
}

fn unreadable(error: LoadError) -> Failure {
    Failure::permanent(
        "checkpoint_unreadable",
        format!("read the step's last checkpoint: {error}"),
    )
    .with_hint("restore the workspace's blobs from a copy")
}

fn known(shared: &Shared, step: &PlanStep) -> Result<Arc<dyn Action>, Failure> {
    shared.registry.get(&step.uses).map(Arc::clone).ok_or_else(|| {
        Failure::permanent(
            "unknown_action",
            format!("{} uses {:?}, which this Rekindle has not", step.id, step.uses),
        )
        .with_hint("continue with the version that the run began with")
    })
}

/// Returns the result of the work. If the work continues past the grace period after a stop, drops it and returns none.
async fn until_dropped<T>(
    stop: &CancellationToken,
    grace: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    until_dropped_if(stop, grace, || true, work).await
}

/// Does what [`until_dropped`] does, but lets the work end by itself if it may not be dropped once the period is over.
async fn until_dropped_if<T>(
    stop: &CancellationToken,
    grace: Duration,
    may_drop: impl Fn() -> bool,
    work: impl Future<Output = T>,
) -> Option<T> {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
        if !may_drop() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = overdue => None,
    }
}
