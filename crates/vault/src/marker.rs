//! The marker at a location's top, `format`: which repository it is, under which key, and which location.

use bytes::Bytes;
use rekindle_model::id::Hash32;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ObjectFault, TierError};
use crate::key::Keyring;
use crate::object::{
    FORMAT_MARKER, FORMAT_VERSION, JOURNAL, MARKER_MAX, ObjectName, WRAPPED_KEY, WRAPPED_KEY_MAX,
};
use crate::store::{Store, StoreError};

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

const MARKER_FORMAT: &str = "rekindle-vault";

/// The marker, in plain JSON.
#[derive(Serialize, Deserialize)]
struct Marker {
    format: String,
    version: u32,
    repository: Uuid,
    /// Drawn when the location was made. It stays if the location moves, and heads are bound to it.
    location: Uuid,
    key_fingerprint: String,
    /// BLAKE3 of the wrapped keyring beside it.
    wrapped_key: Hash32,
    /// Shows that a keyring holder wrote the fields above.
    proof: Hash32,
}

/// The folders of a vault. Objects in one show that a location without a marker held a vault.
const FOLDERS: [&str; 6] = ["heads", "sets", "snapshots", "index", "packs", JOURNAL];

/// Checks a location, and makes it a vault if `mode` allows it. Returns the location's id.
pub(crate) async fn check_location(
    tier: &str,
    url: &str,
    store: &dyn Store,
    keyring: &Keyring,
    wrapped_key: &[u8],
    mode: TierMode,
) -> Result<Uuid, TierError> {
    // A damaged marker stays damaged: waiting does not help.
    let unreachable = |source| TierError::Unreachable {
        tier: tier.to_owned(),
        source,
    };
    let of_object = |object: ObjectName, source: StoreError| match ObjectFault::of(&source) {
        Some(fault) => damaged(tier, url, object, fault),
        None => unreachable(source),
    };
    let marker = match store.get(FORMAT_MARKER, MARKER_MAX).await {
        Ok(bytes) => Some(bytes),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(of_object(ObjectName::Marker, error)),
    };
    if let Some(marker) = marker {
        let marker = proven(tier, url, &marker, keyring)?;
        return match store.get(WRAPPED_KEY, WRAPPED_KEY_MAX).await {
            Ok(stored) if blake3::hash(&stored).as_bytes() == &marker.wrapped_key.0 => Ok(marker.location),
            Ok(_) => {
                let why = "it is not the key file that the location was made with".to_owned();
                Err(damaged(
                    tier,
                    url,
                    ObjectName::Key,
                    ObjectFault::Malformed { why },
                ))
            }
            Err(StoreError::NotFound { .. }) => {
                Err(damaged(tier, url, ObjectName::Key, ObjectFault::Missing))
            }
            Err(error) => Err(of_object(ObjectName::Key, error)),
        };
    }
    if holds_objects(store).await {
        return Err(damaged(tier, url, ObjectName::Marker, ObjectFault::Missing));
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
    let id = Uuid::new_v4();
    write(store, keyring, wrapped_key, id)
        .await
        .map_err(unreachable)?;
    Ok(id)
}

/// Writes the key file and then the marker of a location, durably. A location between the two is damaged, and
/// another call mends it.
pub(crate) async fn write(
    store: &dyn Store,
    keyring: &Keyring,
    wrapped_key: &[u8],
    id: Uuid,
) -> Result<(), StoreError> {
    store
        .put(WRAPPED_KEY, Bytes::copy_from_slice(wrapped_key))
        .await?;
    let mut marker = Marker {
        format: MARKER_FORMAT.to_owned(),
        version: FORMAT_VERSION,
        repository: keyring.repository(),
        location: id,
        key_fingerprint: keyring.fingerprint(),
        wrapped_key: Hash32(*blake3::hash(wrapped_key).as_bytes()),
        proof: Hash32::ZERO,
    };
    marker.proof = keyring.prove(&marker_message(&marker));
    let text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    store.put(FORMAT_MARKER, text.into()).await
}

/// Returns the location's id as its marker states it, whether anything proves it or not.
pub(crate) async fn stated_id(store: &dyn Store) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Stated {
        location: Uuid,
    }
    let bytes = store.get(FORMAT_MARKER, MARKER_MAX).await.ok()?;
    serde_json::from_slice::<Stated>(&bytes)
        .ok()
        .map(|stated| stated.location)
}

