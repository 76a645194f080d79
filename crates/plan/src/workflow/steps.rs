//! Checks the steps of a workflow together: ids, needs, loops, and the handlers.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::{DiGraph, NodeIndex};

use super::{ForEach, RECOVERY, StepTemplate};
use crate::cycle;
use crate::diagnostic::{Sink, Span};
use crate::plan::{Handler, ITEM, RunIf};
use crate::read;
use crate::yaml::Node;

/// The list of a workflow's steps.
pub(super) const STEPS: &str = "steps";

/// The most keys of a matrix.
const MAX_LOOP_KEYS: usize = 8;

/// Returns the keys of all lists of steps, in the order in which they run.
pub(super) fn lists() -> impl Iterator<Item = &'static str> {
    std::iter::once(STEPS).chain(Handler::ALL.map(Handler::key))
}

/// Fills in the defaults that depend on a step's list, and reports the faults of all lists. `steps` has the list
/// `steps`, then those of the handlers.
pub(super) fn check(root: &Node, steps: &mut [StepTemplate], sink: &mut Sink<'_>) {
    let nodes: Vec<(usize, &Node)> = lists()
        .flat_map(|list| root.items_of(list).iter().enumerate())
        .collect();
    for (step, (place, node)) in steps.iter_mut().zip(&nodes) {
        step.place = place.to_string();
        check_alone(step, node, sink);
    }
    let list = root.child(STEPS).filter(|list| list.span != root.span);
    // A step that is faulty was reported itself, and left out.
    if steps.is_empty() && list.is_some_and(|list| !sink.has_error_from(list.span.line)) {
        let help = "give it one: `steps: [{id: hello, shell: echo hello}]`".to_owned();
        sink.error(Span::START, "the workflow has no steps", Some(help));
    }
    let nodes: Vec<&Node> = nodes.into_iter().map(|(_, node)| node).collect();
    check_needs(steps, &nodes, sink);
}

/// Reports the faults of one step that do not depend on the others.
fn check_alone(step: &mut StepTemplate, node: &Node, sink: &mut Sink<'_>) {
    if step.id == RECOVERY {
        sink.error(
            node.locate(&["id"]),
            "`recovery` is the name of components' own recovery steps",
            Some("give the step another name".to_owned()),
        );
    }
    check_loop(step, node, sink);
    if let (Some(limit), None) = (node.child("max_parallel"), node.child("for_each")) {
        sink.error(
            limit.span,
            "`max_parallel` of a step is for a loop",
            Some("give the step a `for_each`, or the workflow the `max_parallel`".to_owned()),
        );
    }
    let Some(handler) = step.handler else {
        return;
    };
    let list = handler.key();
    let mut refuse = |key: &str, why: String| {
        if let Some(node) = node.child(key) {
            sink.error(node.span, why, Some(format!("take `{key}` away")));
        }
    };
    refuse(
        "for_each",
        format!("a step under `{list}` has no loop: it runs once"),
    );
    refuse(
        "compensate",
        format!("a step under `{list}` cannot be undone: it runs after all undos"),
    );
    if step.needs.is_empty() {
        let when = match handler {
            Handler::OnSuccess => "if the run succeeded",
            Handler::OnFailure => "if the run failed",
            Handler::OnCancel => "if the run was cancelled",
            Handler::Finally => "always",
        };
        refuse("run_if", format!("a step under `{list}` runs {when}"));
        step.run_if = RunIf::Always;
    }
}

/// Reports the faults of a step's loop that do not depend on the run.
fn check_loop(step: &StepTemplate, node: &Node, sink: &mut Sink<'_>) {
    let span = node.locate(&["for_each"]);
    match &step.for_each {
        ForEach::Names(names) => {
            let mut seen = BTreeSet::new();
            // Keys or values: neither is there twice for a reason.
            if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
                sink.error(span, format!("the loop has `{twice}` twice"), None);
            }
        }
        ForEach::Matrix(axes) => {
            if axes.len() > MAX_LOOP_KEYS {
                sink.error(span, format!("more than {MAX_LOOP_KEYS} loop keys"), None);
            }
            for key in axes.keys().filter(|key| *key == ITEM || !is_identifier(key)) {
                let help = "use letters, digits and `_`, and not the name `item`";
                sink.error(
                    span,
                    format!("`{key}` cannot be a key of a loop"),
                    Some(help.to_owned()),
                );
            }
        }
        _ => {}
    }
}

/// Reports ids that are there twice, needs of unknown steps, and cycles.
fn check_needs(steps: &[StepTemplate], nodes: &[&Node], sink: &mut Sink<'_>) {
    let span = |at: usize, key: &str| nodes.get(at).map_or(Span::START, |node| node.locate(&[key]));
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
            match by_id.get(need.as_str()) {
                Some(&needed) if steps[needed].handler != step.handler => sink.error(
                    span(at, "needs"),
                    format!(
                        "`{need}` is in another list, and the lists run one after another: `steps`, \
                         `on_success` or `on_failure` or `on_cancel`, `finally`"
                    ),
                    None,
                ),
                Some(&needed) => drop(graph.add_edge(NodeIndex::new(at), NodeIndex::new(needed), ())),
                None => unknown = true,
            }
        }
        if unknown {
            let needs = nodes.get(at).and_then(|node| node.child("needs"));
            read::check_known(needs, "step", &ids, sink);
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
}

/// Returns whether expressions can name a key as `each.key`.
fn is_identifier(key: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    key.chars().all(fits) && !key.starts_with(|c: char| c.is_numeric()) && !key.is_empty()
}
