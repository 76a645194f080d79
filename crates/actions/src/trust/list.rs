//! The paths that a user trusts although others can change them: `trusted.json` in the user's config folder.

use rekindle_vault::regular;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The list's name in the config folder.
const FILE: &str = "trusted.json";

/// The paths that a user trusts, with everything below them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPaths {
    trusted: Vec<TrustedPath>,
    /// Why the list does not count.
    #[serde(skip)]
    ignored: Option<String>,
}

/// A trusted path. It is trusted only as long as the same user owns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPath {
    /// The path, absolute and without links.
    pub path: PathBuf,
    /// Who owned it when it was trusted.
    pub uid: u32,
}

/// Why the list of trusted paths cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A path cannot be looked at.
    #[error("cannot read {}: {source}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The list does not count as it is.
    #[error("{0}")]
    Ignored(String),
    /// The list cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The list.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl TrustedPaths {
    /// Reads the list in a config folder. It counts only if `others_can_change` has nothing to say about its file.
    pub fn read(config_dir: &Path, others_can_change: impl Fn(&Path) -> Option<String>) -> Self {
        let file = config_dir.join(FILE);
        let ignored = |why: String| Self {
            trusted: Vec::new(),
            ignored: Some(format!("the list of trusted paths does not count: {why}")),
        };
        let bytes = match regular::read(&file, regular::SMALL) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::default(),
            Err(error) => return ignored(format!("cannot read {}: {error}", file.display())),
        };
        if let Some(why) = others_can_change(&file) {
            return ignored(why);
        }
        match serde_json::from_slice(&bytes) {
            Ok(list) => list,
            Err(error) => ignored(format!("{} is damaged: {error}", file.display())),
        }
    }

    /// Returns why the list does not count, if it does not.
    pub fn ignored(&self) -> Option<&str> {
        self.ignored.as_deref()
    }

    /// Returns the trusted paths, in the order in which they were trusted.
    pub fn paths(&self) -> &[TrustedPath] {
        &self.trusted
    }

    /// Returns whether a path without links is trusted, or below one that is.
    pub(super) fn contains(&self, whole: &Path) -> bool {
        self.trusted.iter().any(|one| {
            let owned = || {
                one.path
                    .symlink_metadata()
                    .is_ok_and(|meta| meta.uid() == one.uid)
            };
            whole.starts_with(&one.path) && owned()
        })
    }

    /// Adds a path that exists, and returns it as it is kept.
    ///
    /// # Errors
    /// There is no such path.
    pub fn add(&mut self, path: &Path) -> Result<TrustedPath, ListError> {
        let failed = |source| ListError::Path {
            path: path.to_owned(),
            source,
        };
        let whole = path.canonicalize().map_err(failed)?;
        let uid = whole.symlink_metadata().map_err(failed)?.uid();
        let one = TrustedPath { path: whole, uid };
        self.trusted.retain(|old| old.path != one.path);
        self.trusted.push(one.clone());
        Ok(one)
    }

    /// Removes a path, and returns whether it was in the list.
    pub fn remove(&mut self, path: &Path) -> bool {
        let whole = path.canonicalize();
        let whole = whole.or_else(|_| std::path::absolute(path));
        let whole = whole.unwrap_or_else(|_| path.to_owned());
        let before = self.trusted.len();
        self.trusted.retain(|one| one.path != whole);
        self.trusted.len() != before
    }

    /// Writes the list durably, whole or not at all. Only its owner can read it.
    ///
    /// # Errors
    /// The list does not count as it is, or the folder cannot be written.
    pub fn write(&self, config_dir: &Path) -> Result<PathBuf, ListError> {
        if let Some(why) = &self.ignored {
            return Err(ListError::Ignored(why.clone()));
        }
        let file = config_dir.join(FILE);
        let write = || -> std::io::Result<()> {
            let mut folder = std::fs::DirBuilder::new();
            folder.recursive(true).mode(0o700).create(config_dir)?;
            let mut beside = tempfile::NamedTempFile::new_in(config_dir)?;
            beside.write_all(&serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?)?;
            beside.as_file().sync_all()?;
            beside.persist(&file).map_err(|error| error.error)?;
            std::fs::File::open(config_dir)?.sync_all()
        };
        write().map_err(|source| ListError::Write {
            path: file.clone(),
            source,
        })?;
        Ok(file)
    }
}
