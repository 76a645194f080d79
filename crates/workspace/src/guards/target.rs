//! Where a recovery may write: never into the living system, a tier or the workspace, never onto existing content, and
//! never where another recovery was interrupted.

use std::path::{Path, PathBuf};

use rekindle_actions::displace::aside_folder;
use rekindle_actions::trust::Trust;
use rekindle_model::id::RunId;
use rekindle_model::system::System;
use rekindle_report::unfinished::Elsewhere;
use rekindle_sources::Placed;
use rekindle_sources::failures::PLACE_IS_LINK;
use rekindle_sources::place::{Place, Root};
use rekindle_vault::store::occupied_folder;
use serde_json::Value;

use rekindle_model::next_action::Action;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::keys::identity::NOT_TRUSTED;
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
    /// The folders that the second one moves content from.
    pub roots: Vec<PathBuf>,
}

impl Alternatives {
    /// Returns a refusal with both alternatives. If a run was interrupted there, also names the action that continues
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
                    "writes {other}into the system's own folder, whose content moves to {}",
                    list(&asides(&self.roots))
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
        let message = format!("a program restores {component}, so whether its target is empty is not known");
        self.refuse("target_unknown", message, interrupted)
    }

    /// Refuses a folder into which a run that can be resumed was recovering.
    pub fn interrupted(&self, root: &Path, interrupted: &Interrupted) -> Error {
        self.refuse("interrupted_there", interrupted.message(root), Some(interrupted))
    }
}

/// Returns the folders that a recovery in place makes for what it moves out of these folders, with `<run>` for its id.
pub fn asides(roots: &[PathBuf]) -> Vec<PathBuf> {
    let aside = |root: &PathBuf| aside_folder(root, "<run>", root).join("");
    roots.iter().map(aside).collect()
}

/// A run that was interrupted while it recovered into a folder.
pub struct Interrupted {
    run: RunId,
    /// The action that continues it.
    way_on: Action,
    /// The workspace that holds it, if that is another one.
    held: Option<Elsewhere>,
}

