//! One capture at work: it turns entries into packs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rekindle_model::entry::{Entry, EntryKind, TreePath, TreeSource, Unreadable};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{Hash32, SnapshotId};
use rekindle_model::time::Stamp;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::CaptureRequest;
use crate::chunker::{CHUNK_MAX, Chunker};
use crate::error::VaultError;
use crate::index::PackListing;
use crate::location::{Holdings, Location};
use crate::object::{ChunkId, ChunkRef, ObjectName};
use crate::pack::{BuiltPack, PackBuilder, PackKind};
use crate::progress::ProgressSink;
use crate::reader::{EntryStream, SnapshotReader};
use crate::snapshot::{ContentDigest, EntryRecord, Snapshot, write_record};
use crate::spool::Spool;
use crate::store::StoreError;
use crate::tier::Tier;

/// A file is read again if its ctime is not older than the parent's consistency point by this much. File
/// systems stamp coarsely, so a file may change twice under one stamp.
const CTIME_MARGIN_NS: i64 = 2_000_000_000;

/// The chunks that are stored already.
pub(super) struct Held {
    spool: Holdings,
    /// One for each location of each due tier; empty if the location does not answer.
    tiers: Vec<Holdings>,
}

impl Held {
    pub(super) async fn read(spool: &Spool, tiers: &[Arc<Tier>]) -> Result<Self, VaultError> {
        let spool = spool.location().holdings().await?;
        let mut held = Vec::new();
        for tier in tiers {
            for location in tier.locations() {
                let holdings = location.holdings().await.unwrap_or_else(|error| {
                    tracing::warn!(location = %location.url, %error, "it cannot be read, so it counts as empty");
                    Holdings::default()
                });
                held.push(holdings);
            }
            held.extend(tier.down().iter().map(|_| Holdings::default()));
        }
        Ok(Self { spool, tiers: held })
    }

    /// Returns whether the spool, or every due location, has the chunk.
    fn needs_no_copy(&self, id: &ChunkId) -> bool {
        let everywhere = !self.tiers.is_empty() && self.tiers.iter().all(|tier| tier.holds(id));
        everywhere || self.spool.holds(id)
    }

    /// Returns whether any place has the chunk, so that storing it needs no source.
    fn knows(&self, id: &ChunkId) -> bool {
        self.spool.holds(id) || self.tiers.iter().any(|tier| tier.holds(id))
    }
}

pub(super) struct Session {
    held: Held,
    parent: Option<Parent>,
    data: Packer,
    tree: Packer,
    chunker: Chunker,
    progress: ProgressSink,
    stop: CancellationToken,
    done: u64,
    bytes_read: u64,
    /// The files with names still to come, by their first names.
    linked: HashMap<TreePath, Linked>,
}

/// What came of reading a file.
enum Read {
    Whole(EntryRecord),
    Unreadable(Entry, std::io::Error),
}

/// A file with several names.
struct Linked {
    /// The record of its first name.
    record: EntryRecord,
    /// How many of its names may still come. Some may be outside of the tree.
    left: u64,
}

impl Session {
    pub(super) fn new(
        spool: Arc<Location>,
        held: Held,
        parent: Option<SnapshotReader>,
        progress: ProgressSink,
        stop: CancellationToken,
    ) -> Self {
        let seed = spool.keyring.newest().chunker_seed;
        Self {
            held,
            parent: parent.map(Parent::new),
            data: Packer::new(Arc::clone(&spool), PackKind::Data),
            tree: Packer::new(spool, PackKind::Tree),
            chunker: Chunker::new(seed),
            progress,
            stop,
            done: 0,
            bytes_read: 0,
            linked: HashMap::new(),
        }
    }

