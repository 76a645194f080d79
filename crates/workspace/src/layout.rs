//! The place of a workspace: the folder that holds `system.yaml` and, beside it, `.rekindle`.

use std::path::{Path, PathBuf};

use rekindle_model::next_action::{Action, KeyOrigin};

use crate::error::Error;

/// The system file's usual name.
pub const SYSTEM_FILE: &str = "system.yaml";
/// The workspace's own folder, beside the system file.
pub const STATE_DIR: &str = ".rekindle";

/// Which workspace a person means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The folder of the workspace, where it was named.
    pub workspace: Option<PathBuf>,
    /// The system file, where it was named.
    pub system: Option<PathBuf>,
    /// The folder that the person is in, or why it cannot be found. It may be deleted: an absolute path needs no folder.
    pub here: Result<PathBuf, Error>,
}

impl Selection {
    /// Returns the path that a person means by `path`.
    ///
    /// # Errors
    /// The path is relative, and the current folder cannot be found.
    pub fn absolute(&self, path: &Path) -> Result<PathBuf, Error> {
        match path.is_absolute() {
            true => Ok(path.to_owned()),
            false => Ok(self.here.clone()?.join(path)),
        }
    }
}

/// The files of a workspace, found but not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The folder that people name.
    pub dir: PathBuf,
    /// `.rekindle` in it, whether it exists or not.
    pub state: PathBuf,
    /// The system file.
    pub system_file: PathBuf,
}

impl Layout {
    /// Returns the workspace at `dir`, whether or not one exists there.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            state: dir.join(STATE_DIR),
            system_file: dir.join(SYSTEM_FILE),
        }
    }

    /// Finds the workspace: the folder that was named, else the folder of the system file, else upward as git does.
    ///
    /// # Errors
    /// There is no workspace.
    pub fn find(selection: &Selection) -> Result<Self, Error> {
        let Selection {
            workspace,
            system,
            here,
        } = selection;
        let system = system
            .as_deref()
            .map(|file| selection.absolute(file))
            .transpose()?;
        let mut found = match (workspace, &system) {
            (Some(dir), system) => {
                let found = Self::at(&selection.absolute(dir)?);
                if system.is_none() && !found.exists() {
                    return Err(Self::none(&found.dir, "there"));
                }
                found
            }
            (None, Some(file)) => Self::at(file.parent().unwrap_or(file)),
            (None, None) => {
                let here = here.clone()?;
                let mut above = here.ancestors().map(Self::at);
                above
                    .find(Self::exists)
                    .ok_or_else(|| Self::none(&here, "there or above"))?
            }
        };
        if let Some(file) = &system {
            found.system_file.clone_from(file);
        }
        // Journaled paths must mean the same from every folder.
        if let Ok(dir) = found.dir.canonicalize() {
            found.state = dir.join(STATE_DIR);
            if system.is_none() {
                found.system_file = dir.join(SYSTEM_FILE);
            }
            found.dir = dir;
        }
        if let Ok(file) = found.system_file.canonicalize() {
            found.system_file = file;
        }
        Ok(found)
    }

    /// Returns the folder that `root` and local tiers are relative to.
    pub fn system_dir(&self) -> PathBuf {
        self.system_file
            .parent()
            .map_or_else(|| self.dir.clone(), Path::to_owned)
    }

    /// Returns whether the workspace has a system file, or names one.
    pub(crate) fn has_system_file(&self) -> bool {
        self.system_file != self.dir.join(SYSTEM_FILE) || self.system_file.exists()
    }

    /// Returns where a workspace is made for a workflow of a person who has none: the folder that was named, else the
    /// current one; none if there is a workspace.
    pub(crate) fn to_be_made(selection: &Selection) -> Option<Self> {
        let dir = match (&selection.workspace, &selection.system) {
            (Some(dir), None) => selection.absolute(dir).ok().filter(|dir| dir.is_dir())?,
            (None, None) => selection.here.clone().ok()?,
            (_, Some(_)) => return None,
        };
        let dir = dir.canonicalize().ok()?;
        Self::find(selection).is_err().then(|| Self::at(&dir))
    }

    fn exists(&self) -> bool {
        self.state.is_dir() || self.system_file.is_file()
    }

    fn none(dir: &Path, place: &str) -> Error {
        Error::usage(format!(
            "no workspace: neither {STATE_DIR} nor {SYSTEM_FILE} is {place} ({})",
            dir.display()
        ))
        .with_next(
            Action::Initialize {
                dir: None,
                key: KeyOrigin::Default,
            },
            "makes one here",
        )
        .with_advice("or name the folder of another one with -w DIR")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(workspace: Option<&str>, system: Option<&str>, here: &Path) -> Selection {
        Selection {
            workspace: workspace.map(PathBuf::from),
            system: system.map(PathBuf::from),
            here: Ok(here.to_owned()),
        }
    }

    #[test]
    fn a_workspace_is_found_upward_and_a_named_one_outranks_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let deep = root.join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.join("a/system.yaml"), "system: a").unwrap();
        std::fs::create_dir_all(root.join("other/.rekindle")).unwrap();

        let found = Layout::find(&select(None, None, &deep)).unwrap();
        assert_eq!(
            (found.dir, found.state),
            (root.join("a"), root.join("a/.rekindle"))
        );

        let other = Layout::find(&select(Some("../../../other"), None, &deep)).unwrap();
        assert_eq!(other.dir, root.join("other"));

        let by_file = Layout::find(&select(None, Some("x/my.yaml"), &root)).unwrap();
        assert_eq!(
            (by_file.dir, by_file.system_file),
            (root.join("x"), root.join("x/my.yaml"))
        );

        let both = Layout::find(&select(Some("other"), Some("a/system.yaml"), &root)).unwrap();
        assert_eq!(
            (both.dir, both.system_file),
            (root.join("other"), root.join("a/system.yaml"))
        );
    }

    #[test]
    fn only_a_relative_path_needs_the_current_folder() {
        let gone = |workspace| Selection {
            here: Err(Error::usage("it is gone")),
            ..select(workspace, None, Path::new(""))
        };
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(SYSTEM_FILE), "system: a").unwrap();
        let named = Layout::find(&gone(temp.path().to_str())).unwrap();
        assert_eq!(named.dir, temp.path().canonicalize().unwrap());
        for workspace in [None, Some("relative")] {
            let error = Layout::find(&gone(workspace)).unwrap_err();
            assert_eq!(error.to_string(), "it is gone");
        }
    }

    #[test]
    fn no_workspace_is_a_usage_error_that_says_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        for workspace in [None, Some("nowhere")] {
            let error = Layout::find(&select(workspace, None, temp.path())).unwrap_err();
            assert_eq!(error.code(), "usage");
            let next = error.next();
            assert!(
                matches!(next[0].action, Some(Action::Initialize { .. })),
                "{error:?}"
            );
        }
    }
}
