//! A workflow to a plan: loops become steps, needs become pairs, urgency flows from steps to what they wait for.
//!
//! | rule | edges |
//! |---|---|
//! | a need with shared loop keys | the instances that agree on them |
//! | a need without | all instances |
//! | `recovery:` of a component | restore → its steps in order → validate |
//! | `reads: [x]` of c | validate of c → restore of x |
//! | a step under `on_failure` | all steps that are not |
//! | `after: [x]` of c, in plans that restore | first looped steps of c → last looped steps of x |
//!
//! Components that are not in the run gate nothing. A backup is not held up by `after`: that orders recoveries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::id::StepId;
use rekindle_model::system::{Component, System};
use serde_json::{Map, Value};

use crate::cycle;
use crate::diagnostic::{Diagnostic, Diagnostics, suggest, suggest_from_all};
use crate::plan::{Catalog, Inputs, Plan, PlanStep, Retry, RunIf};
use crate::read::is_name;
use crate::workflow::{RECOVERY, StepTemplate, Workflow, read_workflow};

/// The most steps of a plan.
const MAX_STEPS: usize = 1_000_000;
/// The most needs of all steps of a plan together; each costs about 30 bytes.
const MAX_NEEDS: usize = 10_000_000;
/// The priority of steps that belong to no component and that nothing waits for: after all components.
const LAST: i64 = u32::MAX as i64;

/// Expands a workflow over a run's loops.
///
/// # Errors
/// All of: unknown, missing or mistyped parameters, unknown loop keys or values, unknown actions, what the
/// actions find wrong with their parameters, and cycles.
pub fn expand(
    workflow: &Workflow,
    system: Option<&System>,
    inputs: &Inputs,
    catalog: &dyn Catalog,
) -> Result<Plan, Diagnostics> {
    let mut faults = Vec::new();
    let params = params(workflow, inputs, &mut faults);
    check_loops(workflow, system, inputs, &mut faults);
    check_actions(workflow, system, inputs, catalog, &mut faults);
    if !faults.is_empty() {
        faults.sort_by_key(|fault| (fault.line, fault.col));
        return Err(Diagnostics(faults));
    }
    let mut draft = Draft::new(workflow, system, inputs);
    let laid = draft.lay_steps().and_then(|()| draft.lay_needs());
    if let Err(message) = laid {
        let help = Some("run it over fewer components or tiers".to_owned());
        return Err(Diagnostics(vec![workflow.origin.error(
            &["steps"],
            message,
            help,
        )]));
    }
    let steps = draft.order().map_err(|fault| Diagnostics(vec![*fault]))?;
    Ok(Plan {
        workflow: workflow.name.clone(),
        description: workflow.description.clone(),
        params,
        max_parallel: workflow.max_parallel,
        deadline: workflow.deadline,
        steps,
    })
}

/// Returns the faults of a workflow file that [`load_workflow`](crate::load_workflow) refuses, and with them what
/// is wrong with the loops and the actions of its whole steps: all that can be known at once.
pub fn faults_of(
    name: &str,
    text: &str,
    system: Option<&System>,
    inputs: &Inputs,
    catalog: &dyn Catalog,
) -> Diagnostics {
    let (found, workflow) = read_workflow(name, text);
    let mut faults = found.0;
    if let Some(workflow) = workflow {
        check_loops(&workflow, system, inputs, &mut faults);
        check_actions(&workflow, system, inputs, catalog, &mut faults);
    }
    faults.sort_by_key(|fault| (fault.line, fault.col));
    Diagnostics(faults)
}

fn params(workflow: &Workflow, inputs: &Inputs, faults: &mut Vec<Diagnostic>) -> Map<String, Value> {
    let known: Vec<&str> = workflow.params.keys().map(String::as_str).collect();
    let mut fault = |message: String, help| faults.push(workflow.origin.error(&["params"], message, help));
    for name in inputs
        .params
        .keys()
        .filter(|name| !workflow.params.contains_key(*name))
    {
        let help = suggest_from_all(name, &known).or_else(|| Some("it takes none".to_owned()));
        fault(
            format!("workflow `{}` has no parameter `{name}`", workflow.name),
            help,
        );
    }
    let mut params = Map::new();
    for (name, spec) in &workflow.params {
        match inputs.params.get(name) {
            Some(given) => match spec.kind.accept(given) {
                Some(value) => drop(params.insert(name.clone(), value)),
                None => fault(
                    format!(
                        "parameter `{name}` must be of type {}, found {given}",
                        spec.kind.name()
                    ),
                    None,
                ),
            },
            None => match &spec.default {
                Some(default) => drop(params.insert(name.clone(), default.clone())),
                None => fault(
                    format!("parameter `{name}` ({}) is missing", spec.kind.name()),
                    Some(format!("give it with `-p {name}=…`")),
                ),
            },
        }
    }
    params
}

