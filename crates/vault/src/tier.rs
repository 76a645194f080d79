//! A tier: one or several locations, each of which holds everything stored in the tier.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rekindle_model::id::{Hash32, SetId, SnapshotId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ObjectFault, TierError, VaultError};
use crate::key::Keyring;
use crate::location::Location;
use crate::object::{FORMAT_MARKER, FORMAT_VERSION, MARKER_MAX, ObjectName, WRAPPED_KEY, WRAPPED_KEY_MAX};
use crate::remembered::Remembered;
use crate::set::RecoverySet;
use crate::snapshot::Snapshot;
use crate::store::{self, OpenError, Store, StoreError};

/// Which locations may become part of the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierMode {
    /// Uses an existing vault, or makes one if the location is empty or missing.
    Create,
    /// Uses only an existing vault.
    Existing,
    /// Uses only the vault that was there before: if it is gone, the location is not mounted or was emptied.
    StoredBefore,
}

/// A tier that is open.
#[derive(Debug)]
pub struct Tier {
    name: String,
    locations: Vec<Arc<Location>>,
    /// URL and reason of each location that could not be reached.
    down: Vec<(String, String)>,
}

/// The marker at a location's top, in plain JSON.
#[derive(Serialize, Deserialize)]
struct Marker {
    format: String,
    version: u32,
    repository: Uuid,
    key_fingerprint: String,
    /// BLAKE3 of the wrapped keyring beside it.
    wrapped_key: Hash32,
    /// Shows that a keyring holder wrote the fields above.
    proof: Hash32,
}

const MARKER_FORMAT: &str = "rekindle-vault";

impl Tier {
    /// Opens a tier at its URLs. `file://./tiers/hot` is relative to `base`.
    ///
    /// If a location cannot be reached, it is left out as long as another one can ([`Tier::down`] names it).
    /// Reading then continues with the rest, and [`crate::store()`] fails and names the missing location.
    pub async fn open(
        name: &str,
        urls: &[String],
        base: &Path,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: TierMode,
    ) -> Result<Self, TierError> {
        Self::open_urls(name, urls, base, keyring, wrapped_key, |_| mode).await
    }

    /// Opens a tier as [`Tier::open`] does, for a workspace that remembers its opened tiers. If a location that held
    /// its vault is now missing or empty, this is an error ([`TierError::Gone`]) under every `mode`. Most likely the
    /// location is not mounted, and a new vault in its place would pass for the lost one.
    pub async fn open_known(
        name: &str,
        urls: &[String],
        base: &Path,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: TierMode,
        remembered: &Remembered,
    ) -> Result<Self, TierError> {
        let repository = keyring.repository();
        let known = remembered.read(name, repository)?;
        let mode_of = |url: &str| match known.contains(url) {
            true => TierMode::StoredBefore,
            false => mode,
        };
        Self::open_urls(name, urls, base, keyring, wrapped_key, mode_of).await
    }

    /// Opens a tier as [`Tier::open_known`] does, and notes its locations before anything is stored there.
    pub async fn open_remembered(
        name: &str,
        urls: &[String],
        base: &Path,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: TierMode,
        remembered: &Remembered,
    ) -> Result<Self, TierError> {
        let repository = keyring.repository();
        let tier = Self::open_known(name, urls, base, keyring, wrapped_key, mode, remembered).await?;
        remembered.note(name, &tier.urls(), repository).await?;
        Ok(tier)
    }

