//! Where a recovery may write: never into the living system, a tier or the workspace, never onto what stands
//! there, and never where another recovery was interrupted.

use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use rekindle_model::system::System;
use rekindle_report::unfinished::Elsewhere;
use rekindle_sources::place::Place;
use rekindle_vault::store::occupied_folder;
use serde_json::Value;

use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::pinned;
use crate::slots::fenced;
use crate::workspace::Workspace;

/// The two commands by which a refused recovery can go on.
pub(crate) struct Ways {
    /// Into a folder that is free.
    pub(crate) elsewhere: String,
    /// Into the system's own folder.
    pub(crate) in_place: String,
    /// What the second one brings back, where that is not what was asked for.
    pub(crate) other_source: Option<&'static str>,
    /// The folder that the second one empties.
    pub(crate) root: PathBuf,
}

impl Ways {
    /// Returns a refusal with both commands, and with the run that goes on there where one was interrupted.
    fn refuse(&self, code: &'static str, message: String, interrupted: Option<&Interrupted>) -> CliError {
        let mut ways = vec![
            (self.elsewhere.clone(), "into a folder that is free".to_owned()),
            (
                self.in_place.clone(),
                format!(
                    "{}into the system's own; what stands there moves to {}.before-<run>/",
                    self.other_source.map_or(String::new(), |of| format!("{of}, ")),
                    self.root.display()
                ),
            ),
        ];
        if let Some(Interrupted { way_on, held, .. }) = interrupted {
            let does = match held {
                None => "goes on with the recovery that was interrupted there".to_owned(),
                Some(held) => format!(
                    "once nobody works on the recovery that was interrupted there: it is held by {}",
                    held.named()
                ),
            };
            ways.insert(0, (way_on.clone(), does));
        }
        let width = ways.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
        let lines: Vec<String> = ways
            .iter()
            .map(|(command, does)| format!("\n  {command:width$}   {does}"))
            .collect();
        CliError::new(Exit::Usage, code, message)
            .with_hint(format!("choose one; nothing was touched{}", lines.concat()))
    }

    /// Refuses targets at which something stands, named with the first of it.
    pub(crate) fn occupied(&self, occupied: &[PathBuf], interrupted: Option<&Interrupted>) -> CliError {
        let message = format!("the targets are not empty: {}", list(occupied));
        self.refuse("targets_not_empty", message, interrupted)
    }

    /// Refuses a folder in which anything stands, named with the first of it.
    pub(crate) fn not_empty(&self, standing: &Path, interrupted: Option<&Interrupted>) -> CliError {
        let message = format!("the folder is not empty: {}", standing.display());
        self.refuse("targets_not_empty", message, interrupted)
    }

    /// Refuses to recover what only programs can tell to be there or not.
    pub(crate) fn unseen(&self, component: &str, interrupted: Option<&Interrupted>) -> CliError {
        let message = format!(
            "whether anything stands where {component} is restored to is not known: a program restores it"
        );
        self.refuse("target_unknown", message, interrupted)
    }

    /// Refuses a root into which a run that can go on was recovering.
    pub(crate) fn interrupted(&self, root: &Path, interrupted: &Interrupted) -> CliError {
        self.refuse("interrupted_there", interrupted.told(root), Some(interrupted))
    }
}

/// A run that was interrupted while it recovered into a folder.
pub(crate) struct Interrupted {
    run: RunId,
    /// The command that goes on with it.
    way_on: String,
    /// Who has it, where that is another workspace.
    held: Option<Elsewhere>,
}

impl Interrupted {
    fn told(&self, root: &Path) -> String {
        let Self { run, held, .. } = self;
        let held = held
            .as_ref()
            .map_or(String::new(), |held| format!(", and is held by {}", held.named()));
        format!(
            "run {run} was interrupted while it recovered into {}{held}",
            root.display()
        )
    }

    /// Returns a warning for who recovers there all the same.
    pub(crate) fn warning(&self, root: &Path) -> String {
        format!("{}: {}", self.told(root), self.way_on)
    }
}

