//! The plain copies of databases and dumps that a step keeps in `.rekindle/staging/<run>/` while it works.
//!
//! A step removes its own copies. If its process dies, they stay. So the owner removes them when it opens and when it
//! closes. It keeps those of a recovery that can still continue.

use std::path::{Path, PathBuf};

use rekindle_journal::{Journal, RunFilter, RunSummary};
use rekindle_model::origin::RunKind;

/// Returns a new folder for a sandbox. No run has its name, so it is swept away with what no run needs: a backup that is
/// resumed recovers its copies anew.
pub fn sandbox(state: &Path) -> PathBuf {
    state
        .join("staging")
        .join(format!("sandbox-{}", uuid::Uuid::new_v4()))
}

/// Returns the folders in `staging/` that no run needs any more.
pub fn leftovers(state: &Path, runs: &[RunSummary]) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(state.join("staging")) else {
        return Vec::new();
    };
    let needed = |folder: &Path| {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let run = runs.iter().find(|run| run.run.to_string() == name);
        // A backup that is resumed captures anew.
        run.is_some_and(|run| run.outcome.is_none() && run.kind != RunKind::Backup)
    };
    found
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| !needed(folder))
        .collect()
}

/// Removes what no run needs any more. Called while no step of the workspace is at work. What cannot be removed is
/// logged, and `doctor` names it.
pub async fn sweep(state: &Path, journal: &dyn Journal) {
    let runs = match journal.runs(&RunFilter::default()).await {
        Ok(runs) => runs,
        Err(error) => return tracing::warn!(%error, "staged copies are not looked through"),
    };
    for folder in leftovers(state, &runs) {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "staged copies stay behind");
        }
    }
    // It is empty unless a recovery waits to continue.
    let _ = std::fs::remove_dir(state.join("staging"));
}
