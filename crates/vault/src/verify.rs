//! Verifies that a snapshot is whole in a tier. It reads the stored copies at each of the tier's locations.
//!
//! A damaged pack gets a mark and no longer counts as held, so the next backup stores its chunks again. A
//! damaged pack is a fault only for chunks that no other pack of the same location holds whole. The report
//! lists the rest as healed.
//!
//! Memory: one pack (at most 36 MiB), 56 bytes for each chunk of the snapshot, and one location's index.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rekindle_model::id::{Hash32, SnapshotId};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::{ObjectFault, VaultError};
use crate::fault::Fault;
use crate::index::{Found, Index};
use crate::location::{Location, blocking};
use crate::object::{ChunkId, ChunkRef, ObjectName};
use crate::pack::{self, PackInfo, Slot};
use crate::progress::ProgressSink;
use crate::reader::SnapshotReader;
use crate::snapshot::Snapshot;
use crate::tier::Tier;

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VerifyLevel {
    /// Every pack that the snapshot needs exists in full length, and its document and entries open.
    Exists,
    /// Packs are read back: their bytes match their name, and each chunk that the snapshot needs is
    /// decrypted, decompressed and hashed again.
    Read {
        /// The share of the packs to read, above 0 and up to 1; a snapshot's sample is always the same one.
        share: f64,
    },
}

/// What a verification read, and the faults that it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Packs, indexes and documents checked.
    pub objects: u64,
    /// Chunks opened and hashed, including those of the entry stream.
    pub chunks: u64,
    /// Stored bytes of the packs checked.
    pub bytes: u64,
    /// Packs that the snapshot needs and no index lists. Their content was found all the same.
    pub unlisted: u64,
    /// Losses at this location; empty if the snapshot can be restored from each location alone.
    pub faults: Vec<Fault>,
    /// Damaged packs of which other packs hold every chunk that the snapshot needs.
    pub healed: Vec<Fault>,
    /// The packs with the content of its files, as the indexes have them.
    #[serde(skip)]
    pub content: BTreeSet<Hash32>,
}

/// Checks a snapshot in every location of a tier.
///
/// Damage is a fault in the report. Only a tier that cannot be read at all is an error. No other tier is
/// read.
pub async fn verify(
    tier: &Tier,
    snapshot: SnapshotId,
    level: VerifyLevel,
    progress: &ProgressSink,
    stop: &CancellationToken,
) -> Result<VerifyReport, VaultError> {
    tier.all_up()?;
    let mut report = VerifyReport::default();
    for location in tier.locations() {
        let mut task = Task {
            location,
            id: snapshot,
            level,
            progress,
            stop,
            report: &mut report,
        };
        task.run().await?;
    }
    Ok(report)
}

/// The check of one location.
struct Task<'a> {
    location: &'a Arc<Location>,
    id: SnapshotId,
    level: VerifyLevel,
    progress: &'a ProgressSink,
    stop: &'a CancellationToken,
    report: &'a mut VerifyReport,
}

/// The chunks that the snapshot needs, by pack.
type Needed = BTreeMap<Hash32, (PackInfo, Vec<(u32, Slot)>)>;

