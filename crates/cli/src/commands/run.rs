//! `rekindle run`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_model::origin::{RunKind, Trigger};
use rekindle_plan::{Inputs, PlanStep};
use rekindle_sources::place::Place;
use serde_json::{Map, Value};

use crate::App;
use crate::commands::recover::occupied;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::pinned::{self, Pinned, Ready};
use crate::session::Session;
use crate::target::{self, Ways};
use crate::workspace::Workspace;
use crate::yaml_file::{self, read_text};

/// Run a workflow of your own
///
/// A run of a workflow that is called backup, recover or verify (its `workflow:` key, not the name of the file) counts as
/// one in `status` and `show`; every other name makes a custom run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file, or the name of one in the workspace's workflows/ or of a built-in one
    file: PathBuf,
    /// A parameter of the workflow
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Leave the run to the owner of the workspace (`rekindle serve`) and return at once with its id
    #[arg(long)]
    detach: bool,
}

/// Runs a workflow over the default loops of its kind.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let word = args.file.display().to_string();
    let found = match args.file.exists() {
        true => Some(read_text(&args.file)?),
        false => yaml_file::workflow(app, &word)?.map(|found| found.yaml),
    };
    let yaml = found.ok_or_else(|| no_file(app, &args.file))?;
    Session::here(app, async |session| begin(app, args, session, &yaml).await).await
}

async fn begin(app: &App, args: &Args, session: &Session, yaml: &str) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.ground.workspace)?;
    let inputs = Inputs {
        params: params(&args.params)?,
        loops: BTreeMap::new(),
    };
    let name = args.file.display().to_string();
    let mut pinned = Pinned::new(app, &session.ground.workspace, &name, yaml, inputs)?;
    let kind = RunKind::of_workflow(&pinned.workflow.name);
    pinned.inputs.loops = system.default_loops(kind);
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
    unoccupied(&session.ground, &ready, named.as_ref(), &ways).await?;
    let request = Request {
        kind,
        trigger: Trigger::Command(format!("rekindle run {name}")),
        disaster_at: None,
        detach: args.detach,
    };
    drive::begin(app, session, ready.pinned, request).await
}

fn no_file(app: &App, file: &Path) -> CliError {
    let message = format!("there is no workflow file {}", file.display());
    let known = yaml_file::known(app, file).join(", ");
    CliError::usage(message).with_hint(format!("known: {known}; `rekindle plan NAME` shows one"))
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

/// Refuses what `rekindle run` refuses, for a workflow that another one runs: nobody is there to be asked.
pub(crate) async fn refuse_occupied(ground: &Ground, ready: &Ready) -> Result<(), CliError> {
    let ways = ways(&ready.pinned, &ready.pinned.workflow.name, &ground.workspace);
    let named = match ready.pinned.param("to") {
        Some(to) if Path::new(to).is_relative() => {
            return Err(
                CliError::usage(format!("{to:?} is relative, and to what is not known here"))
                    .with_hint("give `to` as an absolute path to a workflow that a step runs"),
            );
        }
        Some(to) => Some(target::named(
            &ground.workspace,
            &ready.pinned.system,
            Path::new(to),
            &ways,
        )?),
        None => None,
    };
    unoccupied(ground, ready, named.as_ref(), &ways).await
}

/// Refuses a workflow that would restore onto what stands there; one in place moves it aside first.
async fn unoccupied(
    ground: &Ground,
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
        return target::empty(ground, place, ways).await;
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
    let interrupted = target::interrupted(ground, root).await;
    match (occupied.as_slice(), interrupted.as_ref()) {
        ([], None) => Ok(()),
        ([], Some(run)) => Err(ways.interrupted(root, run)),
        (occupied, run) => Err(ways.occupied(occupied, run)),
    }
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