fn check_loops(workflow: &Workflow, system: Option<&System>, inputs: &Inputs, faults: &mut Vec<Diagnostic>) {
    let keys: Vec<&str> = inputs.loops.keys().map(String::as_str).collect();
    for step in &workflow.steps {
        for key in step
            .for_each
            .iter()
            .filter(|key| !inputs.loops.contains_key(*key))
        {
            let help = suggest_from_all(key, &keys).or_else(|| Some("this run has no loops".to_owned()));
            faults.push(workflow.origin.error(
                &step.path(&["for_each"]),
                format!("unknown loop key `{key}`"),
                help,
            ));
        }
    }
    for (key, values) in &inputs.loops {
        let known: Option<Vec<&str>> = system.and_then(|system| match key.as_str() {
            "component" => Some(system.components.keys().map(String::as_str).collect()),
            "tier" => Some(system.tiers.keys().map(String::as_str).collect()),
            _ => None,
        });
        for value in values {
            if let Some(known) = known.as_ref().filter(|known| !known.contains(&value.as_str())) {
                faults.push(workflow.origin.error(
                    &["steps"],
                    format!("unknown {key} `{value}`"),
                    suggest_from_all(value, known),
                ));
            } else if !is_name(value) {
                faults.push(workflow.origin.error(
                    &["steps"],
                    format!("`{value}` cannot be a {key} of a loop"),
                    None,
                ));
            }
        }
    }
}

fn check_actions(
    workflow: &Workflow,
    system: Option<&System>,
    inputs: &Inputs,
    catalog: &dyn Catalog,
    faults: &mut Vec<Diagnostic>,
) {
    let names = catalog.names();
    for step in &workflow.steps {
        if !names.contains(&step.uses) {
            let help = suggest(&step.uses, &names);
            faults.push(workflow.origin.error(
                &step.path(&["uses"]),
                format!("unknown action `{}`", step.uses),
                help,
            ));
            continue;
        }
        for problem in catalog.check(&step.uses, &step.with) {
            let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
            let path = step.path(&[&["with"][..], &inside].concat());
            faults.push(workflow.origin.error(&path, problem.message, problem.help));
        }
    }
    check_groups(workflow, faults);
    check_compensations(workflow, catalog, &names, faults);
    // The system's own text is not at hand here; `Loaded::check_actions` shows the same faults at their places.
    for (name, component) in recovering(workflow, system, inputs) {
        for step in &component.recovery {
            let whose = format!("recovery step `{}` of component `{name}`", step.id);
            if !names.contains(&step.uses) {
                let help = suggest(&step.uses, &names);
                faults.push(workflow.origin.error(
                    &["steps"],
                    format!("{whose}: unknown action `{}`", step.uses),
                    help,
                ));
                continue;
            }
            for problem in catalog.check(&step.uses, &step.with) {
                faults.push(workflow.origin.error(
                    &["steps"],
                    format!("{whose}: {}", problem.message),
                    problem.help,
                ));
            }
        }
    }
}

/// What only waits for others. It cannot take anything back, and would keep others of a group waiting with it, perhaps
/// those that it waits for.
const WAITS_ONLY: [&str; 2] = ["approve", "workflow"];

fn check_groups(workflow: &Workflow, faults: &mut Vec<Diagnostic>) {
    let waits_only =
        |step: &&StepTemplate| step.concurrency.is_some() && WAITS_ONLY.contains(&step.uses.as_str());
    for step in workflow.steps.iter().filter(waits_only) {
        faults.push(workflow.origin.error(
            &step.path(&["concurrency"]),
            format!(
                "`{}` only waits, and would keep its whole group waiting",
                step.uses
            ),
            Some("give the group to the steps that do the work".to_owned()),
        ));
    }
}