/// Returns whether a location has any object of a vault.
async fn holds_objects(store: &dyn Store) -> bool {
    for folder in FOLDERS {
        // What cannot be listed is named when the location is read.
        let listed = store.list(folder).await.unwrap_or_default();
        if listed
            .iter()
            .any(|(path, _)| ObjectName::from_path(path).is_some())
        {
            return true;
        }
    }
    false
}

fn damaged(tier: &str, url: &str, object: ObjectName, fault: ObjectFault) -> TierError {
    TierError::Damaged {
        tier: tier.to_owned(),
        url: url.to_owned(),
        object,
        fault,
    }
}

/// Returns a marker that a holder of the keyring wrote.
fn proven(tier: &str, url: &str, bytes: &[u8], keyring: &Keyring) -> Result<Marker, TierError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let malformed = |why: String| damaged(tier, url, ObjectName::Marker, ObjectFault::Malformed { why });
    let mismatch = |why: &str| TierError::KeyMismatch {
        tier: tier.to_owned(),
        url: url.to_owned(),
        why: why.to_owned(),
    };
    let (tier, url) = (tier.to_owned(), url.to_owned());
    let head: Head = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if head.format != MARKER_FORMAT {
        return Err(malformed(format!("it is of {:?}", head.format)));
    }
    let marker: Option<Marker> = serde_json::from_slice(bytes).ok();
    // If the proof holds once the field is as it should be, only that field was changed.
    let only_changed = |marker: &Marker| {
        let right = Marker {
            format: MARKER_FORMAT.to_owned(),
            version: FORMAT_VERSION,
            repository: keyring.repository(),
            key_fingerprint: keyring.fingerprint(),
            ..*marker
        };
        keyring.proves(&marker_message(&right), &marker.proof)
    };
    if head.version != FORMAT_VERSION {
        let found = head.version;
        return Err(match marker {
            Some(marker) if only_changed(&marker) => malformed(format!("its version was changed to {found}")),
            _ if found > FORMAT_VERSION => TierError::NewerFormat {
                tier,
                url,
                found,
                known: FORMAT_VERSION,
            },
            _ => TierError::OlderFormat { tier, url, found },
        });
    }
    let marker: Marker = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let is_own = |marker: &Marker| {
        marker.repository == keyring.repository() && marker.key_fingerprint == keyring.fingerprint()
    };
    if is_own(&marker) && keyring.proves(&marker_message(&marker), &marker.proof) {
        return Ok(marker);
    }
    Err(if only_changed(&marker) {
        malformed("its repository or its fingerprint was changed".to_owned())
    } else if is_own(&marker) {
        mismatch("its marker was not written by a holder of this key")
    } else if marker.repository == keyring.repository() {
        mismatch(&format!("its fingerprint is {}", marker.key_fingerprint))
    } else if marker.key_fingerprint == keyring.fingerprint() {
        mismatch(&format!("it is of repository {}", marker.repository))
    } else {
        TierError::Foreign {
            tier,
            url,
            found: marker.repository,
            expected: keyring.repository(),
        }
    })
}

/// The bytes under the proof: version 4 LE, repository 16, location 16, fingerprint as text, BLAKE3 of the key
/// file 32.
fn marker_message(marker: &Marker) -> Vec<u8> {
    let mut message = marker.version.to_le_bytes().to_vec();
    message.extend_from_slice(marker.repository.as_bytes());
    message.extend_from_slice(marker.location.as_bytes());
    message.extend_from_slice(marker.key_fingerprint.as_bytes());
    message.extend_from_slice(&marker.wrapped_key.0);
    message
}
