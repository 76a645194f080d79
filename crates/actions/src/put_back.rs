//! The last part of restoring a database: from its staging folder to its place.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_sources::sqlite;

use crate::displace;
use crate::snapshot::blocking;

/// What SQLite keeps beside a database and would replay into the next one of that name.
const SIDECARS: [&str; 2] = ["-wal", "-journal"];

/// One at a time: an attempt that ran out of time works on, and the next one waits for its end.
static AT_WORK: Mutex<()> = Mutex::new(());

/// Puts the database that was restored into `staging` to `place`; what it displaces goes to `aside`.
pub(crate) async fn put_back(staging: &Path, place: &Path, aside: &Path) -> Result<(), Failure> {
    let staged = staging.join(place.file_name().unwrap_or_default());
    let (place, aside) = (place.to_path_buf(), aside.to_path_buf());
    blocking(move || {
        let _at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |stage| tracing::debug!(?stage, "putting a database back");
        let put = sqlite::put_back(&staged, &place, &aside, &mut { told })?;
        for displaced in &put.displaced {
            tracing::info!(path = %displaced.display(), "displaced by a restored database");
        }
        Ok(())
    })
    .await
}

/// Removes the aside folder of a database for which nothing had to go there, and what was made above it.
///
/// None of these ever stood at the target: a folder in which a component has its database is not moved as a whole.
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

/// Returns whether a file stands beside the database that would be replayed into it.
pub(crate) fn sidecar_stands_beside(place: &Path) -> bool {
    SIDECARS.iter().any(|suffix| {
        let mut name = place.as_os_str().to_owned();
        name.push(suffix);
        Path::new(&name).exists()
    })
}

/// Returns the folder for what a database displaces: the run's aside folder, with the folders below the target
/// repeated in it.
pub(crate) fn aside_folder(target: &Path, folder: &Path, run: RunId) -> PathBuf {
    let below = folder.strip_prefix(target).unwrap_or(Path::new(""));
    displace::aside_folder(target, run, folder).join(below)
}