fn check_compensations(
    workflow: &Workflow,
    catalog: &dyn Catalog,
    names: &[String],
    faults: &mut Vec<Diagnostic>,
) {
    for step in &workflow.steps {
        let Some(compensate) = &step.compensate else {
            continue;
        };
        let uses = &compensate.uses;
        let place = step.path(&["compensate", "uses"]);
        if WAITS_ONLY.contains(&uses.as_str()) {
            let message = format!("`{uses}` cannot take back what a step did");
            faults.push(workflow.origin.error(
                &place,
                message,
                Some("use an action that acts by itself".to_owned()),
            ));
        } else if !names.contains(uses) {
            let message = format!("unknown action `{uses}`");
            faults.push(workflow.origin.error(&place, message, suggest(uses, names)));
        } else {
            for problem in catalog.check(uses, &compensate.with) {
                let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
                let path = step.path(&[&["compensate", "with"][..], &inside].concat());
                faults.push(workflow.origin.error(&path, problem.message, problem.help));
            }
        }
    }
}

/// Returns the components of the run whose own recovery steps belong into the plan.
fn recovering<'s>(
    workflow: &Workflow,
    system: Option<&'s System>,
    inputs: &Inputs,
) -> Vec<(&'s str, &'s Component)> {
    let looped = |uses: &str| {
        workflow
            .steps
            .iter()
            .any(|step| step.uses == uses && step.over_components())
    };
    if !looped("restore") {
        return Vec::new();
    }
    let in_run = inputs
        .loops
        .get("component")
        .map(Vec::as_slice)
        .unwrap_or_default();
    let components = system.map(|system| &system.components);
    let mut found: Vec<(&str, &Component)> = in_run
        .iter()
        .filter_map(|name| components?.get_key_value(name))
        .map(|(name, component)| (name.as_str(), component))
        .collect();
    let mut seen = HashSet::new();
    found.retain(|(name, _)| seen.insert(*name));
    found
}

/// Steps while they are laid out; a graph node is a step's place in `steps`, an edge leads to what it needs.
struct Draft<'w> {
    workflow: &'w Workflow,
    system: Option<&'w System>,
    inputs: &'w Inputs,
    graph: DiGraph<(), ()>,
    steps: Vec<PlanStep>,
    /// For each template of the file, the places of its instances.
    instances: Vec<std::ops::Range<usize>>,
    /// For each component with recovery steps, their places in order.
    recoveries: HashMap<&'w str, Vec<usize>>,
}

impl<'w> Draft<'w> {
    fn new(workflow: &'w Workflow, system: Option<&'w System>, inputs: &'w Inputs) -> Self {
        Self {
            workflow,
            system,
            inputs,
            graph: DiGraph::new(),
            steps: Vec::new(),
            instances: Vec::new(),
            recoveries: HashMap::new(),
        }
    }

