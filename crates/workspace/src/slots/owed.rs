//! Which runs a location lacks slots of, noted in `owed/<run>.json`: a run that is over is not driven again, and what a
//! tier that was down has missed of it, or what was found damaged there, is copied when another run ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use serde::{Deserialize, Serialize};

/// The folder of the notes.
const FOLDER: &str = "owed";

/// What locations lack of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The locations that lack slots.
    pub locations: BTreeSet<String>,
    /// Those of them where slots are damaged, so that the whole chain is to be read and not only its end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub damaged: BTreeSet<String>,
}

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// Notes what locations lack of a run; nothing takes the note away.
pub fn note(state: &Path, run: RunId, owed: &Owed) -> std::io::Result<()> {
    let path = file(state, run);
    if owed.locations.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = serde_json::to_vec(owed).unwrap_or_default();
    super::write(&path, &text)
}

/// Notes that a location lacks slots of a run, beside what is noted; `damaged` where they are there and damaged.
pub fn add(state: &Path, run: RunId, url: &str, damaged: bool) -> std::io::Result<()> {
    let known = read(state, run);
    let mut owed = known.clone();
    owed.locations.insert(url.to_owned());
    if damaged {
        owed.damaged.insert(url.to_owned());
    }
    match owed == known {
        true => Ok(()),
        false => note(state, run, &owed),
    }
}

/// Returns what locations lack of a run; nothing where no note can be read.
pub fn read(state: &Path, run: RunId) -> Owed {
    let bytes = std::fs::read(file(state, run)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Returns the runs that some location lacks slots of, oldest first.
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
        let owed = read(dir.path(), one);
        assert_eq!((owed.locations.len(), owed.damaged.len()), (2, 1));
        note(dir.path(), one, &Owed::default()).unwrap();
        note(dir.path(), one, &Owed::default()).unwrap();
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
