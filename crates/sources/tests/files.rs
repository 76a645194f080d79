//! What a walk gives: order, kinds, what it leaves out, and what it does when files change under it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rekindle_model::entry::{Entry, EntryKind, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_sources::files::{FilesTree, NoteKind};

fn put(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn globs(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

fn open(root: &Path) -> FilesTree {
    FilesTree::open(root, &[], &[], &[]).unwrap()
}

fn entries(source: &mut FilesTree) -> Vec<Entry> {
    std::iter::from_fn(|| source.next_entry().unwrap()).collect()
}

fn names(root: &Path, include: &[&str], exclude: &[&str], never: &[PathBuf]) -> Vec<String> {
    let mut source = FilesTree::open(root, &globs(include), &globs(exclude), never).unwrap();
    entries(&mut source)
        .iter()
        .map(|entry| entry.path.display())
        .collect()
}

#[test]
fn entries_come_in_the_order_of_their_paths_with_kind_mode_and_content() {
    let room = tempfile::tempdir().unwrap();
    let root = room.path();
    for (name, content) in [("a/z", "1"), ("a-b", "2"), ("a/b/c", "3"), ("b", "4")] {
        put(root, name, content);
    }
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"a/\xff")), "5").unwrap();
    symlink("/nowhere", root.join("link")).unwrap();
    fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o4711)).unwrap();

    let mut source = open(root);
    let (mut seen, mut content) = (Vec::new(), String::new());
    while let Some(entry) = source.next_entry().unwrap() {
        if let EntryKind::File { size } = entry.kind {
            let before = content.len();
            source.open(&entry).unwrap().read_to_string(&mut content).unwrap();
            assert_eq!((content.len() - before) as u64, size);
        }
        seen.push(entry);
    }
    assert!(seen.is_sorted_by(|a, b| a.path < b.path));
    let bytes: Vec<_> = seen.iter().map(|entry| entry.path.as_bytes().to_vec()).collect();
    let expect: [&[u8]; 10] = [
        b"", b"a", b"a/b", b"a/b/c", b"a/z", b"a/\xff", b"a-b", b"b", b"empty", b"link",
    ];
    assert_eq!(bytes, expect);
    assert_eq!(content, "31524");
    assert_eq!(seen[7].mode, 0o4711);
    assert_eq!(
        seen[9].kind,
        EntryKind::Symlink {
            target: b"/nowhere".to_vec()
        }
    );
}

#[test]
fn a_single_file_is_a_tree_of_one_entry() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "one.txt", "content");
    let mut source = open(&room.path().join("one.txt"));
    let entry = source.next_entry().unwrap().unwrap();
    assert_eq!(
        (entry.path.display().as_str(), &entry.kind),
        ("one.txt", &EntryKind::File { size: 7 })
    );
    let mut text = String::new();
    source.open(&entry).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    assert_eq!(source.next_entry().unwrap(), None);
}

#[test]
fn globs_choose_and_bring_the_folders_on_the_way() {
    let room = tempfile::tempdir().unwrap();
    for name in [
        "docs/a.md",
        "docs/deep/b.md",
        "docs/c.txt",
        "src/d.rs",
        "cache/e.md",
        "top.md",
    ] {
        put(room.path(), name, "x");
    }
    fs::create_dir(room.path().join("void")).unwrap();
    let check = |include: &[&str], exclude: &[&str], expect: &[&str]| {
        assert_eq!(
            names(room.path(), include, exclude, &[]),
            expect,
            "{include:?} {exclude:?}"
        );
    };
    check(
        &["*.md"],
        &["cache"],
        &["", "docs", "docs/a.md", "docs/deep", "docs/deep/b.md", "top.md"],
    );
    check(&["docs"], &["*.md"], &["", "docs", "docs/c.txt", "docs/deep"]);
    check(&["docs/*.md"], &[], &["", "docs", "docs/a.md"]);
    check(&["nothing"], &[], &[""]);
    check(&[], &["docs", "src/**", "cache/", "void"], &["", "src", "top.md"]);
}

#[test]
fn links_are_captured_and_never_followed() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "outside/secret", "x");
    fs::create_dir(room.path().join("root")).unwrap();
    symlink("../outside", room.path().join("root/folder")).unwrap();
    symlink("../outside/secret", room.path().join("root/file")).unwrap();
    symlink(".", room.path().join("root/loop")).unwrap();
    assert_eq!(
        names(&room.path().join("root"), &[], &[], &[]),
        ["", "file", "folder", "loop"]
    );
}

