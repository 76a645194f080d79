//! Repairs a tier: what the tier itself or another tier still has is put where it must be.
//!
//! - Damaged indexes are replaced, and packs that no index lists are listed.
//! - Recovery sets, snapshots and packs that are missing or damaged are copied from other tiers.
//! - Temporary files of killed writes are removed.
//! - A broken chain of heads begins anew, once nothing that it must list is missing, or a person gave the rest up.

use std::collections::BTreeSet;
use std::sync::Arc;

use rekindle_model::id::{SetId, SnapshotId};
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
    /// Sets that were given up: the catalog does not list them any more.
    pub given_up: Vec<SetId>,
    /// What is still missing or damaged.
    pub faults: Vec<Fault>,
}

/// Repairs a tier from itself and from `others`. With `give_up`, sets that nothing gives any more leave the catalog;
/// without it they stay named.
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
        let (_, written) = location.mend_lists(true).await?;
        report.index_bytes += written;
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
    report.faults = tier.missing(&own, CatalogCheck::Documents).await?;
    for location in tier.locations() {
        let faults = report
            .faults
            .iter()
            .filter(|fault| fault.location == location.url);
        let (heads, lost): (Vec<&Fault>, Vec<&Fault>) =
            faults.partition(|fault| matches!(fault.object, ObjectName::Head(_)));
        if heads.is_empty() && (lost.is_empty() || !give_up) {
            continue;
        }
        let lost: BTreeSet<ObjectName> = lost.into_iter().map(|fault| fault.object).collect();
        let catalog = own.iter().find(|catalog| catalog.id == location.id);
        let gone = match give_up {
            true => catalog
                .map(|catalog| given_up(catalog, &lost))
                .unwrap_or_default(),
            false => Vec::new(),
        };
        let head = catalog::restate(location, &gone, &found.known, now.utc).await?;
        tier.note_head(head).await?;
        report.given_up.extend(gone);
    }
    let mut found = catalogs(&all).await;
    let own = found.by_tier.remove(tier.name()).unwrap_or_default();
    report.faults = tier.missing(&own, CatalogCheck::Documents).await?;
    Ok(report)
}

/// Returns the sets that need an object that is lost.
fn given_up(catalog: &Catalog, lost: &BTreeSet<ObjectName>) -> Vec<SetId> {
    let needs_lost = |(set, needs): &(&SetId, &BTreeSet<SnapshotId>)| {
        lost.contains(&ObjectName::Set(**set))
            || needs
                .iter()
                .any(|snapshot| lost.contains(&ObjectName::Snapshot(*snapshot)))
    };
    let sets = catalog.sets.iter().filter(needs_lost);
    sets.map(|(set, _)| *set).collect()
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
        let stated = own.iter().filter(|catalog| catalog.id == location.id);
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
    /// list names are listed too. Returns whether anything was wrong, and the bytes written.
    pub(crate) async fn mend_lists(&self, unlisted: bool) -> Result<(bool, u64), VaultError> {
        let (index, faults) = self.index_and_faults().await?;
        let damaged: Vec<ObjectName> = faults
            .into_iter()
            .filter(|(name, fault)| matches!(name, ObjectName::Index(_)) && ObjectFault::is_damage(fault))
            .map(|(name, _)| name)
            .collect();
        if damaged.is_empty() && !unlisted {
            return Ok((false, 0));
        }
        let mut listings: Vec<PackListing> = Vec::new();
        for (name, len) in self.names("packs").await? {
            let ObjectName::Pack(id) = name else { continue };
            if damaged.is_empty() && index.holds_pack(&id) {
                continue;
            }
            match self.listing(id, len).await {
                Ok(listing) => listings.push(listing),
                Err(VaultError::Object { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let written = self.put_index(&listings).await?;
        let wrong = !damaged.is_empty() || !listings.is_empty();
        for name in damaged {
            self.store.delete(&name.path()).await?;
        }
        Ok((wrong, written))
    }
}
