//! Stores a snapshot: copies to each location of a tier what it lacks, from the spool or from another tier.
//!
//! Order at each location: packs, then one index of them, then the snapshot's document. Objects that are
//! there already are not written again, so an interrupted call is simply made again. Bytes are copied, never
//! linked: no two places share an inode. Damaged objects do not count as there: packs are written again under
//! their names, lists are replaced.
//!
//! Memory: one pack (at most 36 MiB), the ids of the snapshot's chunks (32 bytes each), and the indexes of
//! the places involved.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rekindle_model::id::{Hash32, SnapshotId};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::{ObjectFault, VaultError};
use crate::index::PackListing;
use crate::location::{Holdings, Location, blocking};
use crate::object::{ChunkId, ChunkRef, ObjectName};
use crate::progress::ProgressSink;
use crate::reader::SnapshotReader;
use crate::snapshot::Snapshot;
use crate::spool::Spool;
use crate::tier::{Tier, first_document};

/// The work of one `store`, over all locations of the tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Packs, indexes and documents that were written.
    pub objects_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Sealed bytes of the snapshot's chunks that were there already.
    pub bytes_present: u64,
}

/// A place to take packs from.
struct Source {
    location: Arc<Location>,
    holdings: Holdings,
}

/// A pack to copy, and its sources, tried in order.
struct Wanted {
    len: u64,
    sources: Vec<usize>,
}

/// Copies to every location of `tier` what it lacks of the snapshot. A chunk that the spool lacks comes from
/// `others`.
///
/// It copies whole packs and checks each against its name. If a location is down, the others are still
/// served; the call then returns [`VaultError::LocationDown`].
pub async fn store(
    spool: &Spool,
    tier: &Tier,
    snapshot: SnapshotId,
    others: &[Arc<Tier>],
    progress: &ProgressSink,
    stop: &CancellationToken,
) -> Result<StoreReport, VaultError> {
    let own = tier.locations();
    let elsewhere = others.iter().flat_map(|other| other.locations()).chain(own);
    let places: Vec<Arc<Location>> = std::iter::once(spool.location())
        .chain(elsewhere)
        .cloned()
        .collect();
    let name = ObjectName::Snapshot(snapshot);
    let document: Snapshot = first_document(&places, name)
        .await?
        .ok_or(VaultError::UnknownSnapshot(snapshot))?;

    let mut sources = Vec::new();
    for location in &places {
        match location.holdings().await {
            Ok(holdings) => sources.push(Source {
                location: Arc::clone(location),
                holdings,
            }),
            Err(error) => tracing::warn!(location = %location.url, %error, "nothing can be taken from it"),
        }
    }
    let reader = SnapshotReader::marking(places.clone(), document).await;
    let mut report = StoreReport::default();
    let mut done = 0;
    for location in own {
        let mut task = Task {
            location,
            sources: &sources,
            progress,
            stop,
            done: &mut done,
            report: &mut report,
            lost: None,
        };
        task.bring(&reader).await?;
        task.bring_document(&places, name).await?;
    }
    tier.all_up()?;
    Ok(report)
}

/// The work at one location.
struct Task<'a> {
    location: &'a Arc<Location>,
    sources: &'a [Source],
    progress: &'a ProgressSink,
    stop: &'a CancellationToken,
    done: &'a mut u64,
    report: &'a mut StoreReport,
    /// The first chunk that no source has.
    lost: Option<VaultError>,
}

