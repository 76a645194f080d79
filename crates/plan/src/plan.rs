//! A plan: every step of a run, known before the first one starts, in an order in which they can run.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_model::id::StepId;
use rekindle_model::system::Period;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diagnostic::{Fault, suggest};
use crate::expr::Condition;

/// The inputs of a run. They are journaled, so that a resumed run expands to the same plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The workflow's parameters. Text is read as the parameter's type, so a command line's words will do.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// The values of each loop key, in order: names of components for `component`, of tiers for `tier`.
    #[serde(default)]
    pub loops: BTreeMap<String, Vec<String>>,
}

/// The key of a loop over one list of values.
pub const ITEM: &str = "item";

/// A workflow, validated and expanded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The workflow's name.
    pub workflow: String,
    /// What it does, for people.
    pub description: Option<String>,
    /// Parameters, with defaults applied and types checked.
    pub params: Map<String, Value>,
    /// How many steps may run at once, at least 1.
    pub max_parallel: usize,
    /// How long a run may take, from its creation or from when it was opened again; in a group, from when it gets the
    /// group's lock.
    #[serde(serialize_with = "period", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// The group of the run: of all runs of a group in a workspace, one is at work at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// The steps, each after the steps that it needs. Among those that could be next, the most urgent comes
    /// first.
    pub steps: Vec<PlanStep>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanStep {
    /// Its stable name: `restore[context_cache]`.
    pub id: StepId,
    /// The id of the step in the workflow file; `recovery` for a component's own recovery steps.
    pub template: String,
    /// Loop key to the value's name; a recovery step has `component` and `step`.
    pub each: BTreeMap<String, String>,
    /// In a loop over given values, this step's value; of a matrix, a map of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
    /// The action.
    pub uses: String,
    /// The action's parameters, unrendered.
    pub with: Value,
    /// The steps that end before it starts, in plan order, none twice.
    pub needs: Vec<StepId>,
    /// On which outcome of its needs it runs.
    pub run_if: RunIf,
    /// How often and when it is tried again.
    pub retry: Retry,
    /// How long one attempt may take.
    #[serde(serialize_with = "period")]
    pub timeout: Option<Duration>,
    /// How long all its attempts together may take, from the start of the first.
    #[serde(serialize_with = "period", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How long an attempt may run without a sign of progress.
    #[serde(serialize_with = "period", skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
    /// The group of the step: of all steps of a group in a workspace, one is at work at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// The action that undoes the step, unless the run succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Compensate>,
    /// Whether the run may succeed although the step fails: what needs it runs as if it had succeeded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_error: bool,
    /// After how many attempts in a row that were cut off without progress it fails, at least 1.
    #[serde(skip_serializing_if = "is_default_interruptions")]
    pub max_interruptions: u32,
    /// How many steps of its loop may be at work at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<usize>,
    /// When it runs once all steps have ended; none for an ordinary step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// The most urgent priority of the step and of those that depend on it; lower runs sooner.
    pub priority: i64,
}

/// How often a step may be cut off without progress, unless the workflow says otherwise: more often than a host is
/// rebooted or an owner is replaced during a step, and few enough that a step which ends its own owner fails soon.
pub(crate) const MAX_INTERRUPTIONS: u32 = 10;

fn is_default_interruptions(number: &u32) -> bool {
    *number == MAX_INTERRUPTIONS
}

/// On which end of a run a step of one of its lists of handlers runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// The run succeeded.
    OnSuccess,
    /// The run failed, or an undo is stuck.
    OnFailure,
    /// The run was cancelled.
    OnCancel,
    /// Always, after the other handlers.
    Finally,
}

impl Handler {
    /// Every list, in the order in which they run.
    pub(crate) const ALL: [Self; 4] = [Self::OnSuccess, Self::OnFailure, Self::OnCancel, Self::Finally];

    /// Returns the key of the list in a workflow file.
    pub fn key(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
            Self::OnCancel => "on_cancel",
            Self::Finally => "finally",
        }
    }
}

impl PlanStep {
    /// Returns the loop keys with their values, as expressions see them.
    pub fn each_values(&self) -> Value {
        let named = self.each.iter();
        let mut values: Map<String, Value> = named
            .map(|(key, name)| (key.clone(), name.as_str().into()))
            .collect();
        match &self.item {
            Some(item) if self.each.contains_key(ITEM) => drop(values.insert(ITEM.to_owned(), item.clone())),
            Some(Value::Object(matrix)) => values.extend(matrix.clone()),
            _ => {}
        }
        Value::Object(values)
    }
}

/// The action that undoes a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compensate {
    /// The action.
    pub uses: String,
    /// Its parameters, unrendered; `output` is the step's output.
    #[serde(default)]
    pub with: Value,
}

fn period<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(Period).serialize(serializer)
}

/// On which outcome of its needs a step runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunIf {
    /// All of them succeeded.
    #[default]
    Success,
    /// At least one of them failed.
    Failure,
    /// They have ended, in any way.
    Always,
    /// They have ended and this expression holds.
    Expr(Condition),
}

impl RunIf {
    /// Reads a condition as it is written in YAML.
    ///
    /// # Errors
    /// An unknown word, or an expression that does not parse.
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        match text.trim() {
            "success" => Ok(Self::Success),
            "failure" => Ok(Self::Failure),
            "always" => Ok(Self::Always),
            // One bare word would be an expression over an unknown name, and is a slip of the pen.
            word if word.chars().all(|c| c.is_alphanumeric() || c == '_') => Err(Fault {
                message: format!("unknown condition `{word}`"),
                help: suggest(word, &["success", "failure", "always"])
                    .map(|help| format!("{help} (or an expression)")),
            }),
            expression => match Condition::read(expression) {
                Ok(condition) => Ok(Self::Expr(condition)),
                Err(error) => Err(Fault {
                    message: error.to_string(),
                    help: error
                        .help()
                        .or_else(|| Some("write `success`, `failure`, `always` or an expression".to_owned())),
                }),
            },
        }
    }
}

/// How often and when a failed step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How many attempts in all, at least 1.
    pub max_attempts: u32,
    /// How long to wait between them.
    pub backoff: Backoff,
    /// Failure codes after which no attempt follows.
    pub non_retryable: Vec<String>,
    /// Failure codes that only a person can mend, such as `disk_full`. Once the attempts are used up, the run is
    /// interrupted and can be resumed; it does not go on without the step.
    pub interrupt_on: Vec<String>,
}

impl Default for Retry {
    /// One attempt.
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::default(),
            non_retryable: Vec::new(),
            interrupt_on: Vec::new(),
        }
    }
}

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// Before the second attempt.
    pub initial: Period,
    /// The factor between two waits, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Period,
    /// The share by which a wait varies at random either way, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    /// One second, doubling up to a minute, ±20 %: short for a busy file, kind to a service that is down.
    fn default() -> Self {
        Self {
            initial: Period(Duration::from_secs(1)),
            factor: 2.0,
            max: Period(Duration::from_secs(60)),
            jitter: 0.2,
        }
    }
}
