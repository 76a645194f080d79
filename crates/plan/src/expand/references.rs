//! Checks the expressions of a workflow before a run: every name that they use will be there, and every filter, test and
//! function exists.
//!
//! A step may name the outputs of the steps that it needs, directly or through others: those have ended. The outputs of
//! other steps may be there or not, which would make the run depend on chance.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use rekindle_model::system::System;
use serde_json::{Map, Value, json};

use super::loops::Axis;
use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, suggest_from_all};
use crate::expr::references::{self, FILTERS, FUNCTIONS, Reference, STATUS, TESTS, Used};
use crate::expr::{self, Scope};
use crate::plan::{ITEM, RunIf};
use crate::workflow::{ForEach, StepTemplate, Workflow};
use crate::yaml::{Kind, Node};

/// The fields of every step, beside those of its output.
const STEP: [&str; 3] = ["outcome", "error", "outputs"];
const ERROR: [&str; 2] = ["code", "message"];
const RUN: [&str; 6] = ["id", "workflow", "disaster_at", "show", "failed", "errors"];
const COMPONENT: &str = "component";

/// Names that people know from elsewhere, and what to write here.
const ELSEWHERE: [(&str, &str); 9] = [
    (
        "env",
        "a program sees the environment itself, as `$HOME` in a shell; a step gets more by `env:`",
    ),
    ("inputs", "the parameters of a run are `params`"),
    ("needs", "the steps are `steps`: `steps.build.outputs`"),
    ("jobs", "the steps are `steps`"),
    ("matrix", "the values of a loop are `each`: `each.host`"),
    ("github", "the run is `run`: `run.id`, `run.workflow`"),
    ("workflow", "the run is `run`: `run.id`, `run.workflow`"),
    (
        "secrets",
        "a step gets secrets as variables of its programs, by `secrets:`",
    ),
    ("self", "the step's own loop values are `each`"),
];

/// What a check needs to know about a workflow.
pub(super) struct Facts<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) system: Option<&'a System>,
    /// For each step, its loops.
    pub(super) loops: &'a [Vec<Axis>],
    pub(super) catalog: &'a dyn Catalog,
    /// Whether a system's hooks are checked too.
    pub(super) hooks: bool,
}

/// Reports every fault in the expressions of a workflow's steps.
pub(super) fn check(facts: &Facts<'_>, faults: &mut Vec<Diagnostic>) {
    let system = facts.system.and_then(|system| serde_json::to_value(system).ok());
    let places = facts.workflow.places();
    let steps = facts.workflow.steps.iter().enumerate();
    for (at, step) in steps.filter(|(_, step)| facts.hooks || !step.is_hook()) {
        let judge = Judge {
            facts,
            step,
            axes: facts.loops.get(at).map(Vec::as_slice).unwrap_or_default(),
            system: system.as_ref(),
            places: &places,
            at,
            ended: OnceCell::new(),
        };
        judge.texts(&["with"], false, faults);
        judge.texts(&["compensate", "with"], true, faults);
        if let RunIf::Expr(condition) = &step.run_if {
            judge.expression(
                expr::bare(&condition.text),
                &step.path(&["run_if"]),
                Allows::STATUS,
                faults,
            );
        }
    }
}

/// The parameters of a run whose values are known before it. Which default a run replaces is not known, so only those
/// with a default count.
pub(super) struct Known {
    names: Map<String, Value>,
    scope: Scope,
}

impl Known {
    pub(super) fn of(workflow: &Workflow, params: &Map<String, Value>) -> Self {
        let has_default = |name: &str| {
            workflow
                .params
                .get(name)
                .is_some_and(|spec| spec.default.is_some())
        };
        let known = params.iter().filter(|(name, _)| has_default(name));
        let names: Map<String, Value> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        let scope = Scope::of(&json!({ "params": names, "null": null }));
        Self { names, scope }
    }

    /// Returns the parameters of a step with those expressions replaced whose values are known, so that the action's
    /// check sees values.
    pub(super) fn put_into(&self, with: &Value) -> Value {
        replaced(with, &|text| {
            let parts = expr::parts(text).ok()?;
            let mut used = parts.iter().filter_map(|part| match part {
                expr::Part::Expression(expression) => Some(references::of(expression)),
                expr::Part::Text(_) => None,
            });
            let all_known = used.all(|used| {
                used.is_ok_and(|used| used.calls.is_empty() && used.names.iter().all(|name| self.has(name)))
            });
            all_known
                .then(|| expr::render(&Value::from(text), &self.scope).ok())
                .flatten()
        })
    }

    fn has(&self, name: &Reference) -> bool {
        match name.path.as_slice() {
            [root] => root == "null",
            [root, param, ..] => root == "params" && self.names.contains_key(param),
            [] => false,
        }
    }
}

