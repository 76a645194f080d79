//! Finds files that two components claim: a recovery would restore them twice, as of two instants.

use globset::{Glob, GlobSet, GlobSetBuilder};
use rekindle_model::system::Source;

/// Returns a path's parts below the root, or why it is not below it.
pub(crate) fn parts(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.starts_with('/') {
        return Err("is absolute; write it relative to the system's `root`");
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    match parts.contains(&"..") {
        true => Err("leaves the system's `root`"),
        false => Ok(parts),
    }
}

/// Returns why two sources claim the same file, as far as their paths and globs can tell.
///
/// Two sources that take parts of one folder by `include` globs clash only if both have the same glob: which files match
/// is known at the capture.
pub(crate) fn clash(a: &Source, b: &Source) -> Option<String> {
    let (a_path, b_path) = (a.path()?, b.path()?);
    let (a_parts, b_parts) = (parts(a_path).ok()?, parts(b_path).ok()?);
    let (outer, inner, inner_path, below) = match (
        b_parts.strip_prefix(a_parts.as_slice()),
        a_parts.strip_prefix(b_parts.as_slice()),
    ) {
        (Some(below), _) => (a, b, b_path, below),
        (None, Some(below)) => (b, a, a_path, below),
        (None, None) => return None,
    };
    let Source::Files { include, exclude, .. } = outer else {
        return Some(format!("`{}`", inner_path));
    };
    if below.is_empty() {
        return match inner {
            Source::Files { include: theirs, .. } if !include.is_empty() && !theirs.is_empty() => include
                .iter()
                .find(|glob| theirs.contains(glob))
                .map(|glob| format!("`{glob}` below `{}`", inner_path)),
            _ => Some(format!("`{}`", inner_path)),
        };
    }
    let inside = below.join("/");
    let hits = |globs: &[String]| {
        set(globs).is_some_and(|set| set.is_match(&inside) || set.is_match(format!("{inside}/x")))
    };
    let taken = (include.is_empty() || hits(include)) && !hits(exclude);
    taken.then(|| {
        format!(
            "`{}`, which is below `{}`",
            inner_path,
            outer.path().unwrap_or_default()
        )
    })
}

fn set(globs: &[String]) -> Option<GlobSet> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).ok()?);
    }
    builder.build().ok()
}
