//! A tier: one or several locations, each of which holds everything stored in the tier.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rekindle_model::id::{SetId, SnapshotId};
use rekindle_model::time::Stamp;
use uuid::Uuid;

use crate::catalog::{self, Catalog, CatalogCheck, KnownHead};
use crate::error::{TierError, VaultError};
use crate::fault::Fault;
use crate::key::Keyring;
use crate::location::Location;
use crate::marker;
pub use crate::marker::TierMode;
use crate::object::{ObjectName, WRAPPED_KEY, WRAPPED_KEY_MAX};
use crate::remembered::Remembered;
use crate::set::RecoverySet;
use crate::snapshot::Snapshot;
use crate::store::{self, OpenError, Store, StoreError, Temporary};

/// A tier that is open.
#[derive(Debug)]
pub struct Tier {
    name: String,
    locations: Vec<Arc<Location>>,
    /// URL and reason of each location that could not be reached.
    down: Vec<(String, String)>,
    /// Those of them that answer, and whose vault is damaged.
    damaged: Vec<(String, String)>,
    /// The notes of the workspace that opened it; none for a tier that was opened without a workspace.
    remembered: Option<Remembered>,
}

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
        let mut tier = Self::open_urls(name, urls, base, keyring, wrapped_key, mode_of).await?;
        tier.remembered = Some(remembered.clone());
        Ok(tier)
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
        remembered.note(name, &tier.ids(), repository).await?;
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
            damaged: Vec::new(),
            remembered: None,
        };
        let mut first: Option<TierError> = None;
        for (url, store) in stores {
            let mode = mode(&url);
            match marker::check_location(name, &url, store.as_ref(), &keyring, wrapped_key, mode).await {
                Ok(id) => {
                    let location = Location::of_tier(name, url, id, store, Arc::clone(&keyring));
                    tier.locations.push(Arc::new(location));
                }
                // One bad location must not cost the others.
                Err(error) if several => {
                    if error.is_damage() {
                        tier.damaged.push((url.clone(), error.to_string()));
                    }
                    tier.down.push((url, error.to_string()));
                    // Damage is worth more words than a location that does not answer.
                    if first.as_ref().is_none_or(|first| !first.is_damage()) {
                        first = Some(error);
                    }
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

    /// Returns the storage of each location that is open, with its URL.
    pub fn stores(&self) -> impl Iterator<Item = (&str, Arc<dyn Store>)> {
        let locations = self.locations.iter();
        locations.map(|location| (location.url.as_str(), Arc::clone(&location.store)))
    }

    /// Returns the URLs of the locations that are open.
    pub fn urls(&self) -> Vec<&str> {
        self.locations
            .iter()
            .map(|location| location.url.as_str())
            .collect()
    }

    /// Returns URL and id of each location that is open.
    pub fn ids(&self) -> Vec<(&str, Uuid)> {
        let locations = self.locations.iter();
        locations
            .map(|location| (location.url.as_str(), location.id))
            .collect()
    }

    /// Returns URL and reason of each location that could not be reached.
    pub fn down(&self) -> &[(String, String)] {
        &self.down
    }

    /// Returns URL and fault of each location that answers, and whose vault is damaged. [`Tier::down`] has them too.
    pub fn damaged(&self) -> &[(String, String)] {
        &self.damaged
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

    /// Writes a recovery set to every location, then enters it in the location's catalog. The same set again
    /// changes nothing. `found` is what is known of all locations.
    pub async fn put_set(&self, set: &RecoverySet, found: &Catalogs, now: &Stamp) -> Result<(), VaultError> {
        let name = ObjectName::Set(set.id);
        for location in &self.locations {
            let there = location.document::<RecoverySet>(name).await;
            if !matches!(there, Ok(Some(there)) if there == *set) {
                location.put_document(name, set).await?;
            }
            let catalog = found.catalog_of(&location.url);
            let expected = catalog.map(|catalog| catalog.sets.clone()).unwrap_or_default();
            if catalog.is_some_and(|catalog| catalog.copy_of.is_some()) {
                // What is known under its id is of another location, which must not seem to have its heads.
                let known: Vec<KnownHead> = found.known_elsewhere(location.id);
                catalog::append(location, set, &expected, &known, now.utc).await?;
                continue;
            }
            let head = catalog::append(location, set, &expected, &found.known, now.utc).await?;
            self.note_head(head).await?;
        }
        self.all_up()
    }

    /// Notes a head in the workspace that opened the tier, if one did.
    pub(crate) async fn note_head(&self, head: KnownHead) -> Result<(), VaultError> {
        match &self.remembered {
            Some(remembered) => Ok(remembered.note_heads(&[head]).await?),
            None => Ok(()),
        }
    }

    /// Notes the id of a location in the workspace that opened the tier, if one did.
    pub(crate) async fn note_location(&self, url: &str, id: Uuid) -> Result<(), VaultError> {
        let Some(remembered) = &self.remembered else {
            return Ok(());
        };
        for location in self.locations.iter().filter(|location| location.url == url) {
            let repository = location.keyring.repository();
            remembered.note_anew(&self.name, &[(url, id)], repository).await?;
        }
        Ok(())
    }

    /// Returns the temporary files of killed writes, with the location of each, and removes them if `remove` is set.
    pub async fn abandoned(&self, remove: bool) -> Result<Vec<(String, Temporary)>, VaultError> {
        let mut found = Vec::new();
        for location in &self.locations {
            let left = location.store.abandoned(remove).await?;
            found.extend(left.into_iter().map(|left| (location.url.clone(), left)));
        }
        Ok(found)
    }

    /// Returns what the tier's locations must hold, as their own heads state it.
    async fn stated(&self) -> Result<Vec<Catalog>, VaultError> {
        let mut catalogs = Vec::new();
        for location in &self.locations {
            catalogs.push(catalog::read(location).await?);
        }
        Ok(catalogs)
    }

    /// Returns everything that the tier's locations must hold and do not, and every broken head. `catalogs` are
    /// those of this tier.
    pub async fn missing(&self, catalogs: &[Catalog], check: CatalogCheck) -> Result<Vec<Fault>, VaultError> {
        let mut faults = Vec::new();
        for location in &self.locations {
            for catalog in catalogs.iter().filter(|catalog| catalog.url == location.url) {
                faults.append(&mut catalog.faults_of(location, check).await?);
            }
        }
        Ok(faults)
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

/// What several tiers must hold.
#[derive(Debug, Default)]
pub struct Catalogs {
    /// One for each location that could be read, by tier.
    pub by_tier: BTreeMap<String, Vec<Catalog>>,
    /// The newest known head of each location, from wherever it is known.
    pub known: Vec<KnownHead>,
    /// Why the other tiers could not be read.
    pub unread: BTreeMap<String, VaultError>,
    /// Why the workspace's own memory of the heads cannot be read, if it cannot.
    pub forgotten: Option<TierError>,
}

impl Catalogs {
    /// Returns what a location must hold; none if its tier could not be read.
    pub(crate) fn catalog_of(&self, url: &str) -> Option<&Catalog> {
        self.by_tier.values().flatten().find(|catalog| catalog.url == url)
    }

    /// Returns the known heads of all locations but one.
    fn known_elsewhere(&self, location: Uuid) -> Vec<KnownHead> {
        let others = self.known.iter().filter(|known| known.location != location);
        others.cloned().collect()
    }

    /// Notes the newest heads in the workspace that opened the tiers, so that a tier that is put back to an earlier
    /// state later is noticed. A location that has a fault now keeps what is noted of it.
    ///
    /// # Errors
    /// The workspace cannot be written.
    pub async fn note(&self, tiers: &[Arc<Tier>]) -> Result<(), TierError> {
        let Some(remembered) = tiers.iter().find_map(|tier| tier.remembered.as_ref()) else {
            return Ok(());
        };
        let faulty = |head: &&KnownHead| {
            let mut catalogs = self.by_tier.values().flatten();
            catalogs.any(|catalog| catalog.id == head.location && !catalog.faults.is_empty())
        };
        let sound = self.known.iter().filter(|head| !head.of_kit && !faulty(head));
        remembered.note_heads(&sound.cloned().collect::<Vec<_>>()).await
    }
}

/// Reads the catalogs of tiers, and compares them with what the workspace and the other locations know of them.
pub async fn catalogs(tiers: &[Arc<Tier>]) -> Catalogs {
    let mut found = Catalogs::default();
    let mut elsewhere = BTreeMap::new();
    let remembered = tiers.iter().find_map(|tier| tier.remembered.as_ref());
    if let Some(remembered) = remembered {
        match remembered.heads() {
            Ok(heads) => heads
                .into_iter()
                .for_each(|head| catalog::remember(&mut elsewhere, head)),
            Err(error) => found.forgotten = Some(error),
        }
    }
    for tier in tiers {
        match tier.stated().await {
            Ok(stated) => {
                for head in stated.iter().flat_map(|catalog| &catalog.others) {
                    catalog::remember(&mut elsewhere, head.clone());
                }
                found.by_tier.insert(tier.name.clone(), stated);
            }
            Err(error) => {
                found.unread.insert(tier.name.clone(), error);
            }
        }
    }
    let known: Vec<KnownHead> = elsewhere.values().cloned().collect();
    tell_copies(&mut found, remembered, &known);
    for catalog in found.by_tier.values_mut().flatten() {
        catalog.compare(&known);
        if let (Some(newest), None) = (&catalog.newest, &catalog.copy_of) {
            catalog::remember(&mut elsewhere, newest.clone());
        }
    }
    found.known = elsewhere.into_values().collect();
    expect_of_others(tiers, &mut found).await;
    found
}

/// Marks the locations that state the id of another one. The original is the one that the workspace has noted under
/// the id, else the one whose tier had the newest known head, else the first.
fn tell_copies(found: &mut Catalogs, remembered: Option<&Remembered>, known: &[KnownHead]) {
    let mut of_id: BTreeMap<Uuid, Vec<(String, String)>> = BTreeMap::new();
    for (tier, catalogs) in &found.by_tier {
        for catalog in catalogs {
            let place = (tier.clone(), catalog.url.clone());
            of_id.entry(catalog.id).or_default().push(place);
        }
    }
    for (id, mut places) in of_id.into_iter().filter(|(_, places)| places.len() > 1) {
        let noted = |tier: &str, url: &str| {
            let noted = remembered.and_then(|remembered| remembered.location(tier, url).ok().flatten());
            match noted {
                Some(noted) if noted == id => 0,
                None => 1,
                Some(_) => 2,
            }
        };
        let had_head = |tier: &str| known.iter().any(|head| head.location == id && head.tier == tier);
        places.sort_by_key(|(tier, url)| (noted(tier, url), !had_head(tier)));
        let (tier, original) = places.remove(0);
        for catalog in found.by_tier.values_mut().flatten() {
            if catalog.id == id && catalog.url != original {
                catalog.copy_of = Some(format!("tier {tier} at {original}"));
            }
        }
    }
}

/// Adds to each catalog the sets that another tier holds, and whose members all are in this one too.
async fn expect_of_others(tiers: &[Arc<Tier>], found: &mut Catalogs) {
    let stated: BTreeMap<String, BTreeSet<SetId>> = found
        .by_tier
        .iter()
        .map(|(tier, catalogs)| {
            (
                tier.clone(),
                catalogs
                    .iter()
                    .flat_map(|catalog| catalog.sets.keys().copied())
                    .collect(),
            )
        })
        .collect();
    for (tier, catalogs) in &mut found.by_tier {
        for catalog in catalogs {
            for other in tiers.iter().filter(|other| other.name != *tier) {
                let sets = stated.get(&other.name).into_iter().flatten();
                for id in sets
                    .filter(|id| catalog.may_lack(**id))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    let Ok(set) = other.set(id).await else { continue };
                    let mut members = set.members.values();
                    if members.all(|member| member.tiers.contains(tier)) {
                        let needs = set.members.values().map(|member| member.snapshot).collect();
                        catalog.expect([(id, needs)]);
                    }
                }
            }
        }
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

pub(crate) async fn open_store(
    tier: &str,
    url: &str,
    base: &Path,
    mode: TierMode,
) -> Result<Arc<dyn Store>, TierError> {
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
