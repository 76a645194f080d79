//! A live database is captured whole, and put back so that nothing of the old one can reach it.
//!
//! The kills are real: this binary starts itself with the number of a stage, and the child aborts itself
//! right after that stage. The parent then repeats the call, as a resumed run would, and looks at the result.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rekindle_model::entry::{EntryKind, TreeSource};
use rekindle_sources::sqlite::{PutBackStage, SqliteTree, capture, put_back};
use rusqlite::Connection;

/// Makes a database whose two tables always agree: a torn copy would not.
fn make(path: &Path, mode: &str, rows: u32) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    database
        .query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(()))
        .unwrap();
    database
        .execute_batch("CREATE TABLE a (n INTEGER, t TEXT); CREATE TABLE b (n INTEGER, t TEXT);")
        .unwrap();
    // What is tested here is not SQLite's own durability: waiting for the disk would only cost time.
    database.execute_batch("PRAGMA synchronous=OFF").unwrap();
    for n in 0..rows {
        add(&database, n);
    }
    database
}

fn add(database: &Connection, n: u32) {
    let filler = "x".repeat(1500);
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    database
        .execute("INSERT INTO a VALUES (?1, ?2)", (n, &filler))
        .unwrap();
    database
        .execute("INSERT INTO b VALUES (?1, ?2)", (n, &filler))
        .unwrap();
    database.execute_batch("COMMIT").unwrap();
}

fn counts(path: &Path) -> (u32, u32) {
    let database = Connection::open(path).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let count = |table| {
        database
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap()
    };
    (count("a"), count("b"))
}

/// Nobody asks the copy to stop.
fn never() -> bool {
    false
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|found| {
            found
                .map(|name| name.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn a_database_is_captured_whole_while_writers_write() {
    for mode in ["wal", "delete"] {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("live #1.db");
        // More than one step of the copy, so that writers do come between.
        let database = make(&path, mode, 2000);
        let staging = room.path().join("staging");
        fs::create_dir(&staging).unwrap();
        let stop = AtomicBool::new(false);
        let mut captured = Vec::new();
        std::thread::scope(|scope| {
            let stopped = &stop;
            scope.spawn(move || {
                let mut n = 2000;
                while !stopped.load(Ordering::SeqCst) {
                    add(&database, n);
                    n += 1;
                }
            });
            for n in 0..5 {
                captured.push(capture(&path, &staging.join(format!("{n}.db")), &never));
            }
            stop.store(true, Ordering::SeqCst);
        });
        let (total, _) = counts(&path);
        for capture in captured {
            let capture = capture.unwrap();
            assert_eq!(capture.bytes, fs::metadata(&capture.path).unwrap().len());
            let (a, b) = counts(&capture.path);
            assert!(
                a == b && (2000..=total).contains(&a),
                "{mode}: {a} {b} of {total}"
            );
        }
        assert_eq!(
            names(&staging),
            ["0.db", "1.db", "2.db", "3.db", "4.db"],
            "{mode}"
        );
    }
}

#[test]
fn a_copy_that_is_told_to_stop_ends_between_two_steps_and_leaves_nothing_behind() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("live.db");
    let database = make(&path, "wal", 2000);
    let staging = room.path().join("staging");
    fs::create_dir(&staging).unwrap();
    let asked = AtomicU32::new(0);
    // The first step is allowed.
    let stopped = || asked.fetch_add(1, Ordering::SeqCst) == 1;
    let failure = capture(&path, &staging.join("copy.db"), &stopped).unwrap_err();
    assert_eq!(failure.code, "interrupted", "{failure}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(names(&staging), [""; 0]);
    drop(database);
}

#[test]
fn what_stands_only_in_the_wal_is_captured_and_the_live_wal_is_left_alone() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("live.db");
    let database = make(&path, "wal", 20);
    let wal = fs::read(room.path().join("live.db-wal")).unwrap();
    assert!(
        fs::metadata(&path).unwrap().len() < 20 * 3000,
        "the rows should still be in the -wal"
    );
    let captured = capture(&path, &room.path().join("copy.db"), &never).unwrap();
    assert_eq!(counts(&captured.path), (20, 20));
    assert_eq!(fs::read(room.path().join("live.db-wal")).unwrap(), wal);
    drop(database);
}

#[test]
fn the_entry_of_a_capture_looks_like_the_original() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("content.db");
    drop(make(&path, "delete", 3));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let original = fs::metadata(&path).unwrap();
    let captured = capture(&path, &room.path().join("staged-copy"), &never).unwrap();
    let copy = fs::read(&captured.path).unwrap();
    let mut source = SqliteTree::new(captured);
    let entry = source.next_entry().unwrap().unwrap();
    assert_eq!(entry.path.display(), "content.db");
    assert_eq!(
        entry.kind,
        EntryKind::File {
            size: copy.len() as u64
        }
    );
    assert_eq!(
        (entry.mode, entry.uid, entry.gid),
        (0o640, original.uid(), original.gid())
    );
    assert_eq!(
        (entry.mtime_s, i64::from(entry.mtime_ns)),
        (original.mtime(), original.mtime_nsec())
    );
    assert_ne!(entry.inode, original.ino());
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut source.open(&entry).unwrap(), &mut read).unwrap();
    assert!(read == copy);
    assert_eq!(source.next_entry().unwrap(), None);
}

