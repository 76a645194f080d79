//! `rekindle backup`

use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::system::System;
use rekindle_plan::{Inputs, builtin};
use serde_json::{Map, Value};

use crate::App;
use crate::commands::init;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::{self, Pinned};
use crate::session::Session;
use crate::slots::fenced;
use crate::{keys, names, partial_recovery};

/// Capture every component, store it in every tier, verify the stored copies, seal a recovery set
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this component, by name or alias; the set inherits the others
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Accept what this recovery in place has left, although it did not come to a good end; the history says so
    #[arg(long = "accept", value_name = "RUN")]
    accepted: Vec<String>,
    /// Leave the run to the owner of the workspace (`rekindle serve`) and return at once with its id
    #[arg(long)]
    detach: bool,
}

/// Backs up.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    Session::here(app, async |session| backup(app, args, session).await).await
}

async fn backup(app: &App, args: &Args, session: &Session) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.ground.workspace)?;
    let mut loops = system.default_loops(RunKind::Backup);
    if !args.components.is_empty() {
        let named = components(&system, &args.components)?;
        if let Some(empty) = named.iter().find(|name| !system.has_source(name)) {
            return Err(CliError::usage(format!(
                "component {empty:?} has no source: there is nothing to back up"
            )));
        }
        loops.insert("component".to_owned(), named);
    }
    if !args.tiers.is_empty() {
        loops.insert("tier".to_owned(), tiers(&system, &args.tiers)?);
    }
    let key = keys::pinned(&session.ground.workspace)?;
    if let Some(fault) = keys::kit_fault(&key, &init::tier_urls(&session.ground.workspace)) {
        app.printer.warn(fault);
    }
    for run in session.ground.interrupted().await? {
        app.printer.warn(format!(
            "run {} ({}) is not over: {}",
            run.run,
            run.workflow,
            fenced::way_on(&session.ground.workspace.state, run.run)
        ));
    }
    let mut accepted = Vec::new();
    for word in &args.accepted {
        accepted.push(session.ground.run(word).await?.to_string());
    }
    let mut trigger = "rekindle backup".to_owned();
    let mut params = Map::new();
    if !accepted.is_empty() {
        accepted
            .iter()
            .for_each(|run| trigger.push_str(&format!(" --accept {run}")));
        params.insert(
            partial_recovery::ACCEPT.to_owned(),
            Value::from(accepted.join(" ")),
        );
    }
    let inputs = Inputs { params, loops };
    let pinned = Pinned::new(app, &session.ground.workspace, "backup", builtin::BACKUP, inputs)?;
    drive::begin(
        app,
        session,
        pinned,
        Request {
            kind: RunKind::Backup,
            trigger: Trigger::Command(trigger),
            disaster_at: None,
            detach: args.detach,
        },
    )
    .await
}

/// Returns the components of those names or aliases, by priority, none twice.
pub(crate) fn components(system: &System, named: &[String]) -> Result<Vec<String>, CliError> {
    let mut own = Vec::new();
    for name in named {
        match system.component(name) {
            Some((component, _)) => own.push(component),
            None => return Err(names::unknown("component", name, system.components_by_priority())),
        }
    }
    let chosen = system
        .components_by_priority()
        .into_iter()
        .filter(|name| own.contains(name));
    Ok(chosen.map(str::to_owned).collect())
}

/// Returns the tiers of those names, none twice.
pub(crate) fn tiers(system: &System, named: &[String]) -> Result<Vec<String>, CliError> {
    let known = || system.tiers.keys().map(String::as_str);
    match named.iter().find(|name| !system.tiers.contains_key(*name)) {
        Some(name) => Err(names::unknown("tier", name, known())),
        None => Ok(system
            .tiers
            .keys()
            .filter(|tier| named.contains(tier))
            .cloned()
            .collect()),
    }
}
