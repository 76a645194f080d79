//! Selects the paths to capture.

use std::path::Path;

use rekindle_model::entry::TreePath;
use rekindle_model::failure::Failure;
use rekindle_model::globs::Globs;

/// The globs of a source.
#[derive(Debug)]
pub(super) struct Selection {
    include: Option<Globs>,
    exclude: Globs,
}

impl Selection {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, Failure> {
        let include = match include {
            [] => None,
            some => Some(Globs::new(some)?),
        };
        Ok(Self {
            include,
            exclude: Globs::new(exclude)?,
        })
    }

    /// Returns whether the path, with everything below it, is excluded.
    pub(super) fn excludes(&self, path: &TreePath) -> bool {
        self.exclude.matches(path.as_path())
    }

    /// Returns whether everything is included.
    pub(super) fn include_all(&self) -> bool {
        self.include.is_none()
    }

    /// Returns whether the path itself is included.
    pub(super) fn includes(&self, path: &TreePath) -> bool {
        let include = self.include.as_ref();
        include.is_none_or(|globs| globs.matches(path.as_path()))
    }
}

/// The `exclude` globs of a source, for paths that need not exist.
#[derive(Debug)]
pub struct Excludes(Globs);

impl Excludes {
    /// Reads the globs.
    ///
    /// # Errors
    /// A glob that cannot be read.
    pub fn new(exclude: &[String]) -> Result<Self, Failure> {
        Ok(Self(Globs::new(exclude)?))
    }

    /// Returns whether a path, relative to the source's root, or a folder above it is excluded.
    pub fn leaves_out(&self, path: &Path) -> bool {
        path.ancestors()
            .filter(|above| !above.as_os_str().is_empty())
            .any(|above| self.0.matches(above))
    }
}
