//! The last part of restoring data that change places as a whole, a database for instance: from the staging folder to
//! their place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_sources::{ComponentSource, RestorePlan, blocking};

use crate::displace;

/// Serializes the work: an attempt that ran out of time still works, and the next one waits for its end.
static AT_WORK: Mutex<()> = Mutex::new(());

/// Moves the restored data from `staging` to `place`. Data that are in the way go to `aside`.
pub(crate) async fn put_back(
    source: &Arc<dyn ComponentSource>,
    staging: &Path,
    place: &Path,
    aside: &Path,
) -> Result<(), Failure> {
    let source = Arc::clone(source);
    let [staging, place, aside] = [staging, place, aside].map(Path::to_path_buf);
    blocking(move || {
        let _at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        match source.restore_plan() {
            RestorePlan::Beside(source) => source.put(&staging, &place, &aside),
            RestorePlan::AtPlace | RestorePlan::HandOver(_) => Ok(()),
        }
    })
    .await
}

/// Removes the aside folder and the folders made above it, if nothing had to go there.
///
/// None of these folders ever existed at the target: a folder in which a component has its database is not moved as a
/// whole.
pub(crate) async fn remove_unused(target: &Path, folder: &Path, aside: &Path) -> Result<(), Failure> {
    let below = folder.strip_prefix(target).unwrap_or(Path::new(""));
    let (depth, aside) = (below.components().count(), aside.to_path_buf());
    blocking(move || {
        let _at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = aside.ancestors().take(depth + 1);
        while made
            .next()
            .is_some_and(|folder| std::fs::remove_dir(folder).is_ok())
        {}
        Ok(())
    })
    .await
}

/// Returns the run's aside folder for data in `folder`.
pub(crate) fn top_of(target: &Path, folder: &Path, run: RunId) -> PathBuf {
    displace::aside_folder(target, run, folder)
}

/// Returns the aside folder for displaced data: the run's aside folder, and in it the same path as below the target.
pub(crate) fn aside_folder(target: &Path, folder: &Path, run: RunId) -> PathBuf {
    let below = folder.strip_prefix(target).unwrap_or(Path::new(""));
    displace::aside_folder(target, run, folder).join(below)
}
