//! Cleaning the spool of what the tiers hold.
//!
//! Objects go in the reverse of the order in which they came: documents, then lists (a new list of the rest is written
//! before the old ones go), then packs. After an interruption at any point, the rest is still readable, and the next
//! cleaning continues. Never clean while a capture runs in the same spool: it counts on what it found there.

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

/// What a cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
}

/// Removes from the spool the snapshots that every location of every due tier holds, and the packs all of whose
/// chunks they hold. While a due tier or one of its locations is down, everything stays for it.
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
    /// Removes one snapshot, and the packs that no other snapshot of the spool needs, on the caller's word that
    /// the tiers hold it. Packs stay where another snapshot's entries cannot be read from the spool alone.
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

/// Lists what stays, forgets the old lists, then deletes the packs that go. A pack whose table cannot be read
/// stays: it is nothing that a cleaning should decide.
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
