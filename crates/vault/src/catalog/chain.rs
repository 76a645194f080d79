//! Reads a location's chain of heads, and adds to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekindle_model::id::Hash32;
use serde::{Deserialize, Serialize};

use super::{Catalog, KnownHead, Listed, RESTATED_EVERY};
use crate::document::{self, Kind};
use crate::error::{ObjectFault, VaultError};
use crate::location::Location;
use crate::object::{HEADS, ObjectName};
use crate::seal::Part;
use crate::set::RecoverySet;
use crate::store::StoreError;

/// How often a head is tried under the next number, if another writer takes the numbers.
const TRIES: u32 = 16;

/// The document of a head.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    n: u64,
    /// BLAKE3 of the stored bytes of the head before it; zeros if there is none to follow.
    prev: Hash32,
    at: DateTime<Utc>,
    /// Whether `sets` is the whole catalog. Otherwise it is added to the catalog of the head before.
    whole: bool,
    sets: Listed,
    /// The newest known heads of the other locations.
    others: Vec<KnownHead>,
}

/// A head that was read, and the hash of its stored bytes.
struct Link {
    head: Head,
    hash: Hash32,
}

/// What a location's heads say, before anyone's memory of them is compared.
#[derive(Default)]
struct Chain {
    /// From the oldest that is needed to the newest.
    links: Vec<Link>,
    /// The highest number there, whether its head can be read or not.
    highest: u64,
    faults: Vec<(ObjectName, ObjectFault)>,
}

impl Chain {
    /// Reads the heads from the newest back to one that states the whole catalog.
    async fn read(location: &Location) -> Result<Self, VaultError> {
        let mut numbers = numbers(location).await?;
        let mut chain = Self {
            highest: numbers.last().copied().unwrap_or_default(),
            ..Self::default()
        };
        // The number and the hash that the head after it names; none after a head that cannot be read.
        let mut wanted: Option<(u64, Hash32)> = None;
        let mut whole = numbers.is_empty();
        // A first set without its head is of a writer that was cut off in between. It writes the head when it resumes.
        if whole && location.names("sets").await?.len() > 1 {
            chain.faults.push((ObjectName::Head(1), ObjectFault::Missing));
        }
        while let (Some(n), false) = (numbers.pop(), whole) {
            let name = ObjectName::Head(n);
            if let Some((expected, _)) = wanted
                && expected != n
            {
                chain
                    .faults
                    .push((ObjectName::Head(expected), ObjectFault::Missing));
                wanted = None;
            }
            match open(location, n).await? {
                Ok(link) if wanted.is_some_and(|(_, hash)| hash != link.hash) => {
                    let why = format!("head {} does not follow it", n + 1);
                    chain.faults.push((name, ObjectFault::Malformed { why }));
                    wanted = None;
                }
                Ok(link) => {
                    wanted = Some((n.saturating_sub(1), link.head.prev));
                    whole = link.head.whole;
                    chain.links.push(link);
                }
                Err(fault) => {
                    chain.faults.push((name, fault));
                    wanted = None;
                }
            }
        }
        if let (Some((n, _)), false) = (wanted, whole) {
            chain.faults.push((ObjectName::Head(n), ObjectFault::Missing));
        }
        chain.links.reverse();
        Ok(chain)
    }

    fn listed(&self) -> Listed {
        let mut listed = Listed::new();
        for Link { head, .. } in &self.links {
            if head.whole {
                listed.clear();
            }
            listed.extend(head.sets.iter().map(|(set, needs)| (*set, needs.clone())));
        }
        listed
    }

    fn newest(&self, location: &Location) -> Option<KnownHead> {
        let Link { head, hash } = self.links.last()?;
        Some(KnownHead {
            tier: location.tier.clone(),
            location: location.id,
            n: head.n,
            hash: *hash,
            at: head.at,
            set: self.listed().keys().next_back().copied(),
            of_kit: false,
        })
    }

