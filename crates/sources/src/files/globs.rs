//! Selects the paths to capture.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rekindle_model::entry::TreePath;
use rekindle_model::failure::Failure;

/// The globs of a source. A glob without `/` matches a name at any depth; one with `/` matches a path from
/// the root of the tree. `*` stays within a name, `**` crosses folders. A leading or trailing `/` only
/// anchors.
#[derive(Debug)]
pub(super) struct Globs {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Globs {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, Failure> {
        let include = if include.is_empty() {
            None
        } else {
            Some(set(include)?)
        };
        Ok(Self {
            include,
            exclude: set(exclude)?,
        })
    }

    /// Returns whether the path, with everything below it, is excluded.
    pub(super) fn excludes(&self, path: &TreePath) -> bool {
        self.exclude.is_match(as_path(path))
    }

    /// Returns whether everything is included.
    pub(super) fn include_all(&self) -> bool {
        self.include.is_none()
    }

    /// Returns whether the path itself is included.
    pub(super) fn includes(&self, path: &TreePath) -> bool {
        self.include
            .as_ref()
            .is_none_or(|set| set.is_match(as_path(path)))
    }
}

/// The `exclude` globs of a source, for paths that need not exist.
#[derive(Debug)]
pub struct Excludes(GlobSet);

impl Excludes {
    /// Reads the globs.
    ///
    /// # Errors
    /// A glob that cannot be read.
    pub fn new(exclude: &[String]) -> Result<Self, Failure> {
        set(exclude).map(Self)
    }

    /// Returns whether a path, relative to the source's root, or a folder above it is excluded.
    pub fn leaves_out(&self, path: &Path) -> bool {
        path.ancestors()
            .filter(|above| !above.as_os_str().is_empty())
            .any(|above| self.0.is_match(above))
    }
}

fn as_path(path: &TreePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

fn set(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let bad = |why: globset::Error| {
            Failure::permanent(
                "bad_glob",
                format!("glob {pattern:?} cannot be read: {}", why.kind()),
            )
        };
        let trimmed = pattern.trim_matches('/');
        let anchored = pattern.trim_end_matches('/').contains('/');
        let whole = if anchored {
            trimmed.to_owned()
        } else {
            format!("**/{trimmed}")
        };
        builder.add(
            GlobBuilder::new(&whole)
                .literal_separator(true)
                .build()
                .map_err(bad)?,
        );
    }
    builder
        .build()
        .map_err(|why| Failure::permanent("bad_glob", format!("globs cannot be combined: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_without_a_slash_matches_at_any_depth_and_one_with_a_slash_from_the_root() {
        let check = |glob: &str, path: &str, expect: bool| {
            let globs = Globs::new(&[], &[glob.to_owned()]).unwrap();
            assert_eq!(
                globs.excludes(&TreePath::new(path.as_bytes()).unwrap()),
                expect,
                "{glob} {path}"
            );
        };
        check("*.tmp", "a/b.tmp", true);
        check("*.tmp", "b.tmp", true);
        check("a/*.tmp", "a/b.tmp", true);
        check("a/*.tmp", "x/a/b.tmp", false);
        check("a/*.tmp", "a/x/b.tmp", false);
        check("a/**/b", "a/x/y/b", true);
        check("/cache", "cache", true);
        check("/cache", "a/cache", false);
        check("cache/", "a/cache", true);
    }

    #[test]
    fn a_glob_that_cannot_be_read_is_named() {
        let failure = Globs::new(&["[".to_owned()], &[]).unwrap_err();
        assert_eq!(failure.code, "bad_glob");
        assert!(failure.message.contains("\"[\""), "{failure}");
    }
}
