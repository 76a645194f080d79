use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use rekindle_model::time::{Clock, SystemClock};
use rustix::fs::{CWD, FileType, FlockOperation, Mode};

use super::*;
use crate::error::ObjectFault;
use crate::store::Temporary;

fn store() -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    (dir, store)
}

#[tokio::test]
async fn of_many_creations_of_one_object_one_succeeds_and_its_bytes_stay() {
    let (_dir, store) = store();
    for round in 0..20 {
        let path = format!("journal/run/{round}");
        let all = (0..8_u8).map(|who| store.create(&path, Bytes::from(vec![who; 3])));
        let done = futures::future::join_all(all).await;
        let won: Vec<usize> = (0..8).filter(|who| *done[*who].as_ref().unwrap()).collect();
        assert_eq!(won.len(), 1, "{done:?}");
        let winner = u8::try_from(won[0]).unwrap();
        assert_eq!(&store.get(&path, 3).await.unwrap()[..], [winner; 3]);
    }
    assert_eq!(store.folders("journal").await.unwrap(), ["run"]);
    assert_eq!(store.folders("nowhere").await.unwrap(), [""; 0]);
    assert_eq!(store.list("journal").await.unwrap().len(), 20);
    assert_eq!(store.abandoned(false).await.unwrap(), []);
}

#[test]
fn two_urls_of_one_folder_have_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("near")).unwrap();
    std::os::unix::fs::symlink("near", dir.path().join("link")).unwrap();
    let identity = |url: &str| LocalFactory.identity(url, dir.path());
    let absolute = format!("file://{}/near", dir.path().display());
    for other in ["file://./link", "file://./link/../near", &absolute] {
        assert_eq!(identity(other), identity("file://./near"), "{other}");
    }
    assert_eq!(identity("file://./link/new"), identity("file://./near/new"));
    assert_ne!(identity("file://./far"), identity("file://./near"));
    assert_eq!(identity("file://near"), None);
}

#[tokio::test]
async fn a_fault_of_the_location_itself_names_the_folder() {
    let (dir, store) = store();
    let folder = dir.path().display().to_string();
    drop(dir);
    std::fs::write(&folder, "no folder any more").unwrap();
    let faults = [
        store.list("").await.map(drop).unwrap_err(),
        store.abandoned(false).await.map(drop).unwrap_err(),
        store.folders("").await.map(drop).unwrap_err(),
    ];
    std::fs::remove_file(&folder).unwrap();
    for fault in faults {
        let said = fault.to_string();
        assert!(said.contains("the folder") && !said.contains("  "), "{said}");
    }
}

#[tokio::test]
async fn a_missing_object_is_told_from_one_that_is_shorter_than_asked() {
    let (_dir, store) = store();
    let whole = Bytes::from_static(b"whole");
    store.put("packs/ab/cd", whole.clone()).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), [("packs/ab/cd".to_owned(), 5)]);
    assert_eq!(&store.get_range("packs/ab/cd", 3, 99).await.unwrap()[..], b"le");
    assert_eq!(&store.get_range("packs/ab/cd", 9, 1).await.unwrap()[..], b"");
    assert_eq!(store.get("packs/ab/cd", 5).await.unwrap(), whole);
    for missing in ["packs/ab/none", "packs/none/cd", "none"] {
        let error = store.get(missing, 9).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
        assert_eq!(store.len(missing).await.unwrap(), None);
        store.delete(missing).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_larger_than_its_kind_is_not_read() {
    let (dir, store) = store();
    let sparse = std::fs::File::create(dir.path().join("huge")).unwrap();
    sparse.set_len(60 << 30).unwrap();
    let error = store.get("huge", 1 << 20).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { len, .. } if len == 60 << 30),
        "{error}"
    );
    assert_eq!(
        store.get_range("huge", 1 << 30, 4).await.unwrap(),
        [0; 4].as_slice()
    );
}

