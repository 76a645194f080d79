//! The marker at a location's top, `format`: which repository it is, under which key, and which location.

use bytes::Bytes;
use rekindle_model::id::Hash32;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ObjectFault, TierError};
use crate::key::Keyring;
use crate::object::{FORMAT_MARKER, FORMAT_VERSION, MARKER_MAX, WRAPPED_KEY, WRAPPED_KEY_MAX};
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
    let unreachable = |source| match ObjectFault::of(&source) {
        Some(fault) => TierError::Damaged {
            tier: tier.to_owned(),
            url: url.to_owned(),
            fault,
        },
        None => TierError::Unreachable {
            tier: tier.to_owned(),
            source,
        },
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
        location: Uuid::new_v4(),
        key_fingerprint: keyring.fingerprint(),
        wrapped_key: Hash32(*blake3::hash(wrapped_key).as_bytes()),
        proof: Hash32::ZERO,
    };
    marker.proof = keyring.prove(&marker_message(&marker));
    let text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    store.put(FORMAT_MARKER, text.into()).await.map_err(unreachable)?;
    Ok(marker.location)
}

fn check_marker(
    tier: &str,
    url: &str,
    bytes: &[u8],
    stored_key: Option<&[u8]>,
    keyring: &Keyring,
) -> Result<Uuid, TierError> {
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
    if head.version < FORMAT_VERSION {
        let found = head.version;
        return Err(TierError::OlderFormat { tier, url, found });
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
        Some(stored) if blake3::hash(stored).as_bytes() == &marker.wrapped_key.0 => Ok(marker.location),
        Some(_) => Err(mismatch("its key file is not the one that it was made with")),
        None => Err(mismatch("its key file is missing")),
    }
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