impl Task<'_> {
    /// Copies the packs that hold what the location lacks, then lists them in an index.
    async fn bring(&mut self, reader: &SnapshotReader) -> Result<(), VaultError> {
        let written = self.location.mend_lists(false).await?;
        if written > 0 {
            self.wrote(written);
        }
        let held = self.location.holdings().await?;
        let wanted = self.wanted(reader, &held).await?;
        let total = *self.done + wanted.values().map(|wanted| wanted.len).sum::<u64>();
        let mut listings = Vec::new();
        for (id, wanted) in &wanted {
            if self.stop.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            // A pack may be there without being listed: an earlier call was interrupted before its index.
            let there = held.lengths.get(id) == Some(&wanted.len);
            let listing = match if there {
                self.location.listing(*id, wanted.len).await.ok()
            } else {
                None
            } {
                Some(listing) => listing,
                None => self.copy_pack(*id, wanted).await?,
            };
            if held.doubted.contains(id) {
                self.location.trust(*id).await?;
            }
            listings.push(listing);
            *self.done += wanted.len;
            self.progress.report(*self.done, Some(total));
        }
        listings.retain(|listing| !held.index.holds_pack(&listing.info.id));
        if !listings.is_empty() {
            let len = self.location.put_index(&listings).await?;
            self.wrote(len);
        }
        match self.lost.take() {
            Some(lost) => Err(lost),
            None => Ok(()),
        }
    }

    /// Reads the snapshot's entries and returns the packs that the location needs for them.
    async fn wanted(
        &mut self,
        reader: &SnapshotReader,
        held: &Holdings,
    ) -> Result<BTreeMap<Hash32, Wanted>, VaultError> {
        let mut wanted = BTreeMap::new();
        let mut seen = HashSet::new();
        for chunk in &reader.snapshot().tree {
            self.want(chunk, held, &mut seen, &mut wanted)?;
        }
        let mut entries = reader.entries();
        while let Some(record) = entries.next().await? {
            if self.stop.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            for chunk in &record.chunks {
                self.want(chunk, held, &mut seen, &mut wanted)?;
            }
        }
        Ok(wanted)
    }

    fn want(
        &mut self,
        chunk: &ChunkRef,
        held: &Holdings,
        seen: &mut HashSet<ChunkId>,
        wanted: &mut BTreeMap<Hash32, Wanted>,
    ) -> Result<(), VaultError> {
        if !seen.insert(chunk.id) {
            return Ok(());
        }
        if let Some(found) = held.find(&chunk.id) {
            self.report.bytes_present += u64::from(found.slot.sealed_len);
            return Ok(());
        }
        let mut first = None;
        for (at, source) in self.sources.iter().enumerate() {
            // A location that lacks the chunk may still be the source of another chunk for its siblings.
            if Arc::ptr_eq(&source.location, self.location) {
                continue;
            }
            let Some(found) = source.holdings.find(&chunk.id) else {
                continue;
            };
            let pack = *first.get_or_insert(found.pack.id);
            if found.pack.id == pack {
                let entry = wanted.entry(pack).or_insert(Wanted {
                    len: found.pack.len,
                    sources: Vec::new(),
                });
                if !entry.sources.contains(&at) {
                    entry.sources.push(at);
                }
            }
        }
        match first {
            Some(_) => Ok(()),
            None if self.lost.is_some() => Ok(()),
            None => {
                let asked = self
                    .sources
                    .iter()
                    .map(|source| format!("{} does not hold it", source.location.url));
                // The rest is copied first: another tier may lose it next.
                self.lost = Some(VaultError::ChunkLost {
                    chunk: chunk.id,
                    attempts: asked.collect(),
                });
                Ok(())
            }
        }
    }

    /// Copies one pack from the first source that has it whole; returns its listing.
    async fn copy_pack(&mut self, id: Hash32, wanted: &Wanted) -> Result<PackListing, VaultError> {
        let name = ObjectName::Pack(id);
        let mut failed = None;
        for source in wanted.sources.iter().filter_map(|at| self.sources.get(*at)) {
            match whole_pack(&source.location, id).await {
                Ok(bytes) => {
                    // Read the table before the copy: a pack whose table does not open is not worth copying.
                    let listing = source.location.listing(id, wanted.len).await?;
                    let len = bytes.len() as u64;
                    self.location.store.put(&name.path(), bytes).await?;
                    self.wrote(len);
                    return Ok(listing);
                }
                Err(error) => {
                    tracing::warn!(%error, "a pack cannot be taken from here");
                    if matches!(error, VaultError::Object { .. }) {
                        // The source no longer counts as holding the pack, so the next backup stores it
                        // again.
                        source.location.doubt(id).await;
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| self.location.fault(name, ObjectFault::Missing)))
    }

    /// Copies the document, byte for byte, once everything that it names is durable.
    async fn bring_document(&mut self, places: &[Arc<Location>], name: ObjectName) -> Result<(), VaultError> {
        if matches!(self.location.document::<Snapshot>(name).await, Ok(Some(_))) {
            return Ok(());
        }
        for place in places {
            let Ok(Some(bytes)) = place.bytes(name).await else {
                continue;
            };
            if place.open_document::<Snapshot>(name, &bytes).is_ok() {
                let len = bytes.len() as u64;
                self.location.store.put(&name.path(), bytes).await?;
                self.wrote(len);
                return Ok(());
            }
        }
        Err(self.location.fault(name, ObjectFault::Missing))
    }

    fn wrote(&mut self, bytes: u64) {
        self.report.objects_copied += 1;
        self.report.bytes_copied += bytes;
    }
}

/// Reads a whole pack and checks its bytes against its name.
async fn whole_pack(location: &Location, id: Hash32) -> Result<Bytes, VaultError> {
    let name = ObjectName::Pack(id);
    let bytes = location
        .bytes(name)
        .await?
        .ok_or_else(|| location.fault(name, ObjectFault::Missing))?;
    let check = bytes.clone();
    let hash = blocking(move || blake3::hash(&check)).await?;
    match *hash.as_bytes() == id.0 {
        true => Ok(bytes),
        false => Err(location.fault(name, ObjectFault::NameMismatch)),
    }
}
