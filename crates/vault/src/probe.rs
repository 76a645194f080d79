//! Tries out whether a tier does what the vault relies on: write, read back, list, remove, and create an
//! object once. It also measures how long writing and reading take. A run has one owner only if one of
//! several concurrent creations succeeds.

use std::time::Duration;

use bytes::Bytes;
use rekindle_model::time::Clock;
use uuid::Uuid;

use crate::location::Location;
use crate::store::{Store, StoreError};
use crate::tier::Tier;

/// How many bytes are written and read: enough to see a rate, and no burden on a slow link.
const SIZE: usize = 4 << 20;
/// The folder of the probe. It holds no object of the vault. The next probe removes what a crash leaves.
const FOLDER: &str = "probes";

/// The result of the trial at one location.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The location.
    pub url: String,
    /// The time to write the probe durably.
    pub write: Duration,
    /// The time to read it back.
    pub read: Duration,
    /// How many bytes were written and read.
    pub bytes: u64,
    /// The first thing that failed; none if everything worked.
    pub fault: Option<String>,
}

impl Tier {
    /// Tries out every open location. Writes an object of random bytes, reads it back and compares it, finds
    /// it in a listing, removes it and checks that it is gone. Then several attempts create one object, and
    /// exactly one must succeed. No object of the vault is touched.
    pub async fn probe(&self, clock: &dyn Clock) -> Vec<Probed> {
        let mut probed = Vec::new();
        for location in self.locations() {
            probed.push(probe(location, clock).await);
        }
        probed
    }
}

async fn probe(location: &Location, clock: &dyn Clock) -> Probed {
    let mut probed = Probed {
        url: location.url.clone(),
        write: Duration::ZERO,
        read: Duration::ZERO,
        bytes: SIZE as u64,
        fault: None,
    };
    if let Err(fault) = exercise(location, clock, &mut probed).await {
        probed.fault = Some(fault.to_string());
    }
    probed
}

/// A location failed the trial.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the bytes read back differ from those written")]
    Other,
    #[error("the listing lacks the object that was written")]
    Unlisted,
    #[error("the removed object still exists")]
    Kept,
    #[error(
        "of several who create one object there, not exactly one does: another workspace cannot be kept from going on \
         with the same run, so adopting a run asks a person"
    )]
    NotExclusive,
}

/// How many concurrent attempts create one object.
const RIVALS: u8 = 8;

/// Returns whether a name can be created only once: by one of several at once, and by nobody later.
pub(crate) async fn exclusive(store: &dyn Store) -> Result<bool, StoreError> {
    let name = format!("{FOLDER}/{}", Uuid::new_v4().simple());
    let rivals = (0..RIVALS).map(|who| store.create(&name, Bytes::from(vec![who; 64])));
    let created = futures::future::join_all(rivals).await;
    let late = store.create(&name, Bytes::from_static(b"late")).await;
    let there = store.get(&name, SIZE as u64).await;
    store.delete(&name).await?;
    let mut winners = Vec::new();
    for (who, created) in (0..RIVALS).zip(created) {
        if created? {
            winners.push(who);
        }
    }
    let [winner] = winners[..] else { return Ok(false) };
    Ok(!late? && there? == vec![winner; 64])
}

async fn exercise(location: &Location, clock: &dyn Clock, probed: &mut Probed) -> Result<(), Fault> {
    let store = &location.store;
    // A killed probe left these.
    for (left, _) in store.list(FOLDER).await? {
        store.delete(&left).await?;
    }
    let name = format!("{FOLDER}/{}", Uuid::new_v4().simple());
    let bytes = random();
    let begun = clock.now();
    store.put(&name, bytes.clone()).await?;
    probed.write = clock.now().since(&begun).duration;
    let begun = clock.now();
    let back = store.get(&name, SIZE as u64).await;
    probed.read = clock.now().since(&begun).duration;
    let listed = store.list(FOLDER).await;
    store.delete(&name).await?;
    if back? != bytes {
        return Err(Fault::Other);
    }
    if !listed?
        .iter()
        .any(|(path, len)| *path == name && *len == bytes.len() as u64)
    {
        return Err(Fault::Unlisted);
    }
    if store.len(&name).await?.is_some() {
        return Err(Fault::Kept);
    }
    match exclusive(store.as_ref()).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(StoreError::NotExclusive { .. }) => Err(Fault::NotExclusive),
        Err(error) => Err(error.into()),
    }
}

/// Returns bytes that nothing on the way can compress or recognise: the extended output of a random hash.
fn random() -> Bytes {
    let mut bytes = vec![0; SIZE];
    let mut seed = blake3::Hasher::new();
    seed.update(Uuid::new_v4().as_bytes());
    seed.finalize_xof().fill(&mut bytes);
    bytes.into()
}
