//! Reads a snapshot: its document, its entries in order, and any chunk, from any tier that has it whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_model::entry::TreePath;
use rekindle_model::id::{Hash32, SnapshotId};

use tokio::sync::OnceCell;

use crate::error::{ObjectFault, VaultError};
use crate::index::Index;
use crate::location::Location;
use crate::object::{ChunkRef, ObjectName};
use crate::snapshot::{EntryRecord, Snapshot, read_record};
use crate::tier::{Tier, first_document};

/// A snapshot that is open for reading.
///
/// Clones are cheap and may read at the same time. It holds the indexes of its tiers (about 70 bytes for each
/// chunk that they know) and no content.
#[derive(Clone, Debug)]
pub struct SnapshotReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    snapshot: Snapshot,
    sources: Vec<Source>,
    /// Locations whose index could not be read, and why.
    down: Vec<String>,
    /// For each tier that gave the document or a part of the entries: why the tiers before it could not.
    listed: Mutex<BTreeMap<Arc<str>, Vec<String>>>,
    /// Whether to mark damaged packs, as a backup does. A plain reader changes nothing.
    marks: bool,
}

/// A location that is read from.
#[derive(Debug)]
struct Source {
    /// Its tier, or the location's own name if no tier was named.
    tier: Arc<str>,
    location: Arc<Location>,
    index: Arc<Index>,
    /// The index with the packs that no list names. It is read when a chunk is in no list, and once: each reading
    /// lists all packs.
    adopted: OnceCell<Arc<Index>>,
}

/// A chunk and the tier that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its plain bytes.
    pub bytes: Vec<u8>,
    /// The tier that gave them.
    pub tier: Arc<str>,
    /// The answers of the locations that were asked before in vain.
    pub missed: Vec<String>,
}

/// The place of a chunk in the first location that has it, for reading in the order of packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkPlace {
    /// The index of the reader's location.
    pub location: usize,
    /// The pack.
    pub pack: Hash32,
    /// Offset in the pack, bytes.
    pub offset: u32,
}

impl SnapshotReader {
    /// Opens a snapshot. Tiers are tried in their order, and a tier's locations in theirs: for the document,
    /// and again for each chunk. A tier that cannot be read is skipped as long as another one can.
    pub async fn open(tiers: &[Arc<Tier>], id: SnapshotId) -> Result<Self, VaultError> {
        let locations = tiers.iter().flat_map(|tier| {
            let name: Arc<str> = tier.name().into();
            let of_tier = tier.locations().iter();
            of_tier.map(move |location| (Arc::clone(&name), Arc::clone(location)))
        });
        Self::open_named(locations.collect(), id).await
    }

    pub(crate) async fn open_at(locations: Vec<Arc<Location>>, id: SnapshotId) -> Result<Self, VaultError> {
        Self::open_named(unnamed(locations), id).await
    }

    async fn open_named(
        locations: Vec<(Arc<str>, Arc<Location>)>,
        id: SnapshotId,
    ) -> Result<Self, VaultError> {
        let (mut missed, mut failed) = (Vec::new(), None);
        for (tier, location) in &locations {
            match location.document::<Snapshot>(ObjectName::Snapshot(id)).await {
                Ok(Some(snapshot)) => {
                    let tier = Arc::clone(tier);
                    let reader = Self::build(locations, snapshot, false).await;
                    reader.note_listed(tier, missed);
                    return Ok(reader);
                }
                Ok(None) => missed.push(format!("{} does not hold snapshot {id}", location.url)),
                Err(error) => {
                    missed.push(error.to_string());
                    failed.get_or_insert(error);
                }
            }
        }
        Err(failed.unwrap_or(VaultError::UnknownSnapshot(id)))
    }

    /// Opens a snapshot as [`SnapshotReader::marking`] does.
    pub(crate) async fn open_marking(
        locations: Vec<Arc<Location>>,
        id: SnapshotId,
    ) -> Result<Self, VaultError> {
        let found = first_document(&locations, ObjectName::Snapshot(id)).await?;
        let snapshot = found.ok_or(VaultError::UnknownSnapshot(id))?;
        Ok(Self::marking(locations, snapshot).await)
    }

    /// Opens a snapshot whose document the caller has.
    pub(crate) async fn of(locations: Vec<Arc<Location>>, snapshot: Snapshot) -> Self {
        Self::build(unnamed(locations), snapshot, false).await
    }

