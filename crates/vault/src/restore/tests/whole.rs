//! A restore fetches each chunk once, in the order of packs, and keeps what is already right.

use super::*;

#[tokio::test]
async fn a_nasty_tree_comes_back_as_it_was() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let (result, _) = run(&store, request(&target), None).await;
    let report = result.unwrap();
    assert_whole(&store, &target).await;
    assert_eq!(report.lost, []);
    assert_eq!(report.symlinks, 3);
    assert_eq!((report.bytes_written, report.bytes_kept), (report.bytes_total, 0));
    let meta = fs::metadata(target.join("setuid")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o4755);
    let sparse = fs::metadata(target.join("sparse.img")).unwrap();
    assert!(
        sparse.blocks() * 512 < sparse.len() / 2,
        "zeros took {} blocks",
        sparse.blocks()
    );
    // This listing does not use `inspect`.
    let again = Memory::of(&target);
    let plain = |store: &Memory| {
        let strip = |record: &EntryRecord| EntryRecord {
            entry: Entry {
                inode: 0,
                ..record.entry.clone()
            },
            ..record.clone()
        };
        store.records.iter().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(plain(&again), plain(&store));
}

#[tokio::test]
async fn what_is_already_right_is_kept_and_only_the_rest_is_written() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    run(&store, request(&target), None).await.0.unwrap();
    fs::write(target.join("readonly"), bytes(9000, "other")).unwrap();
    fs::remove_file(target.join("plain.md")).unwrap();
    date(&target.join("a"), 5, 5);
    let inode = fs::metadata(target.join("a/b/c.bin")).unwrap().ino();
    let report = run(&store, request(&target), None).await.0.unwrap();
    assert_eq!(report.bytes_written, 9000 + 8);
    assert_eq!(report.bytes_kept, report.bytes_total - 9008);
    assert_eq!(fs::metadata(target.join("a/b/c.bin")).unwrap().ino(), inode);
    assert_whole(&store, &target).await;
}

#[tokio::test]
async fn chunks_of_a_window_come_in_the_order_of_packs_and_each_once() {
    let room = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let content = [bytes(CHUNK, "shared"), bytes(3 * CHUNK, &n.to_string())].concat();
        put(&room.path().join("tree"), &format!("f{n}"), &content, 0o644);
    }
    let store = Memory::of(&room.path().join("tree"));
    let window = Window {
        bytes: 1 << 30,
        entries: 100,
    };
    run(
        &store,
        RestoreRequest {
            window,
            ..request(&room.path().join("t"))
        },
        None,
    )
    .await
    .0
    .unwrap();
    let order = store.order.lock().unwrap();
    assert_eq!(order.len(), 19);
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn globs_restore_a_part_with_its_folders_and_leave_the_rest_of_the_root_alone() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    fs::create_dir(&target).unwrap();
    date(&target, 77, 0);
    let asked = RestoreRequest {
        include: vec!["a/b".to_owned(), "*.md".to_owned()],
        ..request(&target)
    };
    for _ in 0..2 {
        let report = run(&store, asked.clone(), None).await.0.unwrap();
        assert_eq!((report.files, report.dirs, report.symlinks), (2, 2, 0));
        let mut there = BTreeMap::new();
        gather(&target, &[], &mut there);
        let there: Vec<_> = there.into_keys().map(|path| path.display()).collect();
        assert_eq!(there, ["", "a", "a/b", "a/b/c.bin", "plain.md"]);
    }
    let found = inspect_from(&store, &asked, &CancellationToken::new())
        .await
        .unwrap();
    assert!(found.is_whole(), "{found:?}");
}

#[tokio::test]
async fn a_tree_of_one_file_leaves_the_folder_around_it_alone() {
    let room = tempfile::tempdir().unwrap();
    fs::write(room.path().join("other"), b"mine").unwrap();
    let store = stream(&[("content.db", None)]);
    let report = run(&store, request(room.path()), None).await.0.unwrap();
    assert_eq!((report.files, report.dirs), (1, 0));
    assert_eq!(fs::read(room.path().join("content.db")).unwrap(), b"content.db");
    assert_eq!(fs::read(room.path().join("other")).unwrap(), b"mine");
}

#[tokio::test]
async fn inspect_names_every_kind_of_difference() {
    let room = nasty();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let check = async |what: &str, aspect: Aspect, spoil: &dyn Fn(&Path)| {
        run(&store, request(&target), None).await.0.unwrap();
        let path = target.join(what);
        spoil(&path);
        let found = inspect_from(&store, &request(&target), &CancellationToken::new())
            .await
            .unwrap();
        let named = found
            .differences
            .iter()
            .any(|d| d.path.display() == what && d.aspect == aspect);
        assert!(named, "{what} {aspect:?}: {found:?}");
    };
    let redate = |path: &Path, change: &dyn Fn()| {
        let meta = path.symlink_metadata().unwrap();
        change();
        date(path, meta.mtime(), meta.mtime_nsec());
    };
    check("empty", Aspect::Missing, &|path| fs::remove_file(path).unwrap()).await;
    check("plain.md", Aspect::Size, &|path| {
        fs::write(path, b"longer than before").unwrap()
    })
    .await;
    check("plain.md", Aspect::Content, &|path| {
        redate(path, &|| fs::write(path, b"# hullo\n").unwrap())
    })
    .await;
    check("plain.md", Aspect::Time, &|path| date(path, 1_000_000_000, 1)).await;
    check("a/b", Aspect::Mode, &|path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap()
    })
    .await;
    check("absolute", Aspect::Target, &|path| {
        fs::remove_file(path).unwrap();
        symlink("elsewhere", path).unwrap();
    })
    .await;
    check("empty", Aspect::Type, &|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    })
    .await;
}

#[test]
fn the_calls_can_be_awaited_from_any_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let (store, sink, stop) = (Memory::default(), ProgressSink::none(), CancellationToken::new());
    let root = Path::new("root");
    assert_send(&restore_from(
        &store,
        request(root),
        &sink,
        |_| async { Ok(()) },
        &stop,
    ));
    assert_send(&restore(&[], request(root), &sink, |_| async { Ok(()) }, &stop));
    assert_send(&inspect(&[], &request(root), &stop));
}
