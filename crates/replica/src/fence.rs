//! Notes fenced runs: another workspace has taken them over.
//!
//! With the note in `fenced/<run>.json`, this workspace does not continue the run even while no tier answers.
//! Only an adoption removes the note. If an adoption by this workspace is interrupted before a tier has it,
//! it also leaves such a note, which says so.

use std::path::{Path, PathBuf};

use rekindle_engine::TakenOver;
use rekindle_model::id::RunId;
use rekindle_vault::regular;
use serde::{Deserialize, Serialize};

use crate::error::ReplicaError;
use crate::state_file::{self, Durable};

/// The folder of the notes.
const FOLDER: &str = "fenced";

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// A note's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FenceNote {
    /// The workspace that has the run.
    #[serde(flatten)]
    pub taken: TakenOver,
    /// Whether this workspace was adopting the run from them, and no tier has it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopting: bool,
}

/// Notes durably which workspace has taken a run over.
pub fn note(state: &Path, taken: &TakenOver) -> std::io::Result<()> {
    write(state, taken, false)
}

/// Notes durably which workspace has a run that this one is about to adopt. It keeps the run until a tier has
/// the adoption.
pub fn note_adopting(state: &Path, holder: &TakenOver) -> std::io::Result<()> {
    write(state, holder, true)
}

fn write(state: &Path, taken: &TakenOver, adopting: bool) -> std::io::Result<()> {
    let note = FenceNote {
        taken: taken.clone(),
        adopting,
    };
    let text = serde_json::to_vec_pretty(&note).unwrap_or_default();
    state_file::write(&file(state, taken.run), &text, Durable::Now)
}

/// Returns the workspace that has taken a run over; none if none is known.
///
/// # Errors
/// The note cannot be read. Then the run counts as taken over.
pub fn read(state: &Path, run: RunId) -> Result<Option<FenceNote>, ReplicaError> {
    let path = file(state, run);
    match regular::read(&path, regular::SMALL) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| ReplicaError::FenceUnreadable { run, path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReplicaError::File {
            doing: "read",
            path,
            source,
        }),
    }
}

/// Refuses a run that another workspace continues.
///
/// # Errors
/// [`ReplicaError::TakenOver`], [`ReplicaError::HalfAdopted`], and those of [`read`].
pub fn refuse(state: &Path, run: RunId) -> Result<(), ReplicaError> {
    match read(state, run)? {
        Some(FenceNote {
            taken,
            adopting: true,
        }) => Err(ReplicaError::HalfAdopted(taken)),
        Some(FenceNote { taken, .. }) => Err(taken.into()),
        None => Ok(()),
    }
}

/// Removes the note: the run is this workspace's again.
///
/// # Errors
/// The note cannot be removed.
pub fn clear(state: &Path, run: RunId) -> Result<(), ReplicaError> {
    let path = file(state, run);
    state_file::remove(&path).map_err(|source| ReplicaError::File {
        doing: "remove",
        path,
        source,
    })
}

/// Returns a free name for the archive of this workspace's records of a run that another one has taken over.
pub fn archive(state: &Path, run: RunId) -> PathBuf {
    let named = |n: u32| state.join(FOLDER).join(format!("{run}.{n}.archive"));
    (1..)
        .map(named)
        .find(|path| !path.exists())
        .unwrap_or_else(|| named(0))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_run_that_was_taken_over_is_refused_with_who_has_it_until_the_note_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(7));
        refuse(dir.path(), run).unwrap();
        clear(dir.path(), run).unwrap();
        let taken = TakenOver {
            run,
            host: "other".into(),
            workspace: Uuid::from_u128(9),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            epoch: 2,
            tier: "near".into(),
            url: "file:///mnt/near".into(),
        };
        note(dir.path(), &taken).unwrap();
        let error = refuse(dir.path(), run).unwrap_err();
        assert!(matches!(error, ReplicaError::TakenOver(_)), "{error:?}");
        for part in ["host other", "2027-01-15 08:00:00 UTC", "tier near"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        note_adopting(dir.path(), &taken).unwrap();
        let error = refuse(dir.path(), run).unwrap_err();
        assert!(matches!(error, ReplicaError::HalfAdopted(_)), "{error:?}");
        assert!(!error.to_string().contains("taken it over"), "{error}");
        std::fs::write(file(dir.path(), run), "torn").unwrap();
        let error = refuse(dir.path(), run).unwrap_err();
        assert!(matches!(error, ReplicaError::FenceUnreadable { .. }), "{error:?}");
        clear(dir.path(), run).unwrap();
        refuse(dir.path(), run).unwrap();
    }
}
