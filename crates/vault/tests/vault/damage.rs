//! Damage is found, named by object and file, and read around where another tier has the data whole.

use std::fs;
use std::sync::Arc;

use crate::common::*;
use rekindle_vault::key::{Identity, Keyring};
use rekindle_vault::{ObjectFault, ObjectName, Snapshot, Tier, TierError, TierMode, VaultError, VerifyLevel};

async fn small(site: &Site, tiers: &[&str]) -> (Tree, Snapshot) {
    let tree = Tree::of(&[
        ("left/a", b"first".to_vec()),
        ("left/b", b"second".to_vec()),
        ("right", b"third".to_vec()),
    ]);
    let snapshot = site.capture(&tree, 0, None, &[]).await.unwrap();
    for name in tiers {
        site.store(site.tier(&[name]).await.as_ref(), &snapshot)
            .await
            .unwrap();
    }
    (tree, snapshot)
}

/// Flips every byte of a stored object, one at a time, and hands each result to `check`.
async fn each_flip(path: &std::path::Path, mut check: impl AsyncFnMut(usize)) {
    let whole = fs::read(path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(path, &bytes).unwrap();
        check(at).await;
    }
    fs::write(path, whole).unwrap();
}

/// Returns the stored pack of that snapshot which holds the files' content, and the one of its entries.
async fn packs(site: &Site, tier: &str, snapshot: &Snapshot) -> (ObjectName, ObjectName) {
    let reader = rekindle_vault::SnapshotReader::open(&[site.tier(&[tier]).await], snapshot.id)
        .await
        .unwrap();
    let tree = reader.place(&snapshot.tree[0]).unwrap().pack;
    let mut entries = reader.entries();
    loop {
        let record = entries.next().await.unwrap().unwrap();
        if let Some(chunk) = record.chunks.first() {
            return (
                ObjectName::Pack(reader.place(chunk).unwrap().pack),
                ObjectName::Pack(tree),
            );
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_of_a_stored_object_is_found_and_the_object_is_named() {
    let site = Site::new().await;
    let (_, snapshot) = small(&site, &["hot"]).await;
    let (data, tree) = packs(&site, "hot", &snapshot).await;
    let index = only(&site.path("hot"), "index");
    let index: ObjectName =
        ObjectName::from_path(&format!("index/{}", index.file_name().unwrap().display())).unwrap();
    for object in [data, tree, index, ObjectName::Snapshot(snapshot.id)] {
        each_flip(&site.path("hot").join(object.path()), async |at| {
            let report = verify(site.tier(&["hot"]).await.as_ref(), &snapshot, READ).await;
            let named = report.faults.iter().any(|fault| fault.object == object);
            assert!(named, "byte {at} of {object}: {:?}", report.faults);
        })
        .await;
    }
    assert!(
        verify(site.tier(&["hot"]).await.as_ref(), &snapshot, READ)
            .await
            .faults
            .is_empty()
    );
}

#[tokio::test]
async fn a_fault_names_the_files_that_need_the_damaged_chunk() {
    let site = Site::new().await;
    let (_, snapshot) = small(&site, &["hot"]).await;
    let (data, _) = packs(&site, "hot", &snapshot).await;
    let path = site.path("hot").join(data.path());
    let mut bytes = fs::read(&path).unwrap();
    // The first sealed chunk stands right behind the header of 52 bytes: the content of left/a.
    bytes[53] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = verify(site.tier(&["hot"]).await.as_ref(), &snapshot, READ).await;
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    let fault = &report.faults[0];
    assert_eq!(fault.object, data);
    assert_eq!(fault.files, ["left/a"]);
    assert!(matches!(fault.fault, ObjectFault::SealBroken { .. }));
    assert!(fault.to_string().contains("needed by left/a"), "{fault}");
}

#[tokio::test]
async fn missing_and_truncated_packs_are_found_without_reading_and_stored_again() {
    let site = Site::new().await;
    let (tree, snapshot) = small(&site, &["hot"]).await;
    let (data, _) = packs(&site, "hot", &snapshot).await;
    let path = site.path("hot").join(data.path());
    let whole = fs::read(&path).unwrap();
    for len in [None, Some(55), Some(0)] {
        match len {
            None => fs::remove_file(&path).unwrap(),
            Some(len) => fs::write(&path, &whole[..len]).unwrap(),
        }
        let tier = site.tier(&["hot"]).await;
        for level in [VerifyLevel::Exists, READ] {
            let report = verify(&tier, &snapshot, level).await;
            assert_eq!(report.faults.len(), 1, "{len:?}: {:?}", report.faults);
            let fault = &report.faults[0];
            match len {
                None => assert_eq!(fault.fault, ObjectFault::Missing),
                Some(_) => assert!(matches!(fault.fault, ObjectFault::Truncated { .. }), "{fault}"),
            }
            assert_eq!((fault.object, fault.files.len()), (data, 3));
        }
        let report = site.store(&tier, &snapshot).await.unwrap();
        assert_eq!(report.objects_copied, 1, "the pack and nothing else");
        assert_eq!(read_back(&[tier], snapshot.id).await.unwrap(), tree.files());
    }
}

/// Changes one byte in the middle of a stored object.
fn spoil(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Flips a byte of that object, once for each tier that is named; `verify` then has seen it.
async fn spoiled_and_seen(site: &Site, tiers: &[&str], snapshot: &Snapshot, object: ObjectName) {
    for name in tiers {
        spoil(&site.path(name).join(object.path()));
        let report = verify(site.tier(&[name]).await.as_ref(), snapshot, READ).await;
        assert!(
            report.faults.iter().any(|fault| fault.object == object),
            "{name}: {:?}",
            report.faults
        );
    }
}

#[tokio::test]
async fn what_was_found_damaged_in_the_only_tier_is_read_from_the_source_and_stored_again() {
    let site = Site::new().await;
    let (tree, first) = small(&site, &["hot"]).await;
    let (data, entries) = packs(&site, "hot", &first).await;
    site.spool.remove(first.id).await.unwrap();
    for (at, object) in [(60, data), (120, entries)] {
        spoiled_and_seen(&site, &["hot"], &first, object).await;
        let tier = site.tier(&["hot"]).await;
        let next = site
            .capture(&tree, at, Some(&first), std::slice::from_ref(&tier))
            .await
            .unwrap();
        assert!(next.bytes_new > 0, "it is written again");
        site.store(&tier, &next).await.unwrap();
        site.spool.remove(next.id).await.unwrap();
        // Lists are read in no special order: in none of these is the damaged copy looked at first.
        for _ in 0..8 {
            let tier = site.tier(&["hot"]).await;
            let report = verify(&tier, &next, READ).await;
            assert!(report.faults.is_empty(), "{:?}", report.faults);
            assert_eq!(read_back(&[tier], next.id).await.unwrap(), tree.files());
        }
    }
    // Once more, with nothing damaged: everything counts as held again.
    let tier = site.tier(&["hot"]).await;
    let last = site
        .capture(&tree, 180, None, std::slice::from_ref(&tier))
        .await
        .unwrap();
    assert_eq!(last.bytes_new, 0);
}

#[tokio::test]
async fn what_was_found_damaged_is_stored_again_from_another_tier_without_reading_the_source() {
    let site = Site::new().await;
    let (tree, first) = small(&site, &["hot", "cold"]).await;
    let (data, _) = packs(&site, "hot", &first).await;
    site.spool.remove(first.id).await.unwrap();
    spoiled_and_seen(&site, &["hot"], &first, data).await;
    let (hot, cold) = (site.tier(&["hot"]).await, site.tier(&["cold"]).await);
    let opened = tree.bytes_opened.load(std::sync::atomic::Ordering::SeqCst);
    let next = site
        .capture(&tree, 60, Some(&first), &[hot.clone(), cold.clone()])
        .await
        .unwrap();
    assert_eq!(
        tree.bytes_opened.load(std::sync::atomic::Ordering::SeqCst),
        opened
    );
    site.store_from(&hot, &next, std::slice::from_ref(&cold))
        .await
        .unwrap();
    for snapshot in [&first, &next] {
        let report = verify(site.tier(&["hot"]).await.as_ref(), snapshot, READ).await;
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
    assert!(listing(&site.path("hot/damaged")).is_empty(), "the mark is gone");
}

#[tokio::test]
async fn a_pack_that_a_copy_finds_damaged_in_its_source_does_not_count_as_held_there() {
    let site = Site::new().await;
    let (tree, first) = small(&site, &["cold"]).await;
    let (data, _) = packs(&site, "cold", &first).await;
    spoil(&site.path("spool").join(data.path()));
    let hot = site.tier(&["hot"]).await;
    let stored = site.store(&hot, &first).await;
    assert!(
        matches!(&stored, Err(VaultError::Object { object, .. }) if *object == data),
        "{stored:?}"
    );
    let next = site.capture(&tree, 60, None, &[]).await.unwrap();
    site.store(&hot, &next).await.unwrap();
    assert_eq!(read_back(&[hot], next.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn a_damaged_index_is_replaced_by_the_next_store() {
    let site = Site::new().await;
    let (tree, first) = small(&site, &["hot"]).await;
    spoil(&only(&site.path("hot"), "index"));
    let tier = site.tier(&["hot"]).await;
    let next = site
        .capture(&tree, 60, Some(&first), std::slice::from_ref(&tier))
        .await
        .unwrap();
    site.store(&tier, &next).await.unwrap();
    for snapshot in [&first, &next] {
        let report = verify(site.tier(&["hot"]).await.as_ref(), snapshot, READ).await;
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
}

#[tokio::test]
async fn a_mark_goes_when_its_pack_is_read_whole_and_right() {
    let site = Site::new().await;
    let (_, snapshot) = small(&site, &["hot"]).await;
    let (data, _) = packs(&site, "hot", &snapshot).await;
    spoiled_and_seen(&site, &["hot"], &snapshot, data).await;
    let tier = site.tier(&["hot"]).await;
    let report = verify(&tier, &snapshot, VerifyLevel::Exists).await;
    assert_eq!(report.faults.len(), 1, "what is known is not forgotten");
    spoil(&site.path("hot").join(data.path()));
    let report = verify(&tier, &snapshot, VerifyLevel::Exists).await;
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(listing(&site.path("hot/damaged")).is_empty());
}

#[tokio::test]
async fn a_pack_that_lost_its_last_byte_is_a_fault_though_every_chunk_of_it_can_be_had() {
    let site = Site::new().await;
    let (tree, snapshot) = small(&site, &["hot"]).await;
    let path = site
        .path("hot")
        .join(packs(&site, "hot", &snapshot).await.0.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let tier = site.tier(&["hot"]).await;
    let report = verify(&tier, &snapshot, READ).await;
    assert!(
        matches!(report.faults[0].fault, ObjectFault::Truncated { .. }),
        "{:?}",
        report.faults
    );
    assert!(report.faults[0].files.is_empty(), "no file is lost");
    assert_eq!(read_back(&[tier], snapshot.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn chunks_swapped_between_two_packs_do_not_open() {
    let site = Site::new().await;
    let tier = site.tier(&["hot"]).await;
    let mut packs_of = Vec::new();
    let mut snapshots = Vec::new();
    for (at, content) in [(0, b"equal length one"), (60, b"equal length two")] {
        let snapshot = site
            .capture(&Tree::of(&[("f", content.to_vec())]), at, None, &[])
            .await
            .unwrap();
        site.store(&tier, &snapshot).await.unwrap();
        packs_of.push(
            site.path("hot")
                .join(packs(&site, "hot", &snapshot).await.0.path()),
        );
        snapshots.push(snapshot);
    }
    let (mut one, mut two) = (fs::read(&packs_of[0]).unwrap(), fs::read(&packs_of[1]).unwrap());
    assert_eq!(one.len(), two.len());
    let sealed = 52..52 + 1 + 16 + 16;
    one[sealed.clone()].swap_with_slice(&mut two[sealed]);
    fs::write(&packs_of[0], one).unwrap();
    fs::write(&packs_of[1], two).unwrap();
    for snapshot in &snapshots {
        let report = verify(&tier, snapshot, READ).await;
        assert!(
            matches!(report.faults[0].fault, ObjectFault::SealBroken { .. }),
            "{:?}",
            report.faults
        );
        let read = read_back(std::slice::from_ref(&tier), snapshot.id).await;
        assert!(matches!(read, Err(VaultError::ChunkLost { .. })), "{read:?}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_damaged_in_one_tier_is_read_from_another_and_is_lost_only_when_all_are() {
    let site = Site::new().await;
    let (tree, snapshot) = small(&site, &["hot", "cold"]).await;
    let (data, meta) = packs(&site, "hot", &snapshot).await;
    for object in [data, meta] {
        let path = site.path("hot").join(object.path());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap();
    }
    fs::write(only(&site.path("hot"), "snapshots"), b"nothing").unwrap();
    let tiers = [site.tier(&["hot"]).await, site.tier(&["cold"]).await];
    assert_eq!(read_back(&tiers, snapshot.id).await.unwrap(), tree.files());
    fs::remove_file(site.path("cold").join(data.path())).unwrap();
    let lost = read_back(&tiers, snapshot.id).await.unwrap_err();
    let text = lost.to_string();
    assert!(matches!(lost, VaultError::ChunkLost { .. }), "{text}");
    assert!(
        text.contains("hot") && text.contains("cold") && text.contains(&data.to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn a_snapshot_is_readable_without_its_indexes_being_whole() {
    let site = Site::new().await;
    let (tree, snapshot) = small(&site, &["hot"]).await;
    fs::write(only(&site.path("hot"), "index"), b"RKDLINDX").unwrap();
    let tier = site.tier(&["hot"]).await;
    assert_eq!(
        read_back(std::slice::from_ref(&tier), snapshot.id).await.unwrap(),
        tree.files()
    );
    let report = verify(&tier, &snapshot, READ).await;
    assert!(
        matches!(report.faults[0].object, ObjectName::Index(_)),
        "{:?}",
        report.faults
    );
}

/// Changes the first digit of a marker's proof.
fn flip_proof(marker: &str) -> String {
    let (before, proof) = marker.split_once("\"proof\": \"").unwrap();
    let digit = if proof.starts_with('0') { "1" } else { "0" };
    format!("{before}\"proof\": \"{digit}{}", &proof[1..])
}

async fn open(site: &Site, keyring: &Arc<Keyring>, mode: TierMode) -> Result<Tier, TierError> {
    let urls = ["file://./hot".to_owned()];
    Tier::open(
        "hot",
        &urls,
        site.dir.path(),
        Arc::clone(keyring),
        &site.wrapped,
        mode,
    )
    .await
}

#[tokio::test]
async fn a_tier_that_is_not_ours_is_refused_for_what_it_is() {
    let site = Site::new().await;
    let stranger = Arc::new(Keyring::generate());
    let absent = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(matches!(absent, Err(TierError::Unreachable { .. })), "{absent:?}");
    fs::create_dir(site.path("hot")).unwrap();
    let empty = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(matches!(empty, Err(TierError::NotAVault { .. })), "{empty:?}");
    fs::write(site.path("hot/letter.txt"), b"dear").unwrap();
    let other = open(&site, &site.keyring, TierMode::Create).await;
    assert!(
        matches!(&other, Err(TierError::NotEmpty { found, .. }) if found == "letter.txt"),
        "{other:?}"
    );
    fs::remove_file(site.path("hot/letter.txt")).unwrap();

    open(&site, &site.keyring, TierMode::Create).await.unwrap();
    open(&site, &site.keyring, TierMode::Existing).await.unwrap();
    for mode in [TierMode::Existing, TierMode::Create] {
        let foreign = open(&site, &stranger, mode).await;
        assert!(
            matches!(&foreign, Err(TierError::Foreign { found, expected, .. })
                if *found == site.keyring.repository() && *expected == stranger.repository()),
            "{foreign:?}"
        );
    }
    assert_eq!(
        Tier::read_wrapped_key("hot", "file://./hot", site.dir.path())
            .await
            .unwrap(),
        site.wrapped
    );

    let marker = fs::read_to_string(site.path("hot/format")).unwrap();
    for (what, changed) in [
        (
            "fingerprint",
            marker.replace(&site.keyring.fingerprint(), &stranger.fingerprint()),
        ),
        ("proof", flip_proof(&marker)),
    ] {
        fs::write(site.path("hot/format"), &changed).unwrap();
        let refused = open(&site, &site.keyring, TierMode::Existing).await;
        assert!(
            refused.as_ref().is_err_and(TierError::is_damage),
            "{what}: {refused:?}"
        );
    }
    // The marker of another version has another proof. Where the proof is ours, only the number was changed.
    let newer = marker.replace("\"version\": 3", "\"version\": 4");
    fs::write(site.path("hot/format"), &newer).unwrap();
    let changed = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(changed.as_ref().is_err_and(TierError::is_damage), "{changed:?}");
    fs::write(site.path("hot/format"), flip_proof(&newer)).unwrap();
    let newer = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(
        matches!(
            newer,
            Err(TierError::NewerFormat {
                found: 4,
                known: 3,
                ..
            })
        ),
        "{newer:?}"
    );
    let old = marker.replace("\"version\": 3", "\"version\": 2");
    fs::write(site.path("hot/format"), flip_proof(&old)).unwrap();
    let older = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(
        matches!(older, Err(TierError::OlderFormat { found: 2, .. })),
        "{older:?}"
    );

    fs::write(site.path("hot/format"), &marker).unwrap();
    let planted = Keyring::generate()
        .wrap_to(&[Identity::generate().recipient()])
        .unwrap();
    fs::write(site.path("hot/key.age"), planted).unwrap();
    let replaced = open(&site, &site.keyring, TierMode::Existing).await;
    assert!(
        matches!(
            replaced,
            Err(TierError::Damaged {
                object: ObjectName::Key,
                ..
            })
        ),
        "{replaced:?}"
    );
}

#[tokio::test]
async fn a_location_that_is_down_is_read_around_and_fails_what_needs_it() {
    let site = Site::new().await;
    let (tree, snapshot) = small(&site, &["hot", "cold"]).await;
    fs::rename(site.path("cold"), site.path("elsewhere")).unwrap();
    let urls = ["file://./hot", "file://./cold"].map(str::to_owned);
    let keyring = Arc::clone(&site.keyring);
    let tier = Tier::open(
        "both",
        &urls,
        site.dir.path(),
        keyring,
        &site.wrapped,
        TierMode::Existing,
    )
    .await
    .unwrap();
    assert_eq!(tier.down().len(), 1);
    let tier = Arc::new(tier);
    assert_eq!(
        read_back(std::slice::from_ref(&tier), snapshot.id).await.unwrap(),
        tree.files()
    );
    let stored = site.store(&tier, &snapshot).await;
    assert!(
        matches!(&stored, Err(VaultError::LocationDown { url, .. }) if url.contains("cold")),
        "{stored:?}"
    );
}