    fn catalog(self, location: &Location) -> Catalog {
        let mut others = BTreeMap::new();
        let (newest, sets) = (self.newest(location), self.listed());
        let seen = self.links.iter().map(|link| (link.head.n, link.hash)).collect();
        for other in self.links.into_iter().flat_map(|link| link.head.others) {
            remember(&mut others, other);
        }
        Catalog {
            url: location.url.clone(),
            id: location.id,
            newest,
            confirmed: false,
            sets,
            others: others.into_values().collect(),
            faults: self.faults,
            highest: self.highest,
            seen,
        }
    }
}

/// Keeps the newest head of each location.
pub(crate) fn remember(known: &mut BTreeMap<uuid::Uuid, KnownHead>, head: KnownHead) {
    let newer = |there: &KnownHead| (there.n, !there.of_kit) < (head.n, !head.of_kit);
    if known.get(&head.location).is_none_or(newer) {
        known.insert(head.location, head);
    }
}

/// Reads a location's catalog, as its own heads state it.
pub(crate) async fn read(location: &Location) -> Result<Catalog, VaultError> {
    Ok(Chain::read(location).await?.catalog(location))
}

/// A change of a catalog.
enum Change<'a> {
    Add(&'a RecoverySet),
    Forget(&'a BTreeSet<ObjectName>),
}

/// Takes lost sets and lost snapshots out of a catalog.
fn forget(sets: &mut Listed, lost: &BTreeSet<ObjectName>) {
    sets.retain(|set, _| !lost.contains(&ObjectName::Set(*set)));
    for needs in sets.values_mut() {
        needs.retain(|snapshot| !lost.contains(&ObjectName::Snapshot(*snapshot)));
    }
}

/// Adds a set, whose document is there, to the location's catalog; durable when it returns. If the catalog lists
/// the set already, nothing is written.
///
/// If the chain is broken or older than known, the new head states the whole catalog: everything that is known
/// to belong there, `expected` included, so what was lost stays named.
pub(crate) async fn append(
    location: &Location,
    set: &RecoverySet,
    expected: &Listed,
    known: &[KnownHead],
    now: DateTime<Utc>,
) -> Result<KnownHead, VaultError> {
    write(location, &Change::Add(set), expected, known, now).await
}

/// Writes a head that states the whole catalog with `expected`, without the sets and the snapshots in `lost`.
pub(crate) async fn restate(
    location: &Location,
    lost: &BTreeSet<ObjectName>,
    expected: &Listed,
    known: &[KnownHead],
    now: DateTime<Utc>,
) -> Result<KnownHead, VaultError> {
    write(location, &Change::Forget(lost), expected, known, now).await
}

async fn write(
    location: &Location,
    change: &Change<'_>,
    expected: &Listed,
    known: &[KnownHead],
    now: DateTime<Utc>,
) -> Result<KnownHead, VaultError> {
    for _ in 0..TRIES {
        let chain = Chain::read(location).await?;
        let own = known.iter().filter(|known| known.location == location.id);
        let n = own
            .map(|known| known.n)
            .max()
            .unwrap_or_default()
            .max(chain.highest)
            + 1;
        let since_whole = chain.links.first().map_or(RESTATED_EVERY, |link| n - link.head.n);
        let prev = chain.links.last().map_or(Hash32::ZERO, |link| link.hash);
        let mut catalog = chain.catalog(location);
        catalog.compare(known);
        let sound = catalog.faults.is_empty();
        let adds = match change {
            Change::Add(set) => {
                let needs = set.members.values().map(|member| member.snapshot).collect();
                if let (true, Some(newest)) = (sound, &catalog.newest)
                    && catalog.sets.get(&set.id) == Some(&needs)
                {
                    return Ok(newest.clone());
                }
                Listed::from([(set.id, needs)])
            }
            Change::Forget(_) => Listed::new(),
        };
        let behind = expected.keys().any(|set| !catalog.sets.contains_key(set));
        let whole = !sound || behind || since_whole >= RESTATED_EVERY || matches!(change, Change::Forget(_));
        let mut sets = adds;
        let unite = |sets: &mut Listed, more: Listed| {
            for (set, needs) in more {
                sets.entry(set).or_default().extend(needs);
            }
        };
        if whole {
            unite(&mut sets, catalog.sets.clone());
            unite(&mut sets, expected.clone());
        }
        if !sound {
            unite(&mut sets, there(location).await?);
        }
        if let Change::Forget(lost) = change {
            forget(&mut sets, lost);
        }
        let of_before = catalog.sets.keys().filter(|_| !whole);
        let newest_set = sets.keys().chain(of_before).max().copied();
        let others = known
            .iter()
            .filter(|known| known.location != location.id)
            .cloned()
            .collect();
        let head = Head {
            n,
            prev: if sound { prev } else { Hash32::ZERO },
            at: now,
            whole,
            sets,
            others,
        };
        let bytes = document::seal(&location.keyring, kind(location, n), &head)
            .map_err(|fault| location.fault(ObjectName::Head(n), fault))?;
        let hash = Hash32(*blake3::hash(&bytes).as_bytes());
        if !create(location, n, bytes).await? {
            continue;
        }
        if whole {
            forget_old(location, n).await?;
        }
        return Ok(KnownHead {
            tier: location.tier.clone(),
            location: location.id,
            n,
            hash,
            at: now,
            set: newest_set,
            of_kit: false,
        });
    }
    Err(VaultError::Busy {
        location: location.url.clone(),
    })
}

/// Returns the sets that are there, with the snapshots of those that can be read.
async fn there(location: &Location) -> Result<Listed, VaultError> {
    let mut listed = Listed::new();
    for (name, _) in location.names("sets").await? {
        let ObjectName::Set(id) = name else { continue };
        let needs = match location.document::<RecoverySet>(name).await {
            Ok(Some(set)) => set.members.values().map(|member| member.snapshot).collect(),
            Ok(None) => continue,
            Err(VaultError::Object { .. }) => std::collections::BTreeSet::new(),
            Err(error) => return Err(error),
        };
        listed.insert(id, needs);
    }
    Ok(listed)
}

/// Creates a head; returns false if there is one of that number. A location that cannot create exclusively is
/// looked at first.
async fn create(location: &Location, n: u64, bytes: bytes::Bytes) -> Result<bool, VaultError> {
    let path = ObjectName::Head(n).path();
    match location.store.create(&path, bytes.clone()).await {
        Err(StoreError::NotExclusive { .. }) => {
            if location.store.len(&path).await?.is_some() {
                return Ok(false);
            }
            location.store.put(&path, bytes).await?;
            Ok(true)
        }
        created => Ok(created?),
    }
}

/// Removes heads that nobody reads any more, now that head `n` states the whole catalog. Some stay: another
/// location may remember one of them.
async fn forget_old(location: &Location, n: u64) -> Result<(), VaultError> {
    for old in numbers(location).await? {
        if old + 2 * RESTATED_EVERY < n {
            location.store.delete(&ObjectName::Head(old).path()).await?;
        }
    }
    Ok(())
}

/// Returns the numbers of the heads, ascending.
async fn numbers(location: &Location) -> Result<Vec<u64>, VaultError> {
    let names = location.names(HEADS).await?;
    let number = |(name, _)| match name {
        ObjectName::Head(n) => Some(n),
        _ => None,
    };
    let mut numbers: Vec<u64> = names.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

async fn open(location: &Location, n: u64) -> Result<Result<Link, ObjectFault>, VaultError> {
    let bytes = match location.bytes(ObjectName::Head(n)).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(ObjectFault::Missing)),
        Err(VaultError::Object { fault, .. }) => return Ok(Err(fault)),
        Err(error) => return Err(error),
    };
    let hash = Hash32(*blake3::hash(&bytes).as_bytes());
    let head = document::open::<Head>(&location.keyring, kind(location, n), &bytes);
    Ok(head.map(|head| Link { head, hash }))
}

/// A head is bound to its location and its number.
fn kind(location: &Location, n: u64) -> Kind {
    let mut name = [0; 32];
    name[..16].copy_from_slice(location.id.as_bytes());
    name[16..24].copy_from_slice(&n.to_le_bytes());
    Kind {
        magic: *b"RKDLHEAD",
        part: Part::Head,
        name,
    }
}
