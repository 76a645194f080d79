//! The catalog of a location: the recovery sets that it must hold, and the snapshots that these need.
//!
//! A listing shows only what is there. So each location keeps a chain of *heads*, `heads/<10 digits>`: sealed,
//! numbered, each with the hash of the one before it. A head names the sets that came to the location. Every
//! [`RESTATED_EVERY`] heads one states the whole catalog, so that nobody reads the chain to its beginning. A catalog
//! that is too long for one head lies in several.
//!
//! A head that is missing, damaged or of another location breaks the chain, which is a [fault](Catalog::faults).
//! If a location was put back to an earlier state, its chain is whole but short. Then only someone who knows a
//! newer head can tell: the workspace ([`Remembered`](crate::Remembered)), the recovery kit, or another location,
//! since each head names the heads of the other locations too.

mod chain;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekindle_model::id::{Hash32, SetId, SnapshotId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ObjectFault, VaultError};
use crate::fault::Fault;
use crate::location::Location;
use crate::object::ObjectName;
use crate::set::RecoverySet;
use crate::snapshot::Snapshot;

pub(crate) use chain::{append, opens_a_head, read, remember, restate};

/// Every so many heads, one lists the whole catalog. So a reader reads this many small objects at most.
const RESTATED_EVERY: u64 = 32;

/// A head as others remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHead {
    /// The tier, for messages.
    pub tier: String,
    /// The location's id, from its marker. It stays if the location moves.
    pub location: Uuid,
    /// The head's number, from 1.
    pub n: u64,
    /// BLAKE3 of its stored bytes.
    pub hash: Hash32,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The newest set in the catalog then.
    pub set: Option<SetId>,
    /// Whether a recovery kit remembers it. A kit knows nothing of what came after it was handed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_kit: bool,
}

/// The sets that a location must hold, each with the snapshots that it needs. Of old sets no snapshots are named.
pub(crate) type Listed = BTreeMap<SetId, BTreeSet<SnapshotId>>;

/// What a location must hold, as its heads and those who remember it say.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The location's URL.
    pub url: String,
    /// The location's id.
    pub id: Uuid,
    /// Its newest head that can be read.
    pub newest: Option<KnownHead>,
    /// Whether its newest head, or a newer one, is known from elsewhere. If not, nothing here can tell whether the
    /// location was put back to an earlier state.
    pub confirmed: bool,
    /// The tier and the URL of the location that this one was copied from, if both state the same id.
    pub copy_of: Option<String>,
    /// The sets that must be there, with the snapshots that they need. Of old sets no snapshots are named.
    pub sets: BTreeMap<SetId, BTreeSet<SnapshotId>>,
    /// The heads of other locations that its heads name.
    pub others: Vec<KnownHead>,
    /// Heads that are missing, damaged or older than known.
    pub faults: Vec<(ObjectName, ObjectFault)>,
    /// The highest number of a head there; 0 if there is none.
    highest: u64,
    /// The heads that were read: number and hash.
    seen: BTreeMap<u64, Hash32>,
}

/// How to look for what a location must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogCheck {
    /// By the names of the objects; the newest set and its snapshots are read and opened. This is fast.
    Newest,
    /// By reading and opening each document.
    Documents,
}

impl Catalog {
    /// Adds sets that other tiers hold and that belong here too, as their members say. Only sets that are newer than
    /// the newest head count: about older ones the heads themselves are right.
    pub(crate) fn expect(&mut self, sets: impl IntoIterator<Item = (SetId, BTreeSet<SnapshotId>)>) {
        for (set, needs) in sets {
            self.sets.entry(set).or_default().extend(needs);
        }
    }

    /// Returns whether a set may have come to the location after its newest head.
    pub(crate) fn may_lack(&self, set: SetId) -> bool {
        let after = |newest: &KnownHead| set.created().is_none_or(|created| created > newest.at);
        !self.sets.contains_key(&set) && self.newest.as_ref().is_some_and(after)
    }

    /// Compares the location with heads that are known from elsewhere, of this and of other locations.
    pub(crate) fn compare(&mut self, known: &[KnownHead]) {
        // The heads that are known under its id are of the location that it was copied from.
        if self.copy_of.is_some() {
            return;
        }
        for known in known.iter().filter(|known| known.location == self.id) {
            // What the heads say after the newest one that can be read is known from elsewhere only.
            let newest = self.newest.as_ref().map_or(0, |newest| newest.n);
            // An older head than the newest one proves nothing about what came after it.
            self.confirmed |= !known.of_kit && known.n >= newest;
            if let (true, Some(set)) = (known.n > newest, known.set) {
                self.sets.entry(set).or_default();
            }
            let name = ObjectName::Head(known.n);
            if known.n > self.highest {
                let (newest, at) = (self.highest, known.at);
                self.faults
                    .push((name, ObjectFault::OlderThanKnown { newest, at }));
            } else if self.seen.get(&known.n).is_some_and(|hash| *hash != known.hash) {
                let why = format!("another head {} was there before", known.n);
                self.faults.push((name, ObjectFault::Malformed { why }));
            }
        }
    }

    /// Returns everything that the location must hold and does not, and every broken head.
    pub(crate) async fn faults_of(
        &self,
        location: &Location,
        check: CatalogCheck,
    ) -> Result<Vec<Fault>, VaultError> {
        let mut faults: Vec<(ObjectName, ObjectFault)> = self.faults.clone();
        if let Some(of) = self.copy_of.clone() {
            faults.push((ObjectName::Marker, ObjectFault::CopyOf { of }));
        }
        let sets = self.sets.keys().copied().map(ObjectName::Set);
        let snapshots: BTreeSet<SnapshotId> = self.sets.values().flatten().copied().collect();
        let expected = sets.chain(snapshots.into_iter().map(ObjectName::Snapshot));
        let newest = self.sets.iter().next_back();
        let is_newest = |name: &ObjectName| {
            newest.is_some_and(|(set, needs)| match name {
                ObjectName::Set(id) => id == set,
                ObjectName::Snapshot(id) => needs.contains(id),
                _ => false,
            })
        };
        let mut there = BTreeSet::new();
        for folder in ["sets", "snapshots"] {
            there.extend(location.names(folder).await?.into_iter().map(|(name, _)| name));
        }
        for name in expected {
            if !there.contains(&name) {
                faults.push((name, ObjectFault::Missing));
            } else if (check == CatalogCheck::Documents || is_newest(&name))
                && let Some(fault) = document_fault(location, name).await?
            {
                faults.push((name, fault));
            }
        }
        let fault = |(object, fault)| Fault {
            location: self.url.clone(),
            object,
            fault,
            chunks: Vec::new(),
            files: Vec::new(),
        };
        Ok(faults.into_iter().map(fault).collect())
    }
}

/// Opens a document; returns what is wrong with it.
async fn document_fault(location: &Location, name: ObjectName) -> Result<Option<ObjectFault>, VaultError> {
    let found = match name {
        ObjectName::Set(_) => location
            .document::<RecoverySet>(name)
            .await
            .map(|found| found.is_some()),
        _ => location
            .document::<Snapshot>(name)
            .await
            .map(|found| found.is_some()),
    };
    match found {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(ObjectFault::Missing)),
        Err(VaultError::Object { fault, .. }) => Ok(Some(fault)),
        Err(error) => Err(error),
    }
}
