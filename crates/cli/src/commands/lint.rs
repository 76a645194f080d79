//! `rekindle lint`

use std::path::{Path, PathBuf};

use rekindle_plan::{
    Diagnostics, GroupLocks, Inputs, expand, faults_of, load_system, load_workflow, may_wait_for_each_other,
};
use serde_json::json;

use crate::App;
use crate::commands::plan::{catalog, placeholders, system_in_force};
use crate::commands::run::loops;
use crate::error::CliError;
use crate::exit::Exit;
use crate::yaml_file::{self, read_text};

/// Check system and workflow files: every fault with its line and column, and whether objectives can be kept
///
/// Workflows that are checked together are also looked at for whether their runs may wait for each other's
/// concurrency groups.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files, or the names of workflows: of the workspace's workflows/, and of built-in ones
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Checks files.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let mut worst = Exit::Done;
    let mut turns = Vec::new();
    for file in &args.files {
        let found = check(app, file, &mut turns)?;
        if found.has_errors() {
            worst = Exit::Usage;
        }
        let findings: Vec<_> = found
            .0
            .iter()
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

/// Checks a file, a workflow beside those that were checked before it: their turns are in `turns`.
fn check(app: &App, file: &Path, turns: &mut Vec<GroupLocks>) -> Result<Diagnostics, CliError> {
    let word = file.display().to_string();
    let (name, text) = match file.exists() {
        true => (word, read_text(file)?),
        false => {
            let found = yaml_file::workflow(app, &word)?;
            let found = found.ok_or_else(|| yaml_file::no_workflow(app, &word))?;
            (found.name, found.yaml)
        }
    };
    if is_workflow(&text) {
        check_workflow(app, &name, &text, turns)
    } else {
        Ok(check_system(app, file, &name, &text))
    }
}

/// Both kinds of file name themselves by their first key of all.
pub(crate) fn is_workflow(text: &str) -> bool {
    let has = |key: &str| {
        text.lines()
            .any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    has("workflow") || (has("steps") && !has("components"))
}

fn check_workflow(
    app: &App,
    name: &str,
    text: &str,
    beside: &mut Vec<GroupLocks>,
) -> Result<Diagnostics, CliError> {
    let system = system_in_force(app)?;
    let (loops, catalog) = (loops(&system), catalog(app, &system));
    let Ok(workflow) = load_workflow(name, text) else {
        let inputs = Inputs {
            params: serde_json::Map::new(),
            loops,
        };
        return Ok(faults_of(name, text, Some(&system), &inputs, &catalog));
    };
    let inputs = Inputs {
        params: placeholders(&workflow),
        loops,
    };
    Ok(match expand(&workflow, Some(&system), &inputs, &catalog) {
        Ok(_) => {
            let turns = GroupLocks::of(&workflow, &catalog);
            let found = may_wait_for_each_other(&workflow, &turns, beside);
            beside.push(turns);
            found
        }
        Err(faults) => faults,
    })
}

fn check_system(app: &App, file: &Path, name: &str, text: &str) -> Diagnostics {
    let loaded = match load_system(name, text) {
        Ok(loaded) => loaded,
        Err(faults) => return faults,
    };
    let base = file
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut found = loaded.warnings.0.clone();
    found.extend(loaded.check_actions(&catalog(app, &loaded.value)).0);
    found.extend(loaded.judge(base).0);
    found.sort_by_key(|one| (one.line, one.col));
    Diagnostics(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_by_its_keys_what_it_is() {
        assert!(is_workflow("workflow: x\nsteps: []\n"));
        assert!(is_workflow("# forgot its name\nsteps:\n"));
        assert!(!is_workflow("system: x\ncomponents: {}\n"));
        assert!(!is_workflow("components:\n  workflow: {}\n"));
    }
}
