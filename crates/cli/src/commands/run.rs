//! `rekindle run`

use std::path::{Path, PathBuf};

use rekindle_model::next_action::Action;
use rekindle_model::shell;
use rekindle_workspace::operations::run::{self, WorkflowRequest};
use rekindle_workspace::trust::read_to_run;
use rekindle_workspace::yaml_file;
use rekindle_workspace::{Error, ReadWriteWorkspace};

use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Run a workflow of your own
///
/// If the workflow's `workflow:` key is backup, recover or verify, its run counts as one in `status` and `show`. Every
/// other name makes a custom run. The name of the file does not matter.
///
/// A workflow that uses no component, tier or key of a system needs no system.yaml and no `rekindle init`. If there is no
/// workspace here or above, its journal begins in .rekindle of the current folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file, or the name of one in the workspace's workflows/ or of a built-in one
    #[arg(value_name = "FILE|WORKFLOW")]
    file: PathBuf,
    /// A parameter of the workflow
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Submit the run to the workspace's owner (`rekindle serve`), and return at once with its id
    #[arg(long)]
    detach: bool,
}

/// Runs a workflow over all components and all tiers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let application = &app.application;
    let name = args.file.display().to_string();
    let found = match args.file.exists() {
        true => Some(read_to_run(application, &args.file)?),
        false => yaml_file::workflow(application, &name, read_to_run)?.map(|found| found.yaml),
    };
    let request = WorkflowRequest {
        yaml: found.ok_or_else(|| no_file(app, &args.file))?,
        name,
        params: args.params.clone(),
    };
    run::make_workspace(application, &request.name, &request.yaml)?;
    ReadWriteWorkspace::with(application, async |workspace| {
        let run = run::prepare(workspace, &request).await?;
        let command = format!("rekindle run {}", shell::word(&request.name));
        drive::begin(app, workspace, run, command, args.detach).await
    })
    .await
}

fn no_file(app: &App, file: &Path) -> Error {
    let message = format!("there is no workflow file {}", file.display());
    let known = yaml_file::known(&app.application, file).join(", ");
    Error::usage(message)
        .with_advice(format!("known: {known}"))
        .with_next(Action::Plan { workflow: None }, "shows one")
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
