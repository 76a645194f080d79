//! Finds runs that may wait for each other's group locks in a circle. One run of a group is at work at a
//! time: it holds the group's lock, also while it waits for a run that its step started. If all workflows
//! take the locks in one order, no circle can close.
//!
//! A circle closes only if certain runs are at work at the same time, so this is a warning. The engine finds
//! a closed circle, and fails the youngest of its runs.

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};

use crate::catalog::{Catalog, GroupLocks};
use crate::cycle;
use crate::diagnostic::{Diagnostics, Sink};
use crate::workflow::Workflow;

impl GroupLocks {
    /// Returns the locks of a workflow and of the workflows that its steps run.
    pub fn of(workflow: &Workflow, catalog: &dyn Catalog) -> Self {
        let runs = workflow.steps.iter().enumerate();
        let runs = runs.filter_map(|(at, step)| Some((at, catalog.group_locks(&step.uses, &step.with)?)));
        Self {
            workflow: workflow.name.clone(),
            group: workflow.concurrency.clone(),
            runs: runs.collect(),
        }
    }
}

/// Returns the place in a workflow at which its runs may wait for each other's locks, or for locks of the
/// workflows `beside` it.
pub fn may_wait_for_each_other(
    workflow: &Workflow,
    locks: &GroupLocks,
    beside: &[GroupLocks],
) -> Diagnostics {
    let mut order = Order::default();
    beside
        .iter()
        .for_each(|locks| order.add(locks, None, &mut Vec::new()));
    order.add_first(locks);
    let mut sink = Sink::new(&workflow.origin.source);
    if let Some((at, message, help)) = order.circle(workflow) {
        let place = workflow.steps[at].path(&["with", "workflow"]);
        sink.warn(workflow.origin.root.locate(&place), message, Some(help));
    }
    sink.finish()
}

/// The order in which locks are taken.
#[derive(Default)]
struct Order<'t> {
    groups: DiGraph<&'t str, ()>,
    nodes: BTreeMap<&'t str, NodeIndex>,
    taken: BTreeMap<(NodeIndex, NodeIndex), Taken<'t>>,
}

/// A run takes one lock while it holds another.
struct Taken<'t> {
    /// The workflow that holds one.
    outer: &'t str,
    /// The workflow that takes the other one.
    inner: &'t str,
    /// The step that takes it, if it is a step of the judged workflow.
    step: Option<usize>,
}

impl<'t> Order<'t> {
    fn add_first(&mut self, locks: &'t GroupLocks) {
        let mut held: Vec<(NodeIndex, &'t str)> = Vec::new();
        self.enter(locks, None, &mut held);
        for (at, inner) in &locks.runs {
            self.add(inner, Some(*at), &mut held);
        }
    }

    fn add(&mut self, locks: &'t GroupLocks, step: Option<usize>, held: &mut Vec<(NodeIndex, &'t str)>) {
        let entered = self.enter(locks, step, held);
        for (_, inner) in &locks.runs {
            self.add(inner, step, held);
        }
        if entered {
            held.pop();
        }
    }

