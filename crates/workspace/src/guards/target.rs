//! Where a recovery may write: never into the living system, a tier or the workspace, never onto existing content, and
//! never where another recovery was interrupted.

use std::path::{Path, PathBuf};

use rekindle_actions::displace::aside_folder;
use rekindle_model::id::RunId;
use rekindle_model::system::System;
use rekindle_report::unfinished::Elsewhere;
use rekindle_sources::place::Place;
use rekindle_vault::store::occupied_folder;
use serde_json::Value;

use rekindle_model::next_action::Action;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::notice::Notice;
use crate::replica;
use crate::run_spec;
use rekindle_model::problem::ProblemKind;

/// The two ways in which a refused recovery can be done.
pub struct Alternatives {
    /// Into a folder that is empty.
    pub elsewhere: Action,
    /// Into the system's own folder.
    pub in_place: Action,
    /// What the second one recovers, if that differs from the request.
    pub other_source: Option<&'static str>,
    /// The folder that the second one empties.
    pub root: PathBuf,
}

impl Alternatives {
    /// Returns a refusal with both alternatives. If a run was interrupted there, also names the command that continues
    /// it.
    fn refuse(&self, code: &'static str, message: String, interrupted: Option<&Interrupted>) -> Error {
        let mut error =
            Error::new(ProblemKind::Invalid, code, message).with_advice("choose one; nothing was touched");
        if let Some(Interrupted { way_on, held, .. }) = interrupted {
            let text = match held {
                None => "continues the recovery that was interrupted there".to_owned(),
                Some(held) => format!(
                    "continues the recovery that was interrupted there, once {} does not work on it any more",
                    held.named()
                ),
            };
            error = error.with_next(way_on.clone(), text);
        }
        let other = self.other_source.map_or(String::new(), |of| format!("{of}, "));
        error
            .with_next(self.elsewhere.clone(), "writes into a folder that is empty")
            .with_next(
                self.in_place.clone(),
                format!(
                    "writes {other}into the system's own folder, whose content moves to {}/",
                    aside_folder(&self.root, "<run>", &self.root).display()
                ),
            )
    }

    /// Refuses targets that are not empty, and names the first path in each.
    pub fn occupied(&self, occupied: &[PathBuf], interrupted: Option<&Interrupted>) -> Error {
        let message = format!("the targets are not empty: {}", list(occupied));
        self.refuse("targets_not_empty", message, interrupted)
    }

    /// Refuses a folder that is not empty, and names its first entry.
    pub fn not_empty(&self, standing: &Path, interrupted: Option<&Interrupted>) -> Error {
        let message = format!("the folder is not empty: {}", standing.display());
        self.refuse("targets_not_empty", message, interrupted)
    }

    /// Refuses to recover a component if only a program knows whether its target is empty.
    pub fn unseen(&self, component: &str, interrupted: Option<&Interrupted>) -> Error {
        let message = format!(
            "whether anything stands where {component} is restored to is not known: a program restores it"
        );
        self.refuse("target_unknown", message, interrupted)
    }

    /// Refuses a folder into which a run that can be resumed was recovering.
    pub fn interrupted(&self, root: &Path, interrupted: &Interrupted) -> Error {
        self.refuse("interrupted_there", interrupted.told(root), Some(interrupted))
    }
}

/// A run that was interrupted while it recovered into a folder.
pub struct Interrupted {
    run: RunId,
    /// The command that continues it.
    way_on: Action,
    /// The workspace that holds it, if that is another one.
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

    /// Returns a warning for a recovery that writes into that folder anyway.
    pub fn warning(&self, root: &Path) -> Notice {
        Notice::warning(self.told(root)).with_next(self.way_on.clone(), "continues it")
    }
}