    /// Reads the tree and makes every pack and their index durable; returns the document to write next.
    pub(super) fn run(mut self, request: CaptureRequest, runtime: &Handle) -> Result<Snapshot, VaultError> {
        let CaptureRequest {
            snapshot: id,
            component,
            mut source,
            consistency_point,
            captured_by,
            metadata,
            ..
        } = request;
        let mut snapshot = Snapshot {
            id,
            component,
            consistency_point,
            captured_by,
            content_digest: Hash32::ZERO,
            files: 0,
            dirs: 0,
            symlinks: 0,
            hard_links: 0,
            nodes: 0,
            bytes: 0,
            unreadable: Unreadable::default(),
            tree: Vec::new(),
            tree_bytes: 0,
            bytes_read: 0,
            bytes_new: 0,
            metadata,
            parent: self.parent.as_ref().map(|parent| parent.id),
        };
        let mut digest = ContentDigest::new();
        let mut stream = TreeWriter::new(self.data.location.keyring.newest().chunker_seed);
        let mut last: Option<TreePath> = None;
        while let Some(entry) = source.next_entry()? {
            self.check_stop()?;
            if let Some(last) = last.as_ref().filter(|last| **last >= entry.path) {
                return Err(VaultError::Unordered {
                    after: last.display(),
                    found: entry.path.display(),
                });
            }
            last = Some(entry.path.clone());
            let Some(record) = self.record(entry, source.as_mut(), runtime)? else {
                continue;
            };
            match &record.entry.kind {
                EntryKind::File { size } => {
                    snapshot.files += 1;
                    if record.entry.first_name.is_some() {
                        snapshot.hard_links += 1;
                    } else {
                        snapshot.bytes += size;
                    }
                }
                EntryKind::Dir => snapshot.dirs += 1,
                EntryKind::Symlink { .. } => snapshot.symlinks += 1,
                EntryKind::Fifo | EntryKind::CharDevice(_) | EntryKind::BlockDevice(_) => snapshot.nodes += 1,
            }
            digest.add(&record.entry, record.content.as_ref());
            stream.push(&record, &self.held, &mut self.tree, runtime)?;
        }
        stream.finish(&self.held, &mut self.tree, runtime)?;
        (snapshot.tree, snapshot.tree_bytes) = (stream.chunks, stream.bytes);
        snapshot.unreadable = source.unreadable();
        snapshot.content_digest = digest.finish();
        snapshot.bytes_read = self.bytes_read;
        snapshot.bytes_new = self.data.finish(runtime)? + self.tree.finish(runtime)?;
        let mut listings = self.data.listings;
        listings.append(&mut self.tree.listings);
        if !listings.is_empty() {
            runtime.block_on(self.data.location.put_index(&listings))?;
        }
        Ok(snapshot)
    }

    /// Returns the record of an entry; none for a file that cannot be read and that the source leaves out.
    fn record(
        &mut self,
        mut entry: Entry,
        source: &mut dyn TreeSource,
        runtime: &Handle,
    ) -> Result<Option<EntryRecord>, VaultError> {
        let EntryKind::File { size } = entry.kind else {
            return Ok(Some(EntryRecord {
                entry,
                content: None,
                chunks: Vec::new(),
            }));
        };
        let first = entry.first_name.take();
        if let Some(record) = first.as_ref().and_then(|first| self.further_name(&entry, first)) {
            return Ok(Some(record));
        }
        let record = match self.unchanged(&entry, runtime) {
            Some(known) => {
                self.advance(size);
                EntryRecord {
                    entry,
                    content: known.content,
                    chunks: known.chunks,
                }
            }
            None => {
                let content = source.open(&entry)?;
                match self.read(entry, content, runtime)? {
                    Read::Whole(record) => record,
                    Read::Unreadable(entry, why) if source.leave_out(&entry, &why) => return Ok(None),
                    Read::Unreadable(entry, why) => return Err(unreadable(&entry, &why).into()),
                }
            }
        };
        if record.entry.names > 1 {
            let linked = Linked {
                record: record.clone(),
                left: record.entry.names - 1,
            };
            // If the source's first name was not captured, this name takes its place for the others.
            let first = first.unwrap_or_else(|| record.entry.path.clone());
            self.linked.insert(first, linked);
        }
        Ok(Some(record))
    }

    /// Returns the record of another name of a file that was captured before. The file is not read again, so all
    /// its names have one content even if it is being written to.
    fn further_name(&mut self, entry: &Entry, first: &TreePath) -> Option<EntryRecord> {
        let linked = self.linked.get_mut(first)?;
        linked.left -= 1;
        let over = linked.left == 0;
        let mut record = match over {
            true => self.linked.remove(first)?.record,
            false => linked.record.clone(),
        };
        record.entry.first_name = Some(std::mem::replace(&mut record.entry.path, entry.path.clone()));
        Some(record)
    }