    /// Adds a workflow's group to the held ones, and returns whether it is new. A run that a step started
    /// shares the lock of that step's run.
    fn enter(
        &mut self,
        locks: &'t GroupLocks,
        step: Option<usize>,
        held: &mut Vec<(NodeIndex, &'t str)>,
    ) -> bool {
        let Some(group) = locks.group.as_deref() else {
            return false;
        };
        let node = *self
            .nodes
            .entry(group)
            .or_insert_with(|| self.groups.add_node(group));
        if held.iter().any(|(other, _)| *other == node) {
            return false;
        }
        for &(before, outer) in held.iter() {
            let taken = Taken {
                outer,
                inner: &locks.workflow,
                step,
            };
            self.groups.update_edge(before, node, ());
            // The workflows beside came first; the place to show is in the file that is judged.
            let known = self.taken.entry((before, node)).or_insert(taken);
            known.step = known.step.or(step);
        }
        held.push((node, &locks.workflow));
        true
    }

    /// Returns the step that closes a circle, the message and the help.
    fn circle(&self, workflow: &Workflow) -> Option<(usize, String, String)> {
        let circle = cycle::find(&self.groups)?;
        let taken = circle.windows(2).filter_map(|pair| match pair {
            [from, to] => Some((from, to, self.taken.get(&(*from, *to))?)),
            _ => None,
        });
        let taken: Vec<_> = taken.collect();
        let step = taken.iter().rev().find_map(|(_, _, taken)| taken.step)?;
        let names = cycle::path(circle.iter().map(|node| self.groups[*node]));
        let who: Vec<String> = taken
            .iter()
            .map(|(from, to, taken)| {
                let (from, to) = (self.groups[**from], self.groups[**to]);
                format!(
                    "`{}` holds `{from}` and runs `{}`, which takes `{to}`",
                    taken.outer, taken.inner
                )
            })
            .collect();
        let message = format!(
            "runs of `{}` may wait for each other's groups: {names}",
            workflow.name
        );
        let help = format!(
            "take the groups in one order, or one group for all: {}",
            who.join("; ")
        );
        Some((step, message, help))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::diagnostic::Problem;
    use crate::workflow::load_workflow;

    /// Reads from a step's `uses` the workflow that it runs: `g>h` is one of group g that runs one of h; `-` is no group.
    struct Chains;

    impl Catalog for Chains {
        fn names(&self) -> Vec<String> {
            Vec::new()
        }

        fn check(&self, _uses: &str, _with: &Value) -> Vec<Problem> {
            Vec::new()
        }

        fn group_locks(&self, uses: &str, _with: &Value) -> Option<GroupLocks> {
            let (group, rest) = uses.split_once('>').unwrap_or((uses, ""));
            let inner = match rest {
                "" => None,
                rest => self.group_locks(rest, &Value::Null),
            };
            Some(chain(group, inner.into_iter().collect()))
        }
    }

    fn chain(group: &str, runs: Vec<GroupLocks>) -> GroupLocks {
        GroupLocks {
            workflow: format!("of-{group}"),
            group: (group != "-").then(|| group.to_owned()),
            runs: runs.into_iter().map(|inner| (0, inner)).collect(),
        }
    }

    /// Returns the line and the message of the warning about a workflow whose steps run these, beside others.
    fn found(group: &str, steps: &[&str], beside: &[GroupLocks]) -> Option<(usize, String)> {
        let mut text = "workflow: w\n".to_owned();
        if group != "-" {
            text.push_str(&format!("concurrency: {group}\n"));
        }
        text.push_str("steps:\n");
        for (at, uses) in steps.iter().enumerate() {
            text.push_str(&format!(
                "  - {{id: s{at}, uses: \"{uses}\", with: {{workflow: x}}}}\n"
            ));
        }
        let workflow = load_workflow("w.yaml", &text).unwrap();
        let locks = GroupLocks::of(&workflow, &Chains);
        let found = may_wait_for_each_other(&workflow, &locks, beside);
        assert!(!found.has_errors());
        found.0.first().map(|one| (one.line, one.message.clone()))
    }

    #[test]
    fn groups_that_are_taken_in_one_order_let_nobody_wait_in_a_circle() {
        for (group, steps) in [
            ("-", &["g>h", "g>h"][..]),
            ("g", &["h>k", "k"]),
            // A run that a step started shares the lock of its step's run.
            ("g", &["g", "h>g"]),
            ("-", &["g>->h", "h"]),
        ] {
            assert_eq!(found(group, steps, &[]), None, "{group} {steps:?}");
        }
    }

    #[test]
    fn a_circle_is_shown_at_the_step_that_closes_it() {
        let said = |names: &str| format!("runs of `w` may wait for each other's groups: {names}");
        assert_eq!(found("-", &["g>->h", "h>g"], &[]), Some((4, said("g → h → g"))));
        assert_eq!(
            found("-", &["g>h", "h>k", "k>g"], &[]),
            Some((5, said("g → h → k → g")))
        );
    }

    #[test]
    fn a_circle_over_two_files_is_shown_in_the_second() {
        let other = chain("h", vec![chain("g", Vec::new())]);
        assert_eq!(found("g", &["k", "h"], &[]), None);
        let (line, said) = found("g", &["k", "h"], std::slice::from_ref(&other)).unwrap();
        assert!(line == 5 && said.contains("h → g → h"), "{line}: {said}");
        // If both are beside it, they have been judged already.
        let both = [other, chain("g", vec![chain("h", Vec::new())])];
        assert_eq!(found("-", &["k"], &both), None);
    }
}
