//! `rekindle run`

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_plan::Inputs;
use serde_json::{Map, Value};

use crate::App;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::{self, Pinned};
use crate::session::Session;

/// Run a workflow of your own
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file
    file: PathBuf,
    /// A parameter of the workflow
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
}

/// Runs a workflow over all components and all tiers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let yaml = pinned::read_text(&args.file)?;
    let session = Session::open_here(app).await?;
    let exit = async {
        let (system, _) = pinned::system(app, &session.workspace)?;
        let mut inputs = Inputs {
            params: params(&args.params)?,
            loops: loops(&system),
        };
        if let Some(Value::String(to)) = inputs.params.get_mut("to") {
            *to = absolute(to)?;
        }
        let name = args.file.display().to_string();
        let ready = Pinned::new(app, &session.workspace, &name, &yaml, inputs)?.ready(app, &session)?;
        let trigger = format!("rekindle run {name}");
        drive::begin(
            app,
            &session,
            ready,
            Request {
                trigger,
                disaster_at: None,
            },
        )
        .await
    }
    .await;
    session.close().await;
    exit
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

/// Returns a path that means the same from every folder, since a resumed run has another one.
pub(crate) fn absolute(path: &str) -> Result<String, CliError> {
    std::path::absolute(path)
        .map(|path| path.to_string_lossy().into_owned())
        .map_err(|error| CliError::io(format_args!("find {path}"), &error))
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
