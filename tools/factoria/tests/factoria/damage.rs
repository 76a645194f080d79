//! Damage is real, is what it says, and never leaves a system that carries the marker.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rekindle_factoria::{DamageOptions, FactoriaError, How, ProbeKind, damage};

use crate::common::{measure, measure_part, system, tree};

const SMALL: u64 = 1_000_000;

fn options(root: &Path, components: &[&str], how: How) -> DamageOptions {
    DamageOptions {
        root: root.to_owned(),
        components: components.iter().map(PathBuf::from).collect(),
        how,
        seed: 4,
    }
}

#[test]
fn deleting_a_component_takes_all_of_it_and_nothing_else() {
    let (_kept, root, generated) = system(1, SMALL);
    let before = tree(&root);
    let done = damage(&options(&root, &["cache", "context"], How::Delete)).unwrap();
    let expected: u64 = generated
        .components
        .iter()
        .filter(|folder| ["cache", "context"].contains(&folder.name.as_str()))
        .map(|folder| folder.bytes)
        .sum();
    assert_eq!(done.bytes_deleted, expected);
    assert_eq!(fs::read_dir(root.join("cache")).unwrap().count(), 0);
    let rest = |tree: &std::collections::BTreeMap<PathBuf, String>| -> Vec<_> {
        let outside = |path: &PathBuf| !path.starts_with("cache") && !path.starts_with("context");
        tree.iter()
            .filter(|(path, _)| outside(path))
            .map(|(path, about)| (path.clone(), about.clone()))
            .collect()
    };
    assert_eq!(rest(&tree(&root)), rest(&before));
}

#[test]
fn deleting_a_database_takes_its_log_with_it() {
    let (_kept, root, _) = system(1, SMALL);
    fs::write(root.join("db/content.sqlite-wal"), "left behind").unwrap();
    let done = damage(&options(&root, &["db/content.sqlite"], How::Delete)).unwrap();
    assert_eq!(done.files_deleted, 2);
    assert_eq!(fs::read_dir(root.join("db")).unwrap().count(), 0);
    assert_eq!(measure(ProbeKind::Content, &root)["integrity_ok"], 0.0);
}

#[test]
fn a_corruption_hits_a_third_of_the_files_is_reported_and_is_found_by_the_probe() {
    let (_kept, root, _) = system(1, 5_000_000);
    let before = tree(&root);
    let done = damage(&options(&root, &["cache", "context"], How::Corrupt)).unwrap();
    let after = tree(&root);
    let content = |about: &String| about.rsplit(' ').next().unwrap().to_owned();
    let changed: Vec<String> = before
        .iter()
        .filter(|(path, about)| content(about) != content(&after[*path]))
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect();
    assert_eq!(changed, done.corrupted, "what is reported is what was changed");
    assert_eq!(done.files_flipped + done.files_truncated, changed.len() as u64);
    assert!(done.files_truncated > 0 && done.files_flipped > 0);
    for (path, about) in &before {
        let mode = |about: &String| about.split(' ').next().unwrap().to_owned();
        assert_eq!(mode(about), mode(&after[path]), "{}: modes stay", path.display());
    }
    let files = before.iter().filter(|(path, about)| {
        (path.starts_with("cache") || path.starts_with("context")) && content(about).len() == 64
    });
    let share = changed.len() as f64 / files.count() as f64;
    assert!((0.3..0.4).contains(&share), "{share}");
    for component in ["cache", "context"] {
        let measured = measure_part(ProbeKind::Files, &root, component);
        assert!(measured["manifest_match"] < 0.75, "{component}: {measured:?}");
    }
}

#[test]
fn a_corruption_follows_from_its_seed() {
    let (_one, first, _) = system(1, SMALL);
    let (_two, second, _) = system(1, SMALL);
    let done = damage(&options(&first, &["education"], How::Corrupt)).unwrap();
    assert_eq!(
        done,
        damage(&options(&second, &["education"], How::Corrupt)).unwrap()
    );
    let other = DamageOptions {
        seed: 5,
        ..options(&second, &["context"], How::Corrupt)
    };
    let other = damage(&other).unwrap();
    assert_ne!(
        other.corrupted,
        damage(&options(&first, &["context"], How::Corrupt))
            .unwrap()
            .corrupted
    );
}

#[test]
fn a_corrupted_database_is_found() {
    let (_kept, root, _) = system(1, SMALL);
    damage(&options(&root, &["db"], How::Corrupt)).unwrap();
    let measured = measure(ProbeKind::Content, &root);
    assert!(
        measured["integrity_ok"] < 1.0 || measured["digests_intact"] < 1.0,
        "{measured:?}"
    );
}

#[test]
fn without_the_marker_nothing_is_touched() {
    for marker in [
        None,
        Some("{}"),
        Some("{\"system\":\"other\",\"seed\":1,\"size_bytes\":1}"),
        Some("not JSON"),
    ] {
        let (_kept, root, _) = system(1, SMALL);
        fs::remove_file(root.join(".factoria")).unwrap();
        if let Some(text) = marker {
            fs::write(root.join(".factoria"), text).unwrap();
        }
        let before = tree(&root);
        let refused = damage(&options(&root, &["cache"], How::Delete));
        assert!(
            matches!(refused, Err(FactoriaError::NotFactoria { .. })),
            "{marker:?}: {refused:?}"
        );
        assert_eq!(tree(&root), before);
    }
}

#[test]
fn a_marker_that_is_a_link_to_one_elsewhere_does_not_count() {
    let (_kept, real, _) = system(1, SMALL);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cache")).unwrap();
    fs::write(folder.path().join("cache/precious"), "mine").unwrap();
    symlink(real.join(".factoria"), folder.path().join(".factoria")).unwrap();
    let refused = damage(&options(folder.path(), &["cache"], How::Delete));
    assert!(matches!(refused, Err(FactoriaError::NotFactoria { .. })));
    assert!(folder.path().join("cache/precious").exists());
}

#[test]
fn no_path_and_no_link_leads_the_damage_out_of_the_root() {
    let (kept, root, _) = system(1, SMALL);
    let precious = kept.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "mine").unwrap();
    symlink(&precious, root.join("cache/out")).unwrap();
    for path in [
        "../precious",
        "/etc",
        "cache/../../precious",
        ".",
        ".factoria",
        "cache/out/file",
        "home",
    ] {
        let refused = damage(&options(&root, &[path], How::Delete));
        assert!(
            matches!(refused, Err(FactoriaError::UnknownComponent { .. })),
            "{path}: {refused:?}"
        );
    }
    for how in [How::Corrupt, How::Delete] {
        damage(&options(&root, &["cache/out", "cache"], how))
            .or_else(|error| match error {
                // The link itself was the first target and is gone; deleting the rest goes on below.
                FactoriaError::Absent { .. } => damage(&options(&root, &["cache"], how)),
                error => Err(error),
            })
            .unwrap();
        assert_eq!(
            fs::read_to_string(precious.join("file")).unwrap(),
            "mine",
            "{how:?}"
        );
    }
}

#[test]
fn all_components_are_checked_before_the_first_is_damaged() {
    let (_kept, root, _) = system(1, SMALL);
    let before = tree(&root);
    for wrong in ["weather", "cache/absent"] {
        assert!(damage(&options(&root, &["education", wrong], How::Delete)).is_err());
        assert_eq!(tree(&root), before, "{wrong}");
    }
}
