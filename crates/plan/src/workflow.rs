//! A workflow file: parameters and step templates, before any loop is expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::system::Period;
use serde_json::Value;

use crate::cycle;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Sink, SourceText, suggest};
use crate::expr;
use crate::plan::{Backoff, Compensate, Retry, RunIf};
use crate::read::{self, Fields};
use crate::yaml::{self, Key, Kind, Node, Span};

/// The template name of components' own recovery steps; no step of a file may have it.
pub(crate) const RECOVERY: &str = "recovery";

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
    /// How long a run may take; what it waits for the turn of its group does not count.
    pub deadline: Option<Duration>,
    /// The group of runs of a workspace of which one is at work at a time.
    pub concurrency: Option<String>,
    /// Its steps, in the order of the file, those under `on_failure` last.
    pub steps: Vec<StepTemplate>,
    pub(crate) origin: Arc<Origin>,
}

/// Where a value was read from, so that later faults can be located too.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) source: SourceText,
    pub(crate) root: Node,
}

impl Origin {
    pub(crate) fn error<S: AsRef<str>>(&self, at: &[S], message: String, help: Option<String>) -> Diagnostic {
        self.source
            .diagnostic(Severity::Error, self.root.locate(at), message, help)
    }
}

/// A parameter of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its type.
    pub kind: ParamKind,
    /// Its value where none is given; without one the parameter must be given.
    pub default: Option<Value>,
    /// What it means, for people.
    pub description: Option<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    const ALL: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("list", Self::List),
        ("duration", Self::Duration),
    ];

    /// Returns its name in YAML.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// Returns the value as this type, or nothing if it is of another. Text is read as the type is written.
    pub fn accept(self, value: &Value) -> Option<Value> {
        if let (Value::String(text), true) = (value, self != Self::String) {
            let text = text.trim();
            return match self {
                Self::Integer => text.parse::<i64>().ok().map(Value::from),
                Self::Number => text
                    .parse::<f64>()
                    .ok()
                    .and_then(serde_json::Number::from_f64)
                    .map(Value::Number),
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
#[derive(Clone, Debug, PartialEq)]
pub struct StepTemplate {
    /// Its id.
    pub id: String,
    /// The loop keys that it expands over; none for a step that stands alone.
    pub for_each: Vec<String>,
    /// The ids of steps that end before it starts.
    pub needs: Vec<String>,
    /// The action.
    pub uses: String,
    /// The action's parameters, unrendered.
    pub with: Value,
    /// On which outcome of its needs it runs.
    pub run_if: RunIf,
    /// How often and when it is tried again.
    pub retry: Retry,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How long all its attempts together may take, from the start of the first.
    pub deadline: Option<Duration>,
    /// How long an attempt may go on without a sign of progress.
    pub stall_timeout: Option<Duration>,
    /// The group of steps, of all runs of a workspace, of which one is at work at a time.
    pub concurrency: Option<String>,
    /// What takes back what it did.
    pub compensate: Option<Compensate>,
    /// Whether it stands under `on_failure`: it runs once all others have ended, where one of them failed.
    pub after_failure: bool,
    /// The list that it stands in, and its number there.
    pub(crate) place: (&'static str, String),
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

/// Reads a workflow and returns all faults of the file beside what could be made of it: of a faulty one, the
/// steps that are whole, so that they can be judged further.
pub(crate) fn read_workflow(name: &str, text: &str) -> (Diagnostics, Option<Workflow>) {
    let source = SourceText::new(name, text);
    let mut sink = Sink::new(&source);
    let root = yaml::read(text, &mut sink);
    let parts = root.as_ref().and_then(|root| workflow(root, &mut sink));
    let found = sink.finish();
    let (Some(mut root), Some(parts)) = (root, parts) else {
        return (found, None);
    };
    keep_steps(&mut root, &parts.whole);
    let workflow = Workflow {
        name: parts.name,
        description: parts.description,
        params: parts.params,
        max_parallel: parts.max_parallel,
        deadline: parts.deadline,
        concurrency: parts.concurrency,
        steps: parts.steps,
        origin: Arc::new(Origin { source, root }),
    };
    (found, Some(workflow))
}

/// Leaves the nodes of those steps only, named in their order: a place among the steps is then a place among the
/// nodes.
fn keep_steps(root: &mut Node, whole: &[usize]) {
    let Kind::Map(entries) = &mut root.kind else {
        return;
    };
    let steps = entries.iter_mut().find(|(key, _)| key.text == "steps");
    if let Some((
        _,
        Node {
            kind: Kind::List(steps),
            ..
        },
    )) = steps
    {
        let mut at = 0..;
        steps.retain(|_| at.next().is_some_and(|at| whole.binary_search(&at).is_ok()));
    }
}

struct Parts {
    name: String,
    description: Option<String>,
    params: BTreeMap<String, ParamSpec>,
    max_parallel: usize,
    deadline: Option<Duration>,
    concurrency: Option<String>,
    steps: Vec<StepTemplate>,
    /// Where those steps stand among all nodes under `steps`.
    whole: Vec<usize>,
}

/// Steps at once where a workflow says nothing: the smallest number that overlaps reading with writing.
const DEFAULT_PARALLEL: u32 = 2;

fn workflow(root: &Node, sink: &mut Sink<'_>) -> Option<Parts> {
    let fields = Fields::open(
        root,
        "a workflow",
        &[
            "workflow",
            "description",
            "params",
            "max_parallel",
            "deadline",
            "concurrency",
            STEPS,
            ON_FAILURE,
        ],
        sink,
    )?;
    let name = fields
        .require("workflow", sink)
        .and_then(|node| read::text(node, sink));
    let description = fields.text("description", sink);
    let params = fields.named("params", sink, param);
    let max_parallel = fields
        .integer("max_parallel", 1, sink)
        .unwrap_or(DEFAULT_PARALLEL);
    let deadline = fields.parse::<Period>("deadline", sink).map(|period| period.0);
    let concurrency = group(&fields, sink);
    fields.require(STEPS, sink);
    let mut places = Vec::new();
    let (mut steps, mut whole) = (Vec::new(), Vec::new());
    for (at, node) in fields.nodes(STEPS, sink).iter().enumerate() {
        if let Some(mut step) = step(node, sink) {
            places.push(node);
            step.place = (STEPS, whole.len().to_string());
            steps.push(step);
            whole.push(at);
        }
    }
    for (at, node) in fields.nodes(ON_FAILURE, sink).iter().enumerate() {
        if let Some(mut step) = step(node, sink) {
            places.push(node);
            step.place = (ON_FAILURE, at.to_string());
            step.after_failure = true;
            check_after_failure(&step, node, sink);
            if step.needs.is_empty() {
                step.run_if = RunIf::Failure;
            }
            steps.push(step);
        }
    }
    check_steps(&steps, &places, sink);
    Some(Parts {
        name: name?,
        description,
        params,
        max_parallel: usize::try_from(max_parallel).unwrap_or(1),
        deadline,
        concurrency,
        steps,
        whole,
    })
}

/// The longest name of a group, in bytes: `turn_awaited` carries it, and a record has 4 KiB. People need a word or two.
pub(crate) const LONGEST_GROUP: usize = 128;

/// Reads the name of a `concurrency` group.
fn group(fields: &Fields<'_>, sink: &mut Sink<'_>) -> Option<String> {
    let node = fields.get("concurrency")?;
    let group = read::text(node, sink)?;
    let message = match group.len() {
        0 => "a group without a name".to_owned(),
        1..=LONGEST_GROUP => return Some(group),
        long => format!("the group's name is {long} bytes long; at most {LONGEST_GROUP} may be"),
    };
    sink.error(
        node.span,
        message,
        Some("call the group by a short word".to_owned()),
    );
    None
}

/// Reports what a step that runs only after a failure cannot have.
fn check_after_failure(step: &StepTemplate, node: &Node, sink: &mut Sink<'_>) {
    let mut refuse = |key: &str, why: &str| {
        if let Some(node) = node.child(key) {
            sink.error(node.span, why, Some(format!("take `{key}` away")));
        }
    };
    refuse("for_each", "a step under `on_failure` has no loop: it runs once");
    if step.needs.is_empty() {
        refuse(
            "run_if",
            "a step under `on_failure` runs where one of the others failed",
        );
    }
}

fn param(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<ParamSpec> {
    let fields = Fields::open(
        node,
        &format!("parameter `{name}`"),
        &["type", "default", "description"],
        sink,
    )?;
    let description = fields.text("description", sink);
    let kind = fields.require("type", sink)?;
    let word = read::text(kind, sink)?;
    let Some((_, kind)) = ParamKind::ALL.into_iter().find(|(name, _)| *name == word) else {
        sink.error(
            kind.span,
            format!("unknown type `{word}`"),
            suggest(&word, &ParamKind::ALL.map(|(name, _)| name)),
        );
        return None;
    };
    let default = fields.get("default").and_then(|node| {
        let accepted = kind.accept(&node.value());
        if accepted.is_none() {
            sink.error(
                node.span,
                format!(
                    "the default of `{name}` is {}, not of type {}",
                    node.describe(),
                    kind.name()
                ),
                None,
            );
        }
        accepted
    });
    Some(ParamSpec {
        kind,
        default,
        description,
    })
}

/// The list of a workflow's steps.
const STEPS: &str = "steps";
/// The list of those that run where one of the steps failed.
const ON_FAILURE: &str = "on_failure";

/// The most keys that one step loops over.
const MAX_LOOP_KEYS: usize = 8;

fn step(node: &Node, sink: &mut Sink<'_>) -> Option<StepTemplate> {
    let known = [
        "id",
        "description",
        "for_each",
        "needs",
        "uses",
        "with",
        "run_if",
        "retry",
        "timeout",
        "deadline",
        "stall_timeout",
        "concurrency",
        "compensate",
    ];
    let fields = Fields::open(node, "a step", &known, sink)?;
    let id_node = fields.require("id", sink);
    let id = id_node.and_then(|node| read::text(node, sink));
    if let (Some(node), Some(id)) = (id_node, &id) {
        read::check_name(
            &Key {
                span: node.span,
                text: id.clone(),
            },
            sink,
        );
        if id == RECOVERY {
            sink.error(
                node.span,
                "`recovery` is the name of components' own recovery steps",
                Some("call it otherwise".to_owned()),
            );
        }
    }
    fields.text("description", sink);
    let mut for_each = fields.texts("for_each", sink);
    if let (true, Some(node)) = (for_each.len() > MAX_LOOP_KEYS, fields.get("for_each")) {
        sink.error(node.span, format!("more than {MAX_LOOP_KEYS} loop keys"), None);
        for_each.truncate(MAX_LOOP_KEYS);
    }
    for (at, key) in for_each.iter().enumerate() {
        if let (true, Some(node)) = (for_each[..at].contains(key), fields.get("for_each")) {
            sink.error(node.span, format!("the loop key `{key}` is there twice"), None);
        }
    }
    let needs = fields.texts("needs", sink);
    let uses = fields
        .require("uses", sink)
        .and_then(|node| read::text(node, sink));
    let with = fields.get("with").map_or(Value::Null, |node| {
        read::check_expressions(node, sink);
        node.value()
    });
    let run_if = fields
        .get("run_if")
        .and_then(|node| run_if(node, sink))
        .unwrap_or_default();
    let retry = fields
        .get("retry")
        .map(|node| retry(node, sink))
        .unwrap_or_default();
    let timeout = fields.parse::<Period>("timeout", sink).map(|period| period.0);
    let deadline = fields.parse::<Period>("deadline", sink).map(|period| period.0);
    let stall_timeout = fields
        .parse::<Period>("stall_timeout", sink)
        .map(|period| period.0);
    let compensate = fields.get("compensate").and_then(|node| compensate(node, sink));
    Some(StepTemplate {
        id: id?,
        for_each,
        needs,
        uses: uses?,
        with,
        run_if,
        retry,
        timeout,
        deadline,
        stall_timeout,
        concurrency: group(&fields, sink),
        compensate,
        after_failure: false,
        place: (STEPS, String::new()),
    })
}

fn compensate(node: &Node, sink: &mut Sink<'_>) -> Option<Compensate> {
    let fields = Fields::open(node, "`compensate`", &["uses", "with"], sink)?;
    let uses = fields
        .require("uses", sink)
        .and_then(|node| read::text(node, sink));
    let with = fields.get("with").map_or(Value::Null, |node| {
        read::check_expressions(node, sink);
        node.value()
    });
    Some(Compensate { uses: uses?, with })
}

fn run_if(node: &Node, sink: &mut Sink<'_>) -> Option<RunIf> {
    let text = read::text(node, sink)?;
    match text.trim() {
        "success" => Some(RunIf::Success),
        "failure" => Some(RunIf::Failure),
        "always" => Some(RunIf::Always),
        // One bare word would be an expression over an unknown name, and is a slip of the pen.
        word if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            let help = suggest(word, &["success", "failure", "always"])
                .map(|help| format!("{help} (or an expression)"));
            sink.error(node.span, format!("unknown condition `{word}`"), help);
            None
        }
        expression => match expr::check(expression) {
            Ok(()) => Some(RunIf::Expr(expression.to_owned())),
            Err(error) => {
                sink.error(
                    node.span,
                    error.to_string(),
                    Some("write `success`, `failure`, `always` or an expression".to_owned()),
                );
                None
            }
        },
    }
}

fn retry(node: &Node, sink: &mut Sink<'_>) -> Retry {
    let Some(fields) = Fields::open(
        node,
        "`retry`",
        &["max_attempts", "backoff", "non_retryable", "interrupt_on"],
        sink,
    ) else {
        return Retry::default();
    };
    fields.require("max_attempts", sink);
    Retry {
        max_attempts: fields.integer("max_attempts", 1, sink).unwrap_or(1),
        backoff: fields
            .get("backoff")
            .map(|node| backoff(node, sink))
            .unwrap_or_default(),
        non_retryable: fields.texts("non_retryable", sink),
        interrupt_on: fields.texts("interrupt_on", sink),
    }
}

fn backoff(node: &Node, sink: &mut Sink<'_>) -> Backoff {
    let default = Backoff::default();
    let Some(fields) = Fields::open(node, "`backoff`", &["initial", "factor", "max", "jitter"], sink) else {
        return default;
    };
    Backoff {
        initial: fields.parse("initial", sink).unwrap_or(default.initial),
        factor: fields
            .number("factor", 1.0, 1000.0, sink)
            .unwrap_or(default.factor),
        max: fields.parse("max", sink).unwrap_or(default.max),
        jitter: fields.number("jitter", 0.0, 1.0, sink).unwrap_or(default.jitter),
    }
}

/// Reports ids that are there twice, needs of unknown steps, and cycles.
fn check_steps(steps: &[StepTemplate], places: &[&Node], sink: &mut Sink<'_>) {
    let place = |at: usize, key: &str| places.get(at).and_then(|node| node.child(key));
    let span = |at: usize, key: &str| place(at, key).map_or(Span::START, |node| node.span);
    let mut by_id: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if let Some(first) = by_id.insert(&step.id, at) {
            let line = span(first, "id").line;
            sink.error(
                span(at, "id"),
                format!("the step `{}` is there twice, first on line {line}", step.id),
                None,
            );
        }
    }
    let ids: BTreeSet<&str> = by_id.keys().copied().collect();
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    for step in steps {
        graph.add_node(&step.id);
    }
    for (at, step) in steps.iter().enumerate() {
        let mut unknown = false;
        for need in &step.needs {
            let other = by_id.get(need.as_str()).map(|&needed| &steps[needed]);
            if other.is_some_and(|other| other.after_failure != step.after_failure) {
                sink.error(
                    span(at, "needs"),
                    format!(
                        "`{need}` stands in the other list: those under `on_failure` come after all others"
                    ),
                    None,
                );
                continue;
            }
            match by_id.get(need.as_str()) {
                Some(needed) => drop(graph.add_edge(NodeIndex::new(at), NodeIndex::new(*needed), ())),
                None => unknown = true,
            }
        }
        if unknown {
            read::check_known(place(at, "needs"), "step", &ids, sink);
        }
    }
    if let Some(cycle) = cycle::find(&graph) {
        let at = cycle.first().map_or(0, |node| node.index());
        let path = match cycle.len() {
            2 => format!("{0} → {0}", graph[cycle[0]]),
            _ => cycle::path(cycle.iter().map(|node| graph[*node])),
        };
        sink.error(
            span(at, "needs"),
            format!("these steps wait for each other: {path}"),
            Some("take one of these needs away".to_owned()),
        );
    }
    if let (true, None) = (steps.is_empty(), places.first()) {
        sink.error(Span::START, "the workflow has no steps", None);
    }
}

impl StepTemplate {
    /// Returns where something of it stands in the file.
    pub(crate) fn path<'s>(&'s self, inside: &[&'s str]) -> Vec<&'s str> {
        [&[self.place.0, &self.place.1][..], inside].concat()
    }

    /// Returns whether it loops over components.
    pub(crate) fn over_components(&self) -> bool {
        self.for_each.iter().any(|key| key == "component")
    }
}
