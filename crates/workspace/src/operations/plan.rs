//! The plan of a workflow, without running it: for the workspace's system, or for the one that ships.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_actions::{Site, SiteParts};
use rekindle_engine::Registry;
use rekindle_model::origin::RunKind;
use rekindle_model::system::System;
use rekindle_model::time::SystemClock;
use rekindle_plan::{Inputs, Loaded, ParamKind, Plan, Workflow, builtin, expand, load_workflow};
use rekindle_vault::key::Keyring;
use serde_json::{Map, Value};

use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::keys;
use crate::layout::Layout;
use crate::load_system;
use crate::run_spec;
use crate::trust::{layout_to_read, read_to_show};
use crate::yaml_file;

/// Returns the plan of the workflow that a word names: a file, one of the workspace's, or a built-in one.
///
/// # Errors
/// There is no such workflow, or it or the system is invalid.
pub fn plan(app: &Application, word: &str) -> Result<Plan, Error> {
    let found = yaml_file::workflow(app, word, read_to_show)?;
    let found = found.ok_or_else(|| yaml_file::no_workflow(app, word))?;
    let mut workflow = load_workflow(&found.name, &found.yaml)?;
    let system = in_force(app)?;
    let kind = RunKind::of_workflow(&workflow.name);
    run_spec::add_hooks(&mut workflow, &system, kind)?;
    let system = system.value;
    let inputs = Inputs {
        params: placeholders(&workflow),
        loops: system.default_loops(kind),
    };
    Ok(expand(&workflow, Some(&system), &inputs, &catalog(&system))?)
}

/// Returns the workspace's system. If there is no workspace and the person named none, returns the system that ships.
///
/// # Errors
/// A workspace was named and has no valid system file.
pub fn system_in_force(app: &Application) -> Result<System, Error> {
    Ok(in_force(app)?.value)
}

fn in_force(app: &Application) -> Result<Loaded<System>, Error> {
    match layout_to_read(app) {
        Ok(layout) if layout.system_file.is_file() => run_spec::loaded(&layout),
        Ok(layout) if !keys::has_system(&layout) => shipped(),
        Ok(_) | Err(_) if app.selection.workspace.is_none() && app.selection.system.is_none() => shipped(),
        Ok(layout) => run_spec::loaded(&layout),
        Err(error) => Err(error),
    }
}

fn shipped() -> Result<Loaded<System>, Error> {
    Ok(load_system("la-factoria/system.yaml", builtin::LA_FACTORIA)?)
}

/// Returns whether a run here would have a system.
pub fn has_system(app: &Application) -> bool {
    Layout::find(&app.selection).is_ok_and(|layout| keys::has_system(&layout))
}

/// Returns the folder in which programs of steps run: that of `system.yaml`, else the current one.
pub fn programs_run_in(app: &Application) -> PathBuf {
    let found = layout_to_read(app)
        .ok()
        .filter(|layout| layout.system_file.is_file());
    found.map_or_else(|| PathBuf::from("."), |layout| layout.system_dir())
}

/// Returns the actions, to check parameters with.
pub fn catalog(system: &System) -> Registry {
    rekindle_actions::registry(Arc::new(Site::new(parts(system))))
}

/// Returns a site on which nothing is opened, so a new key will do.
pub fn site(context: &WorkspaceContext, system: &System) -> Site {
    let layout: &Layout = &context.layout;
    Site::new(SiteParts {
        system_dir: layout.system_dir(),
        workspace_dir: layout.state.clone(),
        clock: Arc::clone(&context.clock),
        executable: context.executable.clone(),
        system_file: layout.system_file.clone(),
        key_dirs: keys::folders(layout, &context.unlocker),
        ..parts(system)
    })
}

fn parts(system: &System) -> SiteParts {
    SiteParts {
        system: Arc::new(system.clone()),
        system_yaml: Vec::new(),
        system_dir: PathBuf::from("."),
        workspace_dir: PathBuf::from("."),
        keyring: Arc::new(Keyring::generate()),
        wrapped_key: Vec::new(),
        clock: Arc::new(SystemClock),
        executable: PathBuf::from("rekindle"),
        target_root: None,
        is_sandbox: false,
        is_drill: false,
        scenario: None,
        recovered: Vec::new(),
        system_file: PathBuf::from("system.yaml"),
        key_dirs: Vec::new(),
        replicas: None,
        trust: None,
    }
}

/// Returns a value for each parameter that has no default: the caller checks the file, not a command line.
pub fn placeholders(workflow: &Workflow) -> Map<String, Value> {
    let missing = workflow.params.iter().filter(|(_, spec)| spec.default.is_none());
    missing
        .map(|(name, spec)| {
            let value = match spec.kind {
                ParamKind::String => Value::from(format!("<{name}>")),
                ParamKind::Integer | ParamKind::Number => Value::from(1),
                ParamKind::Boolean => Value::from(false),
                ParamKind::List => Value::from(Vec::<String>::new()),
                ParamKind::Duration => Value::from("1s"),
            };
            (name.clone(), value)
        })
        .collect()
}
