//! That a run of this workspace was taken over by another one: noted in `fenced/<run>.json`, so that nobody goes on with
//! it here, also while no tier answers. Only `rekindle adopt` takes the note away. An adoption by this workspace that was
//! cut off before a tier has it leaves such a note, too, and says so.

use std::path::{Path, PathBuf};

use rekindle_engine::TakenOver;
use rekindle_model::id::RunId;
use rekindle_report::unfinished::Elsewhere;
use serde::{Deserialize, Serialize};

use rekindle_model::next_action::Action;

use crate::error::{Error, resume};
use rekindle_model::problem::ProblemKind;

/// The folder of the notes.
const FOLDER: &str = "fenced";

fn file(state: &Path, run: RunId) -> PathBuf {
    state.join(FOLDER).join(format!("{run}.json"))
}

/// A note's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Who has the run.
    #[serde(flatten)]
    pub taken: TakenOver,
    /// Whether this workspace was adopting the run from them, and no tier has it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopting: bool,
}

/// Notes who has taken a run over, durably.
pub fn note(state: &Path, taken: &TakenOver) -> std::io::Result<()> {
    write(state, taken, false)
}

/// Notes who has a run that this workspace is about to adopt, durably: until a tier has it, it is theirs.
pub fn note_adopting(state: &Path, holder: &TakenOver) -> std::io::Result<()> {
    write(state, holder, true)
}

fn write(state: &Path, taken: &TakenOver, adopting: bool) -> std::io::Result<()> {
    let note = Note {
        taken: taken.clone(),
        adopting,
    };
    let text = serde_json::to_vec_pretty(&note).unwrap_or_default();
    super::write(&file(state, taken.run), &text)
}

/// Returns who has taken a run over, where that was noted.
pub fn noted(state: &Path, run: RunId) -> Result<Option<Note>, Error> {
    let path = file(state, run);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::new(
                ProblemKind::Held,
                "taken_over",
                format!(
                    "run {run} was taken over by another workspace, and {} does not say by whom: {error}",
                    path.display()
                ),
            )
            .with_next(
                adopt("URL".to_owned(), run),
                "shows the copy in a tier, and takes the run back",
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format_args!("read {}", path.display()), &error)),
    }
}

/// Returns which other workspace goes on with a run, for those who list it.
pub fn elsewhere(state: &Path, run: RunId) -> Option<Elsewhere> {
    match noted(state, run) {
        Ok(note) => note.map(|Note { taken, adopting }| Elsewhere {
            adopting,
            host: taken.host.to_string(),
            workspace: taken.workspace.to_string(),
            since: Some(taken.at),
            adopt: format!("rekindle adopt {} {run}", taken.url),
        }),
        // It is refused all the same.
        Err(_) => Some(Elsewhere {
            adopting: false,
            host: "unknown".to_owned(),
            workspace: "unknown".to_owned(),
            since: None,
            adopt: format!("rekindle adopt URL {run}"),
        }),
    }
}

/// Returns the action that continues an unfinished run.
pub fn way_on(state: &Path, run: RunId) -> Action {
    match noted(state, run) {
        Ok(None) => resume(Some(run)),
        Ok(Some(note)) => adopt(note.taken.url.to_string(), run),
        Err(_) => adopt("URL".to_owned(), run),
    }
}

fn adopt(url: String, run: RunId) -> Action {
    Action::Adopt { url, run: Some(run) }
}

/// Refuses a run that another workspace goes on with.
pub fn refuse(state: &Path, run: RunId) -> Result<(), Error> {
    match noted(state, run)? {
        Some(Note {
            taken,
            adopting: true,
        }) => Err(half_adopted(&taken)),
        Some(Note { taken, .. }) => Err(refusal(&taken)),
        None => Ok(()),
    }
}

/// Takes the note away: the run is this workspace's again.
pub fn clear(state: &Path, run: RunId) -> Result<(), Error> {
    let path = file(state, run);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(format_args!("remove {}", path.display()), &error)),
    }
}

/// Returns a free name for the archive of what this workspace had appended to a run that was taken over.
pub fn archive(state: &Path, run: RunId) -> PathBuf {
    let named = |n: u32| state.join(FOLDER).join(format!("{run}.{n}.archive"));
    (1..)
        .map(named)
        .find(|path| !path.exists())
        .unwrap_or_else(|| named(0))
}

/// Returns the error of whoever would go on with a run that was taken over.
pub fn refusal(taken: &TakenOver) -> Error {
    let TakenOver { run, url, .. } = taken;
    let text = match taken.is_by_unknown() {
        true => "takes it back, and asks first: make sure that no other workspace continues it",
        false => "takes it back, once nobody works on it there any more",
    };
    Error::new(ProblemKind::Held, "taken_over", format!("cannot {taken}"))
        .with_next(adopt(url.to_string(), *run), text)
}

/// Returns the error of whoever would go on with a run whose adoption by this workspace was cut off.
fn half_adopted(holder: &TakenOver) -> Error {
    let TakenOver {
        run, host, tier, url, ..
    } = holder;
    Error::new(
        ProblemKind::Held,
        "half_adopted",
        format!(
            "cannot go on with run {run}: this workspace was adopting it from host {host} by tier {tier} and was cut off, \
             and whether the tier has that is not known"
        ),
    )
    .with_next(adopt(url.to_string(), *run), "adopts it again")
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
        assert_eq!(error.kind(), ProblemKind::Held);
        for part in ["host other", "2027-01-15 08:00:00 UTC", "tier near"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert!(
            error.hint().contains("rekindle adopt file:///mnt/near"),
            "{}",
            error.hint()
        );
        let held = elsewhere(dir.path(), run).unwrap();
        assert_eq!(held.host, "other");
        assert_eq!(
            way_on(dir.path(), run),
            format!("rekindle adopt file:///mnt/near {run}")
        );
        note_adopting(dir.path(), &taken).unwrap();
        let error = refuse(dir.path(), run).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ProblemKind::Held, "half_adopted"));
        assert!(!error.to_string().contains("taken it over"), "{error}");
        std::fs::write(file(dir.path(), run), "torn").unwrap();
        assert!(elsewhere(dir.path(), run).is_some());
        assert_eq!(refuse(dir.path(), run).unwrap_err().kind(), ProblemKind::Held);
        clear(dir.path(), run).unwrap();
        refuse(dir.path(), run).unwrap();
    }
}