/// Returns the place of a folder that a person named to recover into. The living system's data, the tiers and
/// the workspace are refused however they are spelled, and so is what lies in them or holds them.
pub(crate) fn named(
    workspace: &Workspace,
    system: &System,
    to: &Path,
    ways: &Ways,
) -> Result<Place, CliError> {
    let place =
        Place::of(to).map_err(|error| CliError::usage(format!("cannot follow {}: {error}", to.display())))?;
    if place.path().to_str().is_none() {
        return Err(
            CliError::usage(format!("{} is not UTF-8", to.display())).with_hint(
                "name another folder: the journal keeps paths as text, to find them again on resume",
            ),
        );
    }
    if let Some(file) = place.blocked_by() {
        return Err(CliError::usage(format!("{} is no folder", file.display()))
            .with_hint("name a folder; one that does not exist yet is made"));
    }
    for (what, protected) in protected(workspace, system)? {
        if place.overlaps(&protected) {
            let message = format!(
                "{} {} {what}, {}",
                to.display(),
                relation(&place, &protected),
                protected.path().display()
            );
            return Err(ways.refuse("target_protected", message, None));
        }
    }
    Ok(place)
}

/// Refuses a folder that a person named and in which anything stands.
pub(crate) async fn empty(ground: &Ground, place: &Place, ways: &Ways) -> Result<(), CliError> {
    let interrupted = interrupted(ground, place.path()).await;
    match (standing(place.path())?, &interrupted) {
        (Some(standing), run) => Err(ways.not_empty(&standing, run.as_ref())),
        (None, Some(run)) => Err(ways.interrupted(place.path(), run)),
        (None, None) => Ok(()),
    }
}

/// Returns the first by name of what stands in a folder; none where it is empty or is not there.
pub(crate) fn standing(folder: &Path) -> Result<Option<PathBuf>, CliError> {
    let unreadable = |error| CliError::io(format_args!("list {}", folder.display()), &error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut first = None;
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        first = Some(first.map_or(path.clone(), |first: PathBuf| first.min(path)));
    }
    Ok(first)
}

/// Returns the newest run that was interrupted while it recovered into this folder, into one in it or around it.
pub(crate) async fn interrupted(ground: &Ground, root: &Path) -> Option<Interrupted> {
    let root = Place::of(root).ok()?;
    for run in ground.interrupted().await.ok()? {
        // A run whose history cannot be read cannot be resumed either.
        let Ok(evidence) = ground.evidence(run.run).await else {
            continue;
        };
        let to = evidence.inputs.pointer("/params/to").and_then(Value::as_str);
        let theirs = to
            .filter(|to| !to.is_empty())
            .and_then(|to| Place::of(Path::new(to)).ok());
        if theirs.is_some_and(|theirs| theirs.overlaps(&root)) {
            let (state, run) = (&ground.workspace.state, run.run);
            return Some(Interrupted {
                run,
                way_on: fenced::way_on(state, run),
                held: fenced::elsewhere(state, run),
            });
        }
    }
    None
}

/// Returns what no recovery writes into, with the words for it.
fn protected(workspace: &Workspace, system: &System) -> Result<Vec<(String, Place)>, CliError> {
    let system_dir = workspace.system_dir();
    let root = pinned::data_root(&system_dir, system);
    let own = || "the living system's own folder".to_owned();
    let mut protected: Vec<(String, PathBuf)> = Vec::new();
    // A system that spans the whole machine leaves room beside its components only.
    if root.parent().is_some() {
        protected.push((own(), root.clone()));
    }
    // A component may be a link, or a mount, to data that stands elsewhere.
    for source in system.components.values().filter_map(|c| c.source.as_ref()) {
        let claim = rekindle_sources::open(source)?.claim();
        protected.extend(claim.map(|claim| (own(), root.join(claim.path))));
    }
    for (name, tier) in &system.tiers {
        let folders = tier
            .locations()
            .into_iter()
            .filter_map(|url| occupied_folder(url, &system_dir));
        protected.extend(folders.map(|folder| (format!("tier {name}"), folder)));
    }
    protected.push(("the workspace".to_owned(), workspace.state.clone()));
    // A path that leads round in a circle of links leads to nothing that could be written over.
    let place = |(what, path): (String, PathBuf)| Some((what, Place::of(&path).ok()?));
    Ok(protected.into_iter().filter_map(place).collect())
}

fn relation(place: &Place, protected: &Place) -> &'static str {
    match (place.same(protected), protected.holds(place)) {
        (true, _) => "is",
        (false, true) => "lies in",
        (false, false) => "holds",
    }
}

/// Names the first of some paths, and counts the others.
fn list(paths: &[PathBuf]) -> String {
    let first: Vec<String> = paths
        .iter()
        .take(3)
        .map(|path| path.display().to_string())
        .collect();
    match paths.len() {
        0..=3 => first.join(", "),
        all => format!("{} and {} more", first.join(", "), all - 3),
    }
}
