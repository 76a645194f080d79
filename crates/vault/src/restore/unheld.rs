//! What the target could not hold: counted, and the first entries of each kind named.

use std::collections::BTreeMap;

use rekindle_model::entry::{Entry, TreePath};
use serde::{Deserialize, Serialize};

/// How many entries of each kind are named; the others are counted.
pub const UNHELD_NAMED: usize = 100;

/// A part of an entry that the target could not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Owner or group: the process lacks the privilege, or the file system has no owners.
    Owner,
    /// The set-id bits of a file with another owner than was captured: they would grant the rights of the user who
    /// restores.
    SetId,
    /// An extended attribute, an ACL or a file capability: the file system has none, or the privilege is missing.
    Attributes,
    /// A device or a FIFO: only root makes devices. Nothing is at its path.
    Node,
    /// That a name belongs to the same file as its first name. The name has a file of its own with the content.
    HardLink,
}

/// The entries of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`UNHELD_NAMED`].
    pub named: Vec<TreePath>,
}

/// All that a target could not hold, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unheld(pub BTreeMap<Part, Counted>);

impl Unheld {
    /// Returns how many entries lack this part.
    pub fn count(&self, part: Part) -> u64 {
        self.0.get(&part).map_or(0, |counted| counted.count)
    }

    /// Returns whether the target holds everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one entry.
    pub(super) fn add(&mut self, path: &TreePath, parts: &[Part]) {
        for part in parts {
            let counted = self.0.entry(*part).or_default();
            counted.count += 1;
            if counted.named.len() < UNHELD_NAMED {
                counted.named.push(path.clone());
            }
        }
    }

    /// Adds the entries of a later part of the tree.
    pub(super) fn append(&mut self, later: Self) {
        for (part, more) in later.0 {
            let counted = self.0.entry(part).or_default();
            counted.count += more.count;
            let room = UNHELD_NAMED.saturating_sub(counted.named.len());
            counted.named.extend(more.named.into_iter().take(room));
        }
    }
}

/// Returns what a file lacks without its owner.
pub(super) fn without_owner(entry: &Entry) -> Vec<Part> {
    match entry.mode & 0o6000 {
        0 => vec![Part::Owner],
        _ => vec![Part::Owner, Part::SetId],
    }
}