/// Returns the value with each text replaced, if there is something to replace it.
fn replaced(value: &Value, by: &impl Fn(&str) -> Option<Value>) -> Value {
    match value {
        Value::String(text) if text.contains("${{") => by(text).unwrap_or_else(|| value.clone()),
        Value::Array(items) => items.iter().map(|item| replaced(item, by)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), replaced(value, by)))
            .collect(),
        other => other.clone(),
    }
}

/// Returns the places of the steps that have ended when a step begins.
fn ended_before(workflow: &Workflow, at: usize, places: &HashMap<&str, usize>) -> BTreeSet<usize> {
    let steps = &workflow.steps;
    let mut ended = BTreeSet::new();
    let mut open = vec![at];
    while let Some(place) = open.pop() {
        for need in steps[place]
            .needs
            .iter()
            .filter_map(|need| places.get(need.as_str()))
        {
            if ended.insert(*need) {
                open.push(*need);
            }
        }
    }
    if let Some(handler) = steps[at].handler {
        // The lists of handlers run one after the other, once all other steps have ended.
        ended.extend((0..steps.len()).filter(|place| steps[*place].handler < Some(handler)));
    }
    ended
}

/// What an expression may use because of where it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Allows {
    /// The functions about needed steps.
    status: bool,
    /// `output`, and every step: an undo runs once all steps have ended.
    undo: bool,
}

impl Allows {
    const STATUS: Self = Self {
        status: true,
        undo: false,
    };
}

/// The check of one step's expressions.
struct Judge<'a> {
    facts: &'a Facts<'a>,
    step: &'a StepTemplate,
    axes: &'a [Axis],
    system: Option<&'a Value>,
    places: &'a HashMap<&'a str, usize>,
    /// Its place.
    at: usize,
    /// The places of the steps that have ended when it begins, once an expression asks for one.
    ended: OnceCell<BTreeSet<usize>>,
}

/// A fault of one name: what is wrong, what helps, and the text to point at.
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) at: String,
}