impl Interrupted {
    fn message(&self, root: &Path) -> String {
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
        Notice::warning(self.message(root)).with_next(self.way_on.clone(), "continues it")
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
    Trust::of_this_user(None).check_links(to).map_err(|untrusted| {
        Error::new(
            ProblemKind::Invalid,
            NOT_TRUSTED,
            format!("{untrusted}, and leads elsewhere"),
        )
        .with_advice("name the folder that you mean, without that link; nothing was touched")
    })?;
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

/// Returns the first path at each target that is neither absent nor empty.
///
/// A component that claims part of a folder by globs is occupied only by what it claims.
pub fn occupied(
    system: &System,
    affected: &[String],
    root: &Root,
    never: &[PathBuf],
) -> Result<Vec<PathBuf>, Error> {
    let mut occupied = Vec::new();
    for source in affected
        .iter()
        .filter_map(|name| system.components.get(name)?.source.as_ref())
    {
        let Placed { source, root } = rekindle_sources::place(source, root)?;
        match source.existing(&root, never) {
            Ok(existing) => occupied.extend(existing.files.first().map(|path| root.join(path))),
            Err(failure) if failure.code == PLACE_IS_LINK => {
                occupied.extend(source.claim().map(|claim| root.join(claim.path)));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(occupied)
}

/// Refuses a recovery in place of a component that is behind a link.
pub fn no_links(system: &System, affected: &[String], root: &Root, never: &[PathBuf]) -> Result<(), Error> {
    for source in affected
        .iter()
        .filter_map(|name| system.components.get(name)?.source.as_ref())
    {
        let placed = rekindle_sources::place(source, root)?;
        placed.source.existing(&placed.root, never)?;
    }
    Ok(())
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
        // An absolute path stays itself.
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
    use rekindle_model::next_action::{Recover, RecoverTarget};
    use serde_json::json;

    use super::super::fixture::Shop;
    use super::*;
    use crate::error::resume;

    fn alternatives(shop: &Shop) -> Alternatives {
        let to = |target| {
            Action::Recover(Recover {
                target,
                ..Recover::default()
            })
        };
        Alternatives {
            elsewhere: to(RecoverTarget::Elsewhere),
            in_place: to(RecoverTarget::InPlace),
            other_source: None,
            roots: vec![shop.data("")],
        }
    }

    fn choose(shop: &Shop, to: &Path) -> Result<Place, Error> {
        named(&shop.context.layout, &shop.system(), to, &alternatives(shop))
    }

    #[test]
    fn no_recovery_writes_into_or_around_the_living_system_a_tier_or_the_workspace() {
        let shop = Shop::new("");
        std::os::unix::fs::symlink(shop.data("notes"), shop.beside("link")).unwrap();
        for protected in [
            "shop/data",
            "shop/data/new",
            "shop",
            "link",
            "near/x",
            "shop/.rekindle",
            "near/../shop/data",
        ] {
            let error = choose(&shop, &shop.beside(protected)).err().unwrap();
            assert_eq!(error.code(), "target_protected", "{protected}: {error}");
        }
        assert_eq!(
            choose(&shop, &shop.beside("out")).unwrap().path(),
            shop.beside("out")
        );
        let file = shop.beside("shop/system.yaml");
        assert!(
            choose(&shop, &file.join("out"))
                .err()
                .unwrap()
                .to_string()
                .ends_with("is no folder")
        );
    }

    #[tokio::test]
    async fn a_named_folder_must_be_empty() {
        let shop = Shop::new("");
        let folder = shop.beside("out");
        let place = Place::of(&folder).unwrap();
        let check = async || empty(&shop.context, &place, &alternatives(&shop)).await;
        check().await.unwrap();
        std::fs::create_dir(&folder).unwrap();
        check().await.unwrap();
        std::fs::write(folder.join("b"), "").unwrap();
        std::fs::write(folder.join("a"), "").unwrap();
        let error = check().await.unwrap_err();
        assert_eq!(error.code(), "targets_not_empty");
        assert!(error.to_string().ends_with("out/a"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_into_which_a_recovery_was_interrupted_is_left_to_that_recovery() {
        let shop = Shop::new("");
        let params = json!({ "to": shop.beside("out/first") });
        let run = shop.recovery(&["notes"], &params, Vec::new()).await;
        for folder in ["out", "out/first", "out/first/notes"] {
            let place = Place::of(&shop.beside(folder)).unwrap();
            let error = empty(&shop.context, &place, &alternatives(&shop))
                .await
                .unwrap_err();
            assert_eq!(error.code(), "interrupted_there", "{folder}");
            assert_eq!(error.next()[1].action, Some(resume(Some(run))));
        }
        let other = Place::of(&shop.beside("out/second")).unwrap();
        empty(&shop.context, &other, &alternatives(&shop)).await.unwrap();
    }

    #[test]
    fn only_the_targets_of_the_named_components_must_be_empty() {
        let shop = Shop::new("");
        let (system, root) = (shop.system(), Root::living(shop.data("")));
        std::fs::remove_file(shop.data("orders/1.txt")).unwrap();
        let occupied = |name: &str| occupied(&system, &[name.to_owned()], &root, &[]).unwrap();
        assert_eq!(occupied("notes"), [shop.data("notes/1.txt")]);
        assert!(occupied("orders").is_empty());
    }

    #[test]
    fn a_refusal_names_the_folder_that_a_recovery_in_place_would_make() {
        let shop = Shop::new("");
        for (root, aside) in [
            (shop.beside("shop/data"), shop.beside("shop/data.before-<run>")),
            ("/".into(), "/.rekindle-before-<run>".into()),
        ] {
            let ways = Alternatives {
                roots: vec![root],
                ..alternatives(&shop)
            };
            let error = ways.not_empty(&ways.roots[0], None);
            let named = format!("moves to {}/", aside.display());
            assert!(
                error.next().iter().any(|next| next.text.ends_with(&named)),
                "{error:?}"
            );
        }
    }
}
