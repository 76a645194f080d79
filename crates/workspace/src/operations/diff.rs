//! The differences between two snapshots.

use std::cmp::Ordering;
use std::sync::Arc;

use rekindle_model::entry::{EntryKind, TreePath};
use rekindle_model::id::SnapshotId;
use rekindle_vault::{EntryRecord, SnapshotReader, Tier};
use serde::Serialize;

use crate::error::Error;
use crate::tiers::{Tiers, Wanted};

/// The snapshots to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRequest {
    /// The first one.
    pub first: Wanted,
    /// The second one.
    pub second: Wanted,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is only in the second.
    Added,
    /// It is only in the first.
    Removed,
    /// It has other content.
    Content,
    /// Only its mode, owner or time differ.
    Metadata,
}

/// An entry that differs.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// How.
    pub change: Change,
    /// Where.
    pub path: &'a TreePath,
    /// Its bytes in the first.
    pub size_before: u64,
    /// Its bytes in the second.
    pub size_after: u64,
}

/// The differences, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiffResult {
    /// The first snapshot.
    pub first: SnapshotId,
    /// The second one.
    pub second: SnapshotId,
    /// Entries only in the second.
    pub added: u64,
    /// Entries only in the first.
    pub removed: u64,
    /// Entries with other content.
    pub content: u64,
    /// Entries with other metadata only.
    pub metadata: u64,
    /// Entries that are the same.
    pub same: u64,
    /// How many bytes more entries of the second have.
    pub bytes_added: u64,
    /// How many bytes more entries of the first have.
    pub bytes_removed: u64,
    /// The components, if they differ.
    #[serde(skip)]
    pub components: Option<(String, String)>,
}

/// Compares two snapshots, in the order of their paths, with one entry of each in memory at a time.
///
/// # Errors
/// A snapshot is unknown or cannot be read, or `each` fails.
pub async fn diff(
    tiers: &Tiers,
    request: &DiffRequest,
    mut each: impl FnMut(Difference<'_>) -> Result<(), Error>,
) -> Result<DiffResult, Error> {
    let sources: Vec<Arc<Tier>> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let first = SnapshotReader::open(&sources, tiers.snapshot(&request.first).await?).await?;
    let second = SnapshotReader::open(&sources, tiers.snapshot(&request.second).await?).await?;
    let (a, b) = (first.snapshot(), second.snapshot());
    let mut result = DiffResult {
        first: a.id,
        second: b.id,
        added: 0,
        removed: 0,
        content: 0,
        metadata: 0,
        same: 0,
        bytes_added: 0,
        bytes_removed: 0,
        components: (a.component != b.component).then(|| (a.component.clone(), b.component.clone())),
    };
    if a.content_digest == b.content_digest && a.tree == b.tree {
        result.same = a.entries();
        return Ok(result);
    }
    let (mut before, mut after) = (first.entries(), second.entries());
    let (mut old, mut new) = (before.next().await?, after.next().await?);
    loop {
        let order = match (&old, &new) {
            (None, None) => return Ok(result),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.entry.path.cmp(&new.entry.path),
        };
        match (order, &old, &new) {
            (Ordering::Less, Some(old), _) => each(result.count(Change::Removed, Some(old), None, old))?,
            (Ordering::Greater, _, Some(new)) => each(result.count(Change::Added, None, Some(new), new))?,
            (_, Some(old), Some(new)) => match difference(old, new) {
                Some(change) => each(result.count(change, Some(old), Some(new), new))?,
                None => result.same += 1,
            },
            _ => {}
        }
        if order.is_le() {
            old = before.next().await?;
        }
        if order.is_ge() {
            new = after.next().await?;
        }
    }
}

impl DiffResult {
    fn count<'a>(
        &mut self,
        change: Change,
        old: Option<&EntryRecord>,
        new: Option<&EntryRecord>,
        at: &'a EntryRecord,
    ) -> Difference<'a> {
        match change {
            Change::Added => self.added += 1,
            Change::Removed => self.removed += 1,
            Change::Content => self.content += 1,
            Change::Metadata => self.metadata += 1,
        }
        let (size_before, size_after) = (size(old), size(new));
        self.bytes_added += size_after.saturating_sub(size_before);
        self.bytes_removed += size_before.saturating_sub(size_after);
        Difference {
            change,
            path: &at.entry.path,
            size_before,
            size_after,
        }
    }
}

fn size(record: Option<&EntryRecord>) -> u64 {
    match record.map(|record| &record.entry.kind) {
        Some(EntryKind::File { size }) => *size,
        _ => 0,
    }
}

fn difference(old: &EntryRecord, new: &EntryRecord) -> Option<Change> {
    if old.entry.kind != new.entry.kind
        || old.content != new.content
        || old.entry.first_name != new.entry.first_name
    {
        Some(Change::Content)
    } else if old.entry.mode != new.entry.mode
        || old.entry.uid != new.entry.uid
        || old.entry.gid != new.entry.gid
        || old.entry.xattrs != new.entry.xattrs
        || (old.entry.mtime_s, old.entry.mtime_ns) != (new.entry.mtime_s, new.entry.mtime_ns)
    {
        Some(Change::Metadata)
    } else {
        None
    }
}
