//! Replica lag that outlives a run: which locations lack segments of it.
//!
//! A run that is over is not driven again. So `owed/<run>.json` notes the locations that were down, or whose segments
//! were found damaged. They catch up when another run ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use rekindle_vault::regular;
use serde::{Deserialize, Serialize};

use crate::state_file::{self, Durable};

/// The folder of the notes.
const FOLDER: &str = "owed";

/// The locations that lack segments of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The locations that lack segments.
    pub locations: BTreeSet<String>,
    /// Those with damaged segments; there the whole chain must be read, and not only its end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub damaged: BTreeSet<String>,
}

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// Notes the locations that lack segments of a run; the note stays.
pub fn write(state: &Path, run: RunId, lag: &Lag) -> std::io::Result<()> {
    let path = file(state, run);
    if lag.locations.is_empty() {
        return state_file::remove(&path);
    }
    let text = serde_json::to_vec(lag).unwrap_or_default();
    state_file::write(&path, &text, Durable::Now)
}

/// Adds a location to the note; `damaged` if its segments exist but are damaged.
pub fn add(state: &Path, run: RunId, url: &str, damaged: bool) -> std::io::Result<()> {
    let known = read(state, run);
    let mut lag = known.clone();
    lag.locations.insert(url.to_owned());
    if damaged {
        lag.damaged.insert(url.to_owned());
    }
    match lag == known {
        true => Ok(()),
        false => write(state, run, &lag),
    }
}

/// Returns the locations that lack segments of a run; nothing if the note cannot be read.
pub fn read(state: &Path, run: RunId) -> Lag {
    let bytes = regular::read(&file(state, run), regular::SMALL).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Returns the runs that some location lacks segments of, oldest first.
pub fn runs(state: &Path) -> Vec<RunId> {
    let Ok(entries) = std::fs::read_dir(state.join(FOLDER)) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut runs: Vec<RunId> = names
        .filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok())
        .collect();
    runs.sort_unstable();
    runs
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_owed_is_listed_until_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(|id| RunId(Uuid::from_u128(id)));
        assert_eq!(runs(dir.path()), []);
        add(dir.path(), two, "file:///a", false).unwrap();
        add(dir.path(), one, "file:///a", false).unwrap();
        add(dir.path(), one, "file:///b", true).unwrap();
        assert_eq!(runs(dir.path()), [one, two]);
        let lag = read(dir.path(), one);
        assert_eq!((lag.locations.len(), lag.damaged.len()), (2, 1));
        write(dir.path(), one, &Lag::default()).unwrap();
        write(dir.path(), one, &Lag::default()).unwrap();
        assert_eq!(runs(dir.path()), [two]);
    }

    #[test]
    fn a_note_of_an_older_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(1));
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        std::fs::write(file(dir.path(), run), r#"{"locations":["file:///a"]}"#).unwrap();
        assert!(read(dir.path(), run).locations.contains("file:///a"));
    }
}
