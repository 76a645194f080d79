//! A location that loses a set, a head or its whole newest state is noticed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::time::{Clock, Stamp, SystemClock};

use super::*;
use crate::key::Keyring;
use crate::remembered::Remembered;
use crate::set::Member;
use crate::store::{LocalStore, Store};
use crate::tier::{Tier, TierMode, catalogs};

/// Damages a file.
type Spoil = fn(&Path);

/// A workspace with tiers `near` and `far`.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keyring: Arc<Keyring>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            keyring: Arc::new(Keyring::generate()),
        }
    }

    pub(crate) fn place(&self, tier: &str) -> PathBuf {
        self.dir.path().join(tier)
    }

    pub(crate) async fn open(&self, tier: &str) -> Arc<Tier> {
        let urls = [format!("file://./{tier}")];
        let remembered = Remembered::of(self.dir.path());
        let (base, keyring) = (self.dir.path(), Arc::clone(&self.keyring));
        let opened = Tier::open_remembered(tier, &urls, base, keyring, b"key", TierMode::Create, &remembered);
        Arc::new(opened.await.unwrap())
    }

    /// Opens the tiers as a host does that has only the key.
    pub(crate) async fn open_bare(&self, tier: &str) -> Arc<Tier> {
        let urls = [format!("file://./{tier}")];
        let opened = Tier::open(
            tier,
            &urls,
            self.dir.path(),
            Arc::clone(&self.keyring),
            b"key",
            TierMode::Existing,
        );
        Arc::new(opened.await.unwrap())
    }

    /// Seals a set with one new snapshot in the tiers.
    pub(crate) async fn seal(&self, tiers: &[&str]) -> RecoverySet {
        let now = SystemClock.now();
        let set = set(&now);
        let mut open = Vec::new();
        for tier in tiers {
            open.push(self.open(tier).await);
        }
        for tier in &open {
            for member in set.members.values() {
                let name = ObjectName::Snapshot(member.snapshot);
                for location in tier.locations() {
                    let document = snapshot(member.snapshot, &now);
                    location.put_document(name, &document).await.unwrap();
                }
            }
            let found = catalogs(&open).await;
            tier.put_set(&set, &found, &now).await.unwrap();
        }
        set
    }

    pub(crate) async fn faults(&self, tiers: &[Arc<Tier>], of: &str, check: CatalogCheck) -> Vec<String> {
        let found = catalogs(tiers).await;
        assert!(found.unread.is_empty(), "{:?}", found.unread);
        let tier = tiers.iter().find(|tier| tier.name() == of).unwrap();
        let faults = tier.missing(&found.by_tier[of], check).await.unwrap();
        faults.iter().map(ToString::to_string).collect()
    }

    /// The faults of one tier, as this workspace sees it.
    pub(crate) async fn seen(&self, of: &str) -> Vec<String> {
        let tiers = [self.open(of).await];
        self.faults(&tiers, of, CatalogCheck::Documents).await
    }
}

fn set(now: &Stamp) -> RecoverySet {
    let snapshot = SnapshotId::new(now);
    let member = Member {
        snapshot,
        consistency_point: *now,
        inherited: false,
        verified: true,
        bytes: 1,
        files: 1,
        content_digest: Hash32::ZERO,
        tiers: vec!["near".to_owned()],
        unreadable: Default::default(),
    };
    RecoverySet {
        id: SetId::new(now),
        created: *now,
        system: "shop".to_owned(),
        members: BTreeMap::from([("orders".to_owned(), member)]),
        missing: Vec::new(),
        recovery_ready: true,
        recoverable: true,
        skew_ms: 0,
        summary: serde_json::Value::Null,
        system_definition: Vec::new(),
        predecessor: None,
        proofs: BTreeMap::new(),
    }
}

