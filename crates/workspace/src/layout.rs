//! Where a workspace stands: the folder that holds `system.yaml` and, beside it, `.rekindle`.

use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::error::CliError;

/// The system file's usual name.
pub const SYSTEM_FILE: &str = "system.yaml";
/// The workspace's own folder, beside the system file.
pub const STATE_DIR: &str = ".rekindle";

/// A workspace, found but not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The folder that people name.
    pub dir: PathBuf,
    /// `.rekindle` in it, whether it exists or not.
    pub state: PathBuf,
    /// The system file.
    pub system_file: PathBuf,
}

impl Workspace {
    /// Returns the workspace at `dir`, whatever stands there.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            state: dir.join(STATE_DIR),
            system_file: dir.join(SYSTEM_FILE),
        }
    }

    /// Finds the workspace: `--workspace`, else the folder of `--system`, else upward from `here` as git does.
    pub fn find(global: &Global, here: &Path) -> Result<Self, CliError> {
        let mut found = match (&global.workspace, &global.system) {
            (Some(dir), system) => {
                let found = Self::at(&here.join(dir));
                if system.is_none() && !found.exists() {
                    return Err(Self::none(&found.dir, "there"));
                }
                found
            }
            (None, Some(file)) => {
                let file = here.join(file);
                Self::at(file.parent().unwrap_or(here))
            }
            (None, None) => here
                .ancestors()
                .map(Self::at)
                .find(Self::exists)
                .ok_or_else(|| Self::none(here, "there or above"))?,
        };
        if let Some(file) = &global.system {
            found.system_file = here.join(file);
        }
        // Journaled paths must mean the same from every folder.
        if let Ok(dir) = found.dir.canonicalize() {
            found.state = dir.join(STATE_DIR);
            if global.system.is_none() {
                found.system_file = dir.join(SYSTEM_FILE);
            }
            found.dir = dir;
        }
        if let Ok(file) = found.system_file.canonicalize() {
            found.system_file = file;
        }
        Ok(found)
    }

    /// Finds the workspace from the current folder.
    pub fn find_here(global: &Global) -> Result<Self, CliError> {
        let here =
            std::env::current_dir().map_err(|error| CliError::io("find the current folder", &error))?;
        Self::find(global, &here)
    }

    /// Returns the folder that `root` and local tiers are relative to.
    pub fn system_dir(&self) -> PathBuf {
        self.system_file
            .parent()
            .map_or_else(|| self.dir.clone(), Path::to_owned)
    }

    fn exists(&self) -> bool {
        self.state.is_dir() || self.system_file.is_file()
    }

    fn none(dir: &Path, place: &str) -> CliError {
        CliError::usage(format!(
            "no workspace: neither {STATE_DIR} nor {SYSTEM_FILE} is {place} ({})",
            dir.display()
        ))
        .with_hint("`rekindle init` makes one here; -w DIR names another; `rekindle demo` needs none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(workspace: Option<&str>, system: Option<&str>) -> Global {
        Global {
            workspace: workspace.map(PathBuf::from),
            system: system.map(PathBuf::from),
            ..Global::default()
        }
    }

    #[test]
    fn a_workspace_is_found_upward_and_a_flag_outranks_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let deep = root.join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.join("a/system.yaml"), "system: a").unwrap();
        std::fs::create_dir_all(root.join("other/.rekindle")).unwrap();

        let found = Workspace::find(&global(None, None), &deep).unwrap();
        assert_eq!(
            (found.dir, found.state),
            (root.join("a"), root.join("a/.rekindle"))
        );

        let other = Workspace::find(&global(Some("../../../other"), None), &deep).unwrap();
        assert_eq!(other.dir, root.join("other"));

        let by_file = Workspace::find(&global(None, Some("x/my.yaml")), &root).unwrap();
        assert_eq!(
            (by_file.dir, by_file.system_file),
            (root.join("x"), root.join("x/my.yaml"))
        );

        let both = Workspace::find(&global(Some("other"), Some("a/system.yaml")), &root).unwrap();
        assert_eq!(
            (both.dir, both.system_file),
            (root.join("other"), root.join("a/system.yaml"))
        );
    }

    #[test]
    fn no_workspace_is_a_usage_error_that_says_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        for global in [global(None, None), global(Some("nowhere"), None)] {
            let error = Workspace::find(&global, temp.path()).unwrap_err();
            assert_eq!(error.exit(), crate::Exit::Usage);
            assert!(error.hint().contains("rekindle init"), "{error:?}");
        }
    }
}
