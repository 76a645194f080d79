//! Any workflow as a run, and the checks before it is submitted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_model::origin::RunKind;
use rekindle_plan::{Inputs, PlanStep};
use rekindle_sources::place::Place;
use serde_json::{Map, Value};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::guards::target::{self, Alternatives};
use crate::layout::Layout;
use crate::open::ReadWriteWorkspace;
use crate::operations::recover::occupied;
use crate::run_spec::{self, LoadedSpec, ReadyRun};

/// A run that has passed every check and can be submitted.
pub struct RunRequest {
    /// What it is pinned to.
    pub spec: LoadedSpec,
    /// What it is for.
    pub kind: RunKind,
    /// When the disaster struck, if a person said so.
    pub disaster_at: Option<DateTime<Utc>>,
}

/// A workflow to be run over the default loops of its kind.
pub struct WorkflowRequest {
    /// The person's name for it: a file or a name.
    pub name: String,
    /// Its YAML.
    pub yaml: String,
    /// Parameters, as text.
    pub params: Vec<(String, String)>,
}

/// Checks the run of a workflow.
///
/// # Errors
/// The workflow does not expand, a parameter is given twice, or it would write over something.
pub async fn prepare(workspace: &ReadWriteWorkspace, request: &WorkflowRequest) -> Result<RunRequest, Error> {
    let WorkflowRequest { name, yaml, params } = request;
    let context = &workspace.context;
    let (system, _) = run_spec::system(&context.layout)?;
    let inputs = Inputs {
        params: typed_once(params)?,
        loops: BTreeMap::new(),
    };
    let mut spec = LoadedSpec::new(&context.layout, name, yaml, inputs)?;
    let kind = RunKind::of_workflow(&spec.workflow.name);
    spec.inputs.loops = system.default_loops(kind);
    let alternatives = alternatives(&spec, name, &context.layout);
    let mut named = None;
    if let Some(Value::String(to)) = spec.inputs.params.get_mut("to")
        && !to.is_empty()
    {
        let place = target::named(&context.layout, &system, Path::new(to), &alternatives)?;
        // A resumed run may start in another folder, and a link may lead elsewhere by then.
        *to = place.path().to_string_lossy().into_owned();
        named = Some(place);
    }
    let ready = spec.ready(context)?;
    unoccupied(context, &ready, named.as_ref(), &alternatives).await?;
    Ok(RunRequest {
        spec: ready.spec,
        kind,
        disaster_at: None,
    })
}

fn alternatives(spec: &LoadedSpec, name: &str, layout: &Layout) -> Alternatives {
    let with =
        |param: &str, value: &str, target: RecoverTarget| match spec.workflow.params.contains_key(param) {
            true => Action::RunWorkflow {
                workflow: name.to_owned(),
                params: BTreeMap::from([(param.to_owned(), value.to_owned())]),
            },
            false => Action::Recover(Recover {
                target,
                ..Recover::default()
            }),
        };
    Alternatives {
        elsewhere: with("to", "DIR", RecoverTarget::Elsewhere),
        in_place: with("in_place", "true", RecoverTarget::InPlace),
        other_source: None,
        root: run_spec::data_root(&layout.system_dir(), &spec.system),
    }
}

/// Refuses as [`prepare`] does, for a workflow that a step of another one runs. There is nobody to ask.
///
/// # Errors
/// It would write over something, or its parameter `to` is relative.
pub async fn refuse_occupied(context: &WorkspaceContext, ready: &ReadyRun) -> Result<(), Error> {
    let alternatives = alternatives(&ready.spec, &ready.spec.workflow.name, &context.layout);
    let named = match ready.spec.param("to") {
        Some(to) if Path::new(to).is_relative() => {
            return Err(
                Error::usage(format!("{to:?} is relative, and to what is not known here"))
                    .with_advice("give `to` as an absolute path to a workflow that a step runs"),
            );
        }
        Some(to) => Some(target::named(
            &context.layout,
            &ready.spec.system,
            Path::new(to),
            &alternatives,
        )?),
        None => None,
    };
    unoccupied(context, ready, named.as_ref(), &alternatives).await
}

/// Refuses a workflow that would restore over existing content. A recovery in place moves that content aside first.
async fn unoccupied(
    context: &WorkspaceContext,
    ready: &ReadyRun,
    named: Option<&Place>,
    alternatives: &Alternatives,
) -> Result<(), Error> {
    let in_place = ready.plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
    // If a restore names its own root, the person has asked for it.
    let at_target = |step: &&PlanStep| step.uses == "restore" && step.with.get("root").is_none();
    let restores: Vec<&PlanStep> = ready.plan.steps.iter().filter(at_target).collect();
    let (Some(root), false, false) = (ready.site.target_root(), in_place, restores.is_empty()) else {
        return Ok(());
    };
    if let Some(place) = named {
        return target::empty(context, place, alternatives).await;
    }
    let system = &ready.spec.system;
    let own = |step: &&PlanStep| {
        let given = step.with.get("component").and_then(Value::as_str);
        let name = given.or(step.each.get("component").map(String::as_str))?;
        system.component(name).map(|(own, _)| own.to_owned())
    };
    // If only the run finds out a component, it may be any of them.
    let all = || system.components.keys().cloned().collect();
    let components: Vec<String> = restores
        .iter()
        .map(own)
        .collect::<Option<_>>()
        .unwrap_or_else(all);
    let occupied: Vec<PathBuf> = occupied(system, &components, root, &ready.site.kept().never)?;
    let interrupted = target::interrupted(context, root).await;
    match (occupied.as_slice(), interrupted.as_ref()) {
        ([], None) => Ok(()),
        ([], Some(run)) => Err(alternatives.interrupted(root, run)),
        (occupied, run) => Err(alternatives.occupied(occupied, run)),
    }
}

fn typed_once(given: &[(String, String)]) -> Result<Map<String, Value>, Error> {
    let mut params = Map::new();
    for (key, value) in given {
        if params.insert(key.clone(), Value::String(value.clone())).is_some() {
            return Err(Error::usage(format!("parameter {key:?} is given twice")));
        }
    }
    Ok(params)
}