    fn lay_steps(&mut self) -> Result<(), String> {
        for template in &self.workflow.steps {
            let first = self.steps.len();
            for values in self.combinations(&template.for_each)? {
                let each = template
                    .for_each
                    .iter()
                    .cloned()
                    .zip(values.iter().map(|value| (*value).to_owned()))
                    .collect();
                self.push(PlanStep {
                    id: StepId::looped(&template.id, &values),
                    template: template.id.clone(),
                    each,
                    uses: template.uses.clone(),
                    with: template.with.clone(),
                    needs: Vec::new(),
                    run_if: template.run_if.clone(),
                    retry: template.retry.clone(),
                    timeout: template.timeout,
                    deadline: template.deadline,
                    stall_timeout: template.stall_timeout,
                    concurrency: template.concurrency.clone(),
                    compensate: template.compensate.clone(),
                    priority: LAST,
                })?;
            }
            self.instances.push(first..self.steps.len());
        }
        for (name, component) in recovering(self.workflow, self.system, self.inputs) {
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
                    uses: step.uses.clone(),
                    with: step.with.clone(),
                    needs: Vec::new(),
                    run_if: RunIf::Success,
                    retry: Retry::default(),
                    timeout: step.timeout.map(|period| period.0),
                    deadline: None,
                    stall_timeout: None,
                    concurrency: None,
                    compensate: None,
                    priority: LAST,
                })?;
            }
            if !places.is_empty() {
                self.recoveries.insert(name, places);
            }
        }
        Ok(())
    }

    fn push(&mut self, step: PlanStep) -> Result<(), String> {
        if self.steps.len() >= MAX_STEPS {
            return Err(format!("the plan would have more than {MAX_STEPS} steps"));
        }
        self.steps.push(step);
        self.graph.add_node(());
        Ok(())
    }

    /// Returns every combination of the loops' values, the last key running fastest.
    fn combinations(&self, keys: &[String]) -> Result<Vec<Vec<&'w str>>, String> {
        let mut found: Vec<Vec<&str>> = vec![Vec::new()];
        for key in keys {
            let mut values: Vec<&str> = Vec::new();
            let mut seen = HashSet::new();
            values.extend(
                self.inputs
                    .loops
                    .get(key)
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .filter(|value| seen.insert(*value)),
            );
            if found.len().saturating_mul(values.len()) > MAX_STEPS {
                return Err(format!("the plan would have more than {MAX_STEPS} steps"));
            }
            found = found
                .iter()
                .flat_map(|head| values.iter().map(|value| [head.as_slice(), &[*value]].concat()))
                .collect();
        }
        Ok(found)
    }

    fn lay_needs(&mut self) -> Result<(), String> {
        let places: HashMap<&str, usize> = self
            .workflow
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.as_str(), at))
            .collect();
        for (at, template) in self.workflow.steps.iter().enumerate() {
            for needed in template
                .needs
                .iter()
                .filter_map(|need| places.get(need.as_str()).copied())
            {
                let shared: Vec<&str> = template
                    .for_each
                    .iter()
                    .filter(|key| self.workflow.steps[needed].for_each.contains(key))
                    .map(String::as_str)
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
        self.lay_after_failure()
    }

    /// Joins the steps of two ranges that agree on the shared keys.
    fn pair(
        &mut self,
        from: std::ops::Range<usize>,
        to: std::ops::Range<usize>,
        shared: &[&str],
    ) -> Result<(), String> {
        let values = |step: &PlanStep| -> Vec<String> {
            shared
                .iter()
                .filter_map(|key| step.each.get(*key))
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
        // Twice the same need is dropped when the needs are written out: looking for it here would be quadratic.
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

    /// What runs after a failure comes after everything else, where it does not come after another such step.
    fn lay_after_failure(&mut self) -> Result<(), String> {
        let templates = &self.workflow.steps;
        let after: HashSet<usize> = (0..templates.len())
            .filter(|&at| templates[at].after_failure)
            .flat_map(|at| self.instances[at].clone())
            .collect();
        let first = |at: &usize| templates[*at].after_failure && templates[*at].needs.is_empty();
        for place in (0..templates.len())
            .filter(first)
            .flat_map(|at| self.instances[at].clone())
        {
            for needed in (0..self.steps.len()).filter(|needed| !after.contains(needed)) {
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
        for (name, component) in recovering(self.workflow, self.system, self.inputs) {
            for other in component
                .reads
                .iter()
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
        let ordered = recovering(self.workflow, self.system, self.inputs);
        if ordered.iter().all(|(_, component)| component.after.is_empty()) {
            return Ok(());
        }
        let steps = &self.workflow.steps;
        let looped: Vec<&StepTemplate> = steps.iter().filter(|step| step.over_components()).collect();
        let ids: HashSet<&str> = looped.iter().map(|step| step.id.as_str()).collect();
        let needed: HashSet<&str> = looped
            .iter()
            .flat_map(|step| &step.needs)
            .map(String::as_str)
            .collect();
        let firsts = self.by_component(|at| !steps[at].needs.iter().any(|need| ids.contains(need.as_str())));
        let lasts = self.by_component(|at| !needed.contains(steps[at].id.as_str()));
        for (name, component) in ordered {
            for other in component
                .after
                .iter()
                .filter_map(|other| self.system?.component(other))
            {
                for first in firsts.get(name).into_iter().flatten() {
                    for last in lasts.get(other.0).into_iter().flatten() {
                        Self::need(&mut self.graph, *first, *last)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets priorities and needs, and returns the steps in an order in which they can run.
    fn order(mut self) -> Result<Vec<PlanStep>, Box<Diagnostic>> {
        let Ok(sorted) = petgraph::algo::toposort(&self.graph, None) else {
            return Err(Box::new(self.cycle()));
        };
        // Edges lead to needs, so every step stands in `sorted` before all that it needs.
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
