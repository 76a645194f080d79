//! Finds files that two components claim. A recovery would restore them twice, from two instants.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use rekindle_model::source::Claim;
use rekindle_model::system::System;

use crate::sources;

/// Returns a path's parts below the root, or below `/` if it is absolute; or why it cannot be the path of a component.
pub(crate) fn parts(path: &str) -> Result<Vec<&str>, &'static str> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() && is_absolute(path) {
        return Err("is the whole machine; name the folders with data, such as /etc and /srv");
    }
    match (parts.contains(&".."), is_absolute(path)) {
        (false, _) => Ok(parts),
        (true, false) => Err("leaves the system's `root`; write an absolute path to what is outside of it"),
        (true, true) => Err("has a `..`; write it without"),
    }
}

pub(crate) fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

/// A component's claim at a place: where its files are, or where a recovery puts them.
pub(crate) struct Placed {
    /// The component.
    pub(crate) name: String,
    claim: Claim,
    /// The parts of the place.
    parts: Vec<String>,
}

impl Placed {
    /// Returns whether its path is absolute in the system's file.
    pub(crate) fn is_absolute(&self) -> bool {
        is_absolute(&self.claim.path)
    }
}

/// Two components that claim the same file.
pub(crate) struct Clash<'a> {
    pub(crate) outer: &'a Placed,
    pub(crate) inner: &'a Placed,
    /// What both claim, for people.
    pub(crate) what: String,
}

/// Too many sources are inside each other to be compared.
pub(crate) struct TooMany<'a>(pub(crate) &'a str);

/// How many pairs of sources are compared; a thousand components that all lie in one folder need half of it.
const MAX_COMPARED: usize = 1_000_000;

/// Returns the claims of a system at their places in the living system. `root` is its folder, if that is known: without it
/// relative paths are in a place of their own.
pub(crate) fn living(system: &System, root: Option<&Path>) -> Vec<Placed> {
    let folder = root.map_or_else(|| vec![".".to_owned()], split);
    placed(system, |path, own| {
        let mut place = if is_absolute(path) {
            vec!["/".to_owned()]
        } else {
            folder.clone()
        };
        place.extend(own.iter().map(|part| (*part).to_owned()));
        place
    })
}

/// Returns the claims of a system at their real places: what links on the way lead to. A link at the end of a path belongs
/// to the component.
pub(crate) fn real(system: &System, root: &Path) -> Vec<Placed> {
    placed(system, |path, _| {
        let path = root.join(path);
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => split(&followed(parent).join(name)),
            _ => split(&followed(&path)),
        }
    })
}

/// Returns the claims of a system at their places below the folder of a recovery elsewhere.
pub(crate) fn landing(system: &System) -> Vec<Placed> {
    placed(system, |_, own| {
        own.iter().map(|part| (*part).to_owned()).collect()
    })
}

fn placed(system: &System, place: impl Fn(&str, &[&str]) -> Vec<String>) -> Vec<Placed> {
    let claims = system
        .components
        .iter()
        .filter_map(|(name, component)| Some((name, sources::claim(component.source.as_ref()?)?)));
    claims
        .filter_map(|(name, claim)| {
            let parts = place(&claim.path, &parts(&claim.path).ok()?);
            Some(Placed {
                name: name.clone(),
                claim,
                parts,
            })
        })
        .collect()
}

/// Returns the path that the existing part of a path leads to, and the rest of it.
fn followed(path: &Path) -> PathBuf {
    let mut above = path.ancestors();
    let found = above.find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
    found.map_or_else(|| path.to_owned(), |(real, rest)| real.join(rest))
}

fn split(path: &Path) -> Vec<String> {
    let parts = path.components();
    let parts = parts.filter(|part| !matches!(part, std::path::Component::CurDir));
    parts
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect()
}

/// Returns the claims that clash, for each component the one with its nearest component above. Claims are sorted by place.
/// One can clash only with those above it whose place begins its own, so unrelated components are never compared.
///
/// # Errors
/// Too many are inside each other. The error names one.
pub(crate) fn clashes(claims: &mut [Placed]) -> Result<Vec<Clash<'_>>, TooMany<'_>> {
    claims.sort_by(|a, b| (&a.parts, &a.name).cmp(&(&b.parts, &b.name)));
    let claims = &*claims;
    let mut found = Vec::new();
    let mut above: Vec<&Placed> = Vec::new();
    let mut compared = 0;
    for inner in claims {
        while above
            .last()
            .is_some_and(|last| !inner.parts.starts_with(&last.parts))
        {
            above.pop();
        }
        for outer in &above {
            compared += 1;
            if compared > MAX_COMPARED {
                return Err(TooMany(&inner.name));
            }
            if let Some(what) = clash(outer, inner) {
                found.push(Clash { outer, inner, what });
                break;
            }
        }
        above.push(inner);
    }
    Ok(found)
}

/// Returns which file two components claim, as far as their paths and globs can tell. `inner` is at the place of `outer` or
/// below it.
///
/// Two sources that take parts of one folder by `include` globs clash only if both have the same glob. Only
/// the capture knows which files match.
fn clash(outer: &Placed, inner: &Placed) -> Option<String> {
    let below = inner.parts.strip_prefix(outer.parts.as_slice())?;
    let inner = &inner.claim;
    let Claim {
        path,
        include,
        exclude,
    } = &outer.claim;
    if below.is_empty() {
        if include.is_empty() || inner.include.is_empty() {
            return Some(format!("`{}`", inner.path));
        }
        let common = include.iter().find(|glob| inner.include.contains(glob));
        return common.map(|glob| format!("`{glob}` below `{}`", inner.path));
    }
    let inside = below.join("/");
    let hits = |globs: &[String]| {
        set(globs).is_some_and(|set| set.is_match(&inside) || set.is_match(format!("{inside}/x")))
    };
    // A capture does not enter a folder that is excluded.
    let left_out =
        set(exclude).is_some_and(|set| Path::new(&inside).ancestors().any(|above| set.is_match(above)));
    let taken = (include.is_empty() || hits(include)) && !hits(exclude) && !left_out;
    taken.then(|| format!("`{}`, which is below `{path}`", inner.path))
}

fn set(globs: &[String]) -> Option<GlobSet> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).ok()?);
    }
    builder.build().ok()
}
