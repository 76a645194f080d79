//! The cache, made again: equal to what generation made, from whatever is left of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rekindle_factoria::optimise::rebuild::{Rebuilt, rebuild};
use rekindle_factoria::{FactoriaError, ProbeKind};

use crate::common::{measure_part, system};

const SMALL: u64 = 1_000_000;

/// Describes the cache: mode and content of everything in it. Times are not restored by a rebuild.
fn cache(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let described = |entry: walkdir::DirEntry| {
        let about = entry.metadata().unwrap();
        let content = if about.is_file() {
            fs::read(entry.path()).unwrap()
        } else {
            Vec::new()
        };
        (entry.into_path(), (about.permissions().mode(), content))
    };
    walkdir::WalkDir::new(root.join("cache"))
        .into_iter()
        .map(|entry| described(entry.unwrap()))
        .collect()
}

fn entries(root: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(root.join("cache/entries")).sort_by_file_name();
    let all = all.into_iter().map(Result::unwrap);
    all.filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

#[test]
fn a_cache_that_is_gone_is_rebuilt_to_the_byte_and_a_second_run_changes_nothing() {
    // The larger system has library volumes, of which some have entries.
    for size in [SMALL, 50_000_000] {
        let (_kept, root, _) = system(1, size);
        let original = cache(&root);
        let documents = entries(&root).len() as u64;
        fs::remove_dir_all(root.join("cache")).unwrap();
        let rebuilt = rebuild(&root).unwrap();
        let made = Rebuilt {
            documents,
            made: documents,
            ..Rebuilt::default()
        };
        assert_eq!(rebuilt, made);
        assert!(cache(&root) == original, "{size}");
        let again = Rebuilt {
            documents,
            kept: documents,
            ..Rebuilt::default()
        };
        assert_eq!(rebuild(&root).unwrap(), again);
        assert!(cache(&root) == original, "{size}");
        let files = measure_part(ProbeKind::Files, &root, "cache");
        assert_eq!((files["manifest_match"], files["files_unlisted"]), (1.0, 0.0));
    }
}

#[test]
fn what_is_right_is_kept_what_is_wrong_replaced_and_what_belongs_to_no_document_removed() {
    let (_kept, root, _) = system(1, SMALL);
    let original = cache(&root);
    let entries = entries(&root);
    let bytes = fs::read(&entries[0]).unwrap();
    fs::write(&entries[0], &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(&entries[1]).unwrap();
    fs::copy(&entries[3], &entries[2]).unwrap();
    fs::remove_file(&entries[4]).unwrap();
    fs::create_dir(&entries[4]).unwrap();
    fs::write(entries[4].join("x"), "x").unwrap();
    fs::set_permissions(&entries[5], fs::Permissions::from_mode(0o666)).unwrap();
    // What an interrupted run left behind, an entry of a document that is gone, and one that was put there.
    fs::write(root.join("cache/pending/half.json"), "{").unwrap();
    fs::write(root.join("cache/entries/stale.json"), "{}").unwrap();
    fs::remove_file(root.join("cache/.manifest.json")).unwrap();
    let documents = entries.len() as u64;
    let rebuilt = rebuild(&root).unwrap();
    let expected = Rebuilt {
        documents,
        kept: documents - 5,
        made: 1,
        replaced: 4,
        removed: 2,
        unreadable: 0,
    };
    assert_eq!(rebuilt, expected);
    assert!(cache(&root) == original);
}

#[test]
fn a_rebuild_without_its_configuration_changes_nothing_and_says_so() {
    let (_kept, root, _) = system(1, SMALL);
    let original = cache(&root);
    fs::write(root.join("performance/algorithms/result_cache.json"), "{}").unwrap();
    let refused = rebuild(&root).unwrap_err();
    assert!(
        matches!(refused, FactoriaError::CacheNotConfigured { .. }),
        "{refused}"
    );
    assert!(cache(&root) == original);
}

#[test]
fn a_document_that_is_gone_has_no_entry_any_more() {
    let (_kept, root, _) = system(1, SMALL);
    let documents = entries(&root).len() as u64;
    fs::remove_file(root.join("context/L2/arts/0001/study.md")).unwrap();
    let path = root.join("context/L2/arts/0001/reading.md");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("practice.md", &path).unwrap();
    let rebuilt = rebuild(&root).unwrap();
    assert_eq!((rebuilt.kept, rebuilt.removed), (documents - 2, 2));
    assert_eq!(entries(&root).len() as u64, documents - 2);
}
