//! The drill of a scenario: its disaster is caused in a sandbox, and recovered from there.

use std::path::PathBuf;

use rekindle_actions::sandbox_room;
use rekindle_model::id::RunId;
use rekindle_model::origin::RunKind;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_plan::{Inputs, builtin};
use rekindle_report::units::bytes;
use serde_json::{Map, Value, json};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::names;
use crate::open::ReadWriteWorkspace;
use crate::operations::recover::{self, From, RecoverRequest, Target};
use crate::operations::run::RunRequest;
use crate::run_spec::{self, LoadedSpec, SET_UP};
use crate::staging;

/// Which drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillRequest {
    /// The scenario.
    pub scenario: String,
    /// From which recovery set.
    pub from: From,
    /// The tier to read from if possible.
    pub tier: Option<String>,
    /// Whether an older set will do if the latest that is known is lost.
    pub accept_older: bool,
}

/// Returns the scenarios that are meant, in the order of their names if all are.
///
/// # Errors
/// A name is unknown, or the system has no scenario.
pub fn scenarios(workspace: &ReadWriteWorkspace, wanted: &[String], all: bool) -> Result<Vec<String>, Error> {
    let system = run_spec::system(&workspace.context.layout)?;
    let known = || system.scenarios.keys().map(String::as_str);
    if system.scenarios.is_empty() {
        return Err(Error::usage("the system states no scenario")
            .with_advice("add one under `scenarios:` in the system's file"));
    }
    if all {
        return Ok(known().map(str::to_owned).collect());
    }
    if let Some(other) = wanted.iter().find(|name| !system.scenarios.contains_key(*name)) {
        return Err(names::unknown("scenario", other, known()));
    }
    match wanted {
        [] => Err(Error::usage("name a scenario").with_advice(format!(
            "give --all, or some of: {}",
            known().collect::<Vec<_>>().join(", ")
        ))),
        wanted => Ok(wanted.to_vec()),
    }
}

/// Checks a drill, and returns its run.
///
/// # Errors
/// No tier gives a set with the affected components, one of them cannot be damaged, or the sandbox has no room.
pub async fn prepare(workspace: &ReadWriteWorkspace, request: &DrillRequest) -> Result<RunRequest, Error> {
    let system = run_spec::system(&workspace.context.layout)?;
    let scenario = system.scenarios.get(&request.scenario);
    if scenario.is_some_and(|scenario| scenario.inject.is_some()) {
        let run = integrity(&workspace.context, &system, request)?;
        let wanted = RecoverRequest {
            target: Target::Sandbox,
            from: request.from.clone(),
            tier: request.tier.clone(),
            accept_older: request.accept_older,
            ..RecoverRequest::default()
        };
        let spec = recover::check_set(workspace, &wanted, run.spec).await?.ready.spec;
        return Ok(RunRequest { spec, ..run });
    }
    let recovery = RecoverRequest {
        scenario: Some(request.scenario.clone()),
        target: Target::Sandbox,
        from: request.from.clone(),
        tier: request.tier.clone(),
        accept_older: request.accept_older,
        ..RecoverRequest::default()
    };
    let run = recover::prepare(workspace, &recovery).await?.run;
    let checked = recover::check_set(workspace, &recovery, run.spec).await?;
    let spec = checked.ready.spec;
    // If no tier answers now, the run waits for one.
    if let Ok(found) = &checked.set {
        let restored = spec.inputs.loops.get("component").into_iter().flatten();
        let lacking: Vec<&str> = restored
            .clone()
            .filter(|name| {
                spec.system
                    .components
                    .get(*name)
                    .is_some_and(|it| it.source.is_some())
            })
            .filter(|name| !found.set.members.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !lacking.is_empty() {
            let message = format!(
                "recovery set {} holds nothing of {}",
                found.set.id,
                lacking.join(", ")
            );
            let error = Error::new(ProblemKind::Invalid, "not_in_set", message);
            return Err(error.with_advice("back these up first, or choose another set with --from"));
        }
        let set_up = spec.inputs.params.get(SET_UP).and_then(Value::as_array);
        let set_up = set_up.into_iter().flatten().filter_map(Value::as_str);
        let needed = restored
            .map(String::as_str)
            .chain(set_up)
            .filter_map(|name| Some(found.set.members.get(name)?.bytes))
            .fold(0, u64::saturating_add);
        has_room(&workspace.context, needed)?;
    }
    Ok(RunRequest { spec, ..run })
}

/// Returns the run that proves that a verification notices damage.
fn integrity(
    context: &WorkspaceContext,
    system: &System,
    request: &DrillRequest,
) -> Result<RunRequest, Error> {
    let params = Map::from_iter([
        ("from".to_owned(), json!(request.from.as_param())),
        ("accept_older".to_owned(), json!(request.accept_older)),
        ("scenario".to_owned(), json!(request.scenario)),
    ]);
    let mut loops = system.default_loops(RunKind::Drill);
    if let Some(tier) = &request.tier {
        loops.insert(
            "tier".to_owned(),
            names::tiers(system, std::slice::from_ref(tier))?,
        );
    }
    let inputs = Inputs { params, loops };
    let (name, yaml) = ("integrity-drill", builtin::INTEGRITY_DRILL);
    Ok(RunRequest {
        spec: LoadedSpec::new(&context.layout, name, yaml, inputs)?,
        kind: RunKind::Drill,
        disaster_at: None,
    })
}

/// Refuses a sandbox that would fill the disk of the workspace.
fn has_room(context: &WorkspaceContext, needed: u64) -> Result<(), Error> {
    match sandbox_room(&context.layout.state) {
        Some(room) if room < needed => {
            let message = format!(
                "the sandbox needs {} in the workspace, and {} can be used there",
                bytes(needed),
                bytes(room)
            );
            let error = Error::new(ProblemKind::Invalid, "no_room", message);
            Err(error.with_advice("make room on the disk of the workspace; nothing was begun"))
        }
        _ => Ok(()),
    }
}

/// Returns the drills that were interrupted: they are not over, and no process drives them.
///
/// # Errors
/// The journal cannot be listed.
pub async fn interrupted(workspace: &ReadWriteWorkspace) -> Result<Vec<RunId>, Error> {
    let runs = workspace.context.interrupted().await?;
    let at_work = workspace.driven_by_other();
    let drills = runs
        .iter()
        .filter(|run| run.kind == RunKind::Drill && !at_work.contains(&run.run));
    Ok(drills.map(|run| run.run).collect())
}

/// Removes the sandboxes that no drill needs, and returns one that could not be removed. Another process that drives runs
/// here removes its own.
pub async fn sweep(workspace: &ReadWriteWorkspace) -> Option<PathBuf> {
    if workspace.other_owner().is_some() {
        return None;
    }
    let context = &workspace.context;
    staging::sweep(&context.layout.state, &*context.journal).await;
    let found = std::fs::read_dir(context.layout.state.join("staging")).ok()?;
    let folders = found.flatten().map(|entry| entry.path());
    folders
        .filter(|folder| folder.is_dir())
        .find(|folder| staging::is_sandbox(folder))
}
