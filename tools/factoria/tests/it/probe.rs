//! What the probes find: everything in a whole system, and every single loss or change in a damaged one.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_factoria::{FactoriaError, ProbeKind, probe};
use rusqlite::Connection;

use crate::common::{measure, system, tree};

const SMALL: u64 = 1_000_000;

fn files(folder: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Changes one byte in the middle.
fn alter(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 0x55;
    overwrite(path, &altered);
    whole
}

/// Writes in place, so that the mode stays.
fn overwrite(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).unwrap().permissions();
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, before).unwrap();
}

#[test]
fn a_whole_system_measures_whole() {
    let (_kept, root, _) = system(1, SMALL);
    for (kind, names) in [
        (
            ProbeKind::Security,
            &[
                "policies_intact",
                "permissions_intact",
                "keys_present",
                "audit_log_gapless",
            ][..],
        ),
        (
            ProbeKind::Education,
            &[
                "learning_science_complete",
                "quality_thresholds_preserved",
                "educational_standards_intact",
                "content_patterns_valid",
                "age_appropriateness_valid",
                "blooms_valid",
                "verification_score",
                "verified",
            ],
        ),
        (
            ProbeKind::Content,
            &["integrity_ok", "references_intact", "digests_intact"],
        ),
        (ProbeKind::Files, &["manifest_match"]),
    ] {
        let measured = measure(kind, &root);
        for name in names {
            assert_eq!(measured.get(*name), Some(&1.0), "{name} of {measured:#?}");
        }
    }
    assert_eq!(
        measure(ProbeKind::Content, &root)["content_types_generatable"],
        8.0
    );
    assert_eq!(measure(ProbeKind::Files, &root)["files_unlisted"], 0.0);
}

#[test]
fn measuring_leaves_the_tree_as_it_was() {
    let (_kept, root, _) = system(1, SMALL);
    let before = tree(&root);
    for kind in [
        ProbeKind::Security,
        ProbeKind::Education,
        ProbeKind::Content,
        ProbeKind::Files,
    ] {
        measure(kind, &root);
    }
    assert_eq!(tree(&root), before);
}

#[test]
fn any_single_item_of_education_lost_or_altered_lowers_its_part_and_the_score() {
    let (_kept, root, _) = system(1, SMALL);
    let education = root.join("education");
    let items = files(&education);
    for path in &items {
        let whole = alter(path);
        assert!(
            measure(ProbeKind::Education, &root)["verification_score"] < 1.0,
            "altered {}",
            path.display()
        );
        overwrite(path, &whole);
        let mode = fs::metadata(path).unwrap().permissions();
        fs::remove_file(path).unwrap();
        let measured = measure(ProbeKind::Education, &root);
        assert!(measured["verification_score"] < 1.0, "lost {}", path.display());
        assert_eq!(measured["verified"], 0.0);
        let part = match path
            .strip_prefix(&education)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
        {
            "frameworks" => "learning_science_complete",
            "quality_assessment" => "quality_thresholds_preserved",
            "standards" => "educational_standards_intact",
            "content_patterns" => "content_patterns_valid",
            "age_appropriateness" => "age_appropriateness_valid",
            "blooms" => "blooms_valid",
            _ => "verification_score",
        };
        assert!(measured[part] < 1.0, "{part} without {}", path.display());
        fs::write(path, &whole).unwrap();
        fs::set_permissions(path, mode).unwrap();
    }
    assert!(items.len() > 80, "{}", items.len());
    assert_eq!(
        measure(ProbeKind::Education, &root)["verification_score"],
        1.0,
        "all was put back"
    );
}

#[test]
fn an_item_dropped_together_with_its_entry_in_the_manifest_is_still_missed() {
    let (_kept, root, _) = system(1, SMALL);
    let base = root.join("education");
    let manifest: rekindle_factoria::manifest::Manifest =
        serde_json::from_slice(&fs::read(base.join(".manifest.json")).unwrap()).unwrap();
    let required = manifest.entries.keys().filter(|path| path.ends_with(".json"));
    let mut tried = 0;
    for path in required {
        let mut entries = manifest.entries.clone();
        entries.remove(path);
        let forged = rekindle_factoria::manifest::Manifest::new("education", entries, &[]).unwrap();
        fs::write(base.join(".manifest.json"), serde_json::to_vec(&forged).unwrap()).unwrap();
        let whole = fs::read(base.join(path)).unwrap();
        fs::remove_file(base.join(path)).unwrap();
        assert!(
            measure(ProbeKind::Education, &root)["verification_score"] < 1.0,
            "{path}"
        );
        fs::write(base.join(path), whole).unwrap();
        tried += 1;
    }
    assert!(tried > 70, "{tried}");
}

#[test]
fn any_single_file_of_security_lost_or_altered_lowers_a_measure() {
    let (_kept, root, _) = system(1, SMALL);
    let shares = [
        "policies_intact",
        "permissions_intact",
        "keys_present",
        "audit_log_gapless",
    ];
    let whole_there = |root: &Path| {
        let measured = measure(ProbeKind::Security, root);
        shares.iter().all(|name| measured[*name] == 1.0)
    };
    for path in files(&root.join("security")) {
        let whole = alter(&path);
        assert!(!whole_there(&root), "altered {}", path.display());
        overwrite(&path, &whole);
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::remove_file(&path).unwrap();
        assert!(!whole_there(&root), "lost {}", path.display());
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, mode).unwrap();
    }
    assert!(whole_there(&root), "all was put back");
}

