//! What the target of a restore could not hold: counted, and the first entries named.

use rekindle_model::entry::TreePath;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::units;

/// The entries that lack one part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unheld {
    /// `owner`, `set_id`, `attributes`, `node` or `hard_link`.
    pub part: String,
    /// How many entries lack it.
    pub count: u64,
    /// The first of them.
    pub named: Vec<String>,
}

impl Unheld {
    /// Returns what is missing, of which entries, and what to do about it.
    pub fn sentence(&self) -> String {
        let (what, advice) = match self.part.as_str() {
            "owner" => (
                "without the owner that was captured",
                "; recover as root, or say --no-owner",
            ),
            "set_id" => (
                "without their set-id bits",
                "; recover as root, or say --no-owner",
            ),
            "attributes" => ("without some extended attributes or ACLs", ""),
            "node" => (
                "left out: devices need root, and not every file system has FIFOs",
                "",
            ),
            "hard_link" => ("a file of its own and not a hard link", ""),
            other => (other, ""),
        };
        let names = units::named(&self.named, self.count);
        format!("{} {what}: {names}{advice}", units::entries(self.count))
    }
}

/// Returns what a restore reports as not held.
pub fn unheld_of(reported: &Value) -> Vec<Unheld> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Counted {
        count: u64,
        named: Vec<TreePath>,
    }
    let parts = reported.as_object().into_iter().flatten();
    let read = parts.map(|(part, counted)| {
        let Counted { count, named } = Counted::deserialize(counted).unwrap_or_default();
        Unheld {
            part: part.clone(),
            count,
            named: named.iter().map(TreePath::display).collect(),
        }
    });
    read.collect()
}
