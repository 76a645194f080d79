//! A hostile stream or a planted link changes nothing outside the root.

use super::*;

#[tokio::test]
async fn a_root_below_the_named_folder_is_reached_through_no_link() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    for folder in ["real", "elsewhere"] {
        fs::create_dir(room.path().join(folder)).unwrap();
    }
    std::os::unix::fs::symlink("real", room.path().join("named")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", room.path().join("real/link")).unwrap();
    let named = room.path().join("named");
    for below in ["link", "link/deeper"] {
        let asked = RestoreRequest {
            root: RestoreRoot::beneath(&named, &named.join(below)),
            ..request(&named)
        };
        let refused = run(&store, asked.clone(), None).await.0.unwrap_err();
        assert!(
            matches!(&refused, RestoreError::Link { path, leads_to } if path.ends_with("named/link") && leads_to == "../elsewhere"),
            "{refused}"
        );
        let looked = inspect_from(&store, &asked, &CancellationToken::new()).await;
        assert!(matches!(looked, Err(RestoreError::Link { .. })), "{looked:?}");
        assert_eq!(fs::read_dir(room.path().join("elsewhere")).unwrap().count(), 0);
    }
    // The named folder may be a link, and missing folders below it are created.
    let asked = RestoreRequest {
        root: RestoreRoot::beneath(&named, &named.join("a/b")),
        ..request(&named)
    };
    run(&store, asked.clone(), None).await.0.unwrap();
    assert_whole(&store, &room.path().join("real/a/b")).await;
    // A link of another user is none that a person has named.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&named, Some(65_534), None).unwrap();
        let refused = run(&store, asked, None).await.0.unwrap_err();
        assert!(matches!(&refused, RestoreError::Obstructed { .. }), "{refused}");
        // Nor does it lead anything elsewhere before it is refused: no folder is made behind it.
        let before = fs::read_dir(room.path().join("real")).unwrap().count();
        let deeper = request(&named.join("new/folders"));
        let refused = run(&store, deeper, None).await.0.unwrap_err();
        assert!(matches!(&refused, RestoreError::Obstructed { .. }), "{refused}");
        let after = fs::read_dir(room.path().join("real")).unwrap().count();
        assert_eq!(after, before, "a folder was made behind the link");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_a_tree_is_refused_and_nothing_is_written_outside_the_root() {
    let dir = Some("dir");
    let cases: [(&str, &[Shape<'_>]); 7] = [
        (
            "a file beneath a link",
            &[("", dir), ("a", Some("../outside")), ("a/b", None)],
        ),
        (
            "a folder beneath a link",
            &[("", dir), ("a", Some("../outside")), ("a/b", dir)],
        ),
        (
            "a link, then a folder of its name",
            &[("", dir), ("a", Some("../outside")), ("a", dir), ("a/b", None)],
        ),
        ("a file beneath a file", &[("", dir), ("a", None), ("a/b", None)]),
        ("a file in no folder", &[("", dir), ("a/b", None)]),
        ("a stream out of order", &[("", dir), ("b", None), ("a", None)]),
        ("a root that is a link", &[("", Some("../outside")), ("a", None)]),
    ];
    for (what, entries) in cases {
        for entries_per_window in [1, 100] {
            let room = tempfile::tempdir().unwrap();
            let outside = room.path().join("outside");
            fs::create_dir(&outside).unwrap();
            let window = Window {
                bytes: 1 << 20,
                entries: entries_per_window,
            };
            let asked = RestoreRequest {
                window,
                ..request(&room.path().join("root"))
            };
            let result = run(&stream(entries), asked, None).await.0;
            assert!(
                matches!(result, Err(RestoreError::Hostile { .. })),
                "{what}: {result:?}"
            );
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_link_planted_in_the_root_is_replaced_and_never_followed() {
    let store = stream(&[("", Some("dir")), ("a", Some("dir")), ("a/b", None), ("c", None)]);
    let room = tempfile::tempdir().unwrap();
    let (root, outside) = (room.path().join("root"), room.path().join("outside"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"c").unwrap();
    symlink(&outside, root.join("a")).unwrap();
    symlink(outside.join("victim"), root.join("c")).unwrap();
    let window = Window { bytes: 1, entries: 1 };
    let asked = RestoreRequest {
        window,
        ..request(&root)
    };
    let (_, kept) = run(&store, asked.clone(), None).await;
    assert_whole(&store, &root).await;

    // After the checkpoint that made folder `a`, somebody replaces it by a link: the restore makes it again.
    fs::remove_dir_all(root.join("a")).unwrap();
    symlink(&outside, root.join("a")).unwrap();
    let after_folder = kept
        .iter()
        .find(|checkpoint| checkpoint.position.inside.display() == "a")
        .cloned();
    assert!(after_folder.is_some());
    run(
        &store,
        RestoreRequest {
            checkpoint: after_folder,
            ..asked
        },
        None,
    )
    .await
    .0
    .unwrap();
    assert_whole(&store, &root).await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"c");
}

#[tokio::test]
async fn a_folder_with_content_is_never_replaced_by_a_file() {
    let store = stream(&[("", Some("dir")), ("a", None)]);
    let room = tempfile::tempdir().unwrap();
    fs::create_dir_all(room.path().join("a")).unwrap();
    fs::write(room.path().join("a/precious"), b"mine").unwrap();
    let result = run(&store, request(room.path()), None).await.0;
    assert!(
        matches!(result, Err(RestoreError::Obstructed { .. })),
        "{result:?}"
    );
    assert_eq!(fs::read(room.path().join("a/precious")).unwrap(), b"mine");
    fs::remove_file(room.path().join("a/precious")).unwrap();
    run(&store, request(room.path()), None).await.0.unwrap();
    assert_eq!(fs::read(room.path().join("a")).unwrap(), b"a");
}

#[tokio::test]
async fn a_hard_link_or_an_attribute_that_no_honest_tree_has_is_refused() {
    let link = |to: &str| {
        let to = TreePath::new(to.as_bytes()).unwrap();
        move |entry: &mut Entry| entry.first_name = Some(to)
    };
    let attributes = |many: usize, name: &str, len: usize| {
        let name = name.to_owned();
        move |entry: &mut Entry| {
            let one = |number| Xattr {
                name: format!("{name}{number:04}").into_bytes(),
                value: vec![0; len],
            };
            entry.xattrs = (0..many).map(one).collect();
        }
    };
    type Spoil = Box<dyn FnOnce(&mut Entry)>;
    let cases: [(&str, Spoil); 8] = [
        ("to itself", Box::new(link("d/b"))),
        ("to a later path", Box::new(link("d/c"))),
        ("to the root", Box::new(link(""))),
        (
            "a huge value",
            Box::new(attributes(1, "user.", Xattr::VALUE_MAX + 1)),
        ),
        ("many values", Box::new(attributes(17, "user.", Xattr::VALUE_MAX))),
        ("a label", Box::new(attributes(1, "security.selinux", 1))),
        (
            "no name",
            Box::new(|entry: &mut Entry| {
                let (name, value) = (Vec::new(), Vec::new());
                entry.xattrs.push(Xattr { name, value });
            }),
        ),
        (
            "a folder as a link",
            Box::new(|entry: &mut Entry| {
                entry.kind = EntryKind::Fifo;
                entry.first_name = Some(TreePath::new(b"a").unwrap());
            }),
        ),
    ];
    for (what, spoil) in cases {
        let mut store = stream(&[("", Some("dir")), ("a", None), ("d", Some("dir")), ("d/b", None)]);
        let mut records = store.records.to_vec();
        spoil(&mut records[3].entry);
        if records[3].entry.kind == EntryKind::Fifo {
            (records[3].content, records[3].chunks) = (None, Vec::new());
        }
        store.records = Arc::new(records);
        let room = tempfile::tempdir().unwrap();
        let result = run(&store, request(room.path()), None).await.0;
        assert!(
            matches!(result, Err(RestoreError::Hostile { .. })),
            "{what}: {result:?}"
        );
        assert!(!room.path().join("d/b").exists(), "{what}");
    }
}

#[tokio::test]
async fn a_hard_link_to_what_is_no_such_file_brings_its_own_content() {
    // A folder, a symbolic link to outside, a file with other content, and a name that the snapshot does not have.
    for (first, target) in [
        ("d", None),
        ("l", Some("/etc/passwd")),
        ("a", None),
        ("planted", None),
    ] {
        let mut entries = vec![("", Some("dir")), ("a", None), ("d", Some("dir"))];
        entries.extend(target.map(|target| ("l", Some(target))));
        entries.push(("z", None));
        let mut store = stream(&entries);
        let mut records = store.records.to_vec();
        let last = records.last_mut().unwrap();
        last.entry.first_name = Some(TreePath::new(first.as_bytes()).unwrap());
        // Another time, so that the size alone is not taken for the same file.
        last.entry.mtime_s = 77;
        store.records = Arc::new(records);
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("planted"), b"y").unwrap();
        let report = run(&store, request(room.path()), None).await.0.unwrap();
        assert_eq!(report.unheld.count(Part::HardLink), 1, "{first}");
        assert_eq!(fs::read(room.path().join("z")).unwrap(), b"z", "{first}");
        assert!(!room.path().join("z").is_symlink());
    }
}
