//! A workflow file: parameters and step templates, before any loop is expanded. [`keys`] describes every key;
//! [`short_forms`] writes out what people may write short; [`steps`] judges the steps together; [`hooks`] adds a
//! system's own handlers.

pub(crate) mod for_each;
pub(crate) mod hooks;
#[rustfmt::skip] // a key a line
pub(crate) mod keys;
pub(crate) mod short_forms;
mod steps;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::system::Period;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::catalog::OF_A_SYSTEM;
use crate::diagnostic::{Diagnostics, Severity, Sink, SourceText};
use crate::numbers;
use crate::origin::Origin;
use crate::plan::{Compensate, Handler, Retry, RunIf};
use crate::read;
use crate::shell_code;
use crate::typed::typed;
use crate::yaml::{self, Node};

pub use for_each::ForEach;
pub use hooks::Hooks;

/// The template name of components' own recovery steps; no step of a file may have it.
pub const RECOVERY: &str = "recovery";

/// The loop keys whose values are in a system.
const OF_LOOPS: [&str; 2] = ["component", "tier"];

/// A workflow as written.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What it does, for people.
    pub description: Option<String>,
    /// The parameters it takes, by name.
    pub params: BTreeMap<String, ParamSpec>,
    /// How many steps may run at once, at least 1.
    pub max_parallel: usize,
    /// How long a run may take; the wait for its group's lock does not count.
    pub deadline: Option<Duration>,
    /// The group of its runs: of all runs of a group in a workspace, one is at work at a time.
    pub concurrency: Option<String>,
    /// How long all attempts of a handler together may take, unless the handler has a `deadline` of its own.
    pub handler_timeout: Duration,
    /// Its steps, in the order of the file, then the handlers: `on_success`, `on_failure`, `on_cancel`, `finally`.
    pub steps: Vec<StepTemplate>,
    pub(crate) origin: Arc<Origin>,
}

/// A parameter of a workflow.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// Its value in a run that gives none; without one the parameter must be given.
    pub default: Option<Value>,
    /// What it means, for people.
    pub description: Option<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list, or the word `all`; from text, split at commas.
    List,
    /// A length of time, kept as text such as `15m`.
    Duration,
}

impl ParamKind {
    /// The names of all types in YAML, in the order in which they are declared.
    pub(crate) const NAMES: [&str; 6] = ["string", "integer", "number", "boolean", "list", "duration"];

    /// Returns its name in YAML.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Returns the value as this type, or nothing if it is of another. Text is read as the type is written.
    pub fn accept(self, value: &Value) -> Option<Value> {
        if let (Value::String(text), true) = (value, self != Self::String) {
            let text = text.trim();
            return match self {
                Self::Integer => numbers::whole(text).map(Value::Number),
                Self::Number => numbers::number(text).map(Value::Number),
                Self::Boolean => text.parse::<bool>().ok().map(Value::Bool),
                Self::List if text == "all" => Some(Value::from("all")),
                Self::List => Some(
                    text.split(',')
                        .map(str::trim)
                        .filter(|item| !item.is_empty())
                        .collect(),
                ),
                Self::Duration => text
                    .parse::<Period>()
                    .ok()
                    .map(|period| Value::String(period.to_string())),
                Self::String => None,
            };
        }
        let fits = match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Duration => false,
        };
        fits.then(|| value.clone())
    }
}

/// A step as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTemplate {
    /// Its id.
    pub id: String,
    /// What it is for, for people.
    pub description: Option<String>,
    /// What it loops over.
    #[serde(default)]
    pub for_each: ForEach,
    /// The ids of steps that end before it starts.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The action.
    pub uses: String,
    /// The action's parameters, unrendered.
    #[serde(default)]
    pub with: Value,
    /// On which outcome of its needs it runs.
    #[serde(default, deserialize_with = "run_if")]
    pub run_if: RunIf,
    /// How often and when it is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How long one attempt may take.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How long all its attempts together may take, from the start of the first.
    #[serde(default, deserialize_with = "duration")]
    pub deadline: Option<Duration>,
    /// How long an attempt may run without a sign of progress.
    #[serde(default, deserialize_with = "duration")]
    pub stall_timeout: Option<Duration>,
    /// The group of the step: of all steps of a group in a workspace, one is at work at a time.
    pub concurrency: Option<String>,
    /// Whether the run may succeed although the step fails.
    #[serde(default)]
    pub continue_on_error: bool,
    /// After how many attempts in a row that were cut off without progress it fails.
    pub max_interruptions: u32,
    /// How many steps of its loop may be at work at once.
    pub max_parallel: Option<usize>,
    /// The action that undoes it.
    pub compensate: Option<Compensate>,
    /// The list of handlers that it is in; none for an ordinary step.
    #[serde(skip)]
    pub handler: Option<Handler>,
    /// The system's file with its `hooks`, if the step is one of them.
    #[serde(skip)]
    hook_of: Option<Arc<Origin>>,
    /// Its number in its list.
    #[serde(skip)]
    place: String,
}

/// Reads a workflow; `name` is the file's, for diagnostics.
///
/// # Errors
/// All faults of the file at once, each with its place.
pub fn load_workflow(name: &str, text: &str) -> Result<Workflow, Diagnostics> {
    match read_workflow(name, text) {
        (found, Some(workflow)) if !found.has_errors() => Ok(workflow),
        (found, _) => Err(found),
    }
}

