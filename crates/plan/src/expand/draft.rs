//! A plan under construction: the instances of steps, their needs, and an order in which they can run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::id::StepId;
use rekindle_model::system::System;
use serde_json::Value;

use super::loops::{Axis, Choice};
use super::recovering;
use crate::cycle;
use crate::diagnostic::Diagnostic;
use crate::plan::{Handler, ITEM, MAX_INTERRUPTIONS, PlanStep, Retry, RunIf};
use crate::workflow::{ForEach, RECOVERY, Workflow};

/// The most steps of a plan.
const MAX_STEPS: usize = 1_000_000;
/// The most needs of all steps of a plan together; each costs about 30 bytes.
const MAX_NEEDS: usize = 10_000_000;
/// How long a component's own recovery step may take in a proof, if it states no limit. A program that hangs must not keep
/// the backup from being sealed.
const PROOF_LIMIT: Duration = Duration::from_secs(10 * 60);
/// The priority of steps that belong to no component and that nothing waits for: after all components.
const LAST: i64 = u32::MAX as i64;

/// A plan under construction. A graph node is a step's index in `steps`; an edge leads to a step that it
/// needs.
pub(super) struct Draft<'w> {
    workflow: &'w Workflow,
    system: Option<&'w System>,
    /// For each template of the file, its loops.
    loops: Vec<Vec<Axis>>,
    graph: DiGraph<(), ()>,
    steps: Vec<PlanStep>,
    /// For each template of the file, the places of its instances.
    instances: Vec<std::ops::Range<usize>>,
    /// For each component with recovery steps, their places in order.
    recoveries: HashMap<&'w str, Vec<usize>>,
}

impl<'w> Draft<'w> {
    pub(super) fn new(workflow: &'w Workflow, system: Option<&'w System>, loops: Vec<Vec<Axis>>) -> Self {
        Self {
            workflow,
            system,
            loops,
            graph: DiGraph::new(),
            steps: Vec::new(),
            instances: Vec::new(),
            recoveries: HashMap::new(),
        }
    }

    pub(super) fn lay_steps(&mut self) -> Result<(), String> {
        for (at, template) in self.workflow.steps.iter().enumerate() {
            let first = self.steps.len();
            let axes = std::mem::take(&mut self.loops[at]);
            for choices in combinations(&axes)? {
                let names: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
                let keys = axes.iter().map(|axis| axis.key.clone());
                self.push(PlanStep {
                    id: StepId::looped(&template.id, &names),
                    template: template.id.clone(),
                    each: keys.zip(names.iter().map(|name| (*name).to_owned())).collect(),
                    item: item(&template.for_each, &axes, &choices),
                    uses: template.uses.clone(),
                    with: template.with.clone(),
                    needs: Vec::new(),
                    run_if: template.run_if.clone(),
                    retry: template.retry.clone(),
                    timeout: template.timeout,
                    deadline: template
                        .deadline
                        .or(template.handler.map(|_| self.workflow.handler_timeout)),
                    stall_timeout: template.stall_timeout,
                    concurrency: template.concurrency.clone(),
                    compensate: template.compensate.clone(),
                    continue_on_error: template.continue_on_error,
                    max_interruptions: template.max_interruptions,
                    max_parallel: template.max_parallel,
                    handler: template.handler,
                    priority: LAST,
                })?;
            }
            self.loops[at] = axes;
            self.instances.push(first..self.steps.len());
        }
        let limit = self.takes_snapshots().then_some(PROOF_LIMIT);
        for (name, component) in recovering(self.workflow, self.system, &self.loops) {
            let mut places = Vec::new();
            for step in &component.recovery {
                places.push(self.steps.len());
                self.push(PlanStep {
                    id: StepId::looped(RECOVERY, &[name, &step.id]),
                    template: RECOVERY.to_owned(),
                    each: BTreeMap::from([
                        ("component".to_owned(), name.to_owned()),
                        ("step".to_owned(), step.id.clone()),
                    ]),
                    item: None,
                    uses: step.uses.clone(),
                    with: step.with.clone(),
                    needs: Vec::new(),
                    run_if: RunIf::Success,
                    retry: Retry::default(),
                    timeout: step.timeout.map(|period| period.0).or(limit),
                    deadline: None,
                    stall_timeout: None,
                    concurrency: None,
                    compensate: None,
                    continue_on_error: false,
                    max_interruptions: MAX_INTERRUPTIONS,
                    max_parallel: None,
                    handler: None,
                    priority: LAST,
                })?;
            }
            if !places.is_empty() {
                self.recoveries.insert(name, places);
            }
        }
        Ok(())
    }

    fn takes_snapshots(&self) -> bool {
        self.workflow.steps.iter().any(|step| step.uses == "snapshot")
    }

    fn push(&mut self, step: PlanStep) -> Result<(), String> {
        if self.steps.len() >= MAX_STEPS {
            return Err(format!("the plan would have more than {MAX_STEPS} steps"));
        }
        self.steps.push(step);
        self.graph.add_node(());
        Ok(())
    }

