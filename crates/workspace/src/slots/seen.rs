//! How far this workspace has seen a run's slots in each location, noted in `seen/<run>.json`: the number of the last
//! one that it wrote, or read and found to agree with its journal.
//!
//! Where the newest slot of a location is damaged, nobody can tell from the slot whose it is. Where it is the last one
//! that this workspace has seen, it is nobody else's, and the next number is free for whoever takes it first, as ever.
//! A note that is too old costs a question to a person, and one that is lost as well; so it is not synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use serde::{Deserialize, Serialize};

/// The folder of the notes.
const FOLDER: &str = "seen";

/// The number of the last slot that was seen, by location.
pub type Seen = BTreeMap<String, u64>;

/// A note's content.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    locations: Seen,
}

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// Returns what was seen of a run; nothing where no note can be read.
pub fn read(state: &Path, run: RunId) -> Seen {
    let bytes = std::fs::read(file(state, run)).unwrap_or_default();
    serde_json::from_slice::<Note>(&bytes)
        .unwrap_or_default()
        .locations
}

/// Notes what was seen of a run; what was seen of locations that are not named stays.
pub fn note(state: &Path, run: RunId, seen: &Seen) -> std::io::Result<()> {
    let known = read(state, run);
    let mut locations = known.clone();
    locations.extend(seen.iter().map(|(url, n)| (url.clone(), *n)));
    if locations == known {
        return Ok(());
    }
    let text = serde_json::to_vec(&Note { locations }).unwrap_or_default();
    super::put(&file(state, run), &text, super::Durable::Soon)
}

/// Takes the note away: the run is not in this workspace any more.
pub fn forget(state: &Path, run: RunId) -> std::io::Result<()> {
    match std::fs::remove_file(file(state, run)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_seen_is_kept_by_location_and_a_torn_note_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(7));
        let seen =
            |of: &[(&str, u64)]| -> Seen { of.iter().map(|(url, n)| ((*url).to_owned(), *n)).collect() };
        assert_eq!(read(dir.path(), run), Seen::new());
        note(dir.path(), run, &seen(&[("a", 1), ("b", 1)])).unwrap();
        note(dir.path(), run, &seen(&[("b", 2)])).unwrap();
        assert_eq!(read(dir.path(), run), seen(&[("a", 1), ("b", 2)]));
        std::fs::write(file(dir.path(), run), "torn").unwrap();
        assert_eq!(read(dir.path(), run), Seen::new());
        forget(dir.path(), run).unwrap();
        forget(dir.path(), run).unwrap();
    }
}