impl Task<'_> {
    async fn run(&mut self) -> Result<(), VaultError> {
        let (index, damaged) = self.location.index_and_faults().await?;
        self.report.objects += damaged.len() as u64;
        for (object, fault) in damaged {
            self.fault(object, fault, Vec::new());
        }
        let name = ObjectName::Snapshot(self.id);
        self.report.objects += 1;
        let document = match self.location.document::<Snapshot>(name).await {
            Ok(Some(document)) => document,
            Ok(None) => {
                self.fault(name, ObjectFault::Missing, Vec::new());
                return Ok(());
            }
            Err(VaultError::Object { fault, .. }) => {
                self.fault(name, fault, Vec::new());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let reader = SnapshotReader::of(vec![Arc::clone(self.location)], document).await;
        let mut needed = Needed::new();
        let mut lost = HashSet::new();
        let mut seen = HashSet::new();
        for chunk in &reader.snapshot().tree {
            need(chunk, &index, &mut seen, &mut needed, &mut lost);
        }
        let lists: BTreeSet<Hash32> = needed.keys().copied().collect();
        let mut entries = reader.entries();
        loop {
            match entries.next().await {
                Ok(Some(record)) => {
                    record
                        .chunks
                        .iter()
                        .for_each(|chunk| need(chunk, &index, &mut seen, &mut needed, &mut lost));
                }
                Ok(None) => break,
                // The packs of the entry stream are checked below and named there.
                Err(VaultError::ChunkLost { chunk, .. }) => {
                    let why = format!("its entries cannot be read on from chunk {chunk}");
                    self.fault(name, ObjectFault::Malformed { why }, vec![chunk]);
                    break;
                }
                Err(VaultError::Object { fault, .. }) => {
                    self.fault(name, fault, Vec::new());
                    break;
                }
                Err(error) => return Err(error),
            }
            self.check_stop()?;
        }
        drop(seen);
        let content = needed.keys().filter(|pack| !lists.contains(pack));
        self.report.content.extend(content);
        let index = match lost.is_empty() {
            true => index,
            false => self.look_in_unlisted_packs(&mut needed, &mut lost).await?,
        };
        if !lost.is_empty() {
            let why = format!("{} of its chunks are in no pack", lost.len());
            self.fault(name, ObjectFault::Malformed { why }, lost.into_iter().collect());
        }
        self.look_at_packs(&index, needed).await?;
        self.name_files(&reader).await
    }

    /// Looks for chunks that no list names in the packs that no list names. Returns the index of all packs.
    async fn look_in_unlisted_packs(
        &mut self,
        needed: &mut Needed,
        lost: &mut HashSet<ChunkId>,
    ) -> Result<Arc<Index>, VaultError> {
        let index = self.location.adopted().await?;
        let mut unlisted = HashSet::new();
        lost.retain(|chunk| match index.find(chunk) {
            Some(found) => {
                unlisted.insert(found.pack.id);
                add(needed, found);
                false
            }
            None => true,
        });
        self.report.unlisted += unlisted.len() as u64;
        Ok(index)
    }

    /// Checks the packs. For each chunk of a damaged pack, it tries the other packs that list the chunk,
    /// until one is whole or none is left.
    async fn look_at_packs(&mut self, index: &Index, needed: Needed) -> Result<(), VaultError> {
        let doubted = self.location.doubted().await?;
        let total = self.report.bytes + needed.values().map(|(info, _)| info.len).sum::<u64>();
        let mut damaged = Vec::new();
        let (mut tried, mut sound) = (HashSet::new(), HashSet::new());
        let (mut round, mut again) = (needed, false);
        while !round.is_empty() {
            let mut next = Needed::new();
            for (pack, (info, slots)) in round {
                self.check_stop()?;
                let mut held: HashSet<ChunkId> = slots.iter().map(|(_, slot)| slot.id).collect();
                // A doubted pack is read at any level, since a repair may have mended it. So are the packs
                // that replace it.
                let doubt = doubted.contains(&pack);
                let read = again || doubt || self.is_read(pack);
                match self.look_at_pack(info, slots, read).await? {
                    None if doubt => self.location.trust(pack).await?,
                    None => {}
                    Some((fault, chunks)) => {
                        // The snapshot needs nothing of this damaged pack any more.
                        let left: Vec<ChunkId> = match chunks.is_empty() {
                            true => held.drain().collect(),
                            false => chunks.clone(),
                        };
                        for chunk in &left {
                            held.remove(chunk);
                            tried.insert((*chunk, pack));
                            let other = |found: &Found<'_>| !tried.contains(&(*chunk, found.pack.id));
                            if let Some(found) = index.all(chunk).find(other) {
                                add(&mut next, found);
                            }
                        }
                        damaged.push((pack, fault, chunks, left));
                    }
                }
                if again {
                    sound.extend(held);
                }
                let done = self.report.bytes;
                self.progress.report(done, Some(total.max(done)));
            }
            (round, again) = (next, true);
        }
        for (pack, fault, mut chunks, left) in damaged {
            if fault.is_damage() {
                // The next backup stores its chunks again.
                self.location.doubt(pack).await;
            }
            chunks.retain(|chunk| !sound.contains(chunk));
            let healed = left.iter().all(|chunk| sound.contains(chunk));
            let fault = self.named(ObjectName::Pack(pack), fault, chunks);
            match healed {
                true => self.report.healed.push(fault),
                false => self.report.faults.push(fault),
            }
        }
        Ok(())
    }

    /// Returns a pack's fault, and the chunks of those slots that are lost with it.
    async fn look_at_pack(
        &mut self,
        info: PackInfo,
        slots: Vec<(u32, Slot)>,
        read: bool,
    ) -> Result<Option<(ObjectFault, Vec<ChunkId>)>, VaultError> {
        let name = ObjectName::Pack(info.id);
        self.report.objects += 1;
        let all = || slots.iter().map(|(_, slot)| slot.id).collect::<Vec<_>>();
        let len = info.len;
        if read {
            let bytes = match self.location.bytes(name).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Some((ObjectFault::Missing, all()))),
                Err(VaultError::Object { fault, .. }) => return Ok(Some((fault, all()))),
                Err(error) => return Err(error),
            };
            self.report.chunks += slots.len() as u64;
            self.report.bytes += len;
            let keyring = Arc::clone(&self.location.keyring);
            return blocking(move || check_pack(&keyring, &info, &slots, &bytes)).await;
        }
        self.report.bytes += len;
        let fault = match self.location.store.len(&name.path()).await {
            Ok(None) => ObjectFault::Missing,
            Ok(Some(have)) if have < len => ObjectFault::Truncated { have, need: len },
            Ok(Some(have)) if have > len => ObjectFault::Malformed {
                why: format!("it has {have} bytes instead of {len}"),
            },
            Ok(Some(_)) => return Ok(None),
            Err(error) => ObjectFault::of(&error).ok_or(error)?,
        };
        Ok(Some((fault, all())))
    }

    /// Returns whether a pack is in the sample. Its name and the snapshot's decide, so snapshots that share
    /// packs sample different ones.
    fn is_read(&self, pack: Hash32) -> bool {
        let VerifyLevel::Read { share } = self.level else {
            return false;
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id.as_bytes()).update(&pack.0);
        let draw = hasher
            .finalize()
            .as_bytes()
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        share >= 1.0 || f64::from(draw) < share * f64::from(u32::MAX)
    }

    /// Reads the entries again to name the files; only called if there are faults.
    async fn name_files(&mut self, reader: &SnapshotReader) -> Result<(), VaultError> {
        let url = &self.location.url;
        let mut faults: Vec<(HashSet<ChunkId>, BTreeSet<String>, &mut Fault)> = self
            .report
            .faults
            .iter_mut()
            .filter(|fault| fault.location == *url && !fault.chunks.is_empty())
            .map(|fault| (fault.chunks.iter().copied().collect(), BTreeSet::new(), fault))
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        let mut entries = reader.entries();
        // If the entries break off, name the files seen so far; the break itself is a fault already.
        while let Ok(Some(record)) = entries.next().await {
            for (chunks, files, _) in &mut faults {
                if record.chunks.iter().any(|chunk| chunks.contains(&chunk.id)) {
                    files.insert(record.entry.path.display());
                }
            }
        }
        for (_, files, fault) in faults {
            fault.files = files.into_iter().collect();
        }
        Ok(())
    }

    fn fault(&mut self, object: ObjectName, fault: ObjectFault, chunks: Vec<ChunkId>) {
        let fault = self.named(object, fault, chunks);
        self.report.faults.push(fault);
    }

    fn named(&self, object: ObjectName, fault: ObjectFault, chunks: Vec<ChunkId>) -> Fault {
        Fault {
            location: self.location.url.clone(),
            object,
            fault,
            chunks,
            files: Vec::new(),
        }
    }

    fn check_stop(&self) -> Result<(), VaultError> {
        if self.stop.is_cancelled() {
            Err(VaultError::Interrupted)
        } else {
            Ok(())
        }
    }
}

