//! Hard links, extended attributes, FIFOs and devices come back, and what a target cannot hold is named.

use super::*;

/// A tree with names of one file in several folders, attributes of each namespace, a FIFO and a device.
fn rich() -> TempDir {
    let room = tempfile::tempdir().unwrap();
    let root = &room.path().join("tree");
    put(root, "a/first", &bytes(3 * CHUNK, "linked"), 0o640);
    put(root, "b/other", b"alone", 0o644);
    for name in ["a/second", "b/third", "c"] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::hard_link(root.join("a/first"), root.join(name)).unwrap();
    }
    set(&root.join("a/first"), "user.origin", b"\xff\0bytes");
    set(&root.join("b/other"), "user.empty", b"");
    set(&root.join("a"), "user.folder", b"of notes");
    let file = |path: &str, kind, device| {
        let mode = rustix::fs::Mode::from_raw_mode(0o620);
        rustix::fs::mknodat(rustix::fs::CWD, root.join(path), kind, mode, device).unwrap();
    };
    file("b/pipe", rustix::fs::FileType::Fifo, 0);
    if rustix::process::geteuid().is_root() {
        file(
            "b/null",
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::makedev(1, 3),
        );
        set(&root.join("b/other"), "trusted.secret", b"1");
        set(&root.join("b/pipe"), "trusted.pipe", b"2");
        symlink("nowhere", root.join("link")).unwrap();
        set(&root.join("link"), "trusted.link", b"3");
        // Version 2, cap_net_bind_service.
        set(
            &root.join("b/other"),
            "security.capability",
            &hex("0000000200040000000000000000000000000000"),
        );
    }
    set(&root.join("a"), "system.posix_acl_default", &acl(7));
    set(&root.join("b/other"), "system.posix_acl_access", &acl(6));
    date(&root.join("b/pipe"), 1_000_000_000, 5);
    date(&root.join("a/first"), 1_000_000_001, 5);
    room
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// An ACL that also gives user 4321 the rights.
fn acl(rights: u16) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in [
        (1_u16, u32::MAX),
        (2, 4321),
        (4, u32::MAX),
        (0x10, u32::MAX),
        (0x20, u32::MAX),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

#[tokio::test]
async fn links_attributes_and_nodes_come_back_after_a_kill_at_any_checkpoint() {
    let room = rich();
    let store = Memory::of(&room.path().join("tree"));
    let small = Window { bytes: 1, entries: 1 };
    let whole = run(&store, request(&room.path().join("whole")), None).await;
    let report = whole.0.unwrap();
    assert!(report.unheld.is_empty(), "{report:?}");
    assert_eq!(report.files, 5);
    assert_eq!(report.bytes_total, 3 * CHUNK as u64 + 5);
    assert_eq!(report.bytes_written + report.bytes_kept, report.bytes_total);
    let root = room.path().join("whole");
    assert_whole(&store, &root).await;
    let again = Memory::of(&root);
    for (was, is) in store.records.iter().zip(again.records.iter()) {
        let stat = |record: &EntryRecord| Entry {
            inode: 0,
            ..record.entry.clone()
        };
        assert_eq!((stat(was), was.content), (stat(is), is.content));
    }
    for name in ["a/second", "b/third", "c"] {
        assert_eq!(inode(&root.join("a/first")), inode(&root.join(name)), "{name}");
    }
    // A second restore finds all of it right.
    let report = run(&store, request(&root), None).await.0.unwrap();
    assert_eq!((report.bytes_written, report.files), (0, 5));

    let mut kills = 0;
    loop {
        let root = room.path().join(format!("killed-{kills}"));
        let asked = RestoreRequest {
            window: small,
            ..request(&root)
        };
        let (result, kept) = run(&store, asked.clone(), Some(kills)).await;
        if result.is_ok() {
            break;
        }
        kills += 1;
        let resumed = RestoreRequest {
            checkpoint: kept.last().cloned(),
            ..asked
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        assert_eq!(report.checkpoint_refuted, None);
        assert_eq!((report.files, report.unheld.is_empty()), (5, true));
        assert_whole(&store, &root).await;
    }
    assert!(kills >= 8, "{kills}");
}

#[tokio::test]
async fn a_name_whose_first_name_is_not_restored_gets_a_file_of_its_own() {
    let room = rich();
    let store = Memory::of(&room.path().join("tree"));
    let root = room.path().join("part");
    let asked = RestoreRequest {
        include: vec!["b".to_owned()],
        ..request(&root)
    };
    let report = run(&store, asked, None).await.0.unwrap();
    assert_eq!(
        fs::read(root.join("b/third")).unwrap(),
        bytes(3 * CHUNK, "linked")
    );
    assert!(!root.join("a").exists() && report.unheld.is_empty());

    // Somebody replaces the first name meanwhile: the content comes, and the lost identity is named.
    let root = room.path().join("changed");
    let window = Window { bytes: 1, entries: 1 };
    let asked = RestoreRequest {
        window,
        ..request(&root)
    };
    let replaced = |checkpoint: RestoreCheckpoint| {
        if checkpoint.files == 1 {
            fs::remove_file(root.join("a/first")).unwrap();
            fs::write(root.join("a/first"), bytes(3 * CHUNK, "another")).unwrap();
        }
        async { Ok(()) }
    };
    let (sink, stop) = (ProgressSink::none(), CancellationToken::new());
    let report = restore_from(&store, asked, &sink, replaced, &stop).await.unwrap();
    assert_eq!(report.unheld.count(Part::HardLink), 3, "{report:?}");
    assert_eq!(report.unheld.0[&Part::HardLink].named[1].display(), "b/third");
    assert_eq!(report.bytes_written + report.bytes_kept, report.bytes_total);
    for name in ["a/second", "b/third", "c"] {
        assert_eq!(fs::read(root.join(name)).unwrap(), bytes(3 * CHUNK, "linked"));
    }
}

#[tokio::test]
async fn a_link_to_a_lost_file_is_lost_too_and_other_names_stay_right() {
    let room = rich();
    let mut store = Memory::of(&room.path().join("tree"));
    let first = store
        .records
        .iter()
        .find(|record| record.entry.path.display() == "a/first");
    let lost = first.unwrap().chunks[1].id;
    store.lost.insert(lost);
    let report = run(&store, request(&room.path().join("out")), None)
        .await
        .0
        .unwrap();
    let named: Vec<_> = report.lost.iter().map(|lost| lost.path.display()).collect();
    assert_eq!(named, ["a/first", "a/second", "b/third", "c"]);
    assert_eq!(report.files, 1);
}

#[tokio::test]
async fn without_owners_nothing_is_given_away_and_nothing_is_named() {
    let room = rich();
    let tree = room.path().join("tree");
    fs::set_permissions(tree.join("b/other"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut store = Memory::of(&tree);
    let mut records = store.records.to_vec();
    for record in &mut records {
        (record.entry.uid, record.entry.gid) = (12_345, 12_345);
    }
    store.records = Arc::new(records);
    let root = room.path().join("out");
    let asked = RestoreRequest {
        owners: false,
        ..request(&root)
    };
    let report = run(&store, asked.clone(), None).await.0.unwrap();
    assert!(report.unheld.is_empty(), "{report:?}");
    let there = root.join("b/other").metadata().unwrap();
    assert_eq!(
        (there.uid(), there.mode() & 0o6000),
        (rustix::process::geteuid().as_raw(), 0)
    );
    let found = inspect_from(&store, &asked, &CancellationToken::new())
        .await
        .unwrap();
    assert!(found.is_whole() && found.unheld.is_empty(), "{found:?}");
}

#[test]
fn of_many_entries_the_first_hundred_are_named() {
    let mut unheld = Unheld::default();
    for number in 0..150 {
        let mut later = Unheld::default();
        let path = TreePath::new(format!("{number:03}").as_bytes()).unwrap();
        later.add(&path, &[Part::Owner]);
        unheld.append(later);
    }
    let counted = &unheld.0[&Part::Owner];
    assert_eq!((counted.count, counted.named.len()), (150, UNHELD_NAMED));
    assert_eq!(counted.named[99].display(), "099");
}