    async fn open_urls(
        name: &str,
        urls: &[String],
        base: &Path,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: impl Fn(&str) -> TierMode,
    ) -> Result<Self, TierError> {
        let mut stores = Vec::new();
        let mut down = Vec::new();
        let mut first = None;
        for url in urls {
            match open_store(name, url, base, mode(url)).await {
                Ok(store) => stores.push((url.clone(), store)),
                Err(
                    error @ (TierError::Unreachable { .. }
                    | TierError::NotAVault { .. }
                    | TierError::Gone { .. }),
                ) if urls.len() > 1 => {
                    down.push((url.clone(), error.to_string()));
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(error)) = (stores.is_empty(), first) {
            return Err(error);
        }
        let mut tier = Self::open_checked(name, stores, keyring, wrapped_key, mode).await?;
        tier.down.append(&mut down);
        Ok(tier)
    }

    /// Opens a tier on storage that is open already: the way in for other kinds of [`Store`].
    pub async fn open_stores(
        name: &str,
        stores: Vec<(String, Arc<dyn Store>)>,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: TierMode,
    ) -> Result<Self, TierError> {
        Self::open_checked(name, stores, keyring, wrapped_key, |_| mode).await
    }

    async fn open_checked(
        name: &str,
        stores: Vec<(String, Arc<dyn Store>)>,
        keyring: Arc<Keyring>,
        wrapped_key: &[u8],
        mode: impl Fn(&str) -> TierMode,
    ) -> Result<Self, TierError> {
        let several = stores.len() > 1;
        let mut tier = Self {
            name: name.to_owned(),
            locations: Vec::new(),
            down: Vec::new(),
        };
        let mut first = None;
        for (url, store) in stores {
            let mode = mode(&url);
            match check_location(name, &url, store.as_ref(), &keyring, wrapped_key, mode).await {
                Ok(()) => {
                    let location = Location::new(url, store, Arc::clone(&keyring), false);
                    tier.locations.push(Arc::new(location));
                }
                Err(error @ (TierError::Unreachable { .. } | TierError::Gone { .. })) if several => {
                    tier.down.push((url, error.to_string()));
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match (tier.locations.is_empty(), first) {
            (false, _) => Ok(tier),
            (true, Some(error)) => Err(error),
            (true, None) => Err(TierError::NoLocation {
                tier: name.to_owned(),
            }),
        }
    }

    /// Reads a location's wrapped keyring, for a host that has nothing else yet.
    pub async fn read_wrapped_key(tier: &str, url: &str, base: &Path) -> Result<Vec<u8>, TierError> {
        let store = open_store(tier, url, base, TierMode::Existing).await?;
        match store.get(WRAPPED_KEY, WRAPPED_KEY_MAX).await {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(StoreError::NotFound { .. }) => Err(TierError::NotAVault {
                tier: tier.to_owned(),
                url: url.to_owned(),
            }),
            Err(source) => Err(TierError::Unreachable {
                tier: tier.to_owned(),
                source,
            }),
        }
    }

    /// Returns the tier's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URLs of the locations that are open.
    pub fn urls(&self) -> Vec<&str> {
        self.locations
            .iter()
            .map(|location| location.url.as_str())
            .collect()
    }

    /// Returns URL and reason of each location that could not be reached.
    pub fn down(&self) -> &[(String, String)] {
        &self.down
    }

    pub(crate) fn locations(&self) -> &[Arc<Location>] {
        &self.locations
    }

    /// Returns an error that names the first location that is down.
    pub(crate) fn all_up(&self) -> Result<(), VaultError> {
        match self.down.first() {
            None => Ok(()),
            Some((url, why)) => Err(VaultError::LocationDown {
                tier: self.name.clone(),
                url: url.clone(),
                why: why.clone(),
            }),
        }
    }

    /// Returns the snapshots that the tier holds, newest first.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotId>, VaultError> {
        let names = self.document_names("snapshots").await?;
        let ids = names.iter().filter_map(|name| {
            if let ObjectName::Snapshot(id) = name {
                Some(*id)
            } else {
                None
            }
        });
        Ok(ids.collect())
    }

    /// Returns a snapshot's document, from the first location that has it whole.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Snapshot, VaultError> {
        let found = self.document(ObjectName::Snapshot(id)).await?;
        found.ok_or(VaultError::UnknownSnapshot(id))
    }

    /// Returns the recovery sets that the tier holds, newest first.
    pub async fn sets(&self) -> Result<Vec<SetId>, VaultError> {
        let names = self.document_names("sets").await?;
        Ok(names
            .iter()
            .filter_map(|name| {
                if let ObjectName::Set(id) = name {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect())
    }

    /// Returns a recovery set, from the first location that has it whole.
    pub async fn set(&self, id: SetId) -> Result<RecoverySet, VaultError> {
        let found = self.document(ObjectName::Set(id)).await?;
        found.ok_or(VaultError::UnknownSet(id))
    }

    /// Writes a recovery set to every location; the same set again changes nothing.
    pub async fn put_set(&self, set: &RecoverySet) -> Result<(), VaultError> {
        let name = ObjectName::Set(set.id);
        for location in &self.locations {
            let there = location.document::<RecoverySet>(name).await;
            if !matches!(there, Ok(Some(there)) if there == *set) {
                location.put_document(name, set).await?;
            }
        }
        self.all_up()
    }

    /// Returns the documents of any location, newest first.
    async fn document_names(&self, folder: &str) -> Result<Vec<ObjectName>, VaultError> {
        let mut found = std::collections::BTreeSet::new();
        let mut failed = None;
        for location in &self.locations {
            match location.names(folder).await {
                Ok(names) => found.extend(names.into_iter().map(|(name, _)| name)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found.into_iter().rev().collect()),
        }
    }

    async fn document<T: serde::de::DeserializeOwned>(
        &self,
        name: ObjectName,
    ) -> Result<Option<T>, VaultError> {
        first_document(&self.locations, name).await
    }
}

/// Returns a document from the first location that has it whole, or the first error.
pub(crate) async fn first_document<T: serde::de::DeserializeOwned>(
    locations: &[Arc<Location>],
    name: ObjectName,
) -> Result<Option<T>, VaultError> {
    let mut failed = None;
    for location in locations {
        match location.document(name).await {
            Ok(Some(document)) => return Ok(Some(document)),
            Ok(None) => {}
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(None), Err)
}

async fn open_store(tier: &str, url: &str, base: &Path, mode: TierMode) -> Result<Arc<dyn Store>, TierError> {
    let opened = store::open(url, base, mode == TierMode::Create).await;
    let (tier, url) = (tier.to_owned(), url.to_owned());
    opened.map_err(|error| match error {
        OpenError::UnknownScheme(scheme) => TierError::UnknownScheme {
            tier,
            url,
            scheme,
            known: store::schemes(),
        },
        OpenError::BadUrl(why) => TierError::BadUrl { tier, url, why },
        OpenError::Absent(_) if mode == TierMode::StoredBefore => TierError::Gone { tier, url },
        OpenError::Absent(source) | OpenError::Failed(source) => TierError::Unreachable { tier, source },
    })
}

/// Checks a location, and makes it a vault if `mode` allows it.
async fn check_location(
    tier: &str,
    url: &str,
    store: &dyn Store,
    keyring: &Keyring,
    wrapped_key: &[u8],
    mode: TierMode,
) -> Result<(), TierError> {
    let unreachable = |source| TierError::Unreachable {
        tier: tier.to_owned(),
        source,
    };
    let marker = match store.get(FORMAT_MARKER, MARKER_MAX).await {
        Ok(bytes) => Some(bytes),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(unreachable(error)),
    };
    if let Some(marker) = marker {
        let stored_key = match store.get(WRAPPED_KEY, WRAPPED_KEY_MAX).await {
            Ok(bytes) => Some(bytes),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(unreachable(error)),
        };
        return check_marker(tier, url, &marker, stored_key.as_deref(), keyring);
    }
    let (tier_name, url_name) = (tier.to_owned(), url.to_owned());
    match mode {
        TierMode::Create => {}
        TierMode::Existing => {
            return Err(TierError::NotAVault {
                tier: tier_name,
                url: url_name,
            });
        }
        TierMode::StoredBefore => {
            return Err(TierError::Gone {
                tier: tier_name,
                url: url_name,
            });
        }
    }
    // A creation that was killed before it wrote the marker leaves only the key.
    let listed = store.list("").await.map_err(unreachable)?;
    if let Some((found, _)) = listed.into_iter().find(|(path, _)| path != WRAPPED_KEY) {
        return Err(TierError::NotEmpty {
            tier: tier_name,
            url: url_name,
            found,
        });
    }
    store
        .put(WRAPPED_KEY, Bytes::copy_from_slice(wrapped_key))
        .await
        .map_err(unreachable)?;
    let mut marker = Marker {
        format: MARKER_FORMAT.to_owned(),
        version: FORMAT_VERSION,
        repository: keyring.repository(),
        key_fingerprint: keyring.fingerprint(),
        wrapped_key: Hash32(*blake3::hash(wrapped_key).as_bytes()),
        proof: Hash32::ZERO,
    };
    marker.proof = keyring.prove(&marker_message(&marker));
    let text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    store.put(FORMAT_MARKER, text.into()).await.map_err(unreachable)
}

fn check_marker(
    tier: &str,
    url: &str,
    bytes: &[u8],
    stored_key: Option<&[u8]>,
    keyring: &Keyring,
) -> Result<(), TierError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let (tier, url) = (tier.to_owned(), url.to_owned());
    let malformed = |why: String| TierError::Damaged {
        tier: tier.clone(),
        url: url.clone(),
        fault: ObjectFault::Malformed { why },
    };
    let mismatch = |why: &str| TierError::KeyMismatch {
        tier: tier.clone(),
        url: url.clone(),
        why: why.to_owned(),
    };
    let head: Head = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if head.format != MARKER_FORMAT {
        return Err(malformed(format!("it is of {:?}", head.format)));
    }
    if head.version > FORMAT_VERSION {
        return Err(TierError::NewerFormat {
            tier,
            url,
            found: head.version,
            known: FORMAT_VERSION,
        });
    }
    let marker: Marker = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if marker.repository != keyring.repository() {
        return Err(TierError::Foreign {
            tier,
            url,
            found: marker.repository,
            expected: keyring.repository(),
        });
    }
    if marker.key_fingerprint != keyring.fingerprint() {
        return Err(mismatch(&format!(
            "its fingerprint is {}",
            marker.key_fingerprint
        )));
    }
    if !keyring.proves(&marker_message(&marker), &marker.proof) {
        return Err(mismatch("its marker was not written by a holder of this key"));
    }
    match stored_key {
        Some(stored) if blake3::hash(stored).as_bytes() == &marker.wrapped_key.0 => Ok(()),
        Some(_) => Err(mismatch("its key file is not the one that it was made with")),
        None => Err(mismatch("its key file is missing")),
    }
}

/// The bytes under the proof: version 4 LE, repository 16, fingerprint as text, BLAKE3 of the key file 32.
fn marker_message(marker: &Marker) -> Vec<u8> {
    let mut message = marker.version.to_le_bytes().to_vec();
    message.extend_from_slice(marker.repository.as_bytes());
    message.extend_from_slice(marker.key_fingerprint.as_bytes());
    message.extend_from_slice(&marker.wrapped_key.0);
    message
}