    pub(super) fn lay_needs(&mut self) -> Result<(), String> {
        let places = self.workflow.places();
        for (at, template) in self.workflow.steps.iter().enumerate() {
            for needed in template
                .needs
                .iter()
                .filter_map(|need| places.get(need.as_str()).copied())
            {
                let shared: Vec<String> = self.loops[at]
                    .iter()
                    .filter(|axis| self.loops[needed].iter().any(|other| axis.pairs_with(other)))
                    .map(|axis| axis.key.clone())
                    .collect();
                self.pair(
                    self.instances[at].clone(),
                    self.instances[needed].clone(),
                    &shared,
                )?;
            }
        }
        self.lay_recoveries()?;
        self.lay_order_of_components()?;
        self.lay_handlers()
    }

    /// Joins the steps of two ranges that agree on the shared keys.
    fn pair(
        &mut self,
        from: std::ops::Range<usize>,
        to: std::ops::Range<usize>,
        shared: &[String],
    ) -> Result<(), String> {
        let values = |step: &PlanStep| -> Vec<String> {
            shared
                .iter()
                .filter_map(|key| step.each.get(key))
                .cloned()
                .collect()
        };
        let mut groups: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        for place in to {
            groups.entry(values(&self.steps[place])).or_default().push(place);
        }
        for place in from {
            for needed in groups.get(&values(&self.steps[place])).into_iter().flatten() {
                Self::need(&mut self.graph, place, *needed)?;
            }
        }
        Ok(())
    }

    fn need(graph: &mut DiGraph<(), ()>, step: usize, needed: usize) -> Result<(), String> {
        if graph.edge_count() >= MAX_NEEDS {
            return Err(format!("the plan would have more than {MAX_NEEDS} needs"));
        }
        // The same need may be added twice. It is dropped when the needs are written: a search here would be quadratic.
        graph.add_edge(NodeIndex::new(step), NodeIndex::new(needed), ());
        Ok(())
    }

    /// Returns, for each component, the places of the looped steps of the templates that `keep` lets through.
    fn by_component(&self, keep: impl Fn(usize) -> bool) -> HashMap<String, Vec<usize>> {
        let mut found: HashMap<String, Vec<usize>> = HashMap::new();
        for at in (0..self.workflow.steps.len())
            .filter(|at| self.workflow.steps[*at].over_components() && keep(*at))
        {
            for place in self.instances[at].clone() {
                if let Some(component) = self.steps[place].each.get("component") {
                    found.entry(component.clone()).or_default().push(place);
                }
            }
        }
        found
    }

    /// A handler that needs no other one needs all ordinary steps. Under `finally`, it also needs all other handlers.
    fn lay_handlers(&mut self) -> Result<(), String> {
        let templates = &self.workflow.steps;
        let firsts = (0..templates.len())
            .filter(|&at| templates[at].handler.is_some() && templates[at].needs.is_empty());
        for place in firsts.flat_map(|at| self.instances[at].clone()) {
            let last = self.steps[place].handler == Some(Handler::Finally);
            let comes_before = |needed: &usize| match self.steps[*needed].handler {
                None => true,
                Some(other) => last && other != Handler::Finally,
            };
            let before: Vec<usize> = (0..self.steps.len()).filter(comes_before).collect();
            for needed in before {
                Self::need(&mut self.graph, place, needed)?;
            }
        }
        Ok(())
    }

