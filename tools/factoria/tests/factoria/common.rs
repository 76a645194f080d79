//! A generated system to test on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rekindle_factoria::{Baseline, GenerateOptions, Generated, ProbeKind, generate, probe};
use tempfile::TempDir;

/// Makes a system below a temporary folder, which must be kept as long as the system is needed.
pub(crate) fn system(seed: u64, size_bytes: u64) -> (TempDir, PathBuf, Generated) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let generated = generate(&GenerateOptions {
        root: root.clone(),
        seed,
        size_bytes,
    })
    .unwrap();
    (folder, root, generated)
}

/// Measures the whole system, comparing with nothing.
pub(crate) fn measure(kind: ProbeKind, root: &Path) -> BTreeMap<String, f64> {
    probe(kind, root, None, &Baseline::default()).unwrap()
}

/// Measures one part.
pub(crate) fn measure_part(kind: ProbeKind, root: &Path, component: &str) -> BTreeMap<String, f64> {
    probe(kind, root, Some(Path::new(component)), &Baseline::default()).unwrap()
}

/// Describes every entry below `root`, the root included: type, mode, modification time, content.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        let about = entry.path().symlink_metadata().unwrap();
        let content = if about.is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).unwrap().display())
        } else if about.is_file() {
            blake3::hash(&fs::read(entry.path()).unwrap())
                .to_hex()
                .to_string()
        } else {
            "folder".to_owned()
        };
        let mode = about.permissions().mode();
        let path = entry.path().strip_prefix(root).unwrap().to_owned();
        tree.insert(
            path,
            format!("{mode:o} {}.{:09} {content}", about.mtime(), about.mtime_nsec()),
        );
    }
    tree
}
