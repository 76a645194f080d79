//! The YAML files that people name: a system's, and workflows.

use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};

use rekindle_plan::builtin;
use rekindle_vault::regular::{self, is_descriptor};

use crate::Application;
use crate::error::Error;
use crate::keys;
use crate::layout::Layout;
use crate::{load_system, names};
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;

/// More than any system or workflow needs; a larger file is not one.
const LIMIT: u64 = 16 << 20;
/// How many workflow files a refusal lists at most, of each folder.
const LISTED: usize = 10;
/// The workspace's folder of workflows.
const WORKFLOWS: &str = "workflows";

/// Refuses a path that leads to no regular file, for what it is. It opens nothing.
pub(crate) fn check_kind(path: &Path) -> Result<(), Error> {
    let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    check_kind_of(path, &meta)
}

fn check_kind_of(path: &Path, meta: &Metadata) -> Result<(), Error> {
    let may_be_pipe = is_descriptor(path) && !meta.is_dir();
    match regular::other_than_a_file(meta).filter(|_| !may_be_pipe) {
        None => Ok(()),
        Some(what) => Err(invalid(path, &format!("is {what}, not a file"))
            .with_advice("name a regular file; `/dev/stdin` reads a pipe")),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("cannot read {}: {error}", path.display()))
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::new(
        ProblemKind::Invalid,
        "invalid_file",
        format!("{} {why}", path.display()),
    )
}

/// Reads a YAML file that a person named. Refuses a file that is not regular: a named pipe would make it wait, and a
/// device never ends.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| unreadable(path, &error);
    let invalid = |why: String| invalid(path, &why);
    check_kind(path)?;
    let (file, meta) = regular::open(path).map_err(unreadable)?;
    check_kind_of(path, &meta)?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        let size = match meta.len() {
            0 => format!("more than {LIMIT}"),
            len => len.to_string(),
        };
        return Err(invalid(format!("is {size} bytes long; at most {LIMIT} are read")));
    }
    String::from_utf8(bytes).map_err(|error| invalid(format!("is not UTF-8: {}", error.utf8_error())))
}

/// Returns whether a text is a workflow rather than a system: both kinds of file name themselves by their first key.
pub fn is_workflow(text: &str) -> bool {
    let has = |key: &str| {
        text.lines()
            .any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    // `jobs` is the word of other tools for steps: the reader of workflows says so.
    has("workflow") || ((has("steps") || has("jobs")) && !has("components"))
}

/// A workflow that a person named.
pub struct Named {
    /// What diagnostics call it.
    pub name: String,
    /// Its YAML.
    pub yaml: String,
}

/// Reads a file as its use demands: [`read_to_run`](crate::trust::read_to_run) or
/// [`read_to_show`](crate::trust::read_to_show).
pub type Reader = fn(&Application, &Path) -> Result<String, Error>;

/// Returns the workflow that a word names: a file here, else one in the workspace's folder `workflows`, else a built-in
/// one, with or without `.yaml`. A bare built-in name is the built-in one, which the operation of that name runs.
pub fn workflow(app: &Application, word: &str, read: Reader) -> Result<Option<Named>, Error> {
    let named = |name: String, yaml: String| Ok(Some(Named { name, yaml }));
    if let Some(yaml) = built_in(word) {
        return named(word.to_owned(), yaml.to_owned());
    }
    let path = Path::new(word);
    if path.exists() {
        return named(word.to_owned(), read(app, path)?);
    }
    // A path names one place, and nothing else.
    if path.components().count() != 1 {
        return Ok(None);
    }
    if let Some(path) = of_workspace(app, word) {
        return named(path.display().to_string(), read(app, &path)?);
    }
    match stem(word).and_then(built_in) {
        Some(yaml) => named(word.to_owned(), yaml.to_owned()),
        None => Ok(None),
    }
}

/// Returns the system file of the workspace, if it has one, and its workflows.
///
/// # Errors
/// There is no workspace.
pub fn all(app: &Application) -> Result<Vec<PathBuf>, Error> {
    let layout = Layout::find(&app.selection)?;
    let system = keys::has_system(&layout).then(|| layout.system_file.clone());
    Ok(system.into_iter().chain(workflows_of(&layout)).collect())
}

/// Returns the file in the workspace's folder `workflows` that a word names.
pub fn of_workspace(app: &Application, word: &str) -> Option<PathBuf> {
    let dir = folder(app)?;
    let names = match stem(word) {
        Some(_) => vec![word.to_owned()],
        None => vec![format!("{word}.yaml"), format!("{word}.yml")],
    };
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

fn folder(app: &Application) -> Option<PathBuf> {
    // Each file in it is checked when it is read.
    let layout = Layout::find(&app.selection).ok()?;
    Some(layout.dir.join(WORKFLOWS))
}

/// Returns the workflows in the workspace's folder `workflows`.
pub(crate) fn workflows_of(layout: &Layout) -> Vec<PathBuf> {
    let dir = layout.dir.join(WORKFLOWS);
    let names = workflows_in(&dir).into_iter();
    names.map(|name| dir.join(name)).collect()
}

fn stem(word: &str) -> Option<&str> {
    word.strip_suffix(".yaml").or_else(|| word.strip_suffix(".yml"))
}

fn built_in(name: &str) -> Option<&'static str> {
    let found = builtin::WORKFLOWS.iter().find(|(own, _)| *own == name);
    found.map(|(_, yaml)| *yaml)
}

/// Returns the error for a word that names no workflow, with those that there are.
pub fn no_workflow(app: &Application, word: &str) -> Error {
    let known = known(app, Path::new(word));
    crate::names::unknown("workflow or file", word, known.iter().map(String::as_str))
}

/// Returns the workflows that a person can name: the built-in ones, the workspace's, and the files in the folder of
/// `missing`, spelled as `missing` is.
pub fn known(app: &Application, missing: &Path) -> Vec<String> {
    let beside = missing.parent().unwrap_or(Path::new(""));
    let here = if beside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        beside
    };
    let own = folder(app).map(|dir| workflows_in(&dir)).unwrap_or_default();
    let files = workflows_in(here)
        .into_iter()
        .map(|name| beside.join(name).display().to_string());
    let mut known: Vec<String> = builtin::WORKFLOWS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    for name in own.into_iter().chain(files) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known
}

fn workflows_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| stem(name).is_some())
        })
        .filter(|entry| read_text(&entry.path()).is_ok_and(|text| is_workflow(&text)))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names.truncate(LISTED);
    names
}

/// Returns the name of the system; that of its folder if the system file cannot be read.
pub(crate) fn system_name(layout: &Layout) -> String {
    let folder = || names::file_word(&layout.dir.file_name().unwrap_or_default().to_string_lossy());
    readable(layout).map_or_else(folder, |system| system.system)
}

/// Returns the system of the system file; none if it cannot be read.
pub(crate) fn readable(layout: &Layout) -> Option<System> {
    let text = read_text(&layout.system_file).ok()?;
    Some(load_system("system.yaml", &text).ok()?.value)
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
