//! One place that holds objects of one repository: a location of a tier, or the spool.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rekindle_model::id::Hash32;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::error::{ObjectFault, VaultError};
use crate::index::{self, Found, Index, PackListing};
use crate::key::Keyring;
use crate::object::{ChunkId, MARKER_MAX, ObjectName, WRAPPED_KEY_MAX};
use crate::pack::{self, FOOTER_LEN, HEADER_LEN};
use crate::store::{Store, StoreError};
use crate::{document, segment};

/// A place with its storage and its indexes as they were last read.
#[derive(Debug)]
pub(crate) struct Location {
    /// Its name for people: the URL, or the spool's folder.
    pub(crate) url: String,
    /// Its tier's name; empty for the spool.
    pub(crate) tier: String,
    /// Its id, from its marker; nil for the spool.
    pub(crate) id: Uuid,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keyring: Arc<Keyring>,
    /// Whether packs that no index lists are always read too. This is so in the spool, where a killed capture
    /// leaves such packs. In a tier it is so only if an index is damaged, or if a chunk is missed.
    adopts: bool,
    known: Mutex<Known>,
}

/// The folder of marks: one empty object for each doubted pack, under the pack's name.
const MARKS: &str = "damaged";

#[derive(Debug, Default)]
struct Known {
    lists: HashSet<Hash32>,
    index: Arc<Index>,
    faults: Vec<(ObjectName, ObjectFault)>,
    doubted: HashSet<Hash32>,
    /// Whether packs that no index lists are read too, because a chunk was missed.
    adopts: bool,
}

impl Location {
    pub(crate) fn of_spool(folder: String, store: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        let adopts = true;
        Self {
            adopts,
            ..Self::of_tier("", folder, Uuid::nil(), store, keyring)
        }
    }

    pub(crate) fn of_tier(
        tier: &str,
        url: String,
        id: Uuid,
        store: Arc<dyn Store>,
        keyring: Arc<Keyring>,
    ) -> Self {
        Self {
            url,
            tier: tier.to_owned(),
            id,
            store,
            keyring,
            adopts: false,
            known: Mutex::default(),
        }
    }

    /// Returns the current index. Lists that were read before are not read again.
    pub(crate) async fn index(&self) -> Result<Arc<Index>, VaultError> {
        Ok(self.index_and_faults().await?.0)
    }

    /// Returns the index with all packs that are there, also those that no index lists. Called when a chunk is in
    /// no list: a list may be lost, and its packs be whole. From then on every index of this location is so.
    pub(crate) async fn adopted(&self) -> Result<Arc<Index>, VaultError> {
        self.known.lock().await.adopts = true;
        self.index().await
    }

