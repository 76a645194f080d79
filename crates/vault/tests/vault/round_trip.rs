//! What is captured and stored comes back byte for byte, and nothing is written twice.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use crate::common::*;
use rekindle_vault::{CancellationToken, ProgressSink, Snapshot, VaultError, VerifyLevel, clean};

const MIB: usize = 1 << 20;

fn sample() -> Tree {
    let mut tree = Tree::of(&[
        ("a/big", noise(6 * MIB, 1)),
        ("a/empty", Vec::new()),
        ("b", b"text ".repeat(9000)),
    ]);
    tree.dir("a");
    tree.dir("nothing in here");
    tree.link("link", "a/big");
    tree
}

#[tokio::test]
async fn a_stored_snapshot_reads_back_as_it_was_from_every_location() {
    let site = Site::new().await;
    let tree = sample();
    let tier = site.tier(&["left", "right"]).await;
    let snapshot = site
        .capture(&tree, 0, None, std::slice::from_ref(&tier))
        .await
        .unwrap();
    assert_eq!((snapshot.files, snapshot.dirs, snapshot.symlinks), (3, 3, 1));
    assert_eq!(snapshot.bytes, (6 * MIB + 45_000) as u64);
    let report = site.store(&tier, &snapshot).await.unwrap();
    assert_eq!(
        (report.objects_copied, report.bytes_present),
        (8, 0),
        "data, tree, index and document, twice"
    );
    for name in ["left", "right"] {
        let one = site.tier(&[name]).await;
        assert_eq!(
            read_back(std::slice::from_ref(&one), snapshot.id).await.unwrap(),
            tree.files()
        );
        for level in [READ, VerifyLevel::Exists] {
            let found = verify(&one, &snapshot, level).await;
            assert!(found.faults.is_empty(), "{found:?}");
            assert_eq!(found.objects, 3);
        }
        assert!(verify(&one, &snapshot, READ).await.chunks > 3);
    }
    let inode = |place: &str| {
        std::fs::metadata(only(&site.path(place), "snapshots"))
            .unwrap()
            .ino()
    };
    assert!(
        inode("left") != inode("right") && inode("spool") != inode("left"),
        "copies share no inode"
    );
}

