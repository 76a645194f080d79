//! What is stored again after damage is whole: no reader and no verification holds the old pack against the tier.

use std::fs;
use std::path::PathBuf;

use crate::common::*;
use rekindle_vault::{ObjectName, VerifyLevel};

/// What happens to every pack of a tier, unseen by anybody who would mark it.
#[derive(Clone, Copy, Debug)]
enum Unseen {
    Gone,
    CutShort,
    /// A byte of the first chunk is changed, once the snapshot that heals it stands.
    FlippedLater,
}

fn packs(site: &Site) -> Vec<PathBuf> {
    let root = site.path("hot/packs");
    listing(&root).iter().map(|name| root.join(name)).collect()
}

#[tokio::test]
async fn a_pack_that_was_healed_without_a_mark_is_no_fault_and_no_loss_in_any_order_of_lists() {
    for unseen in [Unseen::Gone, Unseen::CutShort, Unseen::FlippedLater] {
        let site = Site::new().await;
        let tree = Tree::of(&[("a", b"first".to_vec()), ("b", b"second".to_vec())]);
        let first = site.capture(&tree, 0, None, &[]).await.unwrap();
        site.store(site.tier(&["hot"]).await.as_ref(), &first)
            .await
            .unwrap();
        site.spool.remove(first.id).await.unwrap();
        let packs = packs(&site);
        assert!(!packs.is_empty());
        let whole: Vec<Vec<u8>> = packs.iter().map(|path| fs::read(path).unwrap()).collect();
        for path in &packs {
            match unseen {
                Unseen::Gone | Unseen::FlippedLater => fs::remove_file(path).unwrap(),
                Unseen::CutShort => fs::write(path, b"short").unwrap(),
            }
        }
        let tier = site.tier(&["hot"]).await;
        let next = site
            .capture(&tree, 60, Some(&first), std::slice::from_ref(&tier))
            .await
            .unwrap();
        site.store(&tier, &next).await.unwrap();
        site.spool.remove(next.id).await.unwrap();
        if let Unseen::FlippedLater = unseen {
            for (path, bytes) in packs.iter().zip(whole) {
                let mut bytes = bytes;
                bytes[60] ^= 1;
                fs::write(path, bytes).unwrap();
            }
        }
        let mut healed = 0;
        for _ in 0..12 {
            // Nobody has marked anything when the lists are read.
            let _ = fs::remove_dir_all(site.path("hot/damaged"));
            let tier = site.tier(&["hot"]).await;
            let read = read_back(std::slice::from_ref(&tier), next.id).await;
            assert_eq!(read.unwrap(), tree.files(), "{unseen:?}");
            for level in [VerifyLevel::Exists, READ] {
                let report = verify(&tier, &next, level).await;
                assert!(report.faults.is_empty(), "{unseen:?}: {:?}", report.faults);
                healed += report.healed.len();
            }
        }
        assert!(healed > 0, "{unseen:?}: the old pack was never looked at first");
    }
}

#[tokio::test]
async fn of_a_damaged_pack_only_what_nothing_else_holds_is_lost_and_its_files_are_named() {
    let site = Site::new().await;
    let tree = Tree::of(&[("kept", b"first".to_vec()), ("changed", b"second".to_vec())]);
    let first = site.capture(&tree, 0, None, &[]).await.unwrap();
    site.store(site.tier(&["hot"]).await.as_ref(), &first)
        .await
        .unwrap();
    site.spool.remove(first.id).await.unwrap();
    for path in packs(&site) {
        fs::remove_file(path).unwrap();
    }
    let later = Tree::of(&[("kept", b"first".to_vec()), ("changed", b"third".to_vec())]);
    let tier = site.tier(&["hot"]).await;
    let next = site
        .capture(&later, 60, None, std::slice::from_ref(&tier))
        .await
        .unwrap();
    site.store(&tier, &next).await.unwrap();
    site.spool.remove(next.id).await.unwrap();
    let tier = site.tier(&["hot"]).await;
    let report = verify(&tier, &next, READ).await;
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    // The older snapshot's list of entries and one of its two files are gone, and that is said.
    let report = verify(&tier, &first, READ).await;
    assert!(!report.faults.is_empty());
    let pack = |fault: &rekindle_vault::Fault| matches!(fault.object, ObjectName::Pack(_));
    assert!(report.faults.iter().any(pack), "{:?}", report.faults);
}
