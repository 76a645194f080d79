//! Reads a location's chain of heads, and adds to it.
//!
//! No head grows with the history. A head that states the whole catalog names the snapshots of the newest sets only.
//! If it would name too many sets, the oldest move to *pages*: heads that a later head refers to by number and hash.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekindle_model::id::{Hash32, SetId};
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

/// The most sets of one head. Each takes 42 bytes of JSON, so they take 2.8 MB.
const SETS_OF_A_HEAD: usize = 1 << 16;

/// How many sets of a whole catalog are stated with their snapshots, the newest ones.
const SETS_WITH_SNAPSHOTS: usize = 1024;

/// The most snapshots of a whole catalog, but for those of its newest set. Each takes 39 bytes of JSON.
const SNAPSHOTS_OF_A_HEAD: usize = 100_000;

/// The document of a head.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    n: u64,
    /// BLAKE3 of the stored bytes of the head before it; zeros if there is none to follow.
    prev: Hash32,
    at: DateTime<Utc>,
    /// Whether `sets` is the whole catalog. Otherwise it is added to the catalog of the head before.
    whole: bool,
    /// The page that states the sets before those in `sets`, if the catalog is too long for one head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<HeadRef>,
    /// Whether this is a page. The head that refers to it comes after it, so the newest head is never a page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    page: bool,
    sets: Listed,
    /// The newest known heads of the other locations.
    others: Vec<KnownHead>,
}

