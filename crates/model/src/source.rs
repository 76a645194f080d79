//! The origin of a component's data, as data: the name of a source type and its settings. The crate `rekindle-sources`
//! knows what each type does with them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A component's `source` in `system.yaml`. It is serialised as it is written there: the type under `type`, the
/// settings beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// The name of the source type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The settings, by key. Defaults are filled in.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl SourceSpec {
    /// Returns the source of a type with these settings; a setting that is `null` counts as left out.
    pub fn new<'a>(kind: &str, settings: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self {
            kind: kind.to_owned(),
            settings: settings
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        }
    }

    /// Returns the path of its files, as it is written; none if its settings name none.
    pub fn path(&self) -> Option<&str> {
        self.settings.get(PATH)?.as_str()
    }

    /// Returns the same source with its files at another path.
    #[must_use]
    pub fn with_path(mut self, path: &str) -> Self {
        self.settings.insert(PATH.to_owned(), Value::from(path));
        self
    }
}

/// The setting with the path of a source's files.
const PATH: &str = "path";

/// The files that belong to one component. Two components may not claim the same file: a
/// recovery would restore it twice, to two instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// A folder or a file: absolute, or relative to the system's root; `.` for the root itself.
    pub path: String,
    /// Globs of what is claimed, relative to `path`; everything where there is none.
    pub include: Vec<String>,
    /// Globs of what is not.
    pub exclude: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_is_serialised_as_it_is_written() {
        let written = json!({"type": "files", "path": "notes", "include": [], "exclude": ["*.tmp"]});
        let spec: SourceSpec = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((spec.kind.as_str(), spec.settings.len()), ("files", 3));
        assert_eq!(serde_json::to_value(&spec).unwrap(), written);
        let spec = SourceSpec::new("command", [("dump", json!(["d"])), ("max_bytes", Value::Null)]);
        assert_eq!(json!(spec), json!({"type": "command", "dump": ["d"]}));
    }
}
