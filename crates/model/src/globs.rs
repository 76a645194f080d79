//! Globs that select paths of a captured tree.

use std::path::Path;

use globset::{Error, GlobBuilder, GlobSet};

use crate::failure::Failure;

/// A set of globs. A glob without `/` matches a name at any depth; one with `/` matches a path from the root of the
/// tree. `*` stays within a name, `**` crosses folders. A leading or trailing `/` only anchors.
#[derive(Clone, Debug)]
pub struct Globs(GlobSet);

/// A glob that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("glob {glob:?} cannot be read: {why}")]
pub struct BadGlob {
    /// The glob.
    pub glob: String,
    /// What is wrong with it.
    pub why: String,
}

impl From<BadGlob> for Failure {
    fn from(bad: BadGlob) -> Self {
        Self::permanent("bad_glob", bad.to_string())
    }
}

impl Globs {
    /// Reads the globs.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn new(globs: &[String]) -> Result<Self, BadGlob> {
        let bad = |glob: &str, why: Error| BadGlob {
            glob: glob.to_owned(),
            why: why.kind().to_string(),
        };
        let mut set = GlobSet::builder();
        for glob in globs {
            let trimmed = glob.trim_matches('/');
            let whole = match glob.trim_end_matches('/').contains('/') {
                true => trimmed.to_owned(),
                false => format!("**/{trimmed}"),
            };
            let built = GlobBuilder::new(&whole).literal_separator(true).build();
            set.add(built.map_err(|why| bad(glob, why))?);
        }
        set.build().map(Self).map_err(|why| bad(&globs.join(" "), why))
    }

    /// Returns a glob that matches exactly this name or path. `*`, `[` and the like stand for themselves in it.
    pub fn literal(path: &str) -> String {
        globset::escape(path)
    }

    /// Returns whether a glob matches the path.
    pub fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_without_a_slash_matches_at_any_depth_and_one_with_a_slash_from_the_root() {
        for (glob, path, expect) in [
            ("*.tmp", "a/b.tmp", true),
            ("*.tmp", "b.tmp", true),
            ("a/*.tmp", "a/b.tmp", true),
            ("a/*.tmp", "x/a/b.tmp", false),
            ("a/*.tmp", "a/x/b.tmp", false),
            ("a/**/b", "a/x/y/b", true),
            ("/cache", "cache", true),
            ("/cache", "a/cache", false),
            ("cache/", "a/cache", true),
        ] {
            let globs = Globs::new(&[glob.to_owned()]).unwrap();
            assert_eq!(globs.matches(Path::new(path)), expect, "{glob} {path}");
        }
    }

    #[test]
    fn a_literal_path_matches_itself_and_nothing_else() {
        for (path, same, others) in [
            (
                "d/a[1]*.txt",
                "d/a[1]*.txt",
                ["d/a1.txt", "d/a[1]b.txt", "x/d/a[1]*.txt"],
            ),
            ("a{b}?", "x/a{b}?", ["ab", "a{b}c", "a{b}?/c"]),
        ] {
            let globs = Globs::new(&[Globs::literal(path)]).unwrap();
            assert!(globs.matches(Path::new(same)), "{same}");
            for other in others {
                assert!(!globs.matches(Path::new(other)), "{other}");
            }
        }
    }

    #[test]
    fn a_glob_that_cannot_be_read_is_named() {
        let bad = Globs::new(&["a".to_owned(), "[".to_owned()]).unwrap_err();
        assert_eq!(bad.glob, "[");
    }
}