/// Another head, by its number and the hash of its stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeadRef {
    n: u64,
    hash: Hash32,
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
    /// The pages below the oldest link, the newest first.
    pages: Vec<Link>,
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
        if let Some(page) = chain.links.first().filter(|newest| newest.head.page) {
            let rest = ObjectName::Head(page.head.n + 1);
            chain.faults.push((rest, ObjectFault::Missing));
        }
        chain.links.reverse();
        chain.read_pages(location).await?;
        Ok(chain)
    }

    /// Reads the pages that the oldest link refers to.
    async fn read_pages(&mut self, location: &Location) -> Result<(), VaultError> {
        let mut base = self.base();
        while let Some(HeadRef { n, hash }) = base {
            let name = ObjectName::Head(n);
            match open(location, n).await? {
                // The numbers descend, so a page never leads to itself.
                Ok(link) if link.hash == hash && link.head.base.is_none_or(|base| base.n < n) => {
                    base = link.head.base;
                    self.pages.push(link);
                }
                Ok(_) => {
                    let why = "a later head refers to another one".to_owned();
                    self.faults.push((name, ObjectFault::Malformed { why }));
                    break;
                }
                Err(fault) => {
                    self.faults.push((name, fault));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns the newest page.
    fn base(&self) -> Option<HeadRef> {
        self.links.first()?.head.base
    }

    fn listed(&self) -> Listed {
        let all = self.pages.iter().rev().chain(&self.links);
        let sets = all.flat_map(|link| &link.head.sets);
        sets.map(|(set, needs)| (*set, needs.clone())).collect()
    }

    fn newest(&self, location: &Location, sets: &Listed) -> Option<KnownHead> {
        let Link { head, hash } = self.links.last()?;
        Some(KnownHead {
            tier: location.tier.clone(),
            location: location.id,
            n: head.n,
            hash: *hash,
            at: head.at,
            set: sets.keys().next_back().copied(),
            of_kit: false,
        })
    }

    fn catalog(self, location: &Location) -> Catalog {
        let mut others = BTreeMap::new();
        let sets = self.listed();
        let newest = self.newest(location, &sets);
        let seen = self.links.iter().map(|link| (link.head.n, link.hash)).collect();
        for other in self.links.into_iter().flat_map(|link| link.head.others) {
            remember(&mut others, other);
        }
        Catalog {
            url: location.url.clone(),
            id: location.id,
            newest,
            confirmed: false,
            copy_of: None,
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
    let mut taken = 0;
    for _ in 0..TRIES {
        let chain = Chain::read(location).await?;
        let own = known.iter().filter(|known| known.location == location.id);
        let highest = own.map(|known| known.n).max().unwrap_or_default();
        let n = highest.max(chain.highest).max(taken) + 1;
        let since_whole = chain.links.first().map_or(RESTATED_EVERY, |link| n - link.head.n);
        let prev = chain.links.last().map_or(Hash32::ZERO, |link| link.hash);
        // Where something other than a head has the next number, a head after it follows none.
        let follows = chain.links.last().is_none_or(|link| link.head.n + 1 == n);
        let paged = Paged::of(&chain);
        let mut catalog = chain.catalog(location);
        catalog.compare(known);
        let sound = catalog.faults.is_empty() && follows;
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
        // What the pages say is stated anew too.
        let anew = !sound || matches!(change, Change::Forget(_));
        let whole = anew || behind || since_whole >= RESTATED_EVERY;
        let newest = adds.keys().chain(catalog.sets.keys());
        let newest = newest.chain(expected.keys().filter(|_| whole)).max().copied();
        let mut sets = adds;
        let unite = |sets: &mut Listed, more: Listed| {
            for (set, needs) in more {
                sets.entry(set).or_default().extend(needs);
            }
        };
        if whole {
            unite(&mut sets, catalog.sets);
            unite(&mut sets, expected.clone());
        }
        if !sound {
            unite(&mut sets, there(location).await?);
        }
        if let Change::Forget(lost) = change {
            forget(&mut sets, lost);
        }
        let paged = match anew {
            true => Paged::default(),
            false => paged,
        };
        let newest_set = match change {
            Change::Add(_) => newest.max(sets.keys().next_back().copied()),
            Change::Forget(_) => sets.keys().next_back().copied(),
        };
        if whole {
            sets.retain(|set, _| !paged.sets.contains(set));
            thin(&mut sets);
        }
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
            base: paged.base.filter(|_| whole),
            page: false,
            sets,
            others,
        };
        let mut pages = paged.numbers;
        let Some(written) = write_with_pages(location, head, &mut pages).await? else {
            taken = n;
            continue;
        };
        if whole {
            forget_old(location, written.n, &pages).await?;
        }
        return Ok(KnownHead {
            tier: location.tier.clone(),
            location: location.id,
            n: written.n,
            hash: written.hash,
            at: now,
            set: newest_set,
            of_kit: false,
        });
    }
    Err(VaultError::Busy {
        location: location.url.clone(),
    })
}

/// The part of a catalog that its pages state.
#[derive(Default)]
struct Paged {
    base: Option<HeadRef>,
    sets: BTreeSet<SetId>,
    numbers: BTreeSet<u64>,
}

impl Paged {
    fn of(chain: &Chain) -> Self {
        let pages = || chain.pages.iter().map(|page| &page.head);
        Self {
            base: chain.base(),
            sets: pages().flat_map(|page| page.sets.keys().copied()).collect(),
            numbers: pages().map(|page| page.n).collect(),
        }
    }
}

/// Keeps the snapshots of the newest sets only.
fn thin(sets: &mut Listed) {
    let (mut with_snapshots, mut snapshots) = (0, 0);
    for needs in sets.values_mut().rev() {
        snapshots += needs.len();
        if with_snapshots > 0 && (with_snapshots >= SETS_WITH_SNAPSHOTS || snapshots > SNAPSHOTS_OF_A_HEAD) {
            needs.clear();
        }
        with_snapshots += 1;
    }
}

/// Writes a head. If it has too many sets, writes pages of the oldest ones first, and adds their numbers to `pages`.
/// Returns none if another writer took a number.
async fn write_with_pages(
    location: &Location,
    mut head: Head,
    pages: &mut BTreeSet<u64>,
) -> Result<Option<HeadRef>, VaultError> {
    while head.sets.len() > SETS_OF_A_HEAD {
        let after = head.sets.keys().nth(SETS_OF_A_HEAD).copied();
        let newer = after.map(|after| head.sets.split_off(&after)).unwrap_or_default();
        let mut sets = std::mem::replace(&mut head.sets, newer);
        sets.values_mut().for_each(BTreeSet::clear);
        let page = Head {
            page: true,
            others: Vec::new(),
            sets,
            ..head
        };
        let Some(written) = seal(location, &page).await? else {
            return Ok(None);
        };
        pages.insert(written.n);
        head.base = Some(written);
        head.prev = written.hash;
        head.n += 1;
    }
    seal(location, &head).await
}

/// Seals a head and creates it. Returns none if there is one of that number.
async fn seal(location: &Location, head: &Head) -> Result<Option<HeadRef>, VaultError> {
    let n = head.n;
    let bytes = document::seal(&location.keyring, kind(location, n), head)
        .map_err(|fault| location.fault(ObjectName::Head(n), fault))?;
    let hash = Hash32(*blake3::hash(&bytes).as_bytes());
    let created = create(location, n, bytes).await?;
    Ok(created.then_some(HeadRef { n, hash }))
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

/// Removes heads that nobody reads any more, now that head `n` and its pages state the whole catalog. Some stay:
/// another location may remember one of them.
async fn forget_old(location: &Location, n: u64, pages: &BTreeSet<u64>) -> Result<(), VaultError> {
    for old in numbers(location).await? {
        if old + 2 * RESTATED_EVERY < n && !pages.contains(&old) {
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

/// Returns whether one of the newest heads opens, as it does only under the location's own id.
pub(crate) async fn opens_a_head(location: &Location, tried: usize) -> Result<bool, VaultError> {
    for n in numbers(location)
        .await
        .unwrap_or_default()
        .into_iter()
        .rev()
        .take(tried)
    {
        if open(location, n).await?.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
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