impl Judge<'_> {
    /// Checks every text below a key of the step.
    fn texts(&self, key: &[&str], undo: bool, faults: &mut Vec<Diagnostic>) {
        let path = self.step.path(key);
        let origin = self.facts.workflow.origin_of(self.step);
        if let Some(node) = origin.root.at(&path) {
            let mut way: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            each_expression(node, &mut way, &mut |expression, way| {
                self.expression(expression, way, Allows { status: false, undo }, faults);
            });
        }
    }

    fn expression<S: AsRef<str>>(
        &self,
        expression: &str,
        way: &[S],
        allows: Allows,
        faults: &mut Vec<Diagnostic>,
    ) {
        // The reader has reported one that does not parse.
        let Ok(used) = references::of(expression) else {
            return;
        };
        let origin = self.facts.workflow.origin_of(self.step);
        let mut add = |fault: Fault| faults.push(origin.error_at(way, &fault.at, fault.message, fault.help));
        // In `steps.a-b.v` the fault is the hyphen; that there is no `b` is no fault of its own.
        let mut hyphen = None;
        for name in &used.names {
            if hyphen.take().is_some_and(|rest| name.path.first() == Some(rest)) {
                continue;
            }
            if let Some(fault) = self.name(name, allows) {
                hyphen = name.minus.as_ref();
                add(fault);
            }
        }
        unknown_words(&used, allows).into_iter().for_each(add);
    }

    /// Returns the fault of one name, if it has one.
    fn name(&self, name: &Reference, allows: Allows) -> Option<Fault> {
        let root = name.path.first()?.as_str();
        let fault = |parts, message, help| Some(fault(name, parts, message, help));
        let keys: Vec<&str> = self.axes.iter().map(|axis| axis.key.as_str()).collect();
        match root {
            "params" => {
                let param = name.path.get(1)?;
                let known: Vec<&str> = self.facts.workflow.params.keys().map(String::as_str).collect();
                if known.contains(&param.as_str()) {
                    return None;
                }
                let message = format!("the workflow has no parameter `{param}`");
                fault(2, message, suggest_from_all(param, &known).or_else(none_declared))
            }
            "steps" => self.step_named(name, allows),
            "run" => {
                let field = name.path.get(1)?;
                match RUN.contains(&field.as_str()) {
                    true => None,
                    false => fault(
                        2,
                        format!("`run` has no `{field}`"),
                        suggest_from_all(field, &RUN),
                    ),
                }
            }
            "system" => below_system(self.system, name),
            "each" if keys.is_empty() => fault(
                1,
                "this step is in no loop".to_owned(),
                Some("give it `for_each`".to_owned()),
            ),
            "each" => {
                let key = name.path.get(1)?;
                if keys.contains(&key.as_str()) {
                    return None;
                }
                fault(
                    2,
                    format!("this step's loop has no `{key}`"),
                    suggest_from_all(key, &keys),
                )
            }
            ITEM if keys == [ITEM] || matches!(self.step.for_each, ForEach::Matrix(_)) => None,
            ITEM => {
                let help = "`item` is the value of a loop over a list: `for_each: [a, b]`";
                fault(
                    1,
                    "this step loops over no list".to_owned(),
                    Some(help.to_owned()),
                )
            }
            COMPONENT if !keys.contains(&COMPONENT) => {
                let help = "`component` is the component of a step with `for_each: component`";
                fault(
                    1,
                    "this step loops over no components".to_owned(),
                    Some(help.to_owned()),
                )
            }
            COMPONENT if name.compared && name.path.len() == 1 && !name.open => {
                let help = "compare its name: `each.component`";
                fault(
                    1,
                    "`component` is a map, so it equals no text".to_owned(),
                    Some(help.to_owned()),
                )
            }
            "output" if !allows.undo => {
                let help = "`output` is for `compensate`; a step that it needs is `steps.ID.outputs`";
                fault(1, "there is no `output` here".to_owned(), Some(help.to_owned()))
            }
            COMPONENT | "output" | "target" | "rekindle" | "null" => None,
            _ if FUNCTIONS.contains(&root) || STATUS.contains(&root) => fault(
                1,
                format!("`{root}` is a function"),
                Some(format!("write `{root}()`")),
            ),
            _ => {
                let known = [
                    "params", "steps", "run", "system", "each", ITEM, COMPONENT, "target", "rekindle",
                ];
                let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == root);
                let help = match elsewhere {
                    Some((_, help)) => Some((*help).to_owned()),
                    None if self.facts.workflow.params.contains_key(root) => {
                        Some(format!("write `params.{root}`"))
                    }
                    None if self.places.contains_key(root) => Some(format!("write `steps.{root}`")),
                    None => suggest_from_all(root, &known),
                };
                fault(1, format!("unknown name `{root}`"), help)
            }
        }
    }

    /// Returns the fault of a name that begins with `steps`.
    fn step_named(&self, name: &Reference, allows: Allows) -> Option<Fault> {
        let steps = &self.facts.workflow.steps;
        let id = name.path.get(1)?;
        let fault = |parts, message, help| Some(fault(name, parts, message, help));
        let Some(&place) = self.places.get(id.as_str()) else {
            let joined = name.minus.as_ref().map(|rest| format!("{id}-{rest}"));
            let hyphen =
                joined.filter(|joined| steps.iter().any(|step| step.id.starts_with(joined.as_str())));
            let help = match hyphen {
                Some(joined) => Some(format!("a name with a hyphen is written `steps[\"{joined}\"]`")),
                None => suggest_from_all(id, &steps.iter().map(|step| &step.id).collect::<Vec<_>>()),
            };
            return fault(2, format!("the workflow has no step `{id}`"), help);
        };
        let ended = || ended_before(self.facts.workflow, self.at, self.places);
        let is_needed = self.step.needs.contains(id) || self.ended.get_or_init(ended).contains(&place);
        if !allows.undo && !is_needed {
            let (message, help) = match self.step.id == *id {
                true => (
                    format!("`{id}` is this step itself"),
                    "its output is there once it has ended".to_owned(),
                ),
                false => (
                    format!("this step does not need `{id}`, so `{id}` may not have ended"),
                    format!("add `{id}` to its `needs`"),
                ),
            };
            return fault(2, message, Some(help));
        }
        let axes = self.facts.loops.get(place).map(Vec::as_slice).unwrap_or_default();
        let mut field = 2;
        if !axes.is_empty() {
            let key = name.path.get(2)?;
            if !self.has_item(axes, key) {
                let help = format!(
                    "name one of its steps, such as `steps.{id}[\"{}\"]`",
                    example(axes)
                );
                let message = format!("`{id}` is a loop, and has no step `{id}[{key}]`");
                return (!name.guarded).then(|| fault(3, message, Some(help))).flatten();
            }
            field = 3;
        }
        let found = name.path.get(field)?.as_str();
        if found == STEP[1] {
            let part = name.path.get(field + 1)?;
            return match ERROR.contains(&part.as_str()) {
                true => None,
                false => fault(
                    field + 2,
                    format!("`error` has no `{part}`"),
                    suggest_from_all(part, &ERROR),
                ),
            };
        }
        // The fields of `outputs` are those of the step itself.
        let (found, depth) = match found == STEP[2] {
            true => (name.path.get(field + 1)?.as_str(), field + 2),
            false => (found, field + 1),
        };
        let fields = self.facts.catalog.output_fields(&steps[place].uses)?;
        if depth == field + 1 && STEP.contains(&found) || fields.contains(&found) || name.guarded {
            return None;
        }
        let mut known = fields.to_vec();
        known.extend(STEP);
        let message = format!(
            "the output of `{}` (step `{id}`) has no `{found}`",
            steps[place].uses
        );
        fault(depth, message, suggest_from_all(found, &known))
    }

    /// Returns whether a loop has a step with this text in its brackets, in this run or in another.
    fn has_item(&self, axes: &[Axis], key: &str) -> bool {
        let names: Vec<&str> = key.split(',').collect();
        names.len() == axes.len()
            && axes.iter().zip(names).all(|(axis, name)| {
                let in_system = match (axis.key.as_str(), self.facts.system) {
                    (COMPONENT, Some(system)) => system.components.contains_key(name),
                    ("tier", Some(system)) => system.tiers.contains_key(name),
                    _ => false,
                };
                in_system || axis.values.iter().any(|choice| choice.name == name)
            })
    }
}

