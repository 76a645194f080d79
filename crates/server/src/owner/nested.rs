//! Runs that a step of another run has started. The same owner drives them, beside that run.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rekindle_engine::{Ask, INTERRUPTED, NewRun, Request, SubEnd, SubRun, SubRuns, WaitingStep};
use rekindle_journal::{JournalError, RunFilter, RunSummary};
use rekindle_model::event::{Outcome, Payload};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, Again};
use rekindle_model::origin::{Origin, Parent, Trigger};
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use serde_json::Value;

use super::{Driven, Owner, Purpose, Ready, RunSpec, ended};
use crate::api::{End, STOPPING};
use crate::run_service::RunService;

impl Owner {
    /// Refuses a run that its parent will continue: two drivers would only get in each other's way. If the parent has
    /// ended, returns the request that cancels this run: after a crash, a parent can end without a cancel of this run.
    /// Returns no request if this run has ended, is cancelled, or was opened again since.
    pub(super) async fn given_up_by(&self, state: &RunState) -> Result<Option<Request>, Problem> {
        let Some(parent) = state.parent() else {
            return Ok(None);
        };
        // If the parent is lost, only this run is left to continue.
        let Ok(records) = self.shared.journal.read(parent.run).await else {
            return Ok(None);
        };
        let Ok(around) = RunState::from_records(&records) else {
            return Ok(None);
        };
        if around.outcome.is_none() {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "nested",
                format!(
                    "run {} belongs to step {} of run {}, which has not ended",
                    state.id, parent.step, parent.run
                ),
            )
            .with_next(
                Action::Resume {
                    run: Some(parent.run),
                    again: Again::Nothing,
                },
                "continues both",
            ));
        }
        let goes_on = state.outcome.is_some() || state.reopened.is_some() || state.cancel.is_some();
        Ok((!goes_on).then(|| Request {
            by: format!("run {}", parent.run),
            note: Some(format!("it is over, and its step {} was given up", parent.step)),
            ask: Ask::Cancel,
        }))
    }

    /// Returns the run if the owner drives it. If no process drives it, adopts it. If the run has ended,
    /// returns its state.
    async fn taken_up(&self, run: RunId, by: RunId) -> Result<Result<Driven, RunState>, Problem> {
        let _alone = self.shared.admission.alone_with(run).await;
        if let Some(driven) = self.driven(run) {
            return Ok(Ok(driven));
        }
        let (parts, state) = self.parts(run).await?;
        if state.outcome.is_some() {
            return Ok(Err(state));
        }
        self.shared.admit()?;
        let ready = self.ready(&parts, Purpose::Adopt(&state)).await?;
        let adopted = ready.engine.adopt(run, &format!("run {by} was resumed")).await;
        adopted.map_err(|error| self.shared.factory.problem(error))?;
        Ok(Ok(self.drive_adopted(&state, ready).await))
    }

    /// Drives a run that it has adopted. If the run ends early, it gives up its steps that wait for other runs, and
    /// those runs end first.
    pub(super) async fn drive_adopted(&self, state: &RunState, ready: Ready) -> Driven {
        let run = state.id;
        if state.cancel.is_none() && state.expired.is_none() {
            return self.drive(run, ready);
        }
        let is_step = |step: &StepId| {
            let planned = ready.plan.steps.iter().find(|planned| planned.id == *step);
            planned.is_some_and(|planned| planned.handler.is_none())
        };
        let given_up: Vec<(RunId, StepId)> = self
            .unfinished_below(run)
            .await
            .into_iter()
            .filter(|(_, step)| is_step(step))
            .collect();
        let owner = self.clone();
        self.drive_after(run, ready, async move {
            for (inner, step) in given_up {
                owner.clone().end_given_up(inner, Parent { run, step }).await;
            }
            Ok(())
        })
    }

    /// Cancels a run that a step waited for, and waits for its end. That run may have given up runs in turn.
    fn end_given_up(self, run: RunId, step: Parent) -> BoxFuture<'static, ()> {
        let ended = async move {
            self.give_up(run, &step).await;
            match self.taken_up(run, step.run).await {
                Ok(Ok(mut driven)) => drop(ended(&mut driven.end).await),
                Ok(Err(_)) => {}
                Err(problem) => tracing::warn!(%run, %problem, "cannot be ended"),
            }
        };
        ended.boxed()
    }

    async fn give_up(&self, run: RunId, step: &Parent) {
        if self.state(run).await.is_ok_and(|state| state.cancel.is_some()) {
            return;
        }
        let cancel = Request {
            by: format!("run {}", step.run),
            note: Some(format!("its step {} was given up", step.step)),
            ask: Ask::Cancel,
        };
        if let Err(problem) = self.request(run, cancel).await {
            // The run has ended, or another request came first.
            tracing::debug!(%run, %problem, "was not cancelled");
        }
    }

    async fn state(&self, run: RunId) -> Result<RunState, Problem> {
        RunState::from_records(&self.read(run).await?)
            .map_err(|error| self.shared.factory.problem(error.into()))
    }

    /// Returns the runs that steps of a run began, newest first.
    async fn below(&self, run: RunId, finished: Option<bool>) -> Vec<(RunSummary, StepId)> {
        let filter = RunFilter {
            finished,
            ..RunFilter::default()
        };
        let runs = self.shared.journal.runs(&filter).await.unwrap_or_else(|error| {
            tracing::warn!(%run, %error, "the runs below it cannot be listed");
            Vec::new()
        });
        let of = |found: RunSummary| {
            let step = found.parent().filter(|parent| parent.run == run)?.step.clone();
            Some((found, step))
        };
        runs.into_iter().filter_map(of).collect()
    }

    /// Returns the unfinished runs that steps of a run began.
    pub(super) async fn unfinished_below(&self, run: RunId) -> Vec<(RunId, StepId)> {
        let below = self.below(run, Some(false)).await.into_iter();
        below.map(|(found, step)| (found.run, step)).collect()
    }

    /// Makes a request to a run and to the runs below it.
    pub(super) async fn request_with_those_below(&self, run: RunId, request: Request) -> Result<(), Problem> {
        match &request.ask {
            Ask::Pause => {
                // A run that is created below it from now on is paused at its creation.
                self.request_alone(run, request.clone()).await?;
                self.pass_on(run, &request).await;
                Ok(())
            }
            Ask::Unpause => {
                let paused = self.state(run).await?.paused.is_some();
                let passed_on = self.pass_on(run, &request).await;
                match passed_on && !paused {
                    true => Ok(()),
                    false => self.request_alone(run, request).await,
                }
            }
            Ask::Cancel => {
                // The first cancel reaches them as their steps end.
                let again = self.state(run).await?.cancel.is_some();
                self.request_alone(run, request.clone()).await?;
                if again {
                    self.pass_on(run, &request).await;
                }
                Ok(())
            }
            Ask::RetryFailed => {
                self.open_failed_below(run, &request).await?;
                self.request_alone(run, request).await
            }
            Ask::Approve { .. } | Ask::Reject { .. } | Ask::Retry { .. } | Ask::Skip { .. } => {
                self.request_alone(run, request).await
            }
        }
    }

    /// Makes the same request to the unfinished runs below a run. Returns whether one of them took it.
    async fn pass_on(&self, run: RunId, request: &Request) -> bool {
        let mut taken = false;
        for (inner, _) in self.unfinished_below(run).await {
            match self.request(inner, request.clone()).await {
                Ok(()) => taken = true,
                // It has ended, or is in that state already.
                Err(problem) => {
                    tracing::debug!(run = %inner, %problem, "a request to the run around it does not fit")
                }
            }
        }
        taken
    }

    /// Opens the last runs of failed steps again, so that the next attempts of these steps continue them.
    async fn open_failed_below(&self, run: RunId, request: &Request) -> Result<(), Problem> {
        let state = self.state(run).await?;
        let stuck = state.steps.values().any(|step| step.stuck().is_some());
        if stuck || (state.outcome.is_none() && state.cancel.is_some()) {
            return Ok(());
        }
        let below = self.below(run, None).await;
        for (step, record) in &state.steps {
            let fell = matches!(record.state, StepState::Failed { .. });
            let Some((last, _)) = below.iter().find(|(_, of)| fell && of == step) else {
                continue;
            };
            if last.outcome.is_none_or(|outcome| outcome == Outcome::Succeeded) {
                continue;
            }
            if let Err(problem) = self.request(last.run, request.clone()).await {
                // Then the step begins another run.
                tracing::debug!(run = %last.run, %problem, "was not opened again");
            }
        }
        Ok(())
    }

    /// Waits for a run's end. If the step is stopped, stops the run. If the step is given up, cancels the run.
    async fn wait_for(&self, run: RunId, mut driven: Driven, waiting: &WaitingStep) -> Option<End> {
        tokio::select! {
            end = ended(&mut driven.end) => return end,
            () = waiting.stop.cancelled() => {}
        }
        if !waiting.given_up.is_cancelled() {
            driven.stop.cancel();
            tokio::select! {
                end = ended(&mut driven.end) => return end,
                () = waiting.given_up.cancelled() => {}
            }
        }
        self.give_up(run, &waiting.step).await;
        ended(&mut driven.end).await
    }

    async fn end_of(&self, state: RunState) -> Result<SubEnd, Failure> {
        let mut outputs = BTreeMap::new();
        for (step, record) in &state.steps {
            if let StepState::Succeeded { output, .. } = &record.state {
                let value = match output {
                    Payload::Inline(value) => value.clone(),
                    Payload::Blob(hash) => {
                        let bytes = self.shared.journal.blob(*hash).await.map_err(journal)?;
                        serde_json::from_slice::<Value>(&bytes).map_err(|error| {
                            let message = format!("read what {step} of run {} gave: {error}", state.id);
                            Failure::permanent("journal", message)
                        })?
                    }
                };
                outputs.insert(step.clone(), value);
            }
        }
        Ok(SubEnd { state, outputs })
    }
}

