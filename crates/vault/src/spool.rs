//! The spool: a local location where captures land before they are stored in tiers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::id::SnapshotId;

use crate::error::VaultError;
use crate::key::Keyring;
use crate::location::Location;
use crate::object::ObjectName;
use crate::snapshot::Snapshot;
use crate::store::{LocalStore, Store, StoreError, Temporary};

/// A workspace's spool: the same objects as in a tier, without its marker and its wrapped key.
#[derive(Debug)]
pub struct Spool {
    location: Arc<Location>,
}

impl Spool {
    /// Opens the spool in a folder, and makes the folder if needed.
    pub async fn open(dir: &Path, keyring: Arc<Keyring>) -> Result<Self, VaultError> {
        let dir: PathBuf = dir.to_owned();
        let store = crate::location::blocking(move || {
            std::fs::create_dir_all(&dir).map_err(|error| StoreError::Failed {
                action: "create",
                location: dir.display().to_string(),
                path: "the folder".to_owned(),
                why: error.to_string(),
            })?;
            LocalStore::open(&dir).map(|store| (dir.display().to_string(), store))
        });
        let (dir, store) = store.await??;
        Ok(Self::open_store(dir, Arc::new(store), keyring))
    }

    /// Opens the spool on storage that is open already.
    pub fn open_store(name: String, store: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        Self {
            location: Arc::new(Location::of_spool(name, store, keyring)),
        }
    }

    pub(crate) fn location(&self) -> &Arc<Location> {
        &self.location
    }

    /// Returns the temporary files of killed writes, and removes them if `remove` is set.
    pub async fn abandoned(&self, remove: bool) -> Result<Vec<Temporary>, VaultError> {
        Ok(self.location.store.abandoned(remove).await?)
    }

    /// Returns a captured snapshot that is still here; none otherwise. A retry finds in this way what an
    /// earlier attempt finished.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, VaultError> {
        self.location.document(ObjectName::Snapshot(id)).await
    }

    /// Returns the snapshots that are still here, newest first.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotId>, VaultError> {
        let mut ids: Vec<SnapshotId> = self
            .location
            .names("snapshots")
            .await?
            .into_iter()
            .filter_map(|(name, _)| {
                if let ObjectName::Snapshot(id) = name {
                    Some(id)
                } else {
                    None
                }
            })
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }
}