    /// Opens a snapshot for a backup, and marks packs that it finds damaged. Such a pack no longer counts as
    /// held, so the next capture stores its chunks again.
    pub(crate) async fn marking(locations: Vec<Arc<Location>>, snapshot: Snapshot) -> Self {
        Self::build(unnamed(locations), snapshot, true).await
    }

    async fn build(locations: Vec<(Arc<str>, Arc<Location>)>, snapshot: Snapshot, marks: bool) -> Self {
        let mut sources = Vec::new();
        let mut down = Vec::new();
        for (tier, location) in locations {
            match location.index().await {
                Ok(index) => sources.push(Source {
                    tier,
                    location,
                    index,
                    adopted: OnceCell::new(),
                }),
                Err(error) => down.push(format!("{}: {error}", location.url)),
            }
        }
        Self {
            inner: Arc::new(Inner {
                snapshot,
                sources,
                down,
                listed: Mutex::default(),
                marks,
            }),
        }
    }

    /// Returns the snapshot's document.
    pub fn snapshot(&self) -> &Snapshot {
        &self.inner.snapshot
    }

    /// Returns the entries from the first on.
    pub fn entries(&self) -> EntryStream {
        self.entries_at(0)
    }

    /// Returns the entries from a [position](EntryStream::position) on, which may be kept in a checkpoint.
    pub fn entries_at(&self, position: u64) -> EntryStream {
        let mut before = 0;
        let mut chunk = 0;
        for tree in &self.inner.snapshot.tree {
            if before + u64::from(tree.len) > position {
                break;
            }
            before += u64::from(tree.len);
            chunk += 1;
        }
        let skip = usize::try_from(position - before).unwrap_or(usize::MAX);
        EntryStream {
            reader: self.clone(),
            chunk,
            skip,
            buffer: Vec::new(),
            at: 0,
            position,
            last: None,
        }
    }

    /// Returns a chunk's plain bytes, checked against its id and length, from the first location that has it
    /// whole. [`VaultError::ChunkLost`] says what each location answered.
    pub async fn chunk(&self, chunk: &ChunkRef) -> Result<Vec<u8>, VaultError> {
        self.fetch(chunk).await.map(|fetched| fetched.bytes)
    }

    /// Returns the same chunk as [`SnapshotReader::chunk`], with the tier that gave it.
    pub async fn fetch(&self, chunk: &ChunkRef) -> Result<Fetched, VaultError> {
        let mut attempts = self.inner.down.clone();
        for source in &self.inner.sources {
            let index = &source.index;
            if let Some(fetched) = self.fetch_from(source, index, chunk, &mut attempts).await {
                return Ok(fetched);
            }
        }
        // A list of packs may be lost, and the packs be whole.
        for source in &self.inner.sources {
            match source.adopted.get_or_try_init(|| source.location.adopted()).await {
                Ok(index) => {
                    if let Some(fetched) = self.fetch_from(source, index, chunk, &mut attempts).await {
                        return Ok(fetched);
                    }
                }
                Err(error) => attempts.push(error.to_string()),
            }
        }
        attempts.sort_unstable();
        attempts.dedup();
        Err(VaultError::ChunkLost {
            chunk: chunk.id,
            attempts,
        })
    }

    /// Returns a chunk from one location, or adds its answers to `attempts`.
    async fn fetch_from(
        &self,
        Source { tier, location, .. }: &Source,
        index: &Index,
        chunk: &ChunkRef,
        attempts: &mut Vec<String>,
    ) -> Option<Fetched> {
        let before = attempts.len();
        for found in index.all(&chunk.id) {
            match location.chunk(found).await {
                Ok(bytes) if bytes.len() == chunk.len as usize => {
                    return Some(Fetched {
                        bytes,
                        tier: Arc::clone(tier),
                        missed: std::mem::take(attempts),
                    });
                }
                Ok(plain) => attempts.push(format!(
                    "{}: it has {} bytes instead of {}",
                    location.url,
                    plain.len(),
                    chunk.len
                )),
                Err(error) => {
                    self.missed(location, chunk, &error).await;
                    attempts.push(error.to_string());
                }
            }
        }
        if attempts.len() == before {
            attempts.push(format!("{} does not hold it", location.url));
        }
        None
    }

