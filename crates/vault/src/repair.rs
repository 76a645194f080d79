//! Repairs a tier: what the tier itself or another tier still has is put where it must be.
//!
//! - Damaged indexes are replaced, and packs that no index lists are listed.
//! - Recovery sets, snapshots and packs that are missing or damaged are copied from other tiers.
//! - Temporary files of killed writes are removed.
//! - A broken chain of heads begins anew. It lists what is lost too, unless a person gave that up.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rekindle_model::id::SnapshotId;
use rekindle_model::time::Stamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::catalog::{self, Catalog, CatalogCheck};
use crate::error::{ObjectFault, VaultError};
use crate::fault::Fault;
use crate::index::PackListing;
use crate::location::Location;
use crate::object::ObjectName;
use crate::progress::ProgressSink;
use crate::set::RecoverySet;
use crate::spool::Spool;
use crate::tier::{Tier, catalogs, first_document};
use crate::verify::VerifyLevel;

/// What a repair did, and what it could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// Bytes of indexes that were written anew.
    pub index_bytes: u64,
    /// Temporary files of killed writes that were removed.
    pub temporaries: usize,
    /// Their bytes.
    pub temporary_bytes: u64,
    /// Recovery sets that were copied from another tier.
    pub sets_copied: usize,
    /// Packs, indexes and documents of snapshots that were copied.
    pub objects_copied: u64,
    /// Bytes of them.
    pub bytes_copied: u64,
    /// Sets and snapshots that were given up: the catalog does not list them any more.
    pub given_up: Vec<String>,
    /// What is still missing or damaged.
    pub faults: Vec<Fault>,
}

/// Repairs a tier from itself and from `others`. With `give_up`, sets and snapshots that nothing gives any more leave the
/// catalog; without it they stay named.
///
/// The spool serves as one more place to copy from.
pub async fn repair(
    tier: &Arc<Tier>,
    others: &[Arc<Tier>],
    spool: &Spool,
    give_up: bool,
    now: &Stamp,
    stop: &CancellationToken,
) -> Result<RepairReport, VaultError> {
    tier.all_up()?;
    let mut report = RepairReport::default();
    for location in tier.locations() {
        report.index_bytes += location.mend_lists(true).await?;
        location.adopted().await?;
        for left in location.store.abandoned(true).await? {
            report.temporaries += 1;
            report.temporary_bytes += left.len;
        }
    }
    let all: Vec<Arc<Tier>> = std::iter::once(tier).chain(others).cloned().collect();
    let mut found = catalogs(&all).await;
    if let Some(error) = found.unread.remove(tier.name()) {
        return Err(error);
    }
    let own = found.by_tier.remove(tier.name()).unwrap_or_default();
    copy_sets(tier, &all, &own, &mut report).await?;
    copy_snapshots(tier, others, spool, &own, stop, &mut report).await?;
    let faults = tier.missing(&own, CatalogCheck::Documents).await?;
    for location in tier.locations() {
        let faults = faults.iter().filter(|fault| fault.location == location.url);
        let (heads, lost): (Vec<&Fault>, Vec<&Fault>) =
            faults.partition(|fault| matches!(fault.object, ObjectName::Head(_)));
        if heads.is_empty() && (lost.is_empty() || !give_up) {
            continue;
        }
        let mut gone = BTreeSet::new();
        for fault in lost.into_iter().filter(|_| give_up) {
            // A damaged document would count as one that should be there.
            if matches!(fault.object, ObjectName::Set(_)) {
                location.store.delete(&fault.object.path()).await?;
            }
            gone.insert(fault.object);
        }
        let stated = own.iter().filter(|catalog| catalog.url == location.url);
        let expected = stated.flat_map(|catalog| catalog.sets.clone()).collect();
        let head = catalog::restate(location, &gone, &expected, &found.known, now.utc).await?;
        tier.note_head(head).await?;
        report.given_up.extend(gone.iter().map(ToString::to_string));
    }
    let mut found = catalogs(&all).await;
    let own = found.by_tier.remove(tier.name()).unwrap_or_default();
    report.faults = tier.missing(&own, CatalogCheck::Documents).await?;
    report.faults.append(&mut lost_packs(tier, &own, stop).await?);
    Ok(report)
}