/// Reads a workflow. Returns all faults of the file, and the part of the workflow that is whole, so that
/// later checks can judge it.
pub fn read_workflow(name: &str, text: &str) -> (Diagnostics, Option<Workflow>) {
    let source = SourceText::new(name, text);
    let mut sink = Sink::new(&source);
    let root = yaml::read(text, &mut sink).and_then(|root| {
        shell_code::check(&root, &mut sink);
        let mut root = read::root(root, keys::WORKFLOW, &mut sink)?;
        short_forms::write_out(&mut root, &mut sink);
        Some(root)
    });
    let file = root.as_ref().and_then(|root| {
        let mut file: File = typed(root, &mut sink)?;
        check_params(root, &mut file.params, &mut sink);
        file.steps.append(&mut handlers(root, &mut sink)?);
        steps::check(root, &mut file.steps, &mut sink);
        Some(file)
    });
    let found = sink.finish();
    let (Some(root), Some(file)) = (root, file) else {
        return (found, None);
    };
    let workflow = Workflow {
        name: file.workflow,
        description: file.description,
        params: file.params,
        max_parallel: file.max_parallel,
        deadline: file.deadline,
        concurrency: file.concurrency,
        handler_timeout: file.handler_timeout.0,
        steps: file.steps,
        origin: Arc::new(Origin { source, root }),
    };
    (found, Some(workflow))
}

/// Reads the handlers of a workflow, or of a system's `hooks`.
fn handlers(root: &Node, sink: &mut Sink<'_>) -> Option<Vec<StepTemplate>> {
    let Handlers {
        on_success,
        on_failure,
        on_cancel,
        finally,
    } = typed(root, sink)?;
    let lists = [on_success, on_failure, on_cancel, finally];
    let of = |(handler, mut list): (Handler, Vec<StepTemplate>)| {
        list.iter_mut().for_each(|step| step.handler = Some(handler));
        list
    };
    Some(Handler::ALL.into_iter().zip(lists).flat_map(of).collect())
}

/// The parts of a workflow file that are no handlers. The table of keys has refused all others.
#[derive(Deserialize)]
struct File {
    workflow: String,
    description: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, ParamSpec>,
    max_parallel: usize,
    #[serde(default, deserialize_with = "duration")]
    deadline: Option<Duration>,
    concurrency: Option<String>,
    handler_timeout: Period,
    steps: Vec<StepTemplate>,
}

/// The handlers of a workflow file.
#[derive(Deserialize)]
struct Handlers {
    #[serde(default)]
    on_success: Vec<StepTemplate>,
    #[serde(default)]
    on_failure: Vec<StepTemplate>,
    #[serde(default)]
    on_cancel: Vec<StepTemplate>,
    #[serde(default)]
    finally: Vec<StepTemplate>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<Period>::deserialize(deserializer)?.map(|period| period.0))
}

fn run_if<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunIf, D::Error> {
    let text = String::deserialize(deserializer)?;
    RunIf::read(&text).map_err(|fault| D::Error::custom(fault.message))
}

/// Reads the defaults of parameters by their types, and reports defaults of another type.
fn check_params(root: &Node, params: &mut BTreeMap<String, ParamSpec>, sink: &mut Sink<'_>) {
    for (key, node) in root.entries_of("params") {
        let (Some(spec), Some(node)) = (params.get_mut(&key.text), node.child("default")) else {
            continue;
        };
        spec.default = spec.kind.accept(&node.value());
        if spec.default.is_none() {
            let (found, kind) = (node.describe(), spec.kind.name());
            let message = format!("the default of `{}` is {found}, not of type {kind}", key.text);
            sink.error(node.span, message, None);
        }
    }
}

impl Workflow {
    /// Returns the place of each step in `steps`, by its id.
    pub(crate) fn places(&self) -> HashMap<&str, usize> {
        let steps = self.steps.iter().enumerate();
        steps.map(|(at, step)| (step.id.as_str(), at)).collect()
    }

    /// Returns where a step is written.
    pub(crate) fn origin_of<'w>(&'w self, step: &'w StepTemplate) -> &'w Origin {
        step.hook_of.as_deref().unwrap_or(&self.origin)
    }

    /// Returns what of it works on a system, each with its place, for a workspace that has none.
    pub fn needs_system(&self, severity: Severity) -> Diagnostics {
        let mut found = Vec::new();
        let mut note = |step: &StepTemplate, inside: &[&str], what: &str| {
            let origin = self.origin_of(step);
            let span = origin.root.locate(&step.path(inside));
            let message = format!("{what} needs a system, and there is no system.yaml");
            let help = "`rekindle init` makes one; without it, steps run programs, requests and workflows";
            let help = Some(help.to_owned());
            found.push(origin.source.diagnostic(severity, span, message, help));
        };
        for step in &self.steps {
            if OF_A_SYSTEM.contains(&step.uses.as_str()) {
                note(step, &["uses"], &format!("`{}`", step.uses));
            }
            for key in OF_LOOPS.into_iter().filter(|key| step.for_each.over(key)) {
                note(step, &["for_each"], &format!("a loop over each {key}"));
            }
            if let Some(undo) = step
                .compensate
                .as_ref()
                .filter(|undo| OF_A_SYSTEM.contains(&undo.uses.as_str()))
            {
                note(step, &["compensate", "uses"], &format!("`{}`", undo.uses));
            }
        }
        Diagnostics(found)
    }
}

impl StepTemplate {
    /// Returns the way to a part of it in the file.
    pub(crate) fn path<'s>(&'s self, inside: &[&'s str]) -> Vec<&'s str> {
        let list = self.handler.map_or(steps::STEPS, Handler::key);
        [&[list, &self.place][..], inside].concat()
    }

    /// Returns whether it is one of a system's hooks.
    pub(crate) fn is_hook(&self) -> bool {
        self.hook_of.is_some()
    }

    /// Returns whether it loops over components.
    pub(crate) fn over_components(&self) -> bool {
        self.for_each.over("component")
    }
}