#[test]
fn a_capture_keeps_the_schema_version_and_an_empty_database_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let version = |path: &Path| -> u32 {
        let database = Connection::open(path).unwrap();
        database
            .query_row("PRAGMA schema_version", [], |row| row.get(0))
            .unwrap()
    };
    for mode in ["wal", "delete"] {
        let path = dir.path().join(mode);
        let live = make(&path, mode, 3);
        live.execute_batch("PRAGMA schema_version = 4711; CREATE TABLE c (n INTEGER)")
            .unwrap();
        let captured = capture(&path, &dir.path().join("copy"), &never).unwrap();
        assert_eq!(version(&captured.path), 4712, "{mode}");
        assert_eq!(counts(&captured.path), (3, 3));
    }

    let empty = dir.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    let captured = capture(&empty, &dir.path().join("copy"), &never).unwrap();
    assert_eq!((captured.pages, captured.bytes), (0, 0));
    let target = dir.path().join("back.db");
    put_back(&captured.path, &target, &dir.path().join("aside"), &mut |_| ()).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().len(), 0);
}

#[test]
fn a_private_database_is_private_at_every_moment_of_its_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let (staged, folder) = (dir.path().join("staged.db"), dir.path().join("place"));
    make(&staged, "delete", 1)
        .execute_batch("INSERT INTO a VALUES (2, zeroblob(60000000))")
        .unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(&folder).unwrap();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                for entry in fs::read_dir(&folder).unwrap().flatten() {
                    seen.extend(entry.metadata().ok().map(|meta| meta.mode() & 0o777));
                }
            }
            seen
        });
        put_back(
            &staged,
            &folder.join("a.db"),
            &dir.path().join("aside"),
            &mut |_| (),
        )
        .unwrap();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [0o600]);
    // The copy of a capture has nothing to hide behind either.
    let captured = capture(&staged, &dir.path().join("copy"), &never).unwrap();
    assert_eq!(fs::metadata(&captured.path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_is_not_a_database_is_refused_with_its_path() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("notes.txt");
    fs::write(&path, "x".repeat(5000)).unwrap();
    let failure = capture(&path, &room.path().join("copy"), &never).unwrap_err();
    assert_eq!(failure.code, "source_unreadable");
    assert!(
        failure.message.contains("notes.txt") && failure.hint.is_some(),
        "{failure:?}"
    );
    let failure = capture(&room.path().join("none.db"), &room.path().join("copy"), &never).unwrap_err();
    assert!(failure.message.contains("none.db"), "{failure}");
    assert!(!room.path().join("none.db").exists());
}

/// A restored database in `staged`, and an old one at the target with a stale `-wal` and the rest beside it.
struct Scene {
    room: tempfile::TempDir,
    old: Vec<(String, Vec<u8>)>,
}

impl Scene {
    fn new() -> Self {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("data");
        fs::create_dir(&folder).unwrap();
        let staged = make(&room.path().join("staged.db"), "wal", 7);
        staged.execute_batch("PRAGMA user_version=2").unwrap();
        drop(staged);
        fs::set_permissions(room.path().join("staged.db"), fs::Permissions::from_mode(0o640)).unwrap();
        // A killed writer leaves its -wal: copied while it is open, since closing removes it.
        let before = room.path().join("before.db");
        let writer = make(&before, "wal", 7);
        writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        for n in 100..150 {
            add(&writer, n);
        }
        let mut old = Vec::new();
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("content.db{suffix}");
            let content = fs::read(room.path().join(format!("before.db{suffix}"))).unwrap();
            fs::write(folder.join(&name), &content).unwrap();
            old.push((name, content));
        }
        old.push(("content.db-journal".to_owned(), b"left over".to_vec()));
        fs::write(folder.join("content.db-journal"), b"left over").unwrap();
        Self { room, old }
    }

    fn target(&self) -> PathBuf {
        self.room.path().join("data/content.db")
    }

    fn put_back(&self, at: &mut dyn FnMut(PutBackStage)) -> rekindle_sources::sqlite::PutBack {
        let staged = self.room.path().join("staged.db");
        put_back(&staged, &self.target(), &self.room.path().join("aside"), at).unwrap()
    }

    fn assert_done(&self, what: &str) {
        let staged = fs::read(self.room.path().join("staged.db")).unwrap();
        assert!(fs::read(self.target()).unwrap() == staged, "{what}: other bytes");
        assert_eq!(names(&self.room.path().join("data")), ["content.db"], "{what}");
        assert_eq!(
            fs::metadata(self.target()).unwrap().mode() & 0o7777,
            0o640,
            "{what}"
        );
        for (name, content) in &self.old {
            let aside = fs::read(self.room.path().join("aside").join(name)).unwrap();
            assert!(aside == *content, "{what}: {name} changed on its way aside");
        }
        assert_eq!(
            names(&self.room.path().join("aside")).len(),
            self.old.len(),
            "{what}"
        );
        assert_eq!(counts(&self.target()), (7, 7), "{what}");
    }
}