#[tokio::test]
async fn an_unchanged_tree_is_not_read_again_and_writes_no_pack() {
    let site = Site::new().await;
    let tree = sample();
    let tier = site.tier(&["hot"]).await;
    let first = site
        .capture(&tree, 0, None, std::slice::from_ref(&tier))
        .await
        .unwrap();
    site.store(&tier, &first).await.unwrap();
    let opened = tree.bytes_opened.load(Ordering::SeqCst);
    let packs = listing(&site.path("spool/packs"));
    let second = site
        .capture(&tree, 3600, Some(&first), std::slice::from_ref(&tier))
        .await
        .unwrap();
    assert_eq!(
        tree.bytes_opened.load(Ordering::SeqCst),
        opened,
        "no file was opened"
    );
    assert_eq!((second.bytes_read, second.bytes_new), (0, 0));
    assert_eq!(listing(&site.path("spool/packs")), packs);
    assert_eq!(second.content_digest, first.content_digest);
    assert_eq!(second.parent, Some(first.id));
    let report = site.store(&tier, &second).await.unwrap();
    assert_eq!(report.objects_copied, 1, "the document alone");
    assert_eq!(read_back(&[tier], second.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn a_changed_file_writes_only_the_chunks_that_changed() {
    let site = Site::new().await;
    let mut tree = sample();
    let tiers = [site.tier(&["hot"]).await];
    let first = site.capture(&tree, 0, None, &tiers).await.unwrap();
    site.store(&tiers[0], &first).await.unwrap();
    let mut big = tree.content("a/big");
    big[5 * MIB] ^= 1;
    tree.file("a/big", big);
    tree.touch("a/big", START + 60);
    let second = site.capture(&tree, 3600, Some(&first), &tiers).await.unwrap();
    assert_eq!(
        second.bytes_read,
        (6 * MIB) as u64,
        "the changed file is read whole, the others not at all"
    );
    assert!(
        second.bytes_new < (4 * MIB + 100_000) as u64,
        "one chunk and the entries: {}",
        second.bytes_new
    );
    assert!(second.bytes_new > (256 << 10) as u64, "{}", second.bytes_new);
    assert_ne!(second.content_digest, first.content_digest);
    site.store(&tiers[0], &second).await.unwrap();
    assert_eq!(read_back(&tiers, second.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn a_file_that_changed_close_to_the_capture_is_read_again_though_its_stat_is_the_same() {
    let site = Site::new().await;
    let mut tree = Tree::of(&[("hasty", b"one".to_vec()), ("settled", b"two".to_vec())]);
    tree.touch("hasty", START - 1);
    let first = site.capture(&tree, 0, None, &[]).await.unwrap();
    let mut rewritten = tree.clone();
    rewritten.file("hasty", b"ONE".to_vec());
    rewritten.touch("hasty", START - 1);
    // The same inode, size and times as before: only the margin tells.
    let second = site.capture(&rewritten, 3600, Some(&first), &[]).await.unwrap();
    assert_eq!(second.bytes_read, 3, "the hasty one");
    assert_ne!(second.content_digest, first.content_digest);
}

#[tokio::test]
async fn equal_content_is_written_once_and_different_content_always() {
    let site = Site::new().await;
    let (same, other) = (noise(3 * MIB, 5), noise(3 * MIB, 6));
    let twice = Tree::of(&[("1", same.clone()), ("2", same.clone())]);
    let snapshot = site.capture(&twice, 0, None, &[]).await.unwrap();
    let once = snapshot.bytes_new;
    assert!(
        (3 * MIB as u64..3 * MIB as u64 + 10_000).contains(&once),
        "{once}"
    );
    let both = Tree::of(&[("1", same), ("3", other)]);
    let next = site.capture(&both, 60, None, &[]).await.unwrap();
    assert!(
        (3 * MIB as u64..3 * MIB as u64 + 10_000).contains(&next.bytes_new),
        "{}",
        next.bytes_new
    );
}

#[tokio::test]
async fn what_only_some_due_tiers_hold_is_written_for_the_others() {
    let site = Site::new().await;
    let tree = sample();
    let (hot, cold) = (site.tier(&["hot"]).await, site.tier(&["cold"]).await);
    let first = site
        .capture(&tree, 0, None, std::slice::from_ref(&hot))
        .await
        .unwrap();
    site.store(&hot, &first).await.unwrap();
    assert_eq!(
        clean(&site.spool, std::slice::from_ref(&hot))
            .await
            .unwrap()
            .snapshots,
        1
    );
    assert!(
        listing(&site.path("spool")).is_empty(),
        "{:?}",
        listing(&site.path("spool"))
    );
    let due = [hot, cold];
    // Without a parent everything is read; what cold lacks is written to the spool.
    let second = site.capture(&tree, 3600, None, &due).await.unwrap();
    assert!(second.bytes_new > 6 * MIB as u64);
    assert!(
        clean(&site.spool, &due).await.unwrap().packs == 0,
        "cold still needs them"
    );
    // With a parent nothing is read; cold takes it from hot.
    site.store_from(&due[1], &second, std::slice::from_ref(&due[0]))
        .await
        .unwrap();
    site.store(&due[0], &second).await.unwrap();
    assert_eq!(clean(&site.spool, &due).await.unwrap().snapshots, 1);
    let third = site.capture(&tree, 7200, Some(&second), &due).await.unwrap();
    assert_eq!((third.bytes_read, third.bytes_new), (0, 0));
    assert_eq!(read_back(&due[1..], second.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn a_tier_is_caught_up_from_another_one_when_the_spool_is_empty() {
    let site = Site::new().await;
    let tree = sample();
    let (hot, cold) = (site.tier(&["hot"]).await, site.tier(&["cold"]).await);
    let snapshot = site
        .capture(&tree, 0, None, std::slice::from_ref(&hot))
        .await
        .unwrap();
    site.store(&hot, &snapshot).await.unwrap();
    let removed = site.spool.remove(snapshot.id).await.unwrap();
    assert_eq!((removed.snapshots, removed.packs), (1, 2));
    assert!(listing(&site.path("spool")).is_empty());
    let refused = site.store(&cold, &snapshot).await;
    assert!(
        matches!(refused, Err(VaultError::UnknownSnapshot(_))),
        "{refused:?}"
    );
    site.store_from(&cold, &snapshot, std::slice::from_ref(&hot))
        .await
        .unwrap();
    assert_eq!(read_back(&[cold], snapshot.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn removing_a_snapshot_leaves_the_packs_that_another_one_needs() {
    let site = Site::new().await;
    let mut tree = sample();
    let first = site.capture(&tree, 0, None, &[]).await.unwrap();
    tree.file("new", b"new".to_vec());
    let second = site.capture(&tree, 60, Some(&first), &[]).await.unwrap();
    site.spool.remove(first.id).await.unwrap();
    let tier = site.tier(&["hot"]).await;
    site.store(&tier, &second).await.unwrap();
    assert_eq!(read_back(&[tier], second.id).await.unwrap(), tree.files());
}

#[tokio::test]
async fn a_stop_interrupts_and_the_same_call_goes_on() {
    let site = Site::new().await;
    let tree = sample();
    let stop = CancellationToken::new();
    let inner = stop.clone();
    let progress = ProgressSink::new(move |done, _| {
        if done > 2 * MIB as u64 {
            inner.cancel()
        }
    });
    let stopped =
        rekindle_vault::capture(&site.spool, site.request(&tree, 0, None, &[]), &progress, &stop).await;
    assert!(matches!(stopped, Err(VaultError::Interrupted)), "{stopped:?}");
    assert!(site.spool.snapshots().await.unwrap().is_empty());
    let snapshot = site.capture(&tree, 0, None, &[]).await.unwrap();
    assert_eq!(snapshot.files, 3);
}

#[tokio::test]
async fn a_retry_with_the_same_name_returns_what_is_there() {
    let site = Site::new().await;
    let snapshot = site.capture(&sample(), 0, None, &[]).await.unwrap();
    let mut request = site.request(&Tree::of(&[("other", b"x".to_vec())]), 5, None, &[]);
    request.snapshot = snapshot.id;
    let again = rekindle_vault::capture(
        &site.spool,
        request,
        &ProgressSink::none(),
        &CancellationToken::new(),
    )
    .await;
    assert_eq!(again.unwrap(), snapshot);
}

#[tokio::test]
async fn entries_are_read_on_from_a_kept_position() {
    let site = Site::new().await;
    let tree = Tree::of(
        &(0..40)
            .map(|n| (format!("f{n:02}"), vec![n; 9]))
            .collect::<Vec<_>>()
            .iter()
            .map(|(a, b)| (a.as_str(), b.clone()))
            .collect::<Vec<_>>(),
    );
    let tier = site.tier(&["hot"]).await;
    let snapshot: Snapshot = site.capture(&tree, 0, None, &[]).await.unwrap();
    site.store(&tier, &snapshot).await.unwrap();
    let reader = rekindle_vault::SnapshotReader::open(&[tier], snapshot.id)
        .await
        .unwrap();
    let mut entries = reader.entries();
    let mut all = Vec::new();
    let mut positions = vec![entries.position()];
    while let Some(record) = entries.next().await.unwrap() {
        all.push(record);
        positions.push(entries.position());
    }
    assert_eq!(*positions.last().unwrap(), snapshot.tree_bytes);
    for (skipped, position) in positions.into_iter().enumerate() {
        let mut rest = reader.entries_at(position);
        assert_eq!(rest.next().await.unwrap().as_ref(), all.get(skipped));
    }
}