fn need(
    chunk: &ChunkRef,
    index: &Index,
    seen: &mut HashSet<ChunkId>,
    needed: &mut Needed,
    lost: &mut HashSet<ChunkId>,
) {
    if !seen.insert(chunk.id) {
        return;
    }
    match index.find(&chunk.id) {
        Some(found) => {
            add(needed, found);
        }
        None => {
            lost.insert(chunk.id);
        }
    }
}

fn add(needed: &mut Needed, found: Found<'_>) {
    let (_, slots) = needed
        .entry(found.pack.id)
        .or_insert_with(|| (found.pack.clone(), Vec::new()));
    slots.push((found.ordinal, found.slot));
}

/// Checks a pack's bytes against its name, and opens the chunks that are needed. If the damage is elsewhere
/// in the pack, no chunk is lost, but the pack is still a fault.
fn check_pack(
    keyring: &crate::key::Keyring,
    info: &PackInfo,
    slots: &[(u32, Slot)],
    bytes: &[u8],
) -> Option<(ObjectFault, Vec<ChunkId>)> {
    let mut worst = None;
    let mut bad = Vec::new();
    for (ordinal, slot) in slots {
        let from = slot.offset as usize;
        let sealed = bytes
            .get(from..bytes.len().min(from + slot.sealed_len as usize))
            .unwrap_or_default();
        if let Err(fault) = pack::open_chunk(keyring, info, *ordinal, slot, sealed) {
            worst.get_or_insert(fault);
            bad.push(slot.id);
        }
    }
    if (bytes.len() as u64) < info.len {
        worst = Some(ObjectFault::Truncated {
            have: bytes.len() as u64,
            need: info.len,
        });
    } else if worst.is_none() && *blake3::hash(bytes).as_bytes() != info.id.0 {
        worst = Some(ObjectFault::NameMismatch);
    }
    worst.map(|fault| (fault, bad))
}
