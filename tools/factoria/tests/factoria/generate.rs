//! What a generated system is: determined by its seed, of the size asked for, and like real data to a backup.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rekindle_factoria::{FactoriaError, GenerateOptions, generate};

use crate::common::{system, tree};

const SIZE: u64 = 5_000_000;

#[test]
fn the_same_seed_and_size_give_the_same_tree_to_the_byte_the_mode_and_the_nanosecond() {
    let (_one, first, _) = system(7, SIZE);
    let (_two, second, _) = system(7, SIZE);
    assert_eq!(tree(&first), tree(&second));
}

#[test]
fn another_seed_gives_other_content() {
    let (_one, first, _) = system(7, 1_000_000);
    let (_two, second, _) = system(8, 1_000_000);
    for path in [
        "context/L3",
        "db/content.sqlite",
        "security/audit.log",
        "users/users.sqlite",
    ] {
        assert!(first.join(path).exists(), "{path}");
        if first.join(path).is_file() {
            assert_ne!(
                fs::read(first.join(path)).unwrap(),
                fs::read(second.join(path)).unwrap(),
                "{path}"
            );
        }
    }
}

#[test]
fn the_size_is_within_a_tenth_of_what_was_asked_for_and_every_folder_has_its_share() {
    for size in [1_000_000, SIZE, 40_000_000] {
        let (_kept, root, generated) = system(1, size);
        let on_disk: u64 = walkdir::WalkDir::new(&root)
            .into_iter()
            .map(|entry| entry.unwrap().path().symlink_metadata().unwrap())
            .filter(fs::Metadata::is_file)
            .map(|about| about.len())
            .sum();
        assert_eq!(on_disk, generated.bytes, "what is reported is what is there");
        let off = (on_disk as f64 - size as f64).abs() / size as f64;
        assert!(off < 0.1, "{size} asked for, {on_disk} there: {generated:#?}");
        // In the smallest system, the pages of an almost empty database are more than its share.
        for folder in generated.components.iter().filter(|_| size >= SIZE) {
            let share = rekindle_factoria::layout::find(&folder.name).unwrap().share;
            let part = folder.bytes as f64 / (size / 1000 * share) as f64;
            assert!(
                (0.6..1.4).contains(&part),
                "{size}: {} has {part} of its share",
                folder.name
            );
        }
    }
}

#[test]
fn no_component_flatters_a_compressor() {
    let (_kept, root, generated) = system(3, 10_000_000);
    let mut all = (0, 0);
    for folder in &generated.components {
        let mut bytes = Vec::new();
        for entry in walkdir::WalkDir::new(root.join(&folder.name)).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                bytes.extend(fs::read(entry.path()).unwrap());
            }
        }
        let packed = zstd::bulk::compress(&bytes, 3).unwrap().len();
        let ratio = bytes.len() as f64 / packed as f64;
        println!("{}: {ratio:.2}", folder.name);
        // Model files are numbers and hardly compress; nothing may look like a hundred copies of one page.
        assert!((1.0..5.0).contains(&ratio), "{}: {ratio}", folder.name);
        all = (all.0 + bytes.len(), all.1 + packed);
    }
    let ratio = all.0 as f64 / all.1 as f64;
    println!("all: {ratio:.2}");
    assert!((1.5..4.0).contains(&ratio), "{ratio}");
}

#[test]
fn documents_repeat_their_notices_and_definitions_and_share_no_other_passage() {
    let (_kept, root, _) = system(3, SIZE);
    let mut seen = std::collections::HashSet::new();
    let (mut bytes, mut repeated) = (0, 0);
    for entry in walkdir::WalkDir::new(root.join("context")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|end| end == "md") {
            for line in fs::read_to_string(entry.path())
                .unwrap()
                .lines()
                .filter(|line| line.len() > 60)
            {
                bytes += line.len();
                if !seen.insert(line.to_owned()) {
                    repeated += line.len();
                    let shared = line.starts_with("Notice. ") || line.starts_with("Definition. ");
                    assert!(shared || line.starts_with("@import "), "{line}");
                }
            }
        }
    }
    let share = repeated as f64 / bytes as f64;
    println!("repeated: {share:.2}");
    assert!((0.2..0.4).contains(&share), "{share}");
}

#[test]
fn a_large_system_has_a_library_and_no_larger_contexts() {
    let (_kept, root, _) = system(3, 50_000_000);
    let folders = |path: &str| fs::read_dir(root.join(path)).unwrap().count();
    // 16 units and the library.
    assert_eq!(folders("context/L3/history"), 17);
    assert!(folders("context/L3/history/library") > 1);
    let largest = walkdir::WalkDir::new(root.join("context/L1"))
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(fs::Metadata::is_file)
        .map(|about| about.len())
        .max();
    assert!(largest.is_some_and(|bytes| bytes < 8_000), "{largest:?}");
}

#[test]
fn every_import_of_the_context_resolves() {
    let (_kept, root, _) = system(5, SIZE);
    let context = root.join("context");
    let mut imports = 0;
    for entry in walkdir::WalkDir::new(&context) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() || entry.path().extension().is_none_or(|end| end != "md") {
            continue;
        }
        for line in fs::read_to_string(entry.path()).unwrap().lines() {
            if let Some(target) = line.strip_prefix("@import ") {
                imports += 1;
                assert!(
                    context.join(target).is_file(),
                    "{}: {target}",
                    entry.path().display()
                );
            }
        }
    }
    assert!(imports > 50, "{imports}");
    assert!(
        fs::read_to_string(context.join("current.md"))
            .unwrap()
            .starts_with("@import L2/")
    );
}

#[test]
fn a_restore_is_put_to_the_test_by_what_is_hard_to_restore() {
    let (_kept, root, generated) = system(5, SIZE);
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(fs::read_dir(root.join("cache/pending")).unwrap().count(), 0);
    assert_eq!(mode("cache/pending"), 0o750);
    assert_eq!(mode("security/keys"), 0o700);
    assert_eq!(mode("security/keys/session.key"), 0o600);
    assert_eq!(mode("reporting/publish.sh"), 0o755);
    assert_eq!(mode("context/L1/Überblick für Lehrkräfte.md"), 0o444);
    assert!(
        fs::symlink_metadata(root.join("context/current.md"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(generated.symlinks, 1);
}

#[test]
fn databases_are_left_closed_in_wal_mode() {
    let (_kept, root, _) = system(5, 1_000_000);
    for path in ["db/content.sqlite", "users/users.sqlite"] {
        let bytes = fs::read(root.join(path)).unwrap();
        // Bytes 18 and 19 of the header are 2 in WAL mode (https://www.sqlite.org/fileformat2.html).
        assert_eq!(&bytes[18..20], &[2, 2], "{path}");
        assert!(!root.join(format!("{path}-wal")).exists() && !root.join(format!("{path}-shm")).exists());
    }
}

#[test]
fn nothing_is_ever_written_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "precious").unwrap();
    let refused = generate(&GenerateOptions {
        root: folder.path().to_owned(),
        seed: 1,
        size_bytes: SIZE,
    });
    assert!(matches!(refused, Err(FactoriaError::RootNotEmpty { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_size_that_cannot_hold_the_frameworks_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let refused = generate(&GenerateOptions {
        root: root.clone(),
        seed: 1,
        size_bytes: 999_999,
    });
    assert!(matches!(
        refused,
        Err(FactoriaError::TooSmall {
            minimum: 1_000_000,
            ..
        })
    ));
    assert!(!Path::new(&root).exists());
}
