//! Remembers the locations of a workspace's vault. So a location that is not mounted is not taken for a new
//! one.
//!
//! One file for each tier, `tiers/NAME.json` in the workspace: URL → repository. A URL is written once its
//! location was opened, and is never removed: one that `system.yaml` no longer names does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::TierError;
use crate::store::{LocalStore, Store};

/// The notes of one workspace.
#[derive(Clone, Debug)]
pub struct Remembered {
    dir: PathBuf,
}

/// The file's content.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    locations: BTreeMap<String, Uuid>,
}

impl Remembered {
    /// Returns the notes of the workspace whose state is in `workspace_dir`; reads and creates nothing yet.
    pub fn of(workspace_dir: &Path) -> Self {
        Self {
            dir: workspace_dir.join("tiers"),
        }
    }

    /// Returns the URLs at which the tier has held the repository's vault. Notes of another repository, which
    /// the workspace used before, do not count.
    pub fn read(&self, tier: &str, repository: Uuid) -> Result<BTreeSet<String>, TierError> {
        let note = self.load(tier)?.locations.into_iter();
        Ok(note
            .filter(|(_, there)| *there == repository)
            .map(|(url, _)| url)
            .collect())
    }

    /// Notes the URLs of an open tier durably. Skips those that are noted already.
    pub async fn note(&self, tier: &str, urls: &[&str], repository: Uuid) -> Result<(), TierError> {
        let mut note = self.load(tier)?;
        let mut new = false;
        for url in urls {
            new |= note.locations.insert((*url).to_owned(), repository) != Some(repository);
        }
        if !new {
            return Ok(());
        }
        let unusable = |why: String| self.unusable(tier, &why);
        std::fs::create_dir_all(&self.dir).map_err(|error| unusable(error.to_string()))?;
        let text = serde_json::to_vec_pretty(&note).map_err(|error| unusable(error.to_string()))?;
        let store = LocalStore::open(&self.dir).map_err(|error| unusable(error.to_string()))?;
        let put = store.put(&file_name(tier), text.into()).await;
        put.map_err(|error| unusable(error.to_string()))
    }

    fn load(&self, tier: &str) -> Result<Note, TierError> {
        match std::fs::read(self.path(tier)) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| self.unusable(tier, &error.to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Note::default()),
            Err(error) => Err(self.unusable(tier, &error.to_string())),
        }
    }

    fn path(&self, tier: &str) -> PathBuf {
        self.dir.join(file_name(tier))
    }

    fn unusable(&self, tier: &str, why: &str) -> TierError {
        TierError::Note {
            tier: tier.to_owned(),
            path: self.path(tier),
            why: why.to_owned(),
        }
    }
}

fn file_name(tier: &str) -> String {
    format!("{tier}.json")
}
