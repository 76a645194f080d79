//! Remembers the locations of a workspace's vault, and their newest heads. So a location that is not mounted is
//! not taken for a new one, and one that was put back to an earlier state is noticed.
//!
//! One file for each tier, `tiers/NAME.json` in the workspace: URL → repository, and URL → id of the location. A
//! URL is written once its location was opened, and is never removed: one that `system.yaml` no longer names does no
//! harm. And one file for all heads, `heads.json`: location → newest known head.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{self, KnownHead};
use crate::error::TierError;
use crate::regular;
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
    /// The id that the location of each URL had when it was noted first.
    #[serde(default)]
    ids: BTreeMap<String, Uuid>,
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

    /// Returns the id that the location at a URL of the tier had when it was opened first.
    pub(crate) fn location(&self, tier: &str, url: &str) -> Result<Option<Uuid>, TierError> {
        let note: Note = self.load(&locations_of(tier), tier)?;
        Ok(note.ids.get(url).copied())
    }

    /// Notes the locations of an open tier durably, each with its URL and its id. Skips those that are noted already.
    /// A location that is noted keeps the id that it had then, so that a copy of another one in its place is noticed.
    pub async fn note(
        &self,
        tier: &str,
        locations: &[(&str, Uuid)],
        repository: Uuid,
    ) -> Result<(), TierError> {
        self.note_with(tier, locations, repository, false).await
    }

    /// Notes locations as [`Remembered::note`] does, with the ids that they have now.
    pub async fn note_anew(
        &self,
        tier: &str,
        locations: &[(&str, Uuid)],
        repository: Uuid,
    ) -> Result<(), TierError> {
        self.note_with(tier, locations, repository, true).await
    }

    async fn note_with(
        &self,
        tier: &str,
        locations: &[(&str, Uuid)],
        repository: Uuid,
        anew: bool,
    ) -> Result<(), TierError> {
        let mut note: Note = self.load(&locations_of(tier), tier)?;
        let mut new = false;
        for (url, id) in locations {
            new |= note.locations.insert((*url).to_owned(), repository) != Some(repository);
            if anew || !note.ids.contains_key(*url) {
                new |= note.ids.insert((*url).to_owned(), *id) != Some(*id);
            }
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

    /// Notes heads durably. Skips those that are older than what is noted. A file that cannot be read is set aside
    /// first: a backup must not fail for it, and a person may still have use for it.
    pub async fn note_heads(&self, heads: &[KnownHead]) -> Result<(), TierError> {
        let before: Heads = match self.load(HEADS, ALL_TIERS) {
            Ok(before) => before,
            // Every command names the file meanwhile.
            Err(_) if heads.is_empty() => return Ok(()),
            Err(error) => {
                let aside = self.set_aside()?;
                tracing::warn!(%error, aside = %aside.display(), "the notes of the newest heads were set aside");
                Heads::default()
            }
        };
        let mut noted = before.clone();
        for head in heads {
            catalog::remember(&mut noted, head.clone());
        }
        match noted == before {
            true => Ok(()),
            false => self.save(HEADS, ALL_TIERS, &noted).await,
        }
    }

    /// Returns the notes of heads that could not be read and were set aside.
    pub fn unreadable_heads(&self) -> Vec<PathBuf> {
        let names = (1..ASIDE).map(|n| self.workspace_dir.join(aside(n)));
        names.filter(|path| path.symlink_metadata().is_ok()).collect()
    }

    /// Renames `heads.json`; returns its new path.
    fn set_aside(&self) -> Result<PathBuf, TierError> {
        let unusable = |why: String| self.unusable(HEADS, ALL_TIERS, &why);
        let free = (1..ASIDE)
            .map(|n| self.workspace_dir.join(aside(n)))
            .find(|path| path.symlink_metadata().is_err());
        let to = free.ok_or_else(|| unusable(format!("{ASIDE} damaged ones lie beside it; remove them")))?;
        let renamed = std::fs::rename(self.workspace_dir.join(HEADS), &to);
        renamed.map_err(|error| unusable(error.to_string()))?;
        Ok(to)
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
        match regular::read(&self.workspace_dir.join(file), regular::SMALL) {
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

/// How many damaged files of heads are set aside.
const ASIDE: u32 = 100;

fn aside(n: u32) -> String {
    format!("{HEADS}.damaged-{n}")
}

/// What an error of `heads.json` names as its tier.
const ALL_TIERS: &str = "(any)";

fn locations_of(tier: &str) -> String {
    format!("tiers/{tier}.json")
}
