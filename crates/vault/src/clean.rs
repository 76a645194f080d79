//! Cleans the spool: removes objects that the tiers hold.
//!
//! It removes documents first, then lists (a new list of the rest is written before the old ones go), then
//! packs. If it is interrupted, the rest is still readable, and the next call continues. Never clean while a
//! capture runs in the same spool: the capture relies on the objects that it found.

use std::collections::HashSet;

use rekindle_model::id::{Hash32, SnapshotId};
use serde::Serialize;

use crate::error::VaultError;
use crate::index::PackListing;
use crate::location::Location;
use crate::object::ObjectName;
use crate::reader::SnapshotReader;
use crate::spool::Spool;
use crate::tier::Tier;

/// The objects that a cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
}

/// Removes from the spool each snapshot that every location of every due tier holds, and each pack whose
/// chunks they all hold. If a due tier or one of its locations is down, nothing is removed.
pub async fn clean(spool: &Spool, due: &[std::sync::Arc<Tier>]) -> Result<CleanReport, VaultError> {
    let mut report = CleanReport::default();
    let mut held = Vec::new();
    for tier in due {
        tier.all_up()?;
        for location in tier.locations() {
            let documents: HashSet<ObjectName> = location
                .names("snapshots")
                .await?
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            held.push((location.holdings().await?, documents));
        }
    }
    if held.is_empty() {
        return Ok(report);
    }
    let location = spool.location();
    for id in spool.snapshots().await? {
        let name = ObjectName::Snapshot(id);
        if held.iter().all(|(_, documents)| documents.contains(&name)) {
            location.store.delete(&name.path()).await?;
            report.snapshots += 1;
        }
    }
    let everywhere = |listing: &PackListing| {
        listing
            .slots
            .iter()
            .all(|slot| held.iter().all(|(holdings, _)| holdings.holds(&slot.id)))
    };
    drop_packs(location, everywhere, &mut report).await?;
    Ok(report)
}

impl Spool {
    /// Removes one snapshot and the packs that no other snapshot of the spool needs. The caller vouches that
    /// the tiers hold it. If another snapshot's entries cannot be read from the spool alone, the packs stay.
    pub async fn remove(&self, id: SnapshotId) -> Result<CleanReport, VaultError> {
        let mut report = CleanReport::default();
        let location = self.location();
        location.store.delete(&ObjectName::Snapshot(id).path()).await?;
        report.snapshots = 1;
        let index = location.index().await?;
        let mut needed: HashSet<Hash32> = HashSet::new();
        for other in self.snapshots().await? {
            let Ok(reader) = SnapshotReader::open_at(vec![location.clone()], other).await else {
                return Ok(report);
            };
            let tree = reader.snapshot().tree.clone();
            needed.extend(
                tree.iter()
                    .flat_map(|chunk| index.all(&chunk.id).map(|found| found.pack.id)),
            );
            let mut entries = reader.entries();
            loop {
                match entries.next().await {
                    Ok(Some(record)) => {
                        needed.extend(
                            record
                                .chunks
                                .iter()
                                .flat_map(|chunk| index.all(&chunk.id).map(|found| found.pack.id)),
                        );
                    }
                    Ok(None) => break,
                    Err(_) => return Ok(report),
                }
            }
        }
        drop_packs(
            location,
            |listing| !needed.contains(&listing.info.id),
            &mut report,
        )
        .await?;
        Ok(report)
    }
}

/// Lists the packs that stay, removes the old lists, then deletes the other packs. A pack whose table cannot
/// be read stays, since nobody knows what it holds.
async fn drop_packs(
    location: &Location,
    goes: impl Fn(&PackListing) -> bool,
    report: &mut CleanReport,
) -> Result<(), VaultError> {
    let mut stays = Vec::new();
    let mut doomed = Vec::new();
    for (name, len) in location.names("packs").await? {
        let ObjectName::Pack(id) = name else { continue };
        match location.listing(id, len).await {
            Ok(listing) if goes(&listing) => doomed.push((name, len)),
            Ok(listing) => stays.push(listing),
            Err(VaultError::Object { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if doomed.is_empty() {
        return Ok(());
    }
    let old = location.names("index").await?;
    if !stays.is_empty() {
        location.put_index(&stays).await?;
    }
    for (name, _) in old {
        location.store.delete(&name.path()).await?;
    }
    for (name, len) in doomed {
        location.store.delete(&name.path()).await?;
        if let ObjectName::Pack(id) = name {
            location.trust(id).await?;
        }
        report.packs += 1;
        report.bytes += len;
    }
    Ok(())
}