    fn lay_recoveries(&mut self) -> Result<(), String> {
        let steps = &self.workflow.steps;
        let restores = self.by_component(|at| steps[at].uses == "restore");
        let validates = self.by_component(|at| steps[at].uses == "validate");
        let of = |map: &HashMap<String, Vec<usize>>, name: &str| map.get(name).cloned().unwrap_or_default();
        for (name, places) in &self.recoveries {
            for pair in places.windows(2) {
                Self::need(&mut self.graph, pair[1], pair[0])?;
            }
            if let (Some(first), Some(last)) = (places.first(), places.last()) {
                for restore in of(&restores, name) {
                    Self::need(&mut self.graph, *first, restore)?;
                }
                for validate in of(&validates, name) {
                    Self::need(&mut self.graph, validate, *last)?;
                }
            }
        }
        for (name, component) in recovering(self.workflow, self.system, &self.loops) {
            let of_probes = component.validate.iter().flat_map(|probe| &probe.reads);
            for other in component
                .reads
                .iter()
                .chain(of_probes)
                .filter_map(|other| self.system?.component(other))
            {
                for validate in of(&validates, name) {
                    for restore in of(&restores, other.0) {
                        Self::need(&mut self.graph, validate, restore)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn lay_order_of_components(&mut self) -> Result<(), String> {
        let ordered = recovering(self.workflow, self.system, &self.loops);
        if ordered.iter().all(|(_, component)| component.after.is_empty()) {
            return Ok(());
        }
        let steps = &self.workflow.steps;
        let looped = steps.iter().filter(|step| step.over_components());
        let ids: HashSet<&str> = looped.map(|step| step.id.as_str()).collect();
        let takes_snapshots = self.takes_snapshots();
        let firsts = self.by_component(|at| match takes_snapshots {
            true => steps[at].uses == "restore",
            false => !steps[at].needs.iter().any(|need| ids.contains(need.as_str())),
        });
        // Data first: a failed validation keeps nobody from being restored, unless the system asks for it.
        let mut data = self.by_component(|at| steps[at].uses == "restore");
        for (name, places) in &self.recoveries {
            data.entry((*name).to_owned()).or_default().extend(places.last());
        }
        let valid = self.by_component(|at| steps[at].uses == "validate");
        for (name, component) in ordered {
            for other in &component.after {
                let Some((own, _)) = self.system.and_then(|system| system.component(other.component()))
                else {
                    continue;
                };
                let valid = valid.get(own).filter(|_| other.valid());
                let before = data.get(own).into_iter().chain(valid).flatten();
                for needed in before {
                    for first in firsts.get(name).into_iter().flatten() {
                        Self::need(&mut self.graph, *first, *needed)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets priorities and needs, and returns the steps in an order in which they can run.
    pub(super) fn order(mut self) -> Result<Vec<PlanStep>, Box<Diagnostic>> {
        let Ok(sorted) = petgraph::algo::toposort(&self.graph, None) else {
            return Err(Box::new(self.cycle()));
        };
        // Edges lead to needs, so `sorted` has every step before the steps that it needs.
        let mut priority: Vec<i64> = self.steps.iter().map(|step| self.own_priority(step)).collect();
        for node in sorted {
            for needed in self.graph.neighbors(node) {
                priority[needed.index()] = priority[needed.index()].min(priority[node.index()]);
            }
        }
        let mut waiting: Vec<usize> = self
            .graph
            .node_indices()
            .map(|node| self.graph.neighbors(node).count())
            .collect();
        let key = |place: usize| Reverse((priority[place], place));
        let mut ready: BinaryHeap<Reverse<(i64, usize)>> = (0..self.steps.len())
            .filter(|at| waiting[*at] == 0)
            .map(key)
            .collect();
        let mut position = vec![0; self.steps.len()];
        let mut order = Vec::with_capacity(self.steps.len());
        while let Some(Reverse((_, place))) = ready.pop() {
            position[place] = order.len();
            order.push(place);
            for dependent in self
                .graph
                .neighbors_directed(NodeIndex::new(place), Direction::Incoming)
            {
                waiting[dependent.index()] -= 1;
                if waiting[dependent.index()] == 0 {
                    ready.push(key(dependent.index()));
                }
            }
        }
        let ids: Vec<StepId> = self.steps.iter().map(|step| step.id.clone()).collect();
        for (place, step) in self.steps.iter_mut().enumerate() {
            let mut needs: Vec<usize> = self
                .graph
                .neighbors(NodeIndex::new(place))
                .map(|needed| needed.index())
                .collect();
            needs.sort_by_key(|needed| position[*needed]);
            needs.dedup();
            step.needs = needs.into_iter().map(|needed| ids[needed].clone()).collect();
            step.priority = priority[place];
        }
        let mut steps: Vec<Option<PlanStep>> = self.steps.into_iter().map(Some).collect();
        Ok(order
            .into_iter()
            .filter_map(|place| steps[place].take())
            .collect())
    }

    fn own_priority(&self, step: &PlanStep) -> i64 {
        let component = step
            .each
            .get("component")
            .and_then(|name| self.system?.components.get(name));
        component.map_or(LAST, |component| i64::from(component.priority))
    }

    fn cycle(&self) -> Diagnostic {
        let cycle = cycle::find(&self.graph).unwrap_or_default();
        let path = cycle::path(
            cycle
                .iter()
                .filter_map(|node| self.steps.get(node.index()))
                .map(|step| step.id.as_str()),
        );
        let help = Some("take one need, `after` or `reads` away".to_owned());
        self.workflow.origin.error(
            &["steps"],
            format!("these steps wait for each other: {path}"),
            help,
        )
    }
}

/// Returns every combination of the loops' values, the last loop running fastest.
fn combinations(axes: &[Axis]) -> Result<Vec<Vec<&Choice>>, String> {
    let mut found: Vec<Vec<&Choice>> = vec![Vec::new()];
    for axis in axes {
        if found.len().saturating_mul(axis.values.len()) > MAX_STEPS {
            return Err(format!("the plan would have more than {MAX_STEPS} steps"));
        }
        found = found
            .iter()
            .flat_map(|head| {
                axis.values
                    .iter()
                    .map(|value| [head.as_slice(), &[value]].concat())
            })
            .collect();
    }
    Ok(found)
}

/// Returns the value of one step of a loop over given values; of a matrix, a map of its values.
fn item(for_each: &ForEach, axes: &[Axis], choices: &[&Choice]) -> Option<Value> {
    match (for_each, axes) {
        (ForEach::Matrix(_), _) => {
            let values = choices.iter().map(|choice| choice.value.clone());
            Some(Value::Object(
                axes.iter().map(|axis| axis.key.clone()).zip(values).collect(),
            ))
        }
        (_, [axis]) if axis.key == ITEM => choices.first().map(|choice| choice.value.clone()),
        _ => None,
    }
}