#[test]
fn a_stale_wal_would_be_applied_to_a_file_that_is_merely_overwritten() {
    // Why the sidecars are moved at all: the hazard is real in this very scene.
    let scene = Scene::new();
    fs::copy(scene.room.path().join("before.db"), scene.target()).unwrap();
    fs::remove_file(scene.room.path().join("data/content.db-journal")).unwrap();
    assert_eq!(counts(&scene.target()), (57, 57));
}

#[test]
fn a_stale_wal_beside_the_target_never_reaches_the_new_database() {
    let scene = Scene::new();
    let mut stages = Vec::new();
    let done = scene.put_back(&mut |stage| stages.push(stage));
    assert_eq!(stages, PutBackStage::ALL);
    assert_eq!((done.already, done.displaced.len()), (false, 4));
    scene.assert_done("once");
    let again = scene.put_back(&mut |_| {});
    assert!(again.already && again.displaced.is_empty(), "{again:?}");
    scene.assert_done("twice");
}

#[test]
fn a_stale_wal_beside_equal_bytes_is_moved_too() {
    let scene = Scene::new();
    fs::copy(scene.room.path().join("staged.db"), scene.target()).unwrap();
    let done = scene.put_back(&mut |_| {});
    assert_eq!((done.already, done.displaced.len()), (true, 3));
    assert_eq!(names(&scene.room.path().join("data")), ["content.db"]);
    assert_eq!(counts(&scene.target()), (7, 7));
}

/// Run as the child of the test below; without the variables it does nothing.
#[test]
fn child_that_aborts_at_a_stage() {
    let (Ok(room), Ok(stage)) = (std::env::var("PUT_BACK_ROOM"), std::env::var("PUT_BACK_STAGE")) else {
        return;
    };
    let room = PathBuf::from(room);
    let kill = PutBackStage::ALL[stage.parse::<usize>().unwrap()];
    put_back(
        &room.join("staged.db"),
        &room.join("data/content.db"),
        &room.join("aside"),
        &mut |stage| {
            if stage == kill {
                std::process::abort();
            }
        },
    )
    .unwrap();
}

fn abort_at(scene: &Scene, stage: usize) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_aborts_at_a_stage", "--nocapture"])
        .env("PUT_BACK_ROOM", scene.room.path())
        .env("PUT_BACK_STAGE", stage.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(6),
        "stage {stage} was not reached"
    );
}

#[test]
fn killed_after_any_stage_and_called_again_it_ends_the_same() {
    for stage in 0..PutBackStage::ALL.len() {
        let scene = Scene::new();
        abort_at(&scene, stage);
        let renamed = stage >= 8;
        assert_eq!(scene.put_back(&mut |_| {}).already, renamed, "stage {stage}");
        scene.assert_done(&format!("killed after {:?}", PutBackStage::ALL[stage]));
    }
}

#[test]
fn killed_twice_at_any_two_stages_it_still_ends_the_same() {
    for first in 0..8 {
        for second in 0..PutBackStage::ALL.len() {
            let scene = Scene::new();
            abort_at(&scene, first);
            abort_at(&scene, second);
            scene.put_back(&mut |_| {});
            scene.assert_done(&format!("killed after {first} and {second}"));
        }
    }
}