    /// Returns the parent's record if the file did not change and all its chunks exist somewhere.
    fn unchanged(&mut self, entry: &Entry, runtime: &Handle) -> Option<EntryRecord> {
        let known = self.parent.as_mut()?.find(entry, runtime)?;
        known
            .chunks
            .iter()
            .all(|chunk| self.held.knows(&chunk.id))
            .then_some(known)
    }

    fn read(
        &mut self,
        mut entry: Entry,
        mut content: Box<dyn std::io::Read + Send>,
        runtime: &Handle,
    ) -> Result<Read, VaultError> {
        let mut hasher = blake3::Hasher::new();
        let mut chunks = Vec::new();
        let mut size = 0;
        self.chunker.begin();
        loop {
            if self.stop.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            let plain = match self.chunker.next(content.as_mut()) {
                Ok(Some(plain)) => plain,
                Ok(None) => break,
                Err(why) => return Ok(Read::Unreadable(entry, why)),
            };
            hasher.update(plain);
            let len = plain.len() as u64;
            chunks.push(self.data.put(plain, &self.held, runtime)?);
            size += len;
            self.bytes_read += len;
            self.advance(len);
        }
        // The file may have grown or shrunk since it was listed: record the length that was read.
        entry.kind = EntryKind::File { size };
        Ok(Read::Whole(EntryRecord {
            entry,
            content: Some(Hash32(*hasher.finalize().as_bytes())),
            chunks,
        }))
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.progress.report(self.done, None);
    }

    fn check_stop(&self) -> Result<(), VaultError> {
        if self.stop.is_cancelled() {
            Err(VaultError::Interrupted)
        } else {
            Ok(())
        }
    }
}

fn unreadable(entry: &Entry, error: &std::io::Error) -> Failure {
    Failure::transient(
        code::SOURCE_UNREADABLE,
        format!("{} could not be read: {error}", entry.path.display()),
    )
}

/// The parent's entries, read in step with the new ones.
struct Parent {
    id: SnapshotId,
    consistency_point: Stamp,
    stream: EntryStream,
    next: Option<EntryRecord>,
    /// The stream has ended or broke: no more entries of the parent are known.
    over: bool,
}

impl Parent {
    fn new(reader: SnapshotReader) -> Self {
        let snapshot = reader.snapshot();
        let (id, consistency_point) = (snapshot.id, snapshot.consistency_point);
        Self {
            id,
            consistency_point,
            stream: reader.entries(),
            next: None,
            over: false,
        }
    }

    /// Returns the parent's record of the entry if it shows an unchanged file.
    fn find(&mut self, entry: &Entry, runtime: &Handle) -> Option<EntryRecord> {
        while !self.over && self.next.as_ref().is_none_or(|next| next.entry.path < entry.path) {
            self.next = runtime.block_on(self.stream.next()).unwrap_or_else(|error| {
                tracing::warn!(parent = %self.id, %error, "the rest of the parent cannot be read; files are read again");
                None
            });
            self.over = self.next.is_none();
        }
        let known = self.next.take_if(|next| next.entry.path == entry.path)?;
        is_unchanged(&known.entry, entry, &self.consistency_point).then_some(known)
    }
}

/// Returns whether the parent's entry proves that the file did not change.
fn is_unchanged(before: &Entry, now: &Entry, parent_point: &Stamp) -> bool {
    let settled = parent_point
        .utc
        .timestamp_nanos_opt()
        .is_some_and(|point| now.ctime_ns < point.saturating_sub(CTIME_MARGIN_NS));
    let stat = |entry: &Entry| {
        (
            entry.kind.clone(),
            entry.mtime_s,
            entry.mtime_ns,
            entry.ctime_ns,
            entry.inode,
        )
    };
    settled && stat(before) == stat(now)
}

