//! The process dies at every write of a capture and of a store, or the disk is full there: no document is ever
//! visible before what it names, and the same call made again ends with everything whole.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::*;
use rekindle_model::failure::Failure;
use rekindle_vault::restore::{
    RestoreCheckpoint, RestoreError, RestoreReport, RestoreRequest, Window, restore,
};
use rekindle_vault::{CancellationToken, ProgressSink, Snapshot, Spool, Tier, TierMode, VaultError};

/// Two captures, so that storing the second one takes several packs.
async fn captured(site: &Site) -> (Tree, Snapshot) {
    let mut tree = Tree::of(&[("a", b"first".to_vec()), ("b", noise(700_000, 3))]);
    let first = site.capture(&tree, 0, None, &[]).await.unwrap();
    tree.file("c", b"later".to_vec());
    let second = site.capture(&tree, 60, Some(&first), &[]).await.unwrap();
    (tree, second)
}

async fn fragile_tier(site: &Site, name: &str, allowed: u64, how: Break) -> (Arc<Tier>, Arc<Fragile>) {
    let store = Fragile::new(&site.path(name), allowed, how);
    let stores = vec![(name.to_owned(), Arc::clone(&store) as _)];
    let keyring = Arc::clone(&site.keyring);
    let tier = Tier::open_stores(name, stores, keyring, &site.wrapped, TierMode::Create)
        .await
        .unwrap();
    (Arc::new(tier), store)
}

#[tokio::test]
async fn a_store_that_dies_at_any_write_is_finished_by_the_next_and_shows_nothing_half_stored() {
    let site = Site::new().await;
    let (tree, snapshot) = captured(&site).await;
    for how in [Break::Before, Break::After, Break::Full] {
        let mut writes = 0;
        loop {
            let name = format!("tier-{how:?}-{writes}");
            site.tier(&[&name]).await;
            let (tier, store) = fragile_tier(&site, &name, writes, how).await;
            let died = site.store(&tier, &snapshot).await;
            let written = store.written.lock().unwrap().clone();
            if died.is_ok() {
                let kinds: Vec<&str> = written.iter().filter_map(|path| path.split('/').next()).collect();
                assert_eq!(
                    kinds,
                    ["packs", "packs", "packs", "index", "snapshots"],
                    "the durable order"
                );
                break;
            }
            assert_eq!(
                matches!(died, Err(VaultError::DiskFull(_))),
                matches!(how, Break::Full),
                "{died:?}"
            );

            // Another process looks: what it sees is whole.
            let tier = site.tier(&[&name]).await;
            for id in tier.snapshots().await.unwrap() {
                assert_eq!(id, snapshot.id);
                assert!(
                    verify(&tier, &snapshot, READ).await.faults.is_empty(),
                    "{how:?} after {writes}"
                );
            }
            let before = listing(&site.path(&name));
            let report = site.store(&tier, &snapshot).await.unwrap();
            let after = listing(&site.path(&name));
            let added = after.difference(&before).count() as u64;
            assert_eq!(
                report.objects_copied, added,
                "{how:?} after {writes}: what is there is not written again"
            );
            assert!(before.is_subset(&after));
            assert!(verify(&tier, &snapshot, READ).await.faults.is_empty());
            assert_eq!(read_back(&[tier], snapshot.id).await.unwrap(), tree.files());
            writes += 1;
        }
        assert!(writes >= 5, "{how:?}: {writes}");
    }
}

#[tokio::test]
async fn a_capture_that_dies_at_any_write_is_finished_by_the_next_and_keeps_whole_packs() {
    // More than a pack and the longest chunk that may still go into it, so that two packs are written with any seed.
    let tree = Tree::of(&[("a", b"first".to_vec()), ("b", noise(38 << 20, 4))]);
    for how in [Break::Before, Break::After] {
        let mut writes = 0;
        loop {
            let mut site = Site::new().await;
            let place = site.path("spool");
            let store = Fragile::new(&place, writes, how);
            site.spool = Spool::open_store("spool".to_owned(), store, Arc::clone(&site.keyring));
            let died = site.capture(&tree, 0, None, &[]).await;
            if died.is_ok() {
                break;
            }
            site.reopen_spool().await;
            let there = site.spool.snapshots().await.unwrap();
            let before = listing(&place.join("packs"));
            let again = site.capture(&tree, 0, None, &[]).await.unwrap();
            if there.is_empty() {
                let after = listing(&place.join("packs"));
                assert!(
                    before.is_subset(&after),
                    "a pack that was complete is used, not written again"
                );
                assert_eq!(again.bytes_new == 0, after == before, "{how:?} after {writes}");
            }
            let tier = site.tier(&["hot"]).await;
            site.store(&tier, &again).await.unwrap();
            assert!(
                verify(&tier, &again, READ).await.faults.is_empty(),
                "{how:?} after {writes}"
            );
            assert_eq!(read_back(&[tier], again.id).await.unwrap(), tree.files());
            writes += 1;
        }
        assert!(writes >= 5, "{how:?}: {writes}");
    }
}

