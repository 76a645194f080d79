//! How an entry on disk differs from the entry of a snapshot.

use std::fmt;

use rekindle_model::entry::TreePath;
use serde::Serialize;

/// The respect in which an entry of the root differs from the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Nothing is there.
    Missing,
    /// The type: file, folder, link, FIFO or device, and the number of a device.
    Type,
    /// The length of a file.
    Size,
    /// The bytes of a file.
    Content,
    /// The target of a link.
    Target,
    /// A further name of a file is a file of its own.
    HardLink,
    /// The permission bits; set-id bits only if the owner is right.
    Mode,
    /// Owner or group; compared only for root, since only root can set them.
    Owner,
    /// The extended attributes. Those that only root can set are compared only for root.
    Attributes,
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
            Self::HardLink => "it is not the same file as its first name",
            Self::Attributes => "its extended attributes are others",
            Self::Mode => "its mode is another",
            Self::Owner => "its owner is another",
            Self::Time => "its modification time is another",
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The path.
    pub path: TreePath,
    /// The first aspect that differs.
    pub aspect: Aspect,
}
