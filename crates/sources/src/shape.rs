//! The shape of a component's tree, a folder or a single file. It decides which folder is the tree's root.

use std::path::{Path, PathBuf};

use rekindle_model::failure::{Failure, code};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The shape of a captured tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A folder with its content; the folder is the root of the tree.
    Folder,
    /// One file; its folder is the root of the tree.
    File,
}

impl Shape {
    /// Returns the shape of the entry at `path`; a link counts as its target.
    pub fn of(path: &Path) -> Self {
        if path.is_file() { Self::File } else { Self::Folder }
    }

    /// Returns the shape in a snapshot's metadata.
    ///
    /// # Errors
    /// The metadata name no shape.
    pub fn named_in(metadata: &Value) -> Result<Self, Failure> {
        Self::deserialize(&metadata["shape"]).map_err(|_| {
            Failure::permanent(
                code::INTERNAL,
                "the snapshot does not say whether it is of a folder or of a file",
            )
            .with_hint("restore this snapshot by its id into an empty folder")
        })
    }

    /// Returns the folder that becomes the tree's root if the tree is put at `place`.
    pub fn root(self, place: &Path) -> PathBuf {
        match self {
            Self::Folder => place.to_path_buf(),
            Self::File => place.parent().unwrap_or(place).to_path_buf(),
        }
    }
}