#[test]
fn a_way_back_out_of_a_link_leaves_out_what_it_leads_to_and_not_what_it_spells() {
    let room = tempfile::tempdir().unwrap();
    let root = room.path().join("root");
    put(&root, "deep/er/file", "x");
    put(&root, "deep/tier/pack", "of the tier");
    put(&root, "tier/file", "of the data");
    symlink("deep/er", root.join("link")).unwrap();
    let never = [root.join("link/../tier"), root.join("not-yet/../deep/er")];
    assert_eq!(
        names(&root, &[], &[], &never),
        ["", "deep", "link", "tier", "tier/file"]
    );
    let inside = FilesTree::open(&root.join("deep/tier"), &[], &[], &never);
    assert_eq!(
        inside.err().map(|failure| failure.code).as_deref(),
        Some("source_is_own")
    );
}

#[test]
fn the_workspace_and_the_tiers_are_left_out_by_any_name_and_before_they_exist() {
    let room = tempfile::tempdir().unwrap();
    let root = room.path().join("root");
    put(&root, ".rekindle/journal", "x");
    put(&root, "data/file", "x");
    put(room.path(), "elsewhere/tier/pack", "x");
    symlink(room.path().join("root/data"), room.path().join("alias")).unwrap();
    let by_link = room.path().join("alias/later");
    let never = [root.join(".rekindle"), root.join("data/../data/tier"), by_link];
    put(&root, "data/later/x", "made after");
    assert_eq!(names(&root, &[], &[], &never), ["", "data", "data/file"]);
    let mut source = FilesTree::open(&root, &[], &[], &[root.join("data/not-yet")]).unwrap();
    put(&root, "data/not-yet/pack", "made while the walk runs");
    assert!(
        entries(&mut source)
            .iter()
            .all(|entry| !entry.path.display().contains("not-yet"))
    );
    let notes = source.notes().first();
    assert_eq!(
        notes.iter().map(|note| note.kind).collect::<Vec<_>>(),
        [NoteKind::Own]
    );

    let Err(refused) = FilesTree::open(&root.join("data"), &[], &[], std::slice::from_ref(&root)) else {
        panic!("opened")
    };
    assert_eq!(refused.code, "source_is_own");
}

#[test]
fn sockets_and_fifos_are_left_out_and_noted() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "file", "x");
    let _socket = std::os::unix::net::UnixListener::bind(room.path().join("socket")).unwrap();
    let fifo = room.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let mut source = open(room.path());
    let notes = source.notes();
    let found: Vec<_> = entries(&mut source).into_iter().map(|entry| entry.kind).collect();
    assert_eq!(
        found,
        [EntryKind::Dir, EntryKind::Fifo, EntryKind::File { size: 1 }]
    );
    drop(source);
    let noted: Vec<_> = notes
        .first()
        .into_iter()
        .map(|note| (note.path.display(), note.kind))
        .collect();
    assert_eq!(noted, [("socket".to_owned(), NoteKind::Socket)]);
}

#[test]
fn a_name_whose_file_changed_since_its_first_name_has_content_of_its_own() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "a", "short");
    std::fs::hard_link(room.path().join("a"), room.path().join("b")).unwrap();
    let mut source = open(room.path());
    let mut next = || source.next_entry().unwrap().unwrap();
    assert_eq!([next(), next()].map(|entry| entry.path.display()), ["", "a"]);
    // An inode that is used again looks the same.
    put(room.path(), "b", "something longer");
    let second = next();
    assert_eq!((second.path.display().as_str(), second.first_name), ("b", None));
    assert_eq!(second.kind, EntryKind::File { size: 16 });
}

#[test]
fn a_database_that_may_be_in_use_is_captured_and_noted() {
    let room = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("live.db", "SQLite format 3\0 and more"),
        ("live.db-wal", "frames"),
        ("closed.db", "SQLite format 3\0 and more"),
        ("notes", "no database"),
        ("notes-journal", "no journal"),
    ] {
        put(room.path(), name, content);
    }
    let mut source = open(room.path());
    let notes = source.notes();
    assert_eq!(entries(&mut source).len(), 6);
    drop(source);
    let noted = notes.first();
    let noted: Vec<_> = noted
        .iter()
        .map(|note| (note.path.display(), note.kind))
        .collect();
    assert_eq!(noted, [("live.db".to_owned(), NoteKind::LiveDatabase)]);
}

#[test]
fn a_missing_source_is_named_with_a_hint() {
    let Err(failure) = FilesTree::open(Path::new("/nowhere/at/all"), &[], &[], &[]) else {
        panic!("opened")
    };
    assert_eq!(failure.code, "source_unreadable");
    assert!(failure.message.contains("/nowhere/at/all"), "{failure}");
    assert!(failure.hint.is_some());
}