#[async_trait]
impl SubRuns for Owner {
    async fn exists(&self, run: RunId) -> Result<bool, Failure> {
        match self.shared.journal.read(run).await {
            Ok(_) => Ok(true),
            Err(JournalError::UnknownRun { .. }) => Ok(false),
            Err(error) => Err(journal(error)),
        }
    }

    async fn unfinished_of(&self, step: &Parent) -> Result<Option<RunId>, Failure> {
        let below = self.unfinished_below(step.run).await;
        Ok(below
            .into_iter()
            .find(|(_, of)| *of == step.step)
            .map(|(run, _)| run))
    }

    async fn create(&self, new: SubRun) -> Result<(), Failure> {
        let _admitted = self.shared.admission.enter().await;
        self.shared.admit().map_err(failure)?;
        let around = new.parent.run;
        let (parent, _) = self.parts(around).await.map_err(failure)?;
        let parts = RunSpec {
            workflow: new.workflow,
            definition: new.definition.into_bytes(),
            system: parent.system,
            inputs: new.inputs,
            origin: Origin {
                kind: new.kind,
                trigger: Trigger::Parent(new.parent),
            },
        };
        let ready = self.ready(&parts, Purpose::Nest).await.map_err(failure)?;
        let created = NewRun {
            workflow: parts.workflow,
            kind: parts.origin.kind,
            definition: parts.definition,
            system: parts.system,
            inputs: parts.inputs,
            trigger: parts.origin.trigger,
            disaster_at: new.disaster_at,
            disaster_at_told: new.disaster_at_told,
        };
        let created = ready.engine.create_below(new.run, created).await;
        created.map_err(|error| failure(self.shared.factory.problem(error)))?;
        // A person may have paused the run around it just before.
        if let Some(paused) = self.state(around).await.map_err(failure)?.paused {
            let pause = Request {
                by: paused.by,
                note: paused.why,
                ask: Ask::Pause,
            };
            let plan = Arc::clone(&ready.plan);
            let paused = ready.engine.request(new.run, plan, pause).await;
            paused.map_err(|error| failure(self.shared.factory.problem(error)))?;
        }
        self.drive_new(new.run, ready);
        Ok(())
    }

    async fn drive(&self, run: RunId, waiting: &WaitingStep) -> Result<SubEnd, Failure> {
        let driven = match self.taken_up(run, waiting.step.run).await.map_err(failure)? {
            Ok(driven) => driven,
            Err(over) => return self.end_of(over).await,
        };
        match self.wait_for(run, driven, waiting).await {
            Some(End::Finished(_)) => {
                let (_, state) = self.parts(run).await.map_err(failure)?;
                self.end_of(state).await
            }
            Some(End::Interrupted) | None => Err(Failure::transient(
                INTERRUPTED,
                format!("run {run} was interrupted; both are resumed together"),
            )),
            Some(End::Broken(problem)) => Err(failure(problem)),
        }
    }
}

/// Returns a problem as the failure of the step that hit it.
fn failure(problem: Problem) -> Failure {
    let code = match &*problem.code {
        // This owner accepts no more runs; the next owner continues.
        STOPPING => INTERRUPTED,
        code => code,
    };
    Failure {
        next: problem.next.into_iter().map(Into::into).collect(),
        ..Failure::transient(code, problem.message)
    }
}

fn journal(error: JournalError) -> Failure {
    Failure::transient("journal", error.to_string())
}
