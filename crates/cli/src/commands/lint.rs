//! `rekindle lint`

use std::path::{Path, PathBuf};

use rekindle_plan::{
    Diagnostics, GroupLocks, Inputs, Severity, expand, faults_of, may_wait_for_each_other, read_workflow,
};
use rekindle_workspace::load_system;
use serde_json::json;

use rekindle_workspace::yaml_file::is_workflow;

use crate::App;
use crate::exit::Exit;
use rekindle_model::origin::RunKind;
use rekindle_workspace::Error;
use rekindle_workspace::operations::plan::{
    catalog, has_system, placeholders, programs_run_in, system_in_force,
};
use rekindle_workspace::trust::read_to_show;
use rekindle_workspace::yaml_file;

/// Check system and workflow files: every fault with its line and column, and whether objectives can be kept
///
/// For workflows that are checked together, this also checks whether their runs may wait for each other's concurrency
/// groups.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files, or the names of workflows: of the workspace's workflows/, and of built-in ones. Without any, all files
    /// of the workspace
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Checks files.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let mut worst = Exit::Done;
    let mut locks = Vec::new();
    let files = match args.files.as_slice() {
        [] => yaml_file::all(&app.application)?,
        named => named.to_vec(),
    };
    for file in &files {
        let found = check(app, file, &mut locks)?;
        if found.has_errors() {
            worst = Exit::Usage;
        }
        // Text has the first of them only.
        let shown = match app.printer.is_json() {
            true => found.0.len(),
            false => Diagnostics::SHOWN,
        };
        let findings: Vec<_> = found
            .0
            .iter()
            .take(shown)
            .map(|one| {
                json!({ "severity": one.severity.to_string(), "file": one.file, "line": one.line, "col": one.col,
                    "message": one.message, "help": one.help })
            })
            .collect();
        let body = json!({ "file": file, "valid": !found.has_errors(), "findings": findings });
        app.printer.line(&body, || match found.0.is_empty() {
            true => format!("{}: no findings", file.display()),
            false => found.to_string().trim_end().to_owned(),
        })?;
    }
    Ok(worst)
}

/// Checks a file, and a workflow also against those that were checked before it. `locks` holds their group locks.
fn check(app: &App, file: &Path, locks: &mut Vec<GroupLocks>) -> Result<Diagnostics, Error> {
    let word = file.display().to_string();
    let (name, text) = match file.exists() {
        true => (word, read_to_show(&app.application, file)?),
        false => {
            let found = yaml_file::workflow(&app.application, &word, read_to_show)?;
            let found = found.ok_or_else(|| yaml_file::no_workflow(&app.application, &word))?;
            (found.name, found.yaml)
        }
    };
    if is_workflow(&text) {
        check_workflow(app, &name, &text, locks)
    } else {
        Ok(check_system(file, &name, &text))
    }
}

fn check_workflow(
    app: &App,
    name: &str,
    text: &str,
    beside: &mut Vec<GroupLocks>,
) -> Result<Diagnostics, Error> {
    let system = system_in_force(&app.application)?;
    let catalog = catalog(&system);
    let (found, workflow) = read_workflow(name, text);
    let workflow = match workflow {
        Some(workflow) if !found.has_errors() => workflow,
        part => {
            let inputs = Inputs {
                params: serde_json::Map::new(),
                loops: system.default_loops(RunKind::Custom),
            };
            return Ok(faults_of(found, part.as_ref(), Some(&system), &inputs, &catalog));
        }
    };
    let inputs = Inputs {
        params: placeholders(&workflow),
        loops: system.default_loops(RunKind::of_workflow(&workflow.name)),
    };
    let more = match expand(&workflow, Some(&system), &inputs, &catalog) {
        Ok(_) => {
            let locks = GroupLocks::of(&workflow, &catalog);
            let found = may_wait_for_each_other(&workflow, &locks, beside);
            beside.push(locks);
            found
        }
        Err(faults) => faults,
    };
    let found = match has_system(&app.application) {
        true => found,
        false => Diagnostics([found.0, workflow.needs_system(Severity::Warning).0].concat()),
    };
    let lacks = workflow.lacks(&programs_run_in(&app.application));
    let mut all: Vec<_> = found.0.into_iter().chain(more.0).chain(lacks.0).collect();
    all.sort_by_key(|one| (one.line, one.col));
    Ok(Diagnostics(all))
}

fn check_system(file: &Path, name: &str, text: &str) -> Diagnostics {
    let loaded = match load_system(name, text) {
        Ok(loaded) => loaded,
        Err(faults) => return faults,
    };
    let base = file
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut found = loaded.warnings.0.clone();
    found.extend(loaded.check_places(base).0);
    found.extend(loaded.check(&catalog(&loaded.value)).0);
    found.extend(loaded.judge(base).0);
    found.extend(loaded.lacks(base).0);
    found.sort_by_key(|one| (one.line, one.col));
    Diagnostics(found)
}