    /// Returns the index and the damaged lists that it leaves out.
    pub(crate) async fn index_and_faults(&self) -> Result<IndexAndFaults, VaultError> {
        let mut known = self.known.lock().await;
        let known = &mut *known;
        let names = self.names("index").await?;
        let lists: HashSet<Hash32> = names
            .iter()
            .filter_map(|(name, _)| {
                if let ObjectName::Index(id) = name {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect();
        let doubted = self.doubted().await?;
        // A list is gone, so there was a cleanup. Start again: the index must not name a chunk that is gone.
        if !known.lists.is_subset(&lists) || known.doubted != doubted {
            *known = Known {
                doubted,
                adopts: known.adopts,
                ..Known::default()
            };
        }
        let unread: Vec<Hash32> = lists.difference(&known.lists).copied().collect();
        known.faults.clear();
        for id in unread {
            let name = ObjectName::Index(id);
            match self.list_of(id).await? {
                Ok(listings) => {
                    let index = Arc::make_mut(&mut known.index);
                    for listing in listings {
                        let doubted = known.doubted.contains(&listing.info.id);
                        index.add(listing, doubted);
                    }
                    known.lists.insert(id);
                }
                Err(fault) => known.faults.push((name, fault)),
            }
        }
        if self.adopts || known.adopts || !known.faults.is_empty() {
            for (name, len) in self.names("packs").await? {
                let ObjectName::Pack(id) = name else { continue };
                if known.index.holds_pack(&id) {
                    continue;
                }
                match self.listing(id, len).await {
                    Ok(listing) => {
                        Arc::make_mut(&mut known.index).add(listing, known.doubted.contains(&id));
                    }
                    Err(VaultError::Object { fault, .. }) => known.faults.push((name, fault)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((Arc::clone(&known.index), known.faults.clone()))
    }

    /// Returns what is there: the index without packs that are missing, cut short or doubted.
    pub(crate) async fn holdings(&self) -> Result<Holdings, VaultError> {
        let index = self.index().await?;
        let doubted = self.doubted().await?;
        let lengths: HashMap<Hash32, u64> = self
            .names("packs")
            .await?
            .into_iter()
            .filter_map(|(name, len)| {
                if let ObjectName::Pack(id) = name {
                    Some((id, len))
                } else {
                    None
                }
            })
            .filter(|(id, _)| !doubted.contains(id))
            .collect();
        Ok(Holdings {
            index,
            lengths,
            doubted,
        })
    }

    /// Returns the packs that were found damaged and not written again since.
    pub(crate) async fn doubted(&self) -> Result<HashSet<Hash32>, VaultError> {
        let marks = self.store.list(MARKS).await?;
        let name = |path: &str| path.strip_prefix(MARKS)?.strip_prefix('/')?.parse().ok();
        Ok(marks.iter().filter_map(|(path, _)| name(path)).collect())
    }

    /// Marks a damaged pack. It no longer counts as held, so the next backup stores its chunks again. It
    /// stays, and is read for chunks that nothing else has. If the place is read-only, this only logs a
    /// warning.
    pub(crate) async fn doubt(&self, pack: Hash32) {
        if let Err(error) = self.store.put(&mark(pack), Bytes::new()).await {
            tracing::warn!(location = %self.url, %pack, %error, "a damaged pack cannot be marked, so it counts as held");
        }
    }

    /// Removes a pack's mark: its bytes are right again, or it is gone for good.
    pub(crate) async fn trust(&self, pack: Hash32) -> Result<(), VaultError> {
        Ok(self.store.delete(&mark(pack)).await?)
    }

    pub(crate) async fn list_of(
        &self,
        id: Hash32,
    ) -> Result<Result<Vec<PackListing>, ObjectFault>, VaultError> {
        match self.bytes(ObjectName::Index(id)).await {
            Ok(Some(bytes)) => Ok(index::open(&self.keyring, id, &bytes)),
            Ok(None) => Ok(Err(ObjectFault::Missing)),
            Err(VaultError::Object { fault, .. }) => Ok(Err(fault)),
            Err(error) => Err(error),
        }
    }

    /// Reads a pack's own header and table.
    pub(crate) async fn listing(&self, id: Hash32, len: u64) -> Result<PackListing, VaultError> {
        let name = ObjectName::Pack(id);
        let path = name.path();
        let fault = |fault| self.fault(name, fault);
        let read = async |offset, len| {
            self.store
                .get_range(&path, offset, len)
                .await
                .map_err(|e| self.read_error(name, e))
        };
        let header = read(0, HEADER_LEN as u64).await?;
        let info = pack::read_header(id, len, &header).map_err(fault)?;
        let footer = read(len.saturating_sub(FOOTER_LEN as u64), FOOTER_LEN as u64).await?;
        let (offset, table_len) = pack::table_range(len, &footer).map_err(fault)?;
        let table = read(offset, table_len).await?;
        let slots = pack::open_table(&self.keyring, &info, &table).map_err(fault)?;
        Ok(PackListing { info, slots })
    }

    /// Reads and opens one chunk.
    pub(crate) async fn chunk(&self, found: Found<'_>) -> Result<Vec<u8>, VaultError> {
        let name = ObjectName::Pack(found.pack.id);
        let (offset, len) = (u64::from(found.slot.offset), u64::from(found.slot.sealed_len));
        let sealed = self.store.get_range(&name.path(), offset, len).await;
        let sealed = sealed.map_err(|error| self.read_error(name, error))?;
        let (keyring, pack, slot, ordinal) = (
            Arc::clone(&self.keyring),
            found.pack.clone(),
            found.slot,
            found.ordinal,
        );
        blocking(move || pack::open_chunk(&keyring, &pack, ordinal, &slot, &sealed))
            .await?
            .map_err(|fault| self.fault(name, fault))
    }

    /// Returns the objects in a folder with their lengths. Other files are skipped.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<(ObjectName, u64)>, VaultError> {
        let listed = self.store.list(folder).await?;
        Ok(listed
            .into_iter()
            .filter_map(|(path, len)| Some((ObjectName::from_path(&path)?, len)))
            .collect())
    }

    /// Returns an object's stored bytes; none if it is missing.
    pub(crate) async fn bytes(&self, name: ObjectName) -> Result<Option<Bytes>, VaultError> {
        match self.store.get(&name.path(), max_len(&name)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.read_error(name, error)),
        }
    }

    /// Returns a document; none if it is missing.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        name: ObjectName,
    ) -> Result<Option<T>, VaultError> {
        match self.bytes(name).await? {
            Some(bytes) => self.open_document(name, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a document's stored bytes.
    pub(crate) fn open_document<T: DeserializeOwned>(
        &self,
        name: ObjectName,
        bytes: &[u8],
    ) -> Result<T, VaultError> {
        let kind = document::Kind::of(&name)
            .ok_or_else(|| VaultError::Internal(format!("{name} is no document")))?;
        document::open(&self.keyring, kind, bytes).map_err(|fault| self.fault(name, fault))
    }

    /// Seals a document and writes it.
    pub(crate) async fn put_document<T: Serialize>(
        &self,
        name: ObjectName,
        document: &T,
    ) -> Result<(), VaultError> {
        let kind = document::Kind::of(&name)
            .ok_or_else(|| VaultError::Internal(format!("{name} is no document")))?;
        let bytes = document::seal(&self.keyring, kind, document).map_err(|fault| self.fault(name, fault))?;
        Ok(self.store.put(&name.path(), bytes).await?)
    }

    /// Seals the lists of packs that are durable already, and writes them; returns their length in bytes.
    pub(crate) async fn put_index(&self, listings: &[PackListing]) -> Result<u64, VaultError> {
        let mut written = 0;
        for list in index::lists(listings) {
            let (id, bytes) = index::seal(&self.keyring, list);
            written += bytes.len() as u64;
            self.store.put(&ObjectName::Index(id).path(), bytes).await?;
        }
        Ok(written)
    }

    pub(crate) fn fault(&self, object: ObjectName, fault: ObjectFault) -> VaultError {
        VaultError::Object {
            location: self.url.clone(),
            object,
            fault,
        }
    }

    /// Returns what is wrong with the object, or the error of storage.
    pub(crate) fn read_error(&self, name: ObjectName, error: StoreError) -> VaultError {
        match ObjectFault::of(&error) {
            Some(fault) => self.fault(name, fault),
            None => error.into(),
        }
    }
}

/// The content of a location, from its indexes and its list of packs together.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) index: Arc<Index>,
    /// Stored length of each pack that is not doubted, bytes.
    pub(crate) lengths: HashMap<Hash32, u64>,
    /// Packs that were found damaged.
    pub(crate) doubted: HashSet<Hash32>,
}

impl Holdings {
    /// Returns the place of a chunk in a pack that is there in full length and is not doubted.
    pub(crate) fn find<'a>(&'a self, id: &'a ChunkId) -> Option<Found<'a>> {
        let there = |found: &Found<'_>| self.lengths.get(&found.pack.id) == Some(&found.pack.len);
        self.index.all(id).find(there)
    }

    pub(crate) fn holds(&self, id: &ChunkId) -> bool {
        self.find(id).is_some()
    }
}

/// Returns the most stored bytes that an object of its kind can have. A larger one is damaged, and is not read:
/// it may be a sparse file of any length.
fn max_len(name: &ObjectName) -> u64 {
    match name {
        ObjectName::Marker => MARKER_MAX,
        ObjectName::Key => WRAPPED_KEY_MAX,
        ObjectName::Pack(_) => pack::PACK_MAX,
        ObjectName::Index(_) => index::INDEX_MAX,
        ObjectName::Snapshot(_) | ObjectName::Set(_) | ObjectName::Head(_) => document::DOCUMENT_MAX,
        ObjectName::Segment(..) => segment::SEGMENT_MAX,
    }
}

fn mark(pack: Hash32) -> String {
    format!("{MARKS}/{pack}")
}

pub(crate) type IndexAndFaults = (Arc<Index>, Vec<(ObjectName, ObjectFault)>);

/// Runs work that keeps a core busy off the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VaultError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VaultError::Internal(error.to_string()))
}