#[test]
fn a_damaged_restored_file_is_refused_before_the_old_one_is_touched() {
    let scene = Scene::new();
    let staged = scene.room.path().join("staged.db");
    let mut bytes = fs::read(&staged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4000].fill(0x5a);
    fs::write(&staged, bytes).unwrap();
    let aside = scene.room.path().join("aside");
    let failure = put_back(&staged, &scene.target(), &aside, &mut |_| {}).unwrap_err();
    assert_eq!(failure.code, "invalid");
    assert!(fs::read(scene.target()).unwrap() == scene.old[0].1);
    assert!(scene.room.path().join("data/content.db-wal").exists());
    assert_eq!(names(&aside), Vec::<String>::new());
}

#[test]
fn an_absent_target_is_simply_made() {
    let room = tempfile::tempdir().unwrap();
    drop(make(&room.path().join("staged.db"), "delete", 4));
    let target = room.path().join("not/there/yet.db");
    let done = put_back(
        &room.path().join("staged.db"),
        &target,
        &room.path().join("aside"),
        &mut |_| {},
    )
    .unwrap();
    assert!(!done.already && done.displaced.is_empty());
    assert_eq!(counts(&target), (4, 4));
}

#[test]
fn a_second_old_database_is_put_aside_beside_the_first_with_its_own_wal() {
    let scene = Scene::new();
    scene.put_back(&mut |_| {});
    fs::write(scene.target(), "another").unwrap();
    fs::write(scene.room.path().join("data/content.db-wal"), "its wal").unwrap();
    scene.put_back(&mut |_| {});
    let aside = scene.room.path().join("aside");
    assert_eq!(fs::read(aside.join("content.db.1")).unwrap(), b"another");
    assert_eq!(fs::read(aside.join("content.db.1-wal")).unwrap(), b"its wal");
    assert!(fs::read(aside.join("content.db-wal")).unwrap() == scene.old[1].1);
    assert_eq!(counts(&scene.target()), (7, 7));
}

#[test]
fn a_link_at_the_target_is_refused() {
    let scene = Scene::new();
    let link = scene.room.path().join("link.db");
    std::os::unix::fs::symlink(scene.target(), &link).unwrap();
    let staged = scene.room.path().join("staged.db");
    let failure = put_back(&staged, &link, &scene.room.path().join("aside"), &mut |_| {}).unwrap_err();
    assert_eq!(failure.code, "obstructed");
}

/// Returns the names in a folder with their lengths.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().len(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_capture_leaves_no_file_beside_the_database_that_was_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("place");
    fs::create_dir(&folder).unwrap();
    drop(make(&folder.join("a.db"), "wal", 7));
    let before = listing(&folder);
    assert_eq!(before.len(), 1, "it is closed: {before:?}");
    let captured = capture(&folder.join("a.db"), &dir.path().join("copy"), &never).unwrap();
    assert_eq!(counts(&captured.path), (7, 7));
    assert_eq!(listing(&folder), before);
}

#[test]
fn what_a_crash_left_unfinished_is_captured_repaired_and_stays_as_it_is() {
    for mode in ["wal", "delete"] {
        let dir = tempfile::tempdir().unwrap();
        let (living, folder) = (dir.path().join("living.db"), dir.path().join("place"));
        fs::create_dir(&folder).unwrap();
        let live = make(&living, mode, 7);
        // A cache of one page lets a transaction reach the disk before its end.
        live.execute_batch("PRAGMA cache_size = 1; BEGIN; INSERT INTO a SELECT n + 100, t FROM a;")
            .unwrap();
        live.execute_batch("INSERT INTO a VALUES (200, zeroblob(400000));")
            .unwrap();
        let suffixes: &[&str] = match mode {
            "wal" => {
                live.execute_batch("COMMIT;").unwrap();
                &["", "-wal"]
            }
            _ => &["", "-journal"],
        };
        for suffix in suffixes {
            let name = |path: &Path| format!("{}{suffix}", path.display());
            fs::copy(name(&living), name(&folder.join("a.db"))).unwrap();
        }
        let before = listing(&folder);
        assert_eq!(before.len(), 2, "{mode}: {before:?}");
        let staging = dir.path().join("staging");
        fs::create_dir(&staging).unwrap();
        let captured = capture(&folder.join("a.db"), &staging.join("copy"), &never).unwrap();
        let expected = if mode == "wal" { (15, 7) } else { (7, 7) };
        assert_eq!(
            counts(&captured.path),
            expected,
            "{mode}: only what was committed"
        );
        assert_eq!(listing(&folder), before, "{mode}");
        assert_eq!(
            listing(&staging).len(),
            1,
            "{mode}: the copy of the original is gone"
        );
    }
}
