//! Notes the last segment that this workspace has seen in each location, in `seen/<run>.json`. It has written
//! that segment, or has read it and found that it agrees with its journal.
//!
//! If a location's newest segment is damaged, it does not show its writer. If it is the last one that this
//! workspace has seen, no other workspace wrote it, and the next number is still free. If a note is outdated
//! or lost, a person must answer a question instead. So the note is not synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use rekindle_vault::regular;
use serde::{Deserialize, Serialize};

use crate::state_file::{self, Durable};

/// The folder of the notes.
const FOLDER: &str = "seen";

/// The number of the last segment that was seen, by location.
pub type LastSeen = BTreeMap<String, u64>;

/// A note's content.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    locations: LastSeen,
}

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// Returns the note of a run; an empty one if it cannot be read.
pub fn read(state: &Path, run: RunId) -> LastSeen {
    let bytes = regular::read(&file(state, run), regular::SMALL).unwrap_or_default();
    serde_json::from_slice::<Note>(&bytes)
        .unwrap_or_default()
        .locations
}

/// Updates the note of a run; locations without a new value keep theirs.
pub fn advance(state: &Path, run: RunId, seen: &LastSeen) -> std::io::Result<()> {
    let known = read(state, run);
    let mut locations = known.clone();
    locations.extend(seen.iter().map(|(url, n)| (url.clone(), *n)));
    if locations == known {
        return Ok(());
    }
    let text = serde_json::to_vec(&Note { locations }).unwrap_or_default();
    state_file::write(&file(state, run), &text, Durable::Soon)
}

/// Takes the note away: the run is not in this workspace any more.
pub fn remove(state: &Path, run: RunId) -> std::io::Result<()> {
    state_file::remove(&file(state, run))
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
            |of: &[(&str, u64)]| -> LastSeen { of.iter().map(|(url, n)| ((*url).to_owned(), *n)).collect() };
        assert_eq!(read(dir.path(), run), LastSeen::new());
        advance(dir.path(), run, &seen(&[("a", 1), ("b", 1)])).unwrap();
        advance(dir.path(), run, &seen(&[("b", 2)])).unwrap();
        assert_eq!(read(dir.path(), run), seen(&[("a", 1), ("b", 2)]));
        std::fs::write(file(dir.path(), run), "torn").unwrap();
        assert_eq!(read(dir.path(), run), LastSeen::new());
        remove(dir.path(), run).unwrap();
        remove(dir.path(), run).unwrap();
    }
}
