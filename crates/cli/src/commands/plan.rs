//! `rekindle plan`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::{Site, SiteParts};
use rekindle_engine::Registry;
use rekindle_model::system::System;
use rekindle_plan::{Inputs, ParamKind, Plan, RunIf, Workflow, builtin, expand, load_system, load_workflow};
use rekindle_vault::key::Keyring;
use serde_json::{Map, Value};

use crate::App;
use crate::commands::run::loops;
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned;
use crate::workspace::Workspace;
use crate::yaml_file;

/// Print every step of a workflow in the order in which they can run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A workflow file, or the name of one in the workspace's workflows/ or of a built-in one
    #[arg(value_name = "FILE|WORKFLOW")]
    workflow: String,
}

/// Prints a plan.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let plan = plan_of(app, &args.workflow)?;
    app.printer
        .data(&rekindle_actions::shown(&plan), || text(&plan))?;
    Ok(Exit::Done)
}

fn text(plan: &Plan) -> String {
    let mut said = format!(
        "{}: {} steps, {} at once\n",
        plan.workflow,
        plan.steps.len(),
        plan.max_parallel
    );
    for (n, step) in plan.steps.iter().enumerate() {
        let needs: Vec<&str> = step.needs.iter().map(|need| need.as_str()).collect();
        let after = match needs.as_slice() {
            [] => String::new(),
            few if few.len() <= 4 => format!("  after {}", few.join(", ")),
            [first, ..] => format!("  after {first} and {} more", needs.len() - 1),
        };
        let condition = match &step.run_if {
            RunIf::Success => String::new(),
            RunIf::Failure => "  if one of them failed".to_owned(),
            RunIf::Always => "  whatever they did".to_owned(),
            RunIf::Expr(condition) => format!("  if {condition}"),
        };
        said.push_str(&format!(
            "{:>4}  {:<40} {}{after}{condition}\n",
            n + 1,
            step.id.as_str(),
            step.uses
        ));
    }
    said
}

/// Returns the plan of a workflow over the workspace's system, or over the one that ships where there is no
/// workspace.
pub(crate) fn plan_of(app: &App, word: &str) -> Result<Plan, CliError> {
    let found = yaml_file::workflow(app, word)?.ok_or_else(|| yaml_file::no_workflow(app, word))?;
    let workflow = load_workflow(&found.name, &found.yaml)?;
    let system = system_in_force(app)?;
    let mut loops = loops(&system);
    // A backup captures what has data; a plan of it shows just that.
    if workflow.name != "recover"
        && let Some(components) = loops.get_mut("component")
    {
        components.retain(|name| {
            system
                .components
                .get(name)
                .is_some_and(|component| component.source.is_some())
        });
    }
    let inputs = Inputs {
        params: placeholders(&workflow),
        loops,
    };
    Ok(expand(&workflow, Some(&system), &inputs, &catalog(app, &system))?)
}

/// Returns the workspace's system; where no workspace is, the system that ships.
pub(crate) fn system_in_force(app: &App) -> Result<System, CliError> {
    match Workspace::find_here(&app.global) {
        Ok(workspace) if workspace.system_file.is_file() => Ok(pinned::system(app, &workspace)?.0),
        Ok(_) | Err(_) if app.global.workspace.is_none() && app.global.system.is_none() => {
            Ok(load_system("la-factoria/system.yaml", builtin::LA_FACTORIA)?.value)
        }
        Ok(workspace) => Ok(pinned::system(app, &workspace)?.0),
        Err(error) => Err(error),
    }
}

/// Returns the actions for checking parameters only.
pub(crate) fn catalog(app: &App, system: &System) -> Registry {
    rekindle_actions::registry(Arc::new(site(app, &Workspace::at(Path::new(".")), system)))
}

/// Returns a site where nothing is opened, so that a key which opens nothing will do.
pub(crate) fn site(app: &App, workspace: &Workspace, system: &System) -> Site {
    Site::new(SiteParts {
        system: Arc::new(system.clone()),
        system_yaml: Vec::new(),
        system_dir: workspace.system_dir(),
        workspace_dir: workspace.state.clone(),
        keyring: Arc::new(Keyring::generate()),
        wrapped_key: Vec::new(),
        clock: Arc::clone(&app.clock),
        executable: PathBuf::from("rekindle"),
        target_root: None,
        system_file: workspace.system_file.clone(),
        key_dirs: pinned::key_dirs(workspace),
        replicas: None,
    })
}

/// Returns a value for each parameter that has no default: what is judged is the file, not a command line.
pub(crate) fn placeholders(workflow: &Workflow) -> Map<String, Value> {
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
