//! Which runs a location lacks slots of, noted in `owed/<run>.json`: a run that is over is not driven again, and what a
//! tier that was down has missed of it is copied when another run ends.

use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use serde::{Deserialize, Serialize};

/// The folder of the notes.
const FOLDER: &str = "owed";

/// A note's content.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The locations that lack slots.
    locations: Vec<String>,
}

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// Notes which locations lack slots of a run; none takes the note away.
pub(super) fn note(state: &Path, run: RunId, locations: Vec<String>) -> std::io::Result<()> {
    let path = file(state, run);
    if locations.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = serde_json::to_vec(&Note { locations }).unwrap_or_default();
    super::write(&path, &text)
}

/// Returns the runs that some location lacks slots of, oldest first.
pub(super) fn runs(state: &Path) -> Vec<RunId> {
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
        note(dir.path(), two, vec!["file:///a".to_owned()]).unwrap();
        note(dir.path(), one, vec!["file:///a".to_owned()]).unwrap();
        assert_eq!(runs(dir.path()), [one, two]);
        note(dir.path(), one, Vec::new()).unwrap();
        note(dir.path(), one, Vec::new()).unwrap();
        assert_eq!(runs(dir.path()), [two]);
    }
}
