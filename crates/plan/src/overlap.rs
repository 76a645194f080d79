//! Finds files that two components claim. A recovery would restore them twice, from two instants.

use globset::{Glob, GlobSet, GlobSetBuilder};
use rekindle_model::source::Claim;

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

/// Returns why two components claim the same file, as far as their paths and globs can tell.
///
/// Two sources that take parts of one folder by `include` globs clash only if both have the same glob. Only
/// the capture knows which files match.
pub(crate) fn clash(a: &Claim, b: &Claim) -> Option<String> {
    let (a_parts, b_parts) = (parts(&a.path).ok()?, parts(&b.path).ok()?);
    let (outer, inner, below) = match (
        b_parts.strip_prefix(a_parts.as_slice()),
        a_parts.strip_prefix(b_parts.as_slice()),
    ) {
        (Some(below), _) => (a, b, below),
        (None, Some(below)) => (b, a, below),
        (None, None) => return None,
    };
    let Claim { include, exclude, .. } = outer;
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
    let taken = (include.is_empty() || hits(include)) && !hits(exclude);
    taken.then(|| format!("`{}`, which is below `{}`", inner.path, outer.path))
}

fn set(globs: &[String]) -> Option<GlobSet> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).ok()?);
    }
    builder.build().ok()
}
