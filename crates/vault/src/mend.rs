//! Mends what says which location it is: the marker and the key file. Without them nothing in a location is read.
//!
//! The id of a location is proven by its heads, which are sealed under it. If no head opens, the workspace's note
//! counts. If there is none either, the location gets a new id, and its chain of heads begins anew.
//!
//! A location that was copied from another one states that one's id. It gets an id of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rekindle_model::time::Stamp;
use serde::Serialize;
use uuid::Uuid;

use crate::catalog;
use crate::error::VaultError;
use crate::key::Keyring;
use crate::location::Location;
use crate::marker;
use crate::object::ObjectName;
use crate::remembered::Remembered;
use crate::set::RecoverySet;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tier::{Catalogs, Tier, TierMode, open_store};

/// How many objects of each kind are tried in search of one that opens.
const TRIED: usize = 64;

/// A location whose marker was written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// The location.
    pub url: String,
    /// Why.
    pub why: String,
    /// Whether it has another id than before. Then its chain of heads begins anew.
    pub new_id: bool,
}

/// Writes the damaged markers and key files of a tier's locations anew, if what is there belongs to the keyring's
/// repository. Leaves locations that are whole, that do not answer, or that are of another repository.
///
/// # Errors
/// Nothing in a damaged location opens with the keyring, or the location cannot be written.
pub async fn mend(
    tier: &str,
    urls: &[String],
    base: &Path,
    keyring: &Arc<Keyring>,
    wrapped_key: &[u8],
    remembered: &Remembered,
) -> Result<Vec<Mended>, VaultError> {
    let mut mended = Vec::new();
    for url in urls {
        let Ok(store) = open_store(tier, url, base, TierMode::Existing).await else {
            continue;
        };
        let mode = TierMode::Existing;
        match marker::check_location(tier, url, store.as_ref(), keyring, wrapped_key, mode).await {
            Err(error) if error.is_damage() => {
                let noted = remembered.location(tier, url)?;
                let Some((id, new_id)) = identify(tier, url, &store, keyring, noted, remembered).await?
                else {
                    return Err(error.into());
                };
                marker::write(store.as_ref(), keyring, wrapped_key, id).await?;
                let why = error.to_string();
                let url = url.clone();
                mended.push(Mended { url, why, new_id });
            }
            _ => {}
        }
    }
    Ok(mended)
}

/// Returns the id for a location, and whether it is a new one; none if nothing there opens with the keyring.
async fn identify(
    tier: &str,
    url: &str,
    store: &Arc<dyn Store>,
    keyring: &Arc<Keyring>,
    noted: Option<Uuid>,
    remembered: &Remembered,
) -> Result<Option<(Uuid, bool)>, VaultError> {
    let under = |id| Location::of_tier(tier, url.to_owned(), id, Arc::clone(store), Arc::clone(keyring));
    // Without these notes there is one way less to find the id.
    let known = remembered.heads().unwrap_or_default();
    let known = known.into_iter().map(|head| head.location);
    let stated = marker::stated_id(store.as_ref()).await;
    for id in noted.into_iter().chain(stated).chain(known) {
        if catalog::opens_a_head(&under(id), TRIED).await? {
            return Ok(Some((id, false)));
        }
    }
    let location = under(noted.unwrap_or_else(Uuid::new_v4));
    Ok(opens_something(&location)
        .await?
        .then_some((location.id, noted.is_none())))
}

/// Returns whether an object of the location opens with its keyring.
async fn opens_something(location: &Location) -> Result<bool, VaultError> {
    for folder in ["sets", "snapshots", "index", "packs"] {
        // What cannot be listed proves nothing.
        let names = location.names(folder).await.unwrap_or_default();
        for (name, len) in names.into_iter().rev().take(TRIED) {
            let opens = match name {
                ObjectName::Set(_) => location.document::<RecoverySet>(name).await.is_ok(),
                ObjectName::Snapshot(_) => location.document::<Snapshot>(name).await.is_ok(),
                ObjectName::Index(id) => location.list_of(id).await?.is_ok(),
                ObjectName::Pack(id) => location.listing(id, len).await.is_ok(),
                _ => false,
            };
            if opens {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Gives each location of the tier that states the id of another one an id of its own, and states its whole catalog
/// under it. The tier must be opened again after that. `found` is what is known of all locations.
///
/// # Errors
/// A location cannot be written.
pub async fn separate(
    tier: &Tier,
    found: &Catalogs,
    wrapped_key: &[u8],
    now: &Stamp,
) -> Result<Vec<Mended>, VaultError> {
    let mut mended = Vec::new();
    for location in tier.locations() {
        let Some(catalog) = found.catalog_of(&location.url) else {
            continue;
        };
        let Some(of) = &catalog.copy_of else { continue };
        let id = Uuid::new_v4();
        marker::write(location.store.as_ref(), &location.keyring, wrapped_key, id).await?;
        let own = Location::of_tier(
            tier.name(),
            location.url.clone(),
            id,
            Arc::clone(&location.store),
            Arc::clone(&location.keyring),
        );
        // If this is cut off, the heads there do not open under the new id. The next repair then states them anew.
        let lost = BTreeSet::new();
        let head = catalog::restate(&own, &lost, &catalog.sets, &found.known, now.utc).await?;
        tier.note_location(&location.url, id).await?;
        tier.note_head(head).await?;
        mended.push(Mended {
            url: location.url.clone(),
            why: format!("it was copied from {of}"),
            new_id: true,
        });
    }
    Ok(mended)
}

#[cfg(test)]
mod tests;
