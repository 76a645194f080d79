//! An unfinished run in a few words: its progress, its work now, and the people it waits for.

use chrono::{DateTime, Utc};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, Again, NextAction};
use rekindle_model::step::StepState;
use rekindle_plan::Plan;
use serde::Serialize;

use crate::evidence::Evidence;

/// A run without an end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// When it was created.
    pub began: DateTime<Utc>,
    /// Whether a process drives it now; none if another process owns the workspace and does not say.
    pub driven: Option<bool>,
    /// Its steps; none if its workflow cannot be read.
    pub steps: Option<StepCount>,
    /// The steps that have begun and not ended, without those that wait for a person.
    pub at_work: Vec<StepId>,
    /// The steps that wait for a person, each with its question.
    pub waiting: Vec<Question>,
    /// The person who paused it.
    pub paused: Option<String>,
    /// The other workspace that drives it, if any.
    pub elsewhere: Option<Elsewhere>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepCount {
    /// How many steps have ended.
    pub done: usize,
    /// How many there are.
    pub total: usize,
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The step that waits for the answer.
    pub step: StepId,
    /// The question.
    pub prompt: String,
}

/// Another workspace, which has taken a run over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Elsewhere {
    /// Its host.
    pub host: String,
    /// Its id.
    pub workspace: String,
    /// Since when it is known to have the run.
    pub since: Option<DateTime<Utc>>,
    /// Takes the run back.
    pub adopt: Action,
    /// Whether this workspace was taking the run back and was cut off.
    pub adopting: bool,
}

impl Elsewhere {
    /// Returns the workspace's name, for the middle of a sentence.
    pub fn named(&self) -> String {
        let since = self
            .since
            .map(|at| format!(" since {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
        let adopting = match self.adopting {
            true => ", from where an adoption by this workspace was cut off",
            false => "",
        };
        format!(
            "host {} (workspace {}){}{adopting}",
            self.host,
            self.workspace,
            since.unwrap_or_default()
        )
    }
}

impl Unfinished {
    /// Returns the summary of a run's records.
    pub fn of(evidence: &Evidence, plan: Option<&Plan>, driven: Option<bool>) -> Self {
        let state = &evidence.state;
        let ended = |step| state.step(step).state.is_final();
        let asked = state.steps.iter().filter_map(|(step, record)| {
            record.awaits()?;
            let prompt = record.approval.as_ref().map(|asked| asked.prompt.clone());
            Some(Question {
                step: step.clone(),
                prompt: prompt.unwrap_or_default(),
            })
        });
        let at_work = state
            .steps
            .iter()
            .filter(|(_, record)| record.state == StepState::Running && record.awaits().is_none());
        Self {
            run: state.id,
            workflow: state.workflow.clone(),
            began: state.created.utc,
            driven,
            steps: plan.map(|plan| {
                let done = plan.steps.iter().filter(|step| ended(&step.id)).count();
                let total = plan.steps.len();
                StepCount { done, total }
            }),
            at_work: at_work.map(|(step, _)| step.clone()).collect(),
            waiting: asked.collect(),
            paused: state.paused.as_ref().map(|paused| paused.by.clone()),
            elsewhere: None,
        }
    }

    /// Returns whether no process drives it, so that it can be resumed.
    pub fn is_interrupted(&self) -> bool {
        self.driven == Some(false) && self.elsewhere.is_none()
    }

    /// Returns the actions that the run waits for; if it waits for none, the action that watches it.
    pub fn next(&self) -> Vec<NextAction> {
        let run = self.run;
        if let Some(elsewhere) = &self.elsewhere {
            return vec![NextAction::new(
                elsewhere.adopt.clone(),
                format!("takes it back, once host {} does not work on it", elsewhere.host),
            )];
        }
        let asked = self.waiting.iter().map(|Question { step, prompt }| {
            let step = step.clone();
            NextAction::new(Action::Approve { run, step }, format!("answers: {prompt}"))
        });
        let mut next: Vec<NextAction> = asked.collect();
        let action = match (self.is_interrupted(), &self.paused) {
            // It takes a pause back.
            (true, _) => Action::Resume {
                run: Some(run),
                again: Again::Nothing,
            },
            (false, Some(_)) => Action::Unpause { run: Some(run) },
            (false, None) => Action::Watch { run },
        };
        next.push(action.into());
        next
    }
}