/// Calls `see` with each name that is something else than a file, and what it is.
async fn each_other_thing(see: impl AsyncFn(&LocalStore, &str, &str)) {
    let (dir, store) = store();
    let sets = dir.path().join("sets");
    std::fs::create_dir(&sets).unwrap();
    std::fs::write(dir.path().join("elsewhere"), "secret").unwrap();
    std::fs::create_dir(sets.join("folder")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", sets.join("link")).unwrap();
    rustix::fs::mknodat(CWD, sets.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sets.join("socket")).unwrap();
    std::os::unix::fs::symlink("..", sets.join("way")).unwrap();
    let things = [
        ("folder", "folder"),
        ("link", "symbolic link"),
        ("fifo", "FIFO"),
        ("socket", "socket"),
        ("way/elsewhere", "symbolic link"),
    ];
    for (name, what) in things {
        see(&store, &format!("sets/{name}"), what).await;
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_named_and_never_hangs() {
    each_other_thing(async |store, path, what| {
        let begun = SystemClock.now();
        for error in [
            store.get(path, 99).await.unwrap_err(),
            store.get_range(path, 0, 9).await.unwrap_err(),
            store.len(path).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains(what), "{path}: {error}");
            assert!(ObjectFault::of(&error).is_some());
        }
        let took = SystemClock.now().since(&begun).duration;
        assert!(took < Duration::from_secs(5), "{path} was waited for");
    })
    .await;
}

#[tokio::test]
async fn a_write_replaces_everything_but_a_folder_with_content_and_goes_through_no_link() {
    let (dir, in_use) = store();
    std::fs::create_dir_all(dir.path().join("sets/one/mine")).unwrap();
    let refused = in_use.put("sets/one", Bytes::new()).await.unwrap_err();
    assert!(refused.to_string().contains("a folder"), "{refused}");
    each_other_thing(async |store, path, what| {
        let written = store.put(path, Bytes::from_static(b"new")).await;
        match what {
            "symbolic link" if path.contains("way") => {
                assert!(written.unwrap_err().to_string().contains("symbolic link"));
            }
            _ => assert_eq!(&store.get(path, 3).await.unwrap()[..], b"new"),
        }
        let elsewhere = store.get("elsewhere", 9).await.unwrap();
        assert_eq!(&elsewhere[..], b"secret", "{path} led to another file");
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_refused() {
    let (dir, store) = store();
    std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", dir.path().join("sets")).unwrap();
    for error in [
        store.list("sets").await.unwrap_err(),
        store.put("sets/one", Bytes::new()).await.unwrap_err(),
        store.create("sets/one", Bytes::new()).await.unwrap_err(),
        store.delete("sets/one").await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error}");
    }
    assert_eq!(
        std::fs::read_dir(dir.path().join("elsewhere")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn files_and_folders_are_for_their_owner_alone_under_any_umask() {
    let (dir, store) = store();
    store.put("packs/ab/cd", Bytes::new()).await.unwrap();
    store.create("sets/ef", Bytes::new()).await.unwrap();
    let mode = |path: &str| dir.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
    for (path, expected) in [
        ("packs", 0o700),
        ("packs/ab", 0o700),
        ("packs/ab/cd", 0o600),
        ("sets/ef", 0o600),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
}

#[tokio::test]
async fn what_a_killed_write_left_is_told_from_what_is_being_written() {
    let (dir, store) = store();
    let name = "ab".repeat(32);
    let (left, living) = (
        format!("packs/ab/{name}#1"),
        format!("packs/ab/{name}#{}", "0a".repeat(16)),
    );
    for mine in ["notes#2.txt", "#draft#", "list#1"] {
        std::fs::write(dir.path().join(mine), "mine").unwrap();
    }
    store
        .put("packs/ab/cd", Bytes::from_static(b"whole"))
        .await
        .unwrap();
    std::fs::write(dir.path().join(&left), b"who").unwrap();
    let alive = std::fs::File::create(dir.path().join(&living)).unwrap();
    rustix::fs::flock(&alive, FlockOperation::LockExclusive).unwrap();
    assert_eq!(
        store.list("packs").await.unwrap(),
        [("packs/ab/cd".to_owned(), 5)]
    );
    let left = [Temporary { path: left, len: 3 }];
    assert_eq!(store.abandoned(false).await.unwrap(), left);
    assert_eq!(store.abandoned(true).await.unwrap(), left);
    assert_eq!(store.abandoned(true).await.unwrap(), []);
    assert!(dir.path().join(&living).exists());
    drop(alive);
    assert_eq!(store.abandoned(true).await.unwrap().len(), 1);
    assert!(dir.path().join("notes#2.txt").exists(), "a person's files stay");
}