fn snapshot(id: SnapshotId, now: &Stamp) -> Snapshot {
    Snapshot {
        id,
        component: "orders".to_owned(),
        consistency_point: *now,
        captured_by: "test".to_owned(),
        content_digest: Hash32::ZERO,
        files: 0,
        dirs: 0,
        symlinks: 0,
        hard_links: Default::default(),
        nodes: Default::default(),
        unreadable: Default::default(),
        bytes: 0,
        tree: Vec::new(),
        tree_bytes: 0,
        bytes_read: 0,
        bytes_new: 0,
        metadata: serde_json::Value::Null,
        parent: None,
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => std::fs::copy(entry.path(), target).map(drop).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_whole_location_has_no_fault_and_the_same_set_adds_no_head() {
    let fixture = Fixture::new();
    let first = fixture.seal(&["near"]).await;
    let second = fixture.seal(&["near"]).await;
    assert_eq!(fixture.seen("near").await, [""; 0]);
    let tier = fixture.open("near").await;
    let found = catalogs(std::slice::from_ref(&tier)).await;
    let [catalog] = &found.by_tier["near"][..] else {
        panic!()
    };
    assert_eq!(
        catalog.sets.keys().copied().collect::<Vec<_>>(),
        [first.id, second.id]
    );
    assert!(catalog.confirmed);
    tier.put_set(&second, &found, &SystemClock.now()).await.unwrap();
    assert_eq!(std::fs::read_dir(fixture.place("near/heads")).unwrap().count(), 2);
}

#[tokio::test]
async fn a_set_a_snapshot_or_a_head_that_is_gone_or_changed_is_named() {
    let damage: [(&str, Spoil); 4] = [
        ("is missing", |file| std::fs::remove_file(file).unwrap()),
        ("is truncated", |file| std::fs::write(file, b"").unwrap()),
        ("is damaged", |file| {
            let mut bytes = std::fs::read(file).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }),
        ("more than its kind can have", |file| {
            let file = std::fs::File::create(file).unwrap();
            file.set_len(60 << 30).unwrap();
        }),
    ];
    for (expected, damage) in damage {
        for kind in ["set", "snapshot", "newest head", "first head"] {
            let fixture = Fixture::new();
            fixture.seal(&["near"]).await;
            let newest = fixture.seal(&["near"]).await;
            let name = match kind {
                "set" => ObjectName::Set(newest.id),
                "snapshot" => ObjectName::Snapshot(newest.members["orders"].snapshot),
                "newest head" => ObjectName::Head(2),
                _ => ObjectName::Head(1),
            };
            damage(&fixture.place("near").join(name.path()));
            let seen = fixture.seen("near").await.join("; ");
            assert!(
                seen.contains(&name.to_string()) && seen.contains(expected),
                "{kind}: {seen}"
            );
            // A host that has only the key sees it too, but for a newest head that is gone.
            let bare = fixture.open_bare("near").await;
            let seen = fixture.faults(&[bare], "near", CatalogCheck::Documents).await;
            let gone = expected == "is missing" && kind == "newest head";
            assert_eq!(seen.is_empty(), gone, "{kind}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn an_object_of_another_location_or_number_does_not_pass_for_a_head() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        fixture.seal(&["near"]).await;
        fixture.seal(&["far"]).await;
    }
    let head = |tier: &str, n: u64| fixture.place(tier).join(ObjectName::Head(n).path());
    for (from, to) in [
        (head("far", 2), head("near", 2)),
        (head("near", 1), head("near", 2)),
    ] {
        let kept = std::fs::read(&to).unwrap();
        std::fs::copy(from, &to).unwrap();
        let seen = fixture.seen("near").await;
        assert!(seen.iter().any(|fault| fault.contains("head 2")), "{seen:?}");
        std::fs::write(&to, kept).unwrap();
        assert_eq!(fixture.seen("near").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_location_that_was_put_back_to_an_earlier_state_is_noticed_by_all_who_know_more() {
    let fixture = Fixture::new();
    fixture.seal(&["near", "far"]).await;
    copy_tree(&fixture.place("near"), &fixture.place("earlier"));
    let lost = fixture.seal(&["near", "far"]).await;
    fixture.seal(&["far"]).await;
    std::fs::remove_dir_all(fixture.place("near")).unwrap();
    std::fs::rename(fixture.place("earlier"), fixture.place("near")).unwrap();

    let rolled_back = |seen: &[String]| {
        let seen = seen.join("; ");
        seen.contains("earlier state") && seen.contains(&format!("recovery set {} in", lost.id))
    };
    // The workspace knows, by its own notes.
    let seen = fixture.seen("near").await;
    assert!(rolled_back(&seen), "{seen:?}");
    // Another location knows.
    let both = [fixture.open_bare("near").await, fixture.open_bare("far").await];
    let seen = fixture.faults(&both, "near", CatalogCheck::Newest).await;
    assert!(rolled_back(&seen), "{seen:?}");
    // Nothing else can know.
    let alone = [fixture.open_bare("near").await];
    assert_eq!(
        fixture.faults(&alone, "near", CatalogCheck::Documents).await,
        [""; 0]
    );
    assert!(!catalogs(&alone).await.by_tier["near"][0].confirmed);
}

#[tokio::test]
async fn what_is_lost_stays_named_after_the_next_set_until_it_is_given_up() {
    let fixture = Fixture::new();
    fixture.seal(&["near"]).await;
    let lost = fixture.seal(&["near"]).await;
    let file = |name: ObjectName| fixture.place("near").join(name.path());
    std::fs::remove_file(file(ObjectName::Set(lost.id))).unwrap();
    std::fs::write(file(ObjectName::Head(2)), b"junk").unwrap();
    fixture.seal(&["near"]).await;
    let seen = fixture.seen("near").await;
    let expected = format!("recovery set {} in file://./near is missing", lost.id);
    assert_eq!(
        seen,
        [expected],
        "the chain begins anew and forgets nothing that the workspace knows"
    );
}

#[tokio::test]
async fn a_long_chain_is_stated_anew_and_old_heads_go() {
    let fixture = Fixture::new();
    for _ in 0..100 {
        fixture.seal(&["near"]).await;
    }
    assert_eq!(fixture.seen("near").await, [""; 0]);
    let tier = fixture.open("near").await;
    assert_eq!(catalogs(&[tier]).await.by_tier["near"][0].sets.len(), 100);
    let heads = std::fs::read_dir(fixture.place("near/heads")).unwrap().count();
    assert!(heads <= 3 * 32, "{heads} heads stay");
    let store = LocalStore::open(&fixture.place("near")).unwrap();
    assert_eq!(
        store.len("heads/0000000001").await.unwrap(),
        None,
        "the first one is still there"
    );
}

#[tokio::test]
async fn writers_at_once_both_enter_their_sets() {
    let fixture = Fixture::new();
    fixture.open("near").await;
    let seals = (0..8).map(|_| fixture.seal(&["near"]));
    let sets = futures::future::join_all(seals).await;
    let tier = fixture.open("near").await;
    let found = catalogs(&[tier]).await;
    let listed = &found.by_tier["near"][0].sets;
    assert!(sets.iter().all(|set| listed.contains_key(&set.id)), "{listed:?}");
}

/// The files of a location's heads, by their numbers.
fn heads(fixture: &Fixture) -> Vec<(u64, u64)> {
    let entries = std::fs::read_dir(fixture.place("near/heads")).unwrap();
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let n = entry.file_name().to_string_lossy().parse().unwrap();
        (n, entry.metadata().unwrap().len())
    };
    let mut heads: Vec<(u64, u64)> = entries.map(entry).collect();
    heads.sort_unstable();
    heads
}

#[tokio::test]
async fn a_catalog_of_any_length_is_stated_in_heads_of_bounded_size() {
    const SETS: u128 = 150_000;
    let fixture = Fixture::new();
    let tier = fixture.open("near").await;
    let location = &tier.locations()[0];
    // Two names of snapshots for each set: in one head, this would be 18 MB.
    let id = |n: u128| uuid::Uuid::from_u128(n);
    let needs = |set: u128| (0..2).map(move |n| SnapshotId(id(set * 2 + n))).collect();
    let history: Listed = (1..=SETS).map(|set| (SetId(id(set)), needs(set))).collect();
    let now = SystemClock.now().utc;
    let stated = restate(location, &BTreeSet::new(), &history, &[], now)
        .await
        .unwrap();
    assert_eq!(stated.set, Some(SetId(id(SETS))));

    let read_back = async || read(location).await.unwrap();
    let catalog = read_back().await;
    assert!(catalog.faults.is_empty(), "{:?}", catalog.faults);
    assert!(catalog.sets.keys().eq(history.keys()), "a set is not stated");
    let with_snapshots = |catalog: &Catalog| catalog.sets.values().filter(|needs| !needs.is_empty()).count();
    assert_eq!(with_snapshots(&catalog), 1024);
    let newest = catalog.sets.last_key_value().unwrap().1;
    assert_eq!(*newest, needs(SETS), "the newest set has its snapshots");
    assert_eq!(heads(&fixture).len(), 3, "two pages, and the head");
    assert!(
        heads(&fixture).iter().all(|(_, len)| *len < 4 << 20),
        "{:?}",
        heads(&fixture)
    );

    // A further set is added without the pages being written again. So is the next whole catalog.
    let further = set(&SystemClock.now());
    let expected = Listed::from([(SetId(id(SETS + 1)), BTreeSet::new())]);
    for expected in [&Listed::new(), &expected] {
        append(location, &set(&SystemClock.now()), expected, &[], now)
            .await
            .unwrap();
    }
    append(location, &further, &Listed::new(), &[], now)
        .await
        .unwrap();
    let catalog = read_back().await;
    assert!(catalog.faults.is_empty(), "{:?}", catalog.faults);
    assert_eq!(catalog.sets.len() as u128, SETS + 4);
    assert!(
        heads(&fixture)[3..].iter().all(|(_, len)| *len < 4 << 20),
        "{:?}",
        heads(&fixture)
    );

    // A page that is gone is named, and what is known is stated anew.
    std::fs::remove_file(fixture.place("near").join(ObjectName::Head(1).path())).unwrap();
    let catalog = read_back().await;
    let lost = |(name, fault): &(ObjectName, ObjectFault)| {
        *name == ObjectName::Head(1) && *fault == ObjectFault::Missing
    };
    assert!(catalog.faults.iter().any(lost), "{:?}", catalog.faults);
    restate(location, &BTreeSet::new(), &history, &[], now)
        .await
        .unwrap();
    let catalog = read_back().await;
    assert!(catalog.faults.is_empty(), "{:?}", catalog.faults);
    assert_eq!(catalog.sets.len() as u128, SETS + 4);
}

#[tokio::test]
async fn a_writer_that_was_cut_off_after_a_page_is_noticed() {
    let fixture = Fixture::new();
    let tier = fixture.open("near").await;
    let location = &tier.locations()[0];
    let id = |n: u128| SetId(uuid::Uuid::from_u128(n));
    let history: Listed = (1..=70_000).map(|set| (id(set), BTreeSet::new())).collect();
    let now = SystemClock.now().utc;
    restate(location, &BTreeSet::new(), &history, &[], now)
        .await
        .unwrap();
    std::fs::remove_file(fixture.place("near").join(ObjectName::Head(2).path())).unwrap();
    let faults = read(location).await.unwrap().faults;
    assert_eq!(faults, [(ObjectName::Head(2), ObjectFault::Missing)]);
}

#[tokio::test]
async fn something_else_under_the_next_number_does_not_stop_a_writer() {
    let fixture = Fixture::new();
    fixture.seal(&["near"]).await;
    let head = fixture.place("near").join(ObjectName::Head(2).path());
    std::fs::create_dir_all(head.join("content")).unwrap();
    fixture.seal(&["near"]).await;
    assert_eq!(fixture.seen("near").await, [""; 0]);
}

#[tokio::test]
async fn the_newest_heads_are_noted_by_who_reads_and_a_file_that_cannot_be_read_is_kept() {
    let fixture = Fixture::new();
    fixture.seal(&["near"]).await;
    copy_tree(&fixture.place("near"), &fixture.place("earlier"));
    let notes = fixture.dir.path().join("heads.json");
    std::fs::remove_file(&notes).unwrap();
    // Another workspace seals the next set. This one only reads.
    let before = std::fs::read_to_string(fixture.dir.path().join("tiers/near.json")).unwrap();
    fixture.seal(&["near"]).await;
    std::fs::remove_file(&notes).unwrap();
    let note = async || {
        let tiers = [fixture.open("near").await];
        let found = catalogs(&tiers).await;
        found.note(&tiers).await.unwrap();
        found.forgotten.map(|error| error.to_string())
    };
    assert_eq!(note().await, None);
    assert!(std::fs::read_to_string(&notes).unwrap().contains("\"n\": 2"));
    assert_eq!(
        std::fs::read_to_string(fixture.dir.path().join("tiers/near.json")).unwrap(),
        before
    );

    std::fs::write(&notes, "damaged").unwrap();
    assert!(note().await.is_some(), "it is named");
    let remembered = Remembered::of(fixture.dir.path());
    let [aside] = &remembered.unreadable_heads()[..] else {
        panic!()
    };
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "damaged");
    assert_eq!(note().await, None);

    // A location that was put back does not make the workspace forget what it was.
    std::fs::remove_dir_all(fixture.place("near")).unwrap();
    std::fs::rename(fixture.place("earlier"), fixture.place("near")).unwrap();
    assert_eq!(note().await, None);
    assert!(fixture.seen("near").await.join("; ").contains("earlier state"));
}