/// Run as the child of the test below; without the variable it does nothing.
#[test]
fn child_that_walks_without_privilege() {
    let Ok(root) = std::env::var("WALK_ROOT") else {
        return;
    };
    let failure = FilesTree::open(Path::new(&root), &[], &[], &[])
        .and_then(|mut source| {
            while source.next_entry()?.is_some() {}
            Ok(())
        })
        .unwrap_err();
    assert_eq!(failure.code, "source_unreadable");
    assert!(failure.hint.unwrap().contains("exclude"));
    assert!(failure.message.contains("/secret:"), "{}", failure.message);
    assert!(!failure.retryable);
    let spared =
        FilesTree::open(Path::new(&root), &[], &globs(&["secret"]), &[]).map(|mut s| entries(&mut s).len());
    assert_eq!(spared, Ok(2));
    std::process::exit(77);
}

#[test]
fn a_file_or_folder_that_may_not_be_read_fails_loudly_with_its_path_and_can_be_excluded() {
    for folder in [false, true] {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().join("root");
        put(&root, "file", "x");
        match folder {
            true => fs::create_dir(root.join("secret")).unwrap(),
            false => put(&root, "secret", "x"),
        }
        fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read everything: the child is somebody else, and gets a copy of this binary it can reach.
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = room.path().join("binary");
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let mut child = std::process::Command::new(binary);
        child
            .args(["--exact", "child_that_walks_without_privilege", "--nocapture"])
            .env("WALK_ROOT", &root);
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut child, 65534);
        }
        let output = child.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(77),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Returns the failure inside a read error.
fn inside(error: &std::io::Error) -> &Failure {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap()
}

#[test]
fn a_file_that_grows_is_captured_as_of_its_entry_and_noted() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "audit.log", "first\n");
    let mut source = open(room.path());
    source.next_entry().unwrap();
    let entry = source.next_entry().unwrap().unwrap();
    fs::write(room.path().join("audit.log"), "first\nsecond\n").unwrap();
    let mut text = String::new();
    source.open(&entry).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "first\n");
    assert_eq!(source.notes().first()[0].kind, NoteKind::Changed);
}

#[test]
fn a_file_that_shrinks_fails_the_read_and_may_be_tried_again() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "file", "long enough");
    let mut source = open(room.path());
    source.next_entry().unwrap();
    let entry = source.next_entry().unwrap().unwrap();
    fs::write(room.path().join("file"), "short").unwrap();
    let error = source
        .open(&entry)
        .unwrap()
        .read_to_end(&mut Vec::new())
        .unwrap_err();
    let failure = inside(&error);
    assert_eq!(
        (failure.code.as_str(), failure.retryable),
        ("source_changed", true)
    );
    assert!(failure.message.contains("file"), "{failure}");
}

#[test]
fn a_file_that_vanishes_is_noted_before_its_entry_and_still_read_after_it() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "a", "kept");
    put(room.path(), "b", "gone");
    let mut source = open(room.path());
    source.next_entry().unwrap();
    let entry = source.next_entry().unwrap().unwrap();
    fs::remove_file(room.path().join("a")).unwrap();
    fs::remove_file(room.path().join("b")).unwrap();
    let mut text = String::new();
    source.open(&entry).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "kept");
    assert_eq!(source.next_entry().unwrap(), None);
    assert_eq!(source.notes().first()[0].kind, NoteKind::Vanished);
}

#[test]
fn a_folder_swapped_for_a_link_while_the_walk_runs_leads_nowhere() {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "outside/secret", "x");
    put(room.path(), "root/a/file", "x");
    put(room.path(), "root/b/file", "x");
    let mut source = open(&room.path().join("root"));
    source.next_entry().unwrap();
    fs::remove_dir_all(room.path().join("root/b")).unwrap();
    symlink("../outside", room.path().join("root/b")).unwrap();
    let rest = entries(&mut source);
    let last = rest.last().unwrap();
    assert!(matches!(last.kind, EntryKind::Symlink { .. }), "{last:?}");
    assert!(rest.iter().all(|entry| !entry.path.display().contains("secret")));
}

#[test]
fn a_tree_deeper_than_the_folders_kept_open_is_walked_to_its_end() {
    let room = tempfile::tempdir().unwrap();
    let mut folder = room.path().to_owned();
    for depth in 0..300 {
        fs::write(folder.join("z"), depth.to_string()).unwrap();
        folder.push("d");
        fs::create_dir(&folder).unwrap();
    }
    let mut source = open(room.path());
    let mut contents = Vec::new();
    while let Some(entry) = source.next_entry().unwrap() {
        if matches!(entry.kind, EntryKind::File { .. }) {
            let mut text = String::new();
            source.open(&entry).unwrap().read_to_string(&mut text).unwrap();
            contents.push(text.parse::<u32>().unwrap());
        }
    }
    assert_eq!(contents, (0..300).rev().collect::<Vec<_>>());
}
