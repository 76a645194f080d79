//! The plain copies of databases and dumps that a step keeps in `.rekindle/staging/<run>/` while it works.
//!
//! A step removes its own copies. If its process dies, they stay. So the owner removes them when it opens and when it
//! closes. It keeps those of a recovery that can still continue, and the sandboxes of drills.

use std::path::{Path, PathBuf};

use rekindle_journal::{Journal, RunFilter, RunSummary};
use rekindle_model::origin::RunKind;

/// What the names of sandboxes begin with.
const SANDBOX: &str = "sandbox-";

/// Returns a new name for a sandbox. A backup that is resumed recovers its copies anew, so only an unfinished drill keeps
/// sandboxes.
pub fn sandbox() -> String {
    format!("{SANDBOX}{}", uuid::Uuid::new_v4())
}

/// Returns the folder of the sandbox of that name; none if [`sandbox`] cannot have made the name.
pub fn sandbox_folder(state: &Path, name: &str) -> Option<PathBuf> {
    let id = name.strip_prefix(SANDBOX)?;
    uuid::Uuid::try_parse(id).ok()?;
    Some(state.join("staging").join(name))
}

/// Returns whether a folder in `staging/` belongs to a sandbox.
pub fn is_sandbox(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(SANDBOX)
}

/// Returns the folders in `staging/` that no run needs any more.
pub fn leftovers(state: &Path, runs: &[RunSummary]) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(state.join("staging")) else {
        return Vec::new();
    };
    // Which sandbox a drill has, its summary does not say. Once no drill is unfinished, all go.
    let drills = runs
        .iter()
        .any(|run| run.outcome.is_none() && run.kind == RunKind::Drill);
    let needed = |folder: &Path| {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(SANDBOX) {
            return drills;
        }
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
        if let Err(error) = rekindle_sources::remove_tree(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "staged copies stay behind");
        }
    }
    // It is empty unless a recovery waits to continue.
    let _ = std::fs::remove_dir(state.join("staging"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_was_made_here_is_a_sandbox() {
        let state = Path::new("/w/.rekindle");
        let name = sandbox();
        assert_eq!(
            sandbox_folder(state, &name),
            Some(state.join("staging").join(&name))
        );
        for other in [
            "",
            "/srv/x",
            "sandbox-",
            "sandbox-../../x",
            "sandbox-1",
            "..",
            "data",
        ] {
            assert_eq!(sandbox_folder(state, other), None, "{other}");
        }
    }
}
