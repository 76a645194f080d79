//! `rekindle run`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_plan::{Inputs, PlanStep, builtin};
use rekindle_sources::place::Place;
use serde_json::{Map, Value};

use crate::App;
use crate::commands::recover::occupied;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::{self, Pinned, Ready};
use crate::session::Session;
use crate::target::{self, Ways};
use crate::workspace::Workspace;

/// Run a workflow of your own
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file
    file: PathBuf,
    /// A parameter of the workflow
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Leave the run to the owner of the workspace (`rekindle serve`) and return at once with its id
    #[arg(long)]
    detach: bool,
}

/// Runs a workflow over all components and all tiers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    if !args.file.exists() {
        return Err(no_file(&args.file));
    }
    let yaml = pinned::read_text(&args.file)?;
    let session = Session::open_here(app).await?;
    let exit = begin(app, args, &session, &yaml).await;
    session.close().await;
    exit
}

async fn begin(app: &App, args: &Args, session: &Session, yaml: &str) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.ground.workspace)?;
    let inputs = Inputs {
        params: params(&args.params)?,
        loops: loops(&system),
    };
    let name = args.file.display().to_string();
    let mut pinned = Pinned::new(app, &session.ground.workspace, &name, yaml, inputs)?;
    let ways = ways(&pinned, &name, &session.ground.workspace);
    let mut named = None;
    if let Some(Value::String(to)) = pinned.inputs.params.get_mut("to")
        && !to.is_empty()
    {
        let place = target::named(&session.ground.workspace, &system, Path::new(to), &ways)?;
        // A resumed run begins in another folder, and a link may lead elsewhere by then.
        *to = place.path().to_string_lossy().into_owned();
        named = Some(place);
    }
    let ready = pinned.ready(&session.ground)?;
    unoccupied(session, &ready, named.as_ref(), &ways).await?;
    let trigger = format!("rekindle run {name}");
    let request = Request {
        trigger,
        disaster_at: None,
        detach: args.detach,
    };
    drive::begin(app, session, ready.pinned, request).await
}

fn no_file(file: &Path) -> CliError {
    let built_in = builtin::WORKFLOWS.map(|(name, _)| name).join(", ");
    let beside = match pinned::workflow_files(file).as_slice() {
        [] => "no workflow file stands there".to_owned(),
        files => format!("workflow files there: {}", files.join(", ")),
    };
    CliError::usage(format!("there is no workflow file {}", file.display())).with_hint(format!(
        "{beside}; built in are {built_in}, each a command of its own that `rekindle plan NAME` shows"
    ))
}

fn ways(pinned: &Pinned, name: &str, workspace: &Workspace) -> Ways {
    let takes = |param: &str| pinned.workflow.params.contains_key(param);
    Ways {
        elsewhere: match takes("to") {
            true => format!("rekindle run {name} -p to=DIR"),
            false => "rekindle recover --to DIR".to_owned(),
        },
        in_place: match takes("in_place") {
            true => format!("rekindle run {name} -p in_place=true"),
            false => "rekindle recover --in-place".to_owned(),
        },
        other_source: None,
        root: pinned::data_root(&workspace.system_dir(), &pinned.system),
    }
}

/// Refuses a workflow that would restore onto what stands there; one in place moves it aside first.
async fn unoccupied(
    session: &Session,
    ready: &Ready,
    named: Option<&Place>,
    ways: &Ways,
) -> Result<(), CliError> {
    let in_place = ready.plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
    // A restore that says its own root is asked for by name.
    let at_target = |step: &&PlanStep| step.uses == "restore" && step.with.get("root").is_none();
    let restores: Vec<&PlanStep> = ready.plan.steps.iter().filter(at_target).collect();
    let (Some(root), false, false) = (ready.site.target_root(), in_place, restores.is_empty()) else {
        return Ok(());
    };
    if let Some(place) = named {
        return target::empty(&session.ground, place, ways).await;
    }
    let system = &ready.pinned.system;
    let own = |step: &&PlanStep| {
        let given = step.with.get("component").and_then(Value::as_str);
        let name = given.or(step.each.get("component").map(String::as_str))?;
        system.component(name).map(|(own, _)| own.to_owned())
    };
    // A component that only the run finds out may be any of them.
    let all = || system.components.keys().cloned().collect();
    let components: Vec<String> = restores
        .iter()
        .map(own)
        .collect::<Option<_>>()
        .unwrap_or_else(all);
    let occupied = occupied(system, &components, root, &ready.site.kept().never)?;
    match (
        occupied.as_slice(),
        target::interrupted(&session.ground, root).await,
    ) {
        ([], None) => Ok(()),
        ([], Some(run)) => Err(ways.interrupted(root, run)),
        (occupied, run) => Err(ways.occupied(occupied, run)),
    }
}

/// Returns the loops over everything the system has: components by priority, tiers by name.
pub(crate) fn loops(system: &rekindle_model::system::System) -> BTreeMap<String, Vec<String>> {
    let components = system
        .components_by_priority()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let tiers = system.tiers.keys().cloned().collect();
    BTreeMap::from([("component".to_owned(), components), ("tier".to_owned(), tiers)])
}

fn params(given: &[(String, String)]) -> Result<Map<String, Value>, CliError> {
    let mut params = Map::new();
    for (key, value) in given {
        if params.insert(key.clone(), Value::String(value.clone())).is_some() {
            return Err(CliError::usage(format!("parameter {key:?} is given twice")));
        }
    }
    Ok(params)
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