/// Returns the place of a folder that a person named to recover into. Refuses the living system's data, the tiers and
/// the workspace in any spelling, and every folder in them or around them.
pub fn named(
    layout: &Layout,
    system: &System,
    to: &Path,
    alternatives: &Alternatives,
) -> Result<Place, Error> {
    let place =
        Place::of(to).map_err(|error| Error::usage(format!("cannot follow {}: {error}", to.display())))?;
    if place.path().to_str().is_none() {
        return Err(
            Error::usage(format!("{} is not UTF-8", to.display())).with_advice(
                "name another folder: the journal keeps paths as text, to find them again on resume",
            ),
        );
    }
    if let Some(file) = place.blocked_by() {
        return Err(Error::usage(format!("{} is no folder", file.display()))
            .with_advice("name a folder; one that does not exist yet is made"));
    }
    for (what, protected) in protected(layout, system)? {
        if place.overlaps(&protected) {
            let message = format!(
                "{} {} {what}, {}",
                to.display(),
                relation(&place, &protected),
                protected.path().display()
            );
            return Err(alternatives.refuse("target_protected", message, None));
        }
    }
    Ok(place)
}

/// Refuses a folder that a person named, if it is not empty or a recovery into it was interrupted.
pub async fn empty(
    context: &WorkspaceContext,
    place: &Place,
    alternatives: &Alternatives,
) -> Result<(), Error> {
    let interrupted = interrupted(context, place.path()).await;
    match (standing(place.path())?, &interrupted) {
        (Some(standing), run) => Err(alternatives.not_empty(&standing, run.as_ref())),
        (None, Some(run)) => Err(alternatives.interrupted(place.path(), run)),
        (None, None) => Ok(()),
    }
}

/// Returns the first entry of a folder by name; none if the folder is empty or absent.
pub fn standing(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let unreadable = |error| Error::io(format_args!("list {}", folder.display()), &error);
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

/// Returns the newest run that was interrupted while it recovered into this folder, into one in it or into one around
/// it.
pub async fn interrupted(context: &WorkspaceContext, root: &Path) -> Option<Interrupted> {
    let root = Place::of(root).ok()?;
    for run in context.interrupted().await.ok()? {
        // A run whose history cannot be read cannot be resumed either.
        let Ok(evidence) = context.evidence(run.run).await else {
            continue;
        };
        let to = evidence.inputs.pointer("/params/to").and_then(Value::as_str);
        let theirs = to
            .filter(|to| !to.is_empty())
            .and_then(|to| Place::of(Path::new(to)).ok());
        if theirs.is_some_and(|theirs| theirs.overlaps(&root)) {
            let (state, run) = (&context.layout.state, run.run);
            return Some(Interrupted {
                run,
                way_on: replica::way_on(state, run),
                held: replica::elsewhere(state, run),
            });
        }
    }
    None
}

/// Returns the places that no recovery writes into, each with its name for messages.
fn protected(layout: &Layout, system: &System) -> Result<Vec<(String, Place)>, Error> {
    let system_dir = layout.system_dir();
    let root = run_spec::data_root(&system_dir, system);
    let own = || "the living system's own folder".to_owned();
    let mut protected: Vec<(String, PathBuf)> = Vec::new();
    // If a system spans the whole machine, only its components are protected: a recovery may write beside them.
    if root.parent().is_some() {
        protected.push((own(), root.clone()));
    }
    // A component may be a link, or a mount, to data elsewhere.
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
    protected.push(("the workspace".to_owned(), layout.state.clone()));
    // A path with a circle of links leads to no data that a recovery could overwrite.
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

#[cfg(test)]
mod tests {
    use rekindle_model::next_action::Recover;

    use super::*;

    #[test]
    fn a_refusal_names_the_folder_that_a_recovery_in_place_would_make() {
        let temp = tempfile::tempdir().unwrap();
        for (root, aside) in [
            (temp.path().join("data"), temp.path().join("data.before-<run>")),
            ("/".into(), "/.rekindle-before-<run>".into()),
        ] {
            let ways = Alternatives {
                elsewhere: Action::Recover(Recover::default()),
                in_place: Action::Recover(Recover::default()),
                other_source: None,
                root: root.clone(),
            };
            let error = ways.not_empty(&root, None);
            let named = format!("moves to {}/", aside.display());
            assert!(
                error.next().iter().any(|next| next.text.ends_with(&named)),
                "{error:?}"
            );
        }
    }
}
