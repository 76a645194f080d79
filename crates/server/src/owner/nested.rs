//! Runs that a step of another run has started. The same owner drives them, beside that run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rekindle_engine::{Ask, INTERRUPTED, NewRun, Request, SubEnd, SubRun, SubRuns, WaitingStep};
use rekindle_journal::JournalError;
use rekindle_model::event::Payload;
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::next_action::{Action, Again};
use rekindle_model::origin::Trigger;
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use serde_json::Value;

use super::{Driven, Owner, Purpose, RunSpec, ended};
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
        Ok(Ok(self.drive(run, ready)))
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
        let cancel = Request {
            by: format!("run {}", waiting.step.run),
            note: Some(format!("its step {} was given up", waiting.step.step)),
            ask: Ask::Cancel,
        };
        if let Err(problem) = self.request(run, cancel).await {
            // The run has ended, or another request came first.
            tracing::debug!(%run, %problem, "was not cancelled");
        }
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

    async fn create(&self, new: SubRun) -> Result<(), Failure> {
        let _admitted = self.shared.admission.enter().await;
        self.shared.admit().map_err(failure)?;
        let (parent, _) = self.parts(new.parent.run).await.map_err(failure)?;
        let parts = RunSpec {
            workflow: new.workflow,
            definition: new.definition.into_bytes(),
            system: parent.system,
            inputs: new.inputs,
        };
        let ready = self.ready(&parts, Purpose::Nest).await.map_err(failure)?;
        let created = NewRun {
            workflow: parts.workflow,
            kind: new.kind,
            definition: parts.definition,
            system: parts.system,
            inputs: parts.inputs,
            trigger: Trigger::Parent(new.parent),
            disaster_at: new.disaster_at,
            disaster_at_told: new.disaster_at_told,
        };
        let created = ready.engine.create_below(new.run, created).await;
        created.map_err(|error| failure(self.shared.factory.problem(error)))?;
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