/// Visits every expression below a node, with the way to its text.
pub(crate) fn each_expression(node: &Node, way: &mut Vec<String>, visit: &mut impl FnMut(&str, &[String])) {
    let mut into = |part: String, child: &Node| {
        way.push(part);
        each_expression(child, way, visit);
        way.pop();
    };
    match &node.kind {
        Kind::List(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| into(at.to_string(), item));
        }
        Kind::Map(entries) => entries
            .iter()
            .for_each(|(key, child)| into(key.text.clone(), child)),
        Kind::Scalar {
            value: Value::String(text),
            ..
        } => {
            for part in expr::parts(text).unwrap_or_default() {
                if let expr::Part::Expression(expression) = part {
                    visit(expression, way);
                }
            }
        }
        Kind::Scalar { .. } => {}
    }
}

/// Returns the fault of a name that begins with `system`.
pub(crate) fn below_system(system: Option<&Value>, name: &Reference) -> Option<Fault> {
    let mut value = system?;
    for (at, part) in name.path.iter().enumerate().skip(1) {
        let Value::Object(entries) = value else {
            return None;
        };
        let Some(found) = entries.get(part) else {
            let known: Vec<&str> = entries.keys().map(String::as_str).collect();
            let message = format!("the system has no `{}`", name.path[1..=at].join("."));
            let help = suggest_from_all(part, &known);
            return (!name.guarded).then(|| fault(name, at + 1, message, help));
        };
        value = found;
    }
    None
}

/// Returns a fault of a name's first parts.
pub(crate) fn fault(name: &Reference, parts: usize, message: String, help: Option<String>) -> Fault {
    let at = name.text(parts);
    Fault { message, help, at }
}

fn none_declared() -> Option<String> {
    Some("declare it under `params:`".to_owned())
}

fn example(axes: &[Axis]) -> String {
    let first = axes
        .iter()
        .map(|axis| axis.values.first().map_or("…", |choice| &choice.name));
    first.collect::<Vec<_>>().join(",")
}

/// Returns the faults of filters, tests, functions and methods that do not exist.
pub(crate) fn unknown_words(used: &Used, allows: Allows) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut fault = |name: &str, message: String, help: Option<String>| {
        found.push(Fault {
            message,
            help,
            at: name.to_owned(),
        });
    };
    for filter in used
        .filters
        .iter()
        .filter(|filter| !references::is_filter(&filter.name))
    {
        let name = &filter.name;
        fault(
            name,
            format!("unknown filter `{name}`"),
            suggest_from_all(name, &FILTERS),
        );
    }
    for test in used.tests.iter().filter(|test| !references::is_test(&test.name)) {
        let name = &test.name;
        fault(
            name,
            format!("unknown test `{name}`"),
            suggest_from_all(name, &TESTS),
        );
    }
    for call in &used.calls {
        let name = call.name.as_str();
        let is_status = STATUS.contains(&name);
        if FUNCTIONS.contains(&name) || (is_status && allows.status) {
            continue;
        }
        let help = match name {
            _ if is_status => Some("it is for `run_if`; here, ask `steps.ID.outcome`".to_owned()),
            "contains" | "startsWith" | "endsWith" => {
                Some("write `a in b`, `a is startingwith(b)` or `a is endingwith(b)`".to_owned())
            }
            "toJSON" | "fromJSON" | "format" | "join" => {
                Some("filters follow a bar: `a | tojson`, `a | join(\",\")`".to_owned())
            }
            _ if references::is_filter(name) => Some(format!("it is a filter: `a | {name}`")),
            _ => suggest_from_all(name, &[&FUNCTIONS[..], &STATUS[..]].concat()),
        };
        fault(name, format!("unknown function `{name}`"), help);
    }
    for method in &used.methods {
        let name = &method.name;
        let help = match references::is_filter(name) {
            true => format!("there is a filter: `a | {name}(…)`"),
            false => "values have fields and no methods; filters follow a bar: `a | length`".to_owned(),
        };
        fault(name, format!("unknown method `{name}`"), Some(help));
    }
    found
}
