//! Remembers the locations of a workspace's vault, and their newest heads. So a location that is not mounted is
//! not taken for a new one, and one that was put back to an earlier state is noticed.
//!
//! One file for each tier, `tiers/NAME.json` in the workspace: URL → repository. A URL is written once its
//! location was opened, and is never removed: one that `system.yaml` no longer names does no harm. And one file
//! for all heads, `heads.json`: location → newest known head.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{self, KnownHead};
use crate::error::TierError;
use crate::store::{LocalStore, Store};

/// The notes of one workspace.
#[derive(Clone, Debug)]
pub struct Remembered {
    workspace_dir: PathBuf,
}

/// The content of a tier's file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    locations: BTreeMap<String, Uuid>,
}

/// The content of `heads.json`: the newest known head of each location.
type Heads = BTreeMap<Uuid, KnownHead>;

impl Remembered {
    /// Returns the notes of the workspace whose state is in `workspace_dir`; reads and creates nothing yet.
    pub fn of(workspace_dir: &Path) -> Self {
        Self {
            workspace_dir: workspace_dir.to_owned(),
        }
    }

    /// Returns the URLs at which the tier has held the repository's vault. Notes of another repository, which
    /// the workspace used before, do not count.
    pub fn read(&self, tier: &str, repository: Uuid) -> Result<BTreeSet<String>, TierError> {
        let note: Note = self.load(&locations_of(tier), tier)?;
        Ok(note
            .locations
            .into_iter()
            .filter(|(_, there)| *there == repository)
            .map(|(url, _)| url)
            .collect())
    }

    /// Notes the URLs of an open tier durably. Skips those that are noted already.
    pub async fn note(&self, tier: &str, urls: &[&str], repository: Uuid) -> Result<(), TierError> {
        let mut note: Note = self.load(&locations_of(tier), tier)?;
        let mut new = false;
        for url in urls {
            new |= note.locations.insert((*url).to_owned(), repository) != Some(repository);
        }
        match new {
            true => self.save(&locations_of(tier), tier, &note).await,
            false => Ok(()),
        }
    }

    /// Returns the newest known head of each location.
    pub fn heads(&self) -> Result<Vec<KnownHead>, TierError> {
        let heads: Heads = self.load(HEADS, ALL_TIERS)?;
        Ok(heads.into_values().collect())
    }

    /// Notes heads durably. Skips those that are older than what is noted. A damaged file is written anew: a
    /// backup must not fail for it.
    pub async fn note_heads(&self, heads: &[KnownHead]) -> Result<(), TierError> {
        let before: Heads = self.load(HEADS, ALL_TIERS).unwrap_or_default();
        let mut noted = before.clone();
        for head in heads {
            catalog::remember(&mut noted, head.clone());
        }
        match noted == before {
            true => Ok(()),
            false => self.save(HEADS, ALL_TIERS, &noted).await,
        }
    }

    async fn save(&self, file: &str, tier: &str, content: &impl Serialize) -> Result<(), TierError> {
        let unusable = |why: String| self.unusable(file, tier, &why);
        let text = serde_json::to_vec_pretty(content).map_err(|error| unusable(error.to_string()))?;
        std::fs::create_dir_all(&self.workspace_dir).map_err(|error| unusable(error.to_string()))?;
        let store = LocalStore::open(&self.workspace_dir).map_err(|error| unusable(error.to_string()))?;
        let put = store.put(file, text.into()).await;
        put.map_err(|error| unusable(error.to_string()))
    }

    fn load<T: DeserializeOwned + Default>(&self, file: &str, tier: &str) -> Result<T, TierError> {
        match std::fs::read(self.workspace_dir.join(file)) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| self.unusable(file, tier, &error.to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(self.unusable(file, tier, &error.to_string())),
        }
    }

    fn unusable(&self, file: &str, tier: &str, why: &str) -> TierError {
        TierError::Note {
            tier: tier.to_owned(),
            path: self.workspace_dir.join(file),
            why: why.to_owned(),
        }
    }
}

const HEADS: &str = "heads.json";

/// What an error of `heads.json` names as its tier.
const ALL_TIERS: &str = "(any)";

fn locations_of(tier: &str) -> String {
    format!("tiers/{tier}.json")
}
