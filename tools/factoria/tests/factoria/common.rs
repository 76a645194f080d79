//! A generated system to test on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rekindle_factoria::{GenerateOptions, Generated, ProbeKind, generate, probe_with};
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

/// The program that probes start.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_factoria");

/// Measures the whole system.
pub(crate) fn measure(kind: ProbeKind, root: &Path) -> BTreeMap<String, f64> {
    probe_with(kind, root, None, Path::new(PROGRAM)).unwrap()
}

/// Measures the optimiser without the cold load, for which new processes would be started.
pub(crate) fn optimiser(root: &Path) -> BTreeMap<String, f64> {
    let none = Path::new("/nonexistent");
    let measured = probe_with(ProbeKind::Performance, root, None, none).unwrap();
    assert!(!measured.contains_key("context_loading_time_ms"));
    measured
}

/// Copies some folders of a system, as a restore puts them down, and returns the root of the copy.
pub(crate) fn copy(root: &Path, folders: &[&str]) -> (TempDir, PathBuf) {
    let kept = tempfile::tempdir().unwrap();
    let to = kept.path().join("data");
    fs::create_dir(&to).unwrap();
    fs::copy(root.join(".factoria"), to.join(".factoria")).unwrap();
    for folder in folders {
        for entry in walkdir::WalkDir::new(root.join(folder)) {
            let entry = entry.unwrap();
            let target = to.join(entry.path().strip_prefix(root).unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir(&target).unwrap();
            } else if entry.file_type().is_file() {
                fs::copy(entry.path(), &target).unwrap();
            } else {
                std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), &target).unwrap();
            }
        }
    }
    (kept, to)
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