    /// Notes that a chunk could not be read from a pack; marks the pack if this reader marks.
    async fn missed(&self, location: &Location, chunk: &ChunkRef, error: &VaultError) {
        tracing::warn!(chunk = %chunk.id, %error, "a chunk could not be read, trying the next place");
        if let VaultError::Object {
            object: ObjectName::Pack(pack),
            fault,
            ..
        } = error
            && self.inner.marks
            && fault.is_damage()
        {
            location.doubt(*pack).await;
        }
    }

    /// Returns the first place to read a chunk from; none if no location lists it.
    pub fn place(&self, chunk: &ChunkRef) -> Option<ChunkPlace> {
        self.inner
            .sources
            .iter()
            .enumerate()
            .find_map(|(location, source)| {
                let found = source.index.find(&chunk.id)?;
                Some(ChunkPlace {
                    location,
                    pack: found.pack.id,
                    offset: found.slot.offset,
                })
            })
    }

    /// Returns the URLs of the reader's locations, by [`ChunkPlace::location`].
    pub fn urls(&self) -> BTreeMap<usize, &str> {
        self.inner
            .sources
            .iter()
            .map(|source| source.location.url.as_str())
            .enumerate()
            .collect()
    }

    /// Returns the tiers that gave the snapshot's document or a part of the entries so far. Each comes with
    /// the answers of the locations that were asked before in vain.
    pub fn listed_from(&self) -> BTreeMap<Arc<str>, Vec<String>> {
        let listed = self.inner.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.clone()
    }

    fn note_listed(&self, tier: Arc<str>, missed: Vec<String>) {
        let mut listed = self.inner.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.entry(tier).or_insert(missed);
    }
}

/// Names each location after itself, for a reader that does not report which tier served.
fn unnamed(locations: Vec<Arc<Location>>) -> Vec<(Arc<str>, Arc<Location>)> {
    let named = |location: Arc<Location>| (Arc::from(location.url.as_str()), location);
    locations.into_iter().map(named).collect()
}

/// The entries of a snapshot, in the order of their paths.
///
/// Holds one chunk of the stream (4 MiB at most) and one record at a time.
#[derive(Debug)]
pub struct EntryStream {
    reader: SnapshotReader,
    /// The next chunk of the stream to fetch.
    chunk: usize,
    /// Bytes of that chunk that lie before the requested position.
    skip: usize,
    buffer: Vec<u8>,
    at: usize,
    position: u64,
    last: Option<TreePath>,
}

impl EntryStream {
    /// Returns the next record; none at the end. It has checked the order: no path comes twice, and none
    /// leaves the tree.
    pub async fn next(&mut self) -> Result<Option<EntryRecord>, VaultError> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if let Some((record, len)) = read_record(rest).map_err(|why| self.malformed(why))? {
                self.at += len;
                self.position += len as u64;
                if self.last.as_ref().is_some_and(|last| *last >= record.entry.path) {
                    let why = format!("{} is out of order", record.entry.path.display());
                    return Err(self.malformed(why));
                }
                self.last = Some(record.entry.path.clone());
                return Ok(Some(record));
            }
            let Some(chunk) = self.reader.snapshot().tree.get(self.chunk).copied() else {
                return match rest.len() {
                    0 => Ok(None),
                    _ => Err(self.malformed("its entries end in the middle of a record".to_owned())),
                };
            };
            let Fetched { bytes, tier, missed } = self.reader.fetch(&chunk).await?;
            self.reader.note_listed(tier, missed);
            self.chunk += 1;
            self.buffer.drain(..self.at);
            self.at = 0;
            self.buffer
                .extend_from_slice(bytes.get(self.skip..).unwrap_or_default());
            self.skip = 0;
        }
    }

    /// Returns where the next record begins, in bytes of the stream, for [`SnapshotReader::entries_at`].
    pub fn position(&self) -> u64 {
        self.position
    }

    fn malformed(&self, why: String) -> VaultError {
        let snapshot = self.reader.snapshot().id;
        VaultError::Object {
            location: self.reader.urls().into_values().collect::<Vec<_>>().join(", "),
            object: ObjectName::Snapshot(snapshot),
            fault: ObjectFault::Malformed { why },
        }
    }
}