/// Names the packs that are missing or cut, of every snapshot whose document is there.
async fn lost_packs(
    tier: &Tier,
    own: &[Catalog],
    stop: &CancellationToken,
) -> Result<Vec<Fault>, VaultError> {
    let mut faults = Vec::new();
    let snapshots: BTreeSet<SnapshotId> = own
        .iter()
        .flat_map(|catalog| catalog.sets.values().flatten().copied())
        .collect();
    for snapshot in snapshots {
        let sink = ProgressSink::none();
        let report = crate::verify::verify(tier, snapshot, VerifyLevel::Exists, &sink, stop).await?;
        let new = report
            .faults
            .into_iter()
            .filter(|fault| !matches!(fault.object, ObjectName::Snapshot(_)));
        faults.extend(
            new.filter(|fault: &Fault| {
                !faults
                    .iter()
                    .any(|there: &Fault| there.object == fault.object && there.location == fault.location)
            })
            .collect::<Vec<_>>(),
        );
    }
    Ok(faults)
}

/// Copies the documents of sets that a location must hold and does not.
async fn copy_sets(
    tier: &Tier,
    all: &[Arc<Tier>],
    own: &[Catalog],
    report: &mut RepairReport,
) -> Result<(), VaultError> {
    let places: Vec<Arc<Location>> = all.iter().flat_map(|tier| tier.locations()).cloned().collect();
    for location in tier.locations() {
        let stated = own.iter().filter(|catalog| catalog.url == location.url);
        for id in stated.flat_map(|catalog| catalog.sets.keys()) {
            let name = ObjectName::Set(*id);
            if let Ok(Some(_)) = location.document::<RecoverySet>(name).await {
                continue;
            }
            if let Ok(Some(set)) = first_document::<RecoverySet>(&places, name).await {
                location.put_document(name, &set).await?;
                report.sets_copied += 1;
            }
        }
    }
    Ok(())
}

/// Copies what the tier lacks of every snapshot of its sets.
async fn copy_snapshots(
    tier: &Tier,
    others: &[Arc<Tier>],
    spool: &Spool,
    own: &[Catalog],
    stop: &CancellationToken,
    report: &mut RepairReport,
) -> Result<(), VaultError> {
    let mut snapshots: BTreeSet<SnapshotId> = own
        .iter()
        .flat_map(|catalog| catalog.sets.values().flatten().copied())
        .collect();
    // A head may be lost and the set be there.
    for set in own.iter().flat_map(|catalog| catalog.sets.keys()) {
        if let Ok(set) = tier.set(*set).await {
            snapshots.extend(set.members.values().map(|member| member.snapshot));
        }
    }
    for snapshot in snapshots {
        match crate::copy::store(spool, tier, snapshot, others, &ProgressSink::none(), stop).await {
            Ok(stored) => {
                report.objects_copied += stored.objects_copied;
                report.bytes_copied += stored.bytes_copied;
            }
            // What no place gives stays missing, and is named at the end.
            Err(
                VaultError::UnknownSnapshot(_) | VaultError::Object { .. } | VaultError::ChunkLost { .. },
            ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Location {
    /// Replaces damaged lists by lists of all packs that are there and can be listed. With `unlisted`, packs that no
    /// list names are listed too. Returns the bytes written.
    pub(crate) async fn mend_lists(&self, unlisted: bool) -> Result<u64, VaultError> {
        let (_, faults) = self.index_and_faults().await?;
        let damaged: Vec<ObjectName> = faults
            .into_iter()
            .filter(|(name, fault)| matches!(name, ObjectName::Index(_)) && ObjectFault::is_damage(fault))
            .map(|(name, _)| name)
            .collect();
        if damaged.is_empty() && !unlisted {
            return Ok(0);
        }
        let mut listed = HashSet::new();
        if damaged.is_empty() {
            for (name, _) in self.names("index").await? {
                let ObjectName::Index(id) = name else { continue };
                let list = self.list_of(id).await?.unwrap_or_default();
                listed.extend(list.into_iter().map(|listing| listing.info.id));
            }
        }
        let mut listings: Vec<PackListing> = Vec::new();
        for (name, len) in self.names("packs").await? {
            let ObjectName::Pack(id) = name else { continue };
            if listed.contains(&id) {
                continue;
            }
            match self.listing(id, len).await {
                Ok(listing) => listings.push(listing),
                Err(VaultError::Object { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let written = self.put_index(&listings).await?;
        for name in damaged {
            self.store.delete(&name.path()).await?;
        }
        Ok(written)
    }
}