#[tokio::test]
async fn leftovers_under_temporary_names_are_no_objects() {
    let site = Site::new().await;
    let (tree, snapshot) = captured(&site).await;
    let tier = site.tier(&["hot"]).await;
    for folder in ["packs/00", "index", "snapshots"] {
        std::fs::create_dir_all(site.path("hot").join(folder)).unwrap();
        std::fs::write(site.path("hot").join(folder).join("half#1"), b"half").unwrap();
        std::fs::write(site.path("hot").join(folder).join("stray"), b"stray").unwrap();
    }
    site.store(&tier, &snapshot).await.unwrap();
    assert_eq!(tier.snapshots().await.unwrap(), [snapshot.id]);
    assert_eq!(read_back(&[tier], snapshot.id).await.unwrap(), tree.files());
}

/// Restores into `to` from where `checkpoint` says, and dies at the `dies`-th window, once its checkpoint is recorded.
async fn restored(
    tier: &Arc<Tier>,
    snapshot: &Snapshot,
    to: &Path,
    checkpoint: Option<RestoreCheckpoint>,
    dies: Option<usize>,
) -> (Result<RestoreReport, RestoreError>, Vec<RestoreCheckpoint>) {
    let window = Window {
        bytes: 100_000,
        entries: 3,
    };
    let request = RestoreRequest {
        snapshot: snapshot.id,
        root: to.into(),
        include: Vec::new(),
        checkpoint,
        window,
        prefer: None,
        owners: true,
    };
    let recorded = Mutex::new(Vec::new());
    let on_window = |checkpoint| {
        let mut recorded = recorded.lock().unwrap();
        recorded.push(checkpoint);
        let dead = dies == Some(recorded.len());
        async move {
            match dead {
                true => Err(Failure::transient("killed", "killed")),
                false => Ok(()),
            }
        }
    };
    let (progress, stop) = (ProgressSink::none(), CancellationToken::new());
    let report = restore(std::slice::from_ref(tier), request, &progress, on_window, &stop).await;
    (report, recorded.into_inner().unwrap())
}

#[tokio::test]
async fn a_restore_that_dies_at_any_window_has_all_that_its_checkpoint_says() {
    let site = Site::new().await;
    let names: Vec<String> = (0..12).map(|n| format!("file-{n:02}")).collect();
    let files: Vec<(&str, Vec<u8>)> = names
        .iter()
        .zip(0..)
        .map(|(name, seed)| (name.as_str(), noise(70_000, seed)))
        .collect();
    let tree = Tree::of(&files);
    let snapshot = site.capture(&tree, 0, None, &[]).await.unwrap();
    let tier = site.tier(&["near"]).await;
    site.store(&tier, &snapshot).await.unwrap();
    let (whole, windows) = restored(&tier, &snapshot, &site.path("whole"), None, None).await;
    let total = whole.unwrap().bytes_total;
    assert!(windows.len() > 4, "{}", windows.len());
    for dies in 1..=windows.len() {
        let to = site.path(&format!("died-{dies}"));
        let (died, mut recorded) = restored(&tier, &snapshot, &to, None, Some(dies)).await;
        assert!(matches!(died, Err(RestoreError::Checkpoint(_))), "{died:?}");
        let (resumed, _) = restored(&tier, &snapshot, &to, recorded.pop(), None).await;
        let resumed = resumed.unwrap();
        let refuted = &resumed.checkpoint_refuted;
        assert!(
            refuted.is_none(),
            "window {dies}: what its checkpoint covers does not stand: {refuted:?}"
        );
        assert_eq!(resumed.bytes_written + resumed.bytes_kept, total, "window {dies}");
    }
}
