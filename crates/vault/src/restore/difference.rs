//! In what an entry on disk differs from the entry of a snapshot.

use std::fmt;

use rekindle_model::entry::TreePath;
use serde::Serialize;

/// In what a place of the root differs from the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Nothing is there.
    Missing,
    /// It is a file, folder or link where the snapshot has another of these.
    Type,
    /// The length of a file.
    Size,
    /// The bytes of a file.
    Content,
    /// Where a link points.
    Target,
    /// The permission bits; set-id bits only where the owner is right.
    Mode,
    /// Owner or group; compared only when running as root, who alone could have set them.
    Owner,
    /// The modification time.
    Time,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it is missing",
            Self::Type => "something of another type is there",
            Self::Size => "its length is another",
            Self::Content => "its bytes are others",
            Self::Target => "it points elsewhere",
            Self::Mode => "its mode is another",
            Self::Owner => "its owner is another",
            Self::Time => "its modification time is another",
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// In what; the first that was found.
    pub aspect: Aspect,
}
