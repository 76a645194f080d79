//! The values that each step of a workflow loops over in one run.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::system::System;
use serde_json::{Map, Value, json};

use crate::diagnostic::{Diagnostic, nearest, suggest_from_all};
use crate::expr::{self, Scope};
use crate::formats::is_name;
use crate::plan::{ITEM, Inputs};
use crate::workflow::Workflow;
use crate::workflow::for_each::{ALL, ForEach};

/// One loop of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// Its key: `component`, `tier`, `item`, or a name of the matrix.
    pub(super) key: String,
    pub(super) values: Vec<Choice>,
}

impl Axis {
    /// Returns whether steps of both loops pair up by their values: the loops have the same key, and one of them has all
    /// values of the other. Loops over lists of their own are else different loops.
    pub(super) fn pairs_with(&self, other: &Self) -> bool {
        let holds = |all: &Self, some: &Self| some.values.iter().all(|value| all.values.contains(value));
        self.key == other.key && (holds(self, other) || holds(other, self))
    }
}

/// One value of a loop.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// Its name, for the brackets of the step's id.
    pub(super) name: String,
    /// The value itself; of a loop of the run its name.
    pub(super) value: Value,
}

/// Returns the loops of each step, in the order of the steps. A faulty loop is empty.
pub(super) fn resolve(
    workflow: &Workflow,
    system: Option<&System>,
    inputs: &Inputs,
    params: &Map<String, Value>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Vec<Axis>> {
    let scope = Scope::of(&json!({ "params": params, "system": system, "null": null }));
    let of_run = of_run(workflow, system, inputs, faults);
    let steps = workflow.steps.iter();
    steps
        .map(|step| {
            let axes = axes(&step.for_each, &of_run, &scope);
            axes.unwrap_or_else(|fault| {
                let path = step.path(&["for_each"]);
                faults.push(workflow.origin_of(step).error(&path, fault.message, fault.help));
                Vec::new()
            })
        })
        .collect()
}

/// A fault of one `for_each`.
struct Fault {
    message: String,
    help: Option<String>,
}

/// Returns the loops that the run gives, and reports values that the system does not have.
fn of_run(
    workflow: &Workflow,
    system: Option<&System>,
    inputs: &Inputs,
    faults: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Vec<Choice>> {
    let mut found = BTreeMap::new();
    for (key, values) in &inputs.loops {
        let known: Option<Vec<&str>> = system.and_then(|system| match key.as_str() {
            "component" => Some(system.components.keys().map(String::as_str).collect()),
            "tier" => Some(system.tiers.keys().map(String::as_str).collect()),
            _ => None,
        });
        let mut choices: Vec<Choice> = Vec::new();
        let mut seen = BTreeSet::new();
        for value in values {
            if let Some(known) = known.as_ref().filter(|known| !known.contains(&value.as_str())) {
                let message = format!("unknown {key} `{value}`");
                let help = suggest_from_all(value, known);
                faults.push(workflow.origin.error(&["steps"], message, help));
            } else if !is_name(value) {
                let message = format!("`{value}` cannot be a {key} of a loop");
                faults.push(workflow.origin.error(&["steps"], message, None));
            } else if seen.insert(value) {
                choices.push(Choice {
                    name: value.clone(),
                    value: value.as_str().into(),
                });
            }
        }
        found.insert(key.clone(), choices);
    }
    found
}

fn axes(
    for_each: &ForEach,
    of_run: &BTreeMap<String, Vec<Choice>>,
    scope: &Scope,
) -> Result<Vec<Axis>, Fault> {
    let keys: Vec<&str> = of_run.keys().map(String::as_str).collect();
    let axis = |key: &str| match of_run.get(key) {
        Some(values) => Ok(Axis {
            key: key.to_owned(),
            values: values.clone(),
        }),
        None => Err(Fault {
            message: format!("unknown loop key `{key}`"),
            help: suggest_from_all(key, &keys).or_else(|| Some("this run has no loops".to_owned())),
        }),
    };
    let given = |key: &str, values: &Value| {
        Ok(Axis {
            key: key.to_owned(),
            values: named(list(key, values, scope)?),
        })
    };
    match for_each {
        ForEach::Once => Ok(Vec::new()),
        ForEach::Key(key) => Ok(vec![axis(key)?]),
        ForEach::Names(names) => {
            let is_key = |name: &String| of_run.contains_key(name) || nearest(name, &keys).is_some();
            match names.iter().any(is_key) {
                true => names.iter().map(|name| axis(name)).collect(),
                false => Ok(vec![given(ITEM, &json!(names))?]),
            }
        }
        ForEach::Values(values) => Ok(vec![given(ITEM, values)?]),
        ForEach::Matrix(axes) => axes
            .iter()
            .map(|(key, values)| match values.as_str() {
                Some(ALL) => axis(key),
                _ => given(key, values),
            })
            .collect(),
    }
}

/// Returns the list that a loop is given, with its expressions replaced.
fn list(key: &str, values: &Value, scope: &Scope) -> Result<Vec<Value>, Fault> {
    let rendered = expr::render(values, scope).map_err(|error| Fault {
        message: error.to_string(),
        help: Some("a loop is known before the run: it may name `params` and `system`".to_owned()),
    })?;
    match rendered {
        Value::Array(values) => Ok(values),
        other => {
            let whose = match key {
                ITEM => "`for_each`".to_owned(),
                key => format!("`{key}` of `for_each`"),
            };
            let found: String = other.to_string().chars().take(60).collect();
            Err(Fault {
                message: format!("{whose} must be a list, found {found}"),
                help: Some("give a list, or an expression whose value is a list".to_owned()),
            })
        }
    }
}

/// Gives each value a name: its text, or the `name` or `id` of a map. If these are no names, or not all different, the
/// names are the values' numbers, from 0.
fn named(values: Vec<Value>) -> Vec<Choice> {
    let name = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Object(fields) => {
            let field = fields.get("name").or_else(|| fields.get("id"))?;
            field.as_str().map(str::to_owned)
        }
        Value::Null | Value::Array(_) => None,
    };
    let names: Option<Vec<String>> = values
        .iter()
        .map(|value| name(value).filter(|name| is_name(name)))
        .collect();
    let names = names
        .filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
        .unwrap_or_else(|| (0..values.len()).map(|at| at.to_string()).collect());
    names
        .into_iter()
        .zip(values)
        .map(|(name, value)| Choice { name, value })
        .collect()
}
