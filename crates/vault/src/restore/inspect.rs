//! Whether what stands in a root is already the snapshot.

use std::path::Path;
use std::sync::Arc;

use rekindle_model::entry::{EntryKind, TreePath};
use rekindle_model::id::SnapshotId;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::reader::SnapshotReader;
use crate::snapshot::EntryRecord;
use crate::tier::Tier;

use super::build::{holds, open_if_file};
use super::error::RestoreError;
use super::ground::{Ground, is_kind};
use super::include::{Include, Outline};
use super::run::blocking;
use super::store::ContentStore;

/// Differences that are kept one by one; more are only counted.
const KEPT: usize = 1000;

/// In what a place of the root differs from the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Nothing stands there.
    Missing,
    /// It is a file, folder or link where the snapshot has another of these.
    Type,
    /// The length of a file.
    Size,
    /// The bytes of a file.
    Content,
    /// Where a link points.
    Target,
    /// The permission bits; set-id bits only where the owner is right.
    Mode,
    /// Owner or group; looked at only when running as root, who alone could have set them.
    Owner,
    /// The modification time.
    Time,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// In what; the first that was found.
    pub aspect: Aspect,
}

/// How a root compares with a snapshot. What stands there beyond the snapshot is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Entries compared.
    pub entries: u64,
    /// Bytes of content read and found right.
    pub bytes: u64,
    /// The differences, at most the first 1000.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differing: u64,
}

impl Inspection {
    /// Returns whether every entry stands as it was captured.
    pub fn is_whole(&self) -> bool {
        self.differing == 0
    }
}

/// Compares a root with a snapshot; see [`inspect_from`].
pub async fn inspect(
    tiers: &[Arc<Tier>],
    snapshot: SnapshotId,
    root: &Path,
    include: &[String],
    stop: &CancellationToken,
) -> Result<Inspection, RestoreError> {
    let reader = SnapshotReader::open(tiers, snapshot).await;
    let reader = reader.map_err(|error| RestoreError::Vault(Box::new(error)))?;
    inspect_from(&reader, snapshot, root, include, stop).await
}

/// Compares a root with the entries of a snapshot: types, sizes, modes, times, link targets, and every byte.
/// Nothing is written, and no link is followed. A root that is not there misses every entry.
pub async fn inspect_from(
    store: &dyn ContentStore,
    snapshot: SnapshotId,
    root: &Path,
    include: &[String],
    stop: &CancellationToken,
) -> Result<Inspection, RestoreError> {
    let include = Include::new(include)?;
    let all = include.all();
    let stop = stop.child_token();
    let _dropped = stop.clone().drop_guard();
    let there = root.to_owned();
    let ground = match root.is_dir() {
        true => Some(Arc::new(
            blocking(move || Ground::open(&there, snapshot, false)).await?,
        )),
        false => None,
    };
    let mut found = Inspection::default();
    let mut outline = Outline::at(include, &TreePath::ROOT);
    let mut cursor = store.cursor(0);
    while let Some(record) = cursor.next().await? {
        if !outline.admit(&record)? || (record.entry.path.is_root() && !all) {
            continue;
        }
        let record = Arc::new(record);
        let aspect = match &ground {
            None => Some(Aspect::Missing),
            Some(ground) => {
                let (ground, record, stop) = (Arc::clone(ground), Arc::clone(&record), stop.clone());
                blocking(move || ground.compare(&record, &stop)).await?
            }
        };
        found.entries += 1;
        match (aspect, &record.entry.kind) {
            (None, EntryKind::File { size }) => found.bytes += size,
            (None, _) => {}
            (Some(aspect), _) => {
                found.differing += 1;
                if found.differences.len() < KEPT {
                    found.differences.push(Difference {
                        path: record.entry.path.clone(),
                        aspect,
                    });
                }
            }
        }
    }
    Ok(found)
}

impl Ground {
    /// Returns in what an entry differs from what stands there.
    fn compare(
        &self,
        record: &EntryRecord,
        stop: &CancellationToken,
    ) -> Result<Option<Aspect>, RestoreError> {
        if stop.is_cancelled() {
            return Err(RestoreError::Interrupted { checkpoint: None });
        }
        let entry = &record.entry;
        let spot = match self.spot(&entry.path) {
            Ok(spot) => spot,
            Err(RestoreError::Obstructed { .. }) => return Ok(Some(Aspect::Missing)),
            Err(RestoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(Aspect::Missing));
            }
            Err(error) => return Err(error),
        };
        let Some(stat) = spot.stat()? else {
            return Ok(Some(Aspect::Missing));
        };
        if !is_kind(&stat, &entry.kind) {
            return Ok(Some(Aspect::Type));
        }
        match &entry.kind {
            EntryKind::File { size } if u64::try_from(stat.st_size).unwrap_or(0) != *size => {
                return Ok(Some(Aspect::Size));
            }
            EntryKind::Symlink { target } => {
                let stands = rustix::fs::readlinkat(&spot.folder, &spot.name, Vec::new());
                if !stands.is_ok_and(|stands| stands.as_bytes() == target) {
                    return Ok(Some(Aspect::Target));
                }
            }
            _ => {}
        }
        let owned = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
        let bits = if owned { 0o7777 } else { 0o1777 };
        if !matches!(entry.kind, EntryKind::Symlink { .. }) && (stat.st_mode ^ entry.mode) & bits != 0 {
            return Ok(Some(Aspect::Mode));
        }
        if !owned && rustix::process::geteuid().is_root() {
            return Ok(Some(Aspect::Owner));
        }
        if (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)) != (entry.mtime_s, entry.mtime_ns)
        {
            return Ok(Some(Aspect::Time));
        }
        if matches!(entry.kind, EntryKind::File { .. }) {
            let Some(file) = open_if_file(&spot, &spot.name)? else {
                return Ok(Some(Aspect::Content));
            };
            if !holds(&file, record, &spot, stop)? {
                return Ok(Some(Aspect::Content));
            }
        }
        Ok(None)
    }
}