#[test]
fn a_key_that_others_may_read_is_not_present_as_a_key() {
    use std::os::unix::fs::PermissionsExt;
    let (_kept, root, _) = system(1, SMALL);
    fs::set_permissions(
        root.join("security/keys/session.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let measured = measure(ProbeKind::Security, &root);
    assert!(measured["keys_present"] < 1.0 && measured["permissions_intact"] < 1.0);
    assert_eq!(measured["policies_intact"], 1.0);
}

#[test]
fn a_gap_in_the_audit_log_and_an_end_cut_off_are_found_and_growth_is_not_a_fault() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("security/audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert_eq!(
        measure(ProbeKind::Security, &root)["audit_last_seq"],
        lines.len() as f64
    );
    for missing in [0, lines.len() / 2, lines.len() - 1] {
        let mut left = lines.clone();
        left.remove(missing);
        fs::write(&path, left.concat()).unwrap();
        assert!(
            measure(ProbeKind::Security, &root)["audit_log_gapless"] < 1.0,
            "without line {missing}"
        );
    }
    let last: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    let mut grown = whole.clone().into_bytes();
    let start = grown.len();
    let seq = lines.len() + 1;
    grown.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"later\",\"note\":\"more\"").as_bytes());
    rekindle_factoria::audit::seal(&mut grown, start, last["hash"].as_str().unwrap());
    fs::write(&path, grown).unwrap();
    let measured = measure(ProbeKind::Security, &root);
    assert_eq!(
        (measured["audit_log_gapless"], measured["audit_last_seq"]),
        (1.0, seq as f64)
    );
}

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
        assert!(measured["references_intact"] < 1.0 && measured["content_types_generatable"] < 8.0);
    }
}

#[test]
fn a_content_type_without_its_pattern_prompt_framework_or_rows_cannot_be_generated() {
    for (path, generatable) in [
        ("education/content_patterns/flashcards.json", 7.0),
        ("context/prompts/podcast_script.md", 7.0),
        ("education/frameworks/blooms_taxonomy.json", 0.0),
    ] {
        let (_kept, root, _) = system(1, SMALL);
        fs::remove_file(root.join(path)).unwrap();
        assert_eq!(
            measure(ProbeKind::Content, &root)["content_types_generatable"],
            generatable,
            "{path}"
        );
    }
    let (_kept, root, _) = system(1, SMALL);
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    database
        .execute_batch("PRAGMA foreign_keys=OFF; DELETE FROM items WHERE content_type='study_guide'")
        .unwrap();
    drop(database);
    assert_eq!(
        measure(ProbeKind::Content, &root)["content_types_generatable"],
        7.0
    );
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
fn files_are_compared_with_the_manifest_of_their_own_folder() {
    let (_kept, root, _) = system(1, SMALL);
    let of = |component: &str| probe(ProbeKind::Files, &root, Some(Path::new(component))).unwrap();
    let whole = of("cache");
    assert_eq!(whole["manifest_match"], 1.0);
    let entries = files(&root.join("cache/entries"));
    alter(&entries[0]);
    fs::remove_file(&entries[1]).unwrap();
    fs::remove_dir(root.join("cache/pending")).unwrap();
    let measured = of("cache");
    assert_eq!(
        (measured["entries_altered"], measured["entries_missing"]),
        (1.0, 2.0)
    );
    let expected = (whole["entries_listed"] - 3.0) / whole["entries_listed"];
    assert!((measured["manifest_match"] - expected).abs() < 1e-12);
    assert_eq!(measured["files"], whole["files"] - 1.0);
    assert_eq!(
        of("context")["manifest_match"],
        1.0,
        "another component is not concerned"
    );
    fs::remove_file(root.join("cache/.manifest.json")).unwrap();
    assert_eq!(of("cache")["manifest_match"], 0.0);
    assert!(
        !of("db/content.sqlite").contains_key("manifest_match"),
        "a database carries no manifest"
    );
}

#[test]
fn a_root_that_cannot_be_read_is_an_error_and_an_empty_one_measures_nothing_whole() {
    let folder = tempfile::tempdir().unwrap();
    let absent = probe(ProbeKind::Security, &folder.path().join("absent"), None);
    assert!(matches!(absent, Err(FactoriaError::UnreadableRoot { .. })));
    for kind in [
        ProbeKind::Security,
        ProbeKind::Education,
        ProbeKind::Content,
        ProbeKind::Files,
    ] {
        let measured = measure(kind, folder.path());
        let high: Vec<_> = measured
            .iter()
            .filter(|(name, value)| {
                **value != 0.0
                    && !["checks_made", "references", "references_broken"].contains(&name.as_str())
                    && !name.starts_with("entries_")
            })
            .collect();
        assert!(high.is_empty(), "{kind:?}: {high:?}");
    }
    let outside = probe(ProbeKind::Files, folder.path(), Some(Path::new("../elsewhere")));
    assert!(matches!(outside, Err(FactoriaError::UnknownComponent { .. })));
}
