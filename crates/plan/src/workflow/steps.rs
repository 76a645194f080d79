//! Checks the steps of a workflow together: ids, needs, loops, and the steps under `on_failure`.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::{DiGraph, NodeIndex};

use super::{RECOVERY, StepTemplate};
use crate::cycle;
use crate::diagnostic::{Sink, Span};
use crate::plan::RunIf;
use crate::read;
use crate::yaml::Node;

/// The list of a workflow's steps.
pub(super) const STEPS: &str = "steps";
/// The list of steps that run if another step failed.
pub(super) const ON_FAILURE: &str = "on_failure";

/// The most keys that one step loops over.
const MAX_LOOP_KEYS: usize = 8;

/// Fills in the defaults that depend on a step's list, and reports the faults of both lists.
pub(super) fn check(
    root: &Node,
    steps: &mut [StepTemplate],
    on_failure: &mut [StepTemplate],
    sink: &mut Sink<'_>,
) {
    for (at, step) in steps.iter_mut().enumerate() {
        step.place = at.to_string();
    }
    for (at, step) in on_failure.iter_mut().enumerate() {
        step.place = at.to_string();
        step.after_failure = true;
    }
    let nodes: Vec<&Node> = [STEPS, ON_FAILURE]
        .iter()
        .flat_map(|list| root.items_of(list))
        .collect();
    for (step, node) in steps.iter_mut().chain(on_failure.iter_mut()).zip(&nodes) {
        check_alone(step, node, sink);
    }
    let all: Vec<&StepTemplate> = steps.iter().chain(on_failure.iter()).collect();
    if all.is_empty() && root.child(STEPS).is_some_and(|list| list.span != root.span) {
        sink.error(Span::START, "the workflow has no steps", None);
    }
    check_needs(&all, &nodes, sink);
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
    let loops = node.locate(&["for_each"]);
    if step.for_each.len() > MAX_LOOP_KEYS {
        sink.error(loops, format!("more than {MAX_LOOP_KEYS} loop keys"), None);
        step.for_each.truncate(MAX_LOOP_KEYS);
    }
    for (at, key) in step.for_each.iter().enumerate() {
        if step.for_each[..at].contains(key) {
            sink.error(loops, format!("the loop key `{key}` is there twice"), None);
        }
    }
    if !step.after_failure {
        return;
    }
    let mut refuse = |key: &str, why: &str| {
        if let Some(node) = node.child(key) {
            sink.error(node.span, why, Some(format!("take `{key}` away")));
        }
    };
    refuse("for_each", "a step under `on_failure` has no loop: it runs once");
    if step.needs.is_empty() {
        refuse(
            "run_if",
            "a step under `on_failure` runs if one of the others failed",
        );
        step.run_if = RunIf::Failure;
    }
}

/// Reports ids that are there twice, needs of unknown steps, and cycles.
fn check_needs(steps: &[&StepTemplate], nodes: &[&Node], sink: &mut Sink<'_>) {
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
                Some(&needed) if steps[needed].after_failure != step.after_failure => sink.error(
                    span(at, "needs"),
                    format!(
                        "`{need}` is in the other list, and steps under `on_failure` come after all others"
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