/// Fills packs of one kind and writes them, one behind the other.
struct Packer {
    location: Arc<Location>,
    kind: PackKind,
    open: Option<PackBuilder>,
    writing: Option<JoinHandle<Result<(), StoreError>>>,
    /// Chunks of this capture's own packs.
    seen: HashSet<ChunkId>,
    listings: Vec<PackListing>,
    written: u64,
}

impl Packer {
    fn new(location: Arc<Location>, kind: PackKind) -> Self {
        let (open, writing, seen, listings) = (None, None, HashSet::new(), Vec::new());
        Self {
            location,
            kind,
            open,
            writing,
            seen,
            listings,
            written: 0,
        }
    }

    /// Adds a chunk, unless it is stored already.
    fn put(&mut self, plain: &[u8], held: &Held, runtime: &Handle) -> Result<ChunkRef, VaultError> {
        let generation = self.location.keyring.newest();
        let id = generation.chunk_id(plain);
        let len =
            u32::try_from(plain.len()).map_err(|_| VaultError::Internal("a chunk of 4 GiB".to_owned()))?;
        if held.needs_no_copy(&id) || !self.seen.insert(id) {
            return Ok(ChunkRef { id, len });
        }
        let repository = self.location.keyring.repository();
        let pack = self
            .open
            .get_or_insert_with(|| PackBuilder::new(repository, generation, self.kind));
        pack.add(id, plain)
            .map_err(|fault| VaultError::Internal(format!("a pack {fault}")))?;
        if pack.is_full() {
            self.close(runtime)?;
        }
        Ok(ChunkRef { id, len })
    }

    /// Hands the open pack to a background write, once the one before it is durable.
    fn close(&mut self, runtime: &Handle) -> Result<(), VaultError> {
        self.settle(runtime)?;
        let Some(pack) = self.open.take() else {
            return Ok(());
        };
        let BuiltPack { info, slots, bytes } = pack.finish();
        self.written += info.len;
        let path = ObjectName::Pack(info.id).path();
        let store = Arc::clone(&self.location.store);
        self.writing = Some(runtime.spawn(async move { store.put(&path, bytes).await }));
        self.listings.push(PackListing { info, slots });
        Ok(())
    }

    fn settle(&mut self, runtime: &Handle) -> Result<(), VaultError> {
        match self.writing.take() {
            Some(writing) => Ok(runtime
                .block_on(writing)
                .map_err(|error| VaultError::Internal(error.to_string()))??),
            None => Ok(()),
        }
    }

    /// Makes everything durable; returns the number of bytes written.
    fn finish(&mut self, runtime: &Handle) -> Result<u64, VaultError> {
        self.close(runtime)?;
        self.settle(runtime)?;
        Ok(self.written)
    }
}

/// Cuts the entry stream into chunks as it grows.
struct TreeWriter {
    chunker: Chunker,
    buffer: Vec<u8>,
    chunks: Vec<ChunkRef>,
    bytes: u64,
}

impl TreeWriter {
    fn new(seed: u64) -> Self {
        Self {
            chunker: Chunker::new(seed),
            buffer: Vec::new(),
            chunks: Vec::new(),
            bytes: 0,
        }
    }

    fn push(
        &mut self,
        record: &EntryRecord,
        held: &Held,
        packer: &mut Packer,
        runtime: &Handle,
    ) -> Result<(), VaultError> {
        write_record(record, &mut self.buffer).map_err(VaultError::Internal)?;
        while self.buffer.len() >= CHUNK_MAX {
            self.emit(held, packer, runtime)?;
        }
        Ok(())
    }

    fn finish(&mut self, held: &Held, packer: &mut Packer, runtime: &Handle) -> Result<(), VaultError> {
        while !self.buffer.is_empty() {
            self.emit(held, packer, runtime)?;
        }
        Ok(())
    }

    fn emit(&mut self, held: &Held, packer: &mut Packer, runtime: &Handle) -> Result<(), VaultError> {
        let len = self.chunker.cut(&self.buffer);
        let chunk = self.buffer.get(..len).unwrap_or_default();
        self.chunks.push(packer.put(chunk, held, runtime)?);
        self.bytes += len as u64;
        self.buffer.drain(..len);
        Ok(())
    }
}
