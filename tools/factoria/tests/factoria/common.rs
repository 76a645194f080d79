//! A generated system to test on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rekindle_factoria::manifest::{Entry, Manifest, digest, octal};
use rekindle_factoria::{Baseline, GenerateOptions, Generated, ProbeKind, generate, probe_with};
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

/// Measures the whole system, comparing with nothing.
pub(crate) fn measure(kind: ProbeKind, root: &Path) -> BTreeMap<String, f64> {
    probe_with(kind, root, None, &Baseline::default(), Path::new(PROGRAM)).unwrap()
}

/// Measures one part.
pub(crate) fn measure_part(kind: ProbeKind, root: &Path, component: &str) -> BTreeMap<String, f64> {
    let part = Some(Path::new(component));
    probe_with(kind, root, part, &Baseline::default(), Path::new(PROGRAM)).unwrap()
}

/// Measures the optimiser without the cold load, for which new processes would be started.
pub(crate) fn optimiser(root: &Path) -> BTreeMap<String, f64> {
    let none = Path::new("/nonexistent");
    let measured = probe_with(ProbeKind::Performance, root, None, &Baseline::default(), none).unwrap();
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

/// Measures the whole system, comparing with a baseline.
pub(crate) fn compare(
    kind: ProbeKind,
    root: &Path,
    baseline: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let baseline = Baseline::from(baseline.clone());
    probe_with(kind, root, None, &baseline, Path::new(PROGRAM)).unwrap()
}

/// A file as it was, to be put back.
pub(crate) struct Kept {
    path: PathBuf,
    bytes: Vec<u8>,
    mode: fs::Permissions,
}

impl Kept {
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            bytes: fs::read(path).unwrap(),
            mode: fs::metadata(path).unwrap().permissions(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes other content with the same mode.
    pub(crate) fn overwrite(&self, bytes: &[u8]) {
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, bytes).unwrap();
        fs::set_permissions(&self.path, self.mode.clone()).unwrap();
    }

    pub(crate) fn put_back(&self) {
        self.overwrite(&self.bytes);
    }
}

/// Seals the manifest of a folder again over what is there now, as one does who hides a change. Files that are gone
/// leave the list.
pub(crate) fn reseal(folder: &Path) {
    let manifest = read_manifest(folder);
    let names: Vec<String> = manifest.entries.keys().cloned().collect();
    seal(folder, manifest, &names);
}

/// Reads the manifest of a folder, whether it is sound or not.
pub(crate) fn read_manifest(folder: &Path) -> Manifest {
    serde_json::from_slice(&fs::read(folder.join(".manifest.json")).unwrap()).unwrap()
}

/// Seals a manifest over what is there now of these names.
pub(crate) fn seal(folder: &Path, mut manifest: Manifest, names: &[String]) {
    for name in names {
        let path = folder.join(name);
        let Ok(about) = fs::symlink_metadata(&path) else {
            manifest.entries.remove(name);
            continue;
        };
        if let Some(Entry::File { blake3, bytes, mode }) = manifest.entries.get_mut(name) {
            *blake3 = digest(&path).unwrap().to_hex().to_string();
            *bytes = about.len();
            *mode = octal(about.permissions().mode());
        }
    }
    let growing: Vec<&str> = manifest.growing.iter().map(String::as_str).collect();
    let sealed = Manifest::new(&manifest.component, manifest.entries, &growing).unwrap();
    fs::write(
        folder.join(".manifest.json"),
        serde_json::to_vec(&sealed).unwrap(),
    )
    .unwrap();
}
