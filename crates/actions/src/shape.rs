//! Whether a component's tree is a folder or a single file: it decides where its root is put back.

use std::path::{Path, PathBuf};

use rekindle_model::failure::{Failure, code};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a captured tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// A folder with its content; the folder is the root of the tree.
    Folder,
    /// One file; the folder that it stands in is the root of the tree.
    File,
}

impl Shape {
    /// Returns what stands at `path`; a link counts as what it points to.
    pub(crate) fn of(path: &Path) -> Self {
        if path.is_file() { Self::File } else { Self::Folder }
    }

    /// Returns the shape that a snapshot's metadata names.
    pub(crate) fn named_in(metadata: &Value) -> Result<Self, Failure> {
        Self::deserialize(&metadata["shape"]).map_err(|_| {
            Failure::permanent(
                code::INTERNAL,
                "the snapshot does not say whether it is of a folder or of a file",
            )
            .with_hint("bring it back by hand: `rekindle restore SNAPSHOT --to DIR`")
        })
    }

    /// Returns the folder that becomes the root of the tree when it is to stand at `place`.
    pub(crate) fn root(self, place: &Path) -> PathBuf {
        match self {
            Self::Folder => place.to_path_buf(),
            Self::File => place.parent().unwrap_or(place).to_path_buf(),
        }
    }
}
