//! What the content probe finds in the databases, and that it leaves nothing beside them.

use std::fs;

use rekindle_factoria::ProbeKind;
use rusqlite::Connection;

use crate::common::{measure, system, tree};

const SMALL: u64 = 1_000_000;

#[test]
fn a_broken_reference_is_found_in_either_direction_between_the_databases() {
    let (_kept, root, _) = system(1, SMALL);
    let whole = measure(ProbeKind::Content, &root);
    for (path, sql, broken) in [
        (
            "users/users.sqlite",
            "DELETE FROM users WHERE id = (SELECT min(author_id) FROM c.items)",
            2.0,
        ),
        ("db/content.sqlite", "DELETE FROM items WHERE id = 1", 3.0),
        (
            "db/content.sqlite",
            "DELETE FROM prompts WHERE id = (SELECT prompt_id FROM items WHERE id = 2)",
            1.0,
        ),
    ] {
        let (_kept, root, _) = system(1, SMALL);
        let database = Connection::open(root.join(path)).unwrap();
        database
            .execute(
                "ATTACH ?1 AS c",
                [root.join("db/content.sqlite").to_str().unwrap()],
            )
            .unwrap();
        database.execute_batch("PRAGMA foreign_keys=OFF").unwrap();
        assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
        drop(database);
        let measured = measure(ProbeKind::Content, &root);
        assert!(measured["references_intact"] < 1.0, "{sql}");
        assert!(
            measured["references_broken"] >= broken,
            "{sql}: {}",
            measured["references_broken"]
        );
        assert_eq!(
            measured["integrity_ok"], 1.0,
            "{sql}: SQLite itself sees no fault"
        );
    }
    assert_eq!(whole["references_broken"], 0.0);
}

#[test]
fn an_item_whose_standard_is_not_on_disk_is_found_apart_from_the_references_between_databases() {
    let (_kept, root, _) = system(1, SMALL);
    let whole = measure(ProbeKind::Content, &root);
    assert_eq!(whole["standards_resolved"], 1.0);
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    database
        .execute("UPDATE items SET standard = 'nowhere.adult' WHERE id = 2", [])
        .unwrap();
    drop(database);
    let measured = measure(ProbeKind::Content, &root);
    assert!((measured["standards_resolved"] - (1.0 - 1.0 / whole["items"])).abs() < 1e-12);
    assert_eq!(measured["references_intact"], 1.0);
}

#[test]
fn a_text_changed_inside_a_sound_page_is_found_by_its_digest() {
    let (_kept, root, _) = system(1, SMALL);
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    database
        .execute("UPDATE items SET body = replace(body, 'e', 'a') WHERE id = 3", [])
        .unwrap();
    drop(database);
    let measured = measure(ProbeKind::Content, &root);
    assert_eq!(measured["integrity_ok"], 1.0);
    assert!(measured["digests_intact"] < 1.0);
}

#[test]
fn a_damaged_or_absent_database_measures_low_and_is_no_error() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("db/content.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    for page in flipped.chunks_mut(4096).skip(1) {
        page[0] ^= 0xff;
    }
    for damaged in [
        Some(flipped),
        Some(whole[..whole.len() / 2].to_vec()),
        Some(Vec::new()),
        None,
    ] {
        let _ = fs::remove_file(&path);
        let length = damaged.as_ref().map(Vec::len);
        if let Some(bytes) = damaged {
            fs::write(&path, bytes).unwrap();
        }
        let measured = measure(ProbeKind::Content, &root);
        // An empty file is a sound, empty database to SQLite; what it lacks shows in the rows.
        assert!(
            measured["integrity_ok"] == 0.0 || length == Some(0),
            "{length:?}: {measured:#?}"
        );
        assert!(measured["references_intact"] < 1.0);
    }
}

#[test]
fn a_database_in_use_is_measured_with_its_newest_rows_and_keeps_its_companions() {
    let (_kept, root, _) = system(1, SMALL);
    let before = measure(ProbeKind::Content, &root)["users"];
    let path = root.join("users/users.sqlite");
    let live = Connection::open(&path).unwrap();
    live.execute(
        "INSERT INTO users VALUES (900001, 'New', 'new@example.org', 'adult', 'now', '')",
        [],
    )
    .unwrap();
    assert!(
        root.join("users/users.sqlite-wal").exists(),
        "the row stands in the log only"
    );
    assert_eq!(measure(ProbeKind::Content, &root)["users"], before + 1.0);
    assert!(root.join("users/users.sqlite-wal").exists() && root.join("users/users.sqlite-shm").exists());
    assert_eq!(
        live.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, f64>(0))
            .unwrap(),
        before + 1.0
    );

    // After a crash: both files are left, the process is gone; then also the -shm is lost.
    let crashed = tempfile::tempdir().unwrap();
    let copy = crashed.path().join("users");
    fs::create_dir(&copy).unwrap();
    for name in ["users.sqlite", "users.sqlite-wal"] {
        fs::copy(root.join("users").join(name), copy.join(name)).unwrap();
    }
    let tree_before = tree(crashed.path());
    assert_eq!(measure(ProbeKind::Content, crashed.path())["users"], before + 1.0);
    assert_eq!(tree(crashed.path()), tree_before);
}

#[test]
fn every_kind_of_reference_is_looked_up() {
    let (_kept, root, _) = system(1, SMALL);
    let whole = measure(ProbeKind::Content, &root)["references"];
    // Zero is no id of anything.
    for (path, table, column) in [
        ("db/content.sqlite", "items", "prompt_id"),
        ("db/content.sqlite", "items", "author_id"),
        ("db/content.sqlite", "assessments", "item_id"),
        ("db/content.sqlite", "assessments", "assessor_id"),
        ("users/users.sqlite", "favourites", "item_id"),
    ] {
        let kept = fs::read(root.join(path)).unwrap();
        let database = Connection::open(root.join(path)).unwrap();
        database.execute_batch("PRAGMA foreign_keys=OFF").unwrap();
        let row = format!("({column}, 1) IN (SELECT {column}, 1 FROM {table} LIMIT 1)");
        let changed = database.execute(
            &format!("UPDATE OR IGNORE {table} SET {column} = 0 WHERE {row}"),
            [],
        );
        let changed = changed.unwrap();
        drop(database);
        let measured = measure(ProbeKind::Content, &root);
        assert!(changed > 0, "{table}.{column}");
        assert_eq!(measured["references_broken"], changed as f64, "{table}.{column}");
        assert_eq!(measured["references"], whole);
        fs::write(root.join(path), kept).unwrap();
    }
}
