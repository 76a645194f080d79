//! Expands a workflow to a plan: a loop becomes steps, needs become pairs, and a step passes its urgency on to the steps
//! that it waits for.
//!
//! | rule | edges |
//! |---|---|
//! | a need with shared loop keys | the instances that agree on them. Loops over lists share a key if one list has all values of the other |
//! | a need without | all instances |
//! | `recovery:` of a component | restore → its steps in order → validate |
//! | `reads: [x]` of c | validate of c → restore of x |
//! | a handler | all ordinary steps; under `finally` also the other handlers |
//! | `after: [x]` of c, in plans that restore | first looped steps of c → restore and recovery steps of x; with `valid: true` also validate of x. In a plan that takes snapshots, the first one is the restore: only the proof has an order |
//!
//! A component that is not in the run holds up nothing. `after` orders recoveries, not backups.

mod draft;
mod loops;
pub(crate) mod references;

use std::collections::HashSet;

use rekindle_model::system::{Component, System};
use serde_json::{Map, Value};

use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, Diagnostics, suggest, suggest_from_all};
use crate::numbers;
use crate::plan::{Inputs, Plan};
use crate::workflow::{StepTemplate, Workflow};

use draft::Draft;
use loops::Axis;
use references::{Facts, Known};

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
    let loops = loops::resolve(workflow, system, inputs, &params, &mut faults);
    check_actions(
        workflow,
        system,
        &loops,
        &params,
        catalog,
        Hooked::Run,
        &mut faults,
    );
    check_references(workflow, system, &loops, catalog, Hooked::Run, &mut faults);
    if !faults.is_empty() {
        faults.sort_by_key(|fault| (fault.line, fault.col));
        return Err(Diagnostics(faults));
    }
    let mut draft = Draft::new(workflow, system, loops);
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
        concurrency: workflow.concurrency.clone(),
        steps,
    })
}

/// Returns the faults of a workflow file that [`read_workflow`](crate::read_workflow) found, and also those
/// of the loops and the actions of its whole steps. So a user sees all of them at once.
pub fn faults_of(
    found: Diagnostics,
    workflow: Option<&Workflow>,
    system: Option<&System>,
    inputs: &Inputs,
    catalog: &dyn Catalog,
) -> Diagnostics {
    let mut faults = found.0;
    if let Some(workflow) = workflow {
        let params = params(workflow, inputs, &mut Vec::new());
        let loops = loops::resolve(workflow, system, inputs, &params, &mut faults);
        check_actions(
            workflow,
            system,
            &loops,
            &params,
            catalog,
            Hooked::Judged,
            &mut faults,
        );
        check_references(workflow, system, &loops, catalog, Hooked::Judged, &mut faults);
    }
    faults.sort_by_key(|fault| (fault.line, fault.col));
    Diagnostics(faults)
}

/// What becomes of the faults of a system's hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hooked {
    /// They are reported: a person asks for them.
    Judged,
    /// A hook that cannot work fails by itself, once it runs: a backup or a recovery must not wait for its alarm to be
    /// mended.
    Run,
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
                    given.as_str().is_some_and(numbers::beyond_64_bits).then(|| {
                        "a number has at most 64 bits; a longer one can be of type string".to_owned()
                    }),
                ),
            },
            None => match &spec.default {
                Some(default) => drop(params.insert(name.clone(), default.clone())),
                None => fault(
                    format!("parameter `{name}` ({}) is missing", spec.kind.name()),
                    Some("the run must give it: it has no default".to_owned()),
                ),
            },
        }
    }
    params
}

fn check_references(
    workflow: &Workflow,
    system: Option<&System>,
    loops: &[Vec<Axis>],
    catalog: &dyn Catalog,
    hooked: Hooked,
    faults: &mut Vec<Diagnostic>,
) {
    let facts = Facts {
        workflow,
        system,
        loops,
        catalog,
        hooks: hooked == Hooked::Judged,
    };
    references::check(&facts, faults);
}

fn check_actions(
    workflow: &Workflow,
    system: Option<&System>,
    loops: &[Vec<Axis>],
    params: &Map<String, Value>,
    catalog: &dyn Catalog,
    hooked: Hooked,
    faults: &mut Vec<Diagnostic>,
) {
    let names = catalog.names();
    let known = Known::of(workflow, params);
    for step in &workflow.steps {
        if !names.contains(&step.uses) {
            let help = suggest(&step.uses, &names);
            faults.push(workflow.origin_of(step).error(
                &step.path(&["uses"]),
                format!("unknown action `{}`", step.uses),
                help,
            ));
            continue;
        }
        if step.is_hook() && hooked == Hooked::Run {
            continue;
        }
        // Which workflow a step runs is read from the text itself.
        let with = match step.uses.as_str() {
            "workflow" => step.with.clone(),
            _ => known.put_into(&step.with),
        };
        for problem in catalog.check(&step.uses, &with) {
            let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
            let path = step.path(&[&["with"][..], &inside].concat());
            let origin = workflow.origin_of(step);
            faults.push(origin.error(&path, problem.message, problem.help));
        }
    }
    check_groups(workflow, faults);
    check_compensations(workflow, catalog, &names, faults);
    // The system's text is not known here; `Loaded::check` shows the same faults at their places.
    for (name, component) in recovering(workflow, system, loops) {
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

/// Actions that only wait for others. They have nothing to undo. In a group they would block the others,
/// perhaps those that they wait for.
const WAITS_ONLY: [&str; 2] = ["approve", "workflow"];

fn check_groups(workflow: &Workflow, faults: &mut Vec<Diagnostic>) {
    let waits_only =
        |step: &&StepTemplate| step.concurrency.is_some() && WAITS_ONLY.contains(&step.uses.as_str());
    for step in workflow.steps.iter().filter(waits_only) {
        faults.push(workflow.origin_of(step).error(
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
            faults.push(workflow.origin_of(step).error(
                &place,
                message,
                Some("use an action that acts by itself".to_owned()),
            ));
        } else if !names.contains(uses) {
            let message = format!("unknown action `{uses}`");
            faults.push(
                workflow
                    .origin_of(step)
                    .error(&place, message, suggest(uses, names)),
            );
        } else {
            for problem in catalog.check(uses, &compensate.with) {
                let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
                let path = step.path(&[&["compensate", "with"][..], &inside].concat());
                let origin = workflow.origin_of(step);
                faults.push(origin.error(&path, problem.message, problem.help));
            }
        }
    }
}

/// Returns the components that the run restores: their own recovery steps belong in the plan.
fn recovering<'s>(
    workflow: &Workflow,
    system: Option<&'s System>,
    loops: &[Vec<Axis>],
) -> Vec<(&'s str, &'s Component)> {
    let steps = workflow.steps.iter().zip(loops);
    let axes = steps
        .filter(|(step, _)| step.uses == "restore")
        .flat_map(|(_, axes)| axes.iter().filter(|axis| axis.key == "component"));
    let components = system.map(|system| &system.components);
    let mut found: Vec<(&str, &Component)> = axes
        .flat_map(|axis| &axis.values)
        .filter_map(|choice| components?.get_key_value(&choice.name))
        .map(|(name, component)| (name.as_str(), component))
        .collect();
    let mut seen = HashSet::new();
    found.retain(|(name, _)| seen.insert(*name));
    found
}
