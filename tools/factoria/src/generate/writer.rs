//! Writes one folder: counts what is written against its share, collects the manifest, and sets modes and
//! times last, so that they follow from the seed and not from the clock.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::error::FactoriaError;
use crate::layout::{Folder, MANIFEST};
use crate::manifest::{Entry, Manifest, octal};
use crate::text::{Prose, Rng};

/// 2026-01-05T00:00:00Z: what is generated was last changed in the 30 days after it.
pub(super) const EPOCH_SECONDS: u64 = 1_767_571_200;
const SPAN_SECONDS: u64 = 30 * 24 * 3600;
/// A stream is written in pieces of this size, whatever its length.
const PIECE: usize = 1 << 20;
/// What a file costs in the manifest: a digest, names of fields and a path.
const LISTED_BYTES: u64 = 150;

/// The writer of one folder.
pub(super) struct Writer {
    base: PathBuf,
    folder: &'static Folder,
    seed: u64,
    budget: u64,
    listed: u64,
    entries: BTreeMap<String, Entry>,
    /// Folders made, relative to the root, with their modes; the shortest path first.
    folders: BTreeMap<String, u32>,
    written: Written,
}

/// What a writer wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) symlinks: u64,
    pub(super) bytes: u64,
}

impl Writer {
    /// Makes the folder.
    pub(super) fn create(
        root: &Path,
        folder: &'static Folder,
        seed: u64,
        budget: u64,
    ) -> Result<Self, FactoriaError> {
        let base = root.join(folder.name);
        fs::create_dir(&base).map_err(FactoriaError::io("create", &base))?;
        let folders = BTreeMap::from([(String::new(), 0o755)]);
        let written = Written {
            folders: 1,
            ..Written::default()
        };
        Ok(Self {
            base,
            folder,
            seed,
            budget,
            listed: 0,
            entries: BTreeMap::new(),
            folders,
            written,
        })
    }

    /// Returns the root of the system.
    pub(super) fn root(&self) -> PathBuf {
        self.base.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Returns the bytes that may still be written, the manifest being accounted for.
    pub(super) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.written.bytes + self.listed)
    }

    /// Returns the seed of the system.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the prose that belongs to a file of this folder.
    pub(super) fn prose(&self, path: &str) -> Prose {
        Prose::new(self.seed, &format!("{}/{path}", self.folder.name))
    }

    /// Returns the random numbers that belong to a file of this folder.
    pub(super) fn rng(&self, path: &str) -> Rng {
        Rng::new(self.seed, &format!("{}/{path}", self.folder.name))
    }

    /// Writes a file and lists it.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), FactoriaError> {
        self.parents(path)?;
        let full = self.base.join(path);
        fs::write(&full, bytes).map_err(FactoriaError::io("write", &full))?;
        self.wrote(path, mode, bytes.len() as u64, blake3::hash(bytes))
    }

    /// Writes a JSON document, indented, ending in a line feed.
    pub(super) fn json(
        &mut self,
        path: &str,
        mode: u32,
        value: &serde_json::Value,
    ) -> Result<(), FactoriaError> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(FactoriaError::json(path))?;
        bytes.push(b'\n');
        self.file(path, mode, &bytes)
    }

    /// Writes a file of at least `length` bytes, piece by piece; `fill` appends the next line or record.
    pub(super) fn stream(
        &mut self,
        path: &str,
        mode: u32,
        length: u64,
        mut fill: impl FnMut(&mut Vec<u8>),
    ) -> Result<(), FactoriaError> {
        self.parents(path)?;
        let full = self.base.join(path);
        let failed = |error| FactoriaError::io("write", &full)(error);
        let mut file = File::create(&full).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = Vec::with_capacity(PIECE + 4096);
        let mut bytes = 0;
        while bytes < length {
            piece.clear();
            while piece.len() < PIECE && bytes + (piece.len() as u64) < length {
                fill(&mut piece);
            }
            hasher.update(&piece);
            file.write_all(&piece).map_err(failed)?;
            bytes += piece.len() as u64;
        }
        drop(file);
        self.wrote(path, mode, bytes, hasher.finalize())
    }

    /// Makes a symbolic link and lists it.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<(), FactoriaError> {
        self.parents(path)?;
        let full = self.base.join(path);
        symlink(target, &full).map_err(FactoriaError::io("link", &full))?;
        set_modified(&full, self.seed, &self.named(path))?;
        self.entries.insert(
            path.to_owned(),
            Entry::Link {
                target: target.to_owned(),
            },
        );
        self.listed += LISTED_BYTES;
        self.written.symlinks += 1;
        Ok(())
    }

    /// Makes a folder with that mode; files may follow in it.
    pub(super) fn folder(&mut self, path: &str, mode: u32) -> Result<(), FactoriaError> {
        self.parents(&format!("{path}/"))?;
        self.folders.insert(path.to_owned(), mode);
        Ok(())
    }

    /// Returns the full path of a file that something else writes, its folders being made.
    pub(super) fn outside(&mut self, path: &str) -> Result<PathBuf, FactoriaError> {
        self.parents(path)?;
        Ok(self.base.join(path))
    }

    /// Takes over a file that something else wrote at a path from [`Writer::outside`].
    pub(super) fn took(&mut self, path: &str, mode: u32) -> Result<(), FactoriaError> {
        let full = self.base.join(path);
        let bytes = fs::metadata(&full)
            .map_err(FactoriaError::io("look at", &full))?
            .len();
        self.placed(path, mode, bytes)
    }

    /// Writes the manifest and sets the times of the folders, the deepest first.
    pub(super) fn finish(mut self) -> Result<Written, FactoriaError> {
        for (path, mode) in self.folders.iter().rev() {
            let full = self.base.join(path);
            fs::set_permissions(&full, Permissions::from_mode(*mode))
                .map_err(FactoriaError::io("set the mode of", &full))?;
        }
        if self.folder.manifest {
            for (path, mode) in self.folders.iter().filter(|(path, _)| !path.is_empty()) {
                self.entries
                    .insert(path.clone(), Entry::Folder { mode: octal(*mode) });
            }
            let entries = std::mem::take(&mut self.entries);
            let manifest = Manifest::new(self.folder.name, entries, self.folder.growing)
                .map_err(FactoriaError::json(MANIFEST))?;
            let mut text = serde_json::to_vec(&manifest).map_err(FactoriaError::json(MANIFEST))?;
            text.push(b'\n');
            let full = self.base.join(MANIFEST);
            fs::write(&full, &text).map_err(FactoriaError::io("write", &full))?;
            self.placed(MANIFEST, 0o644, text.len() as u64)?;
        }
        for path in self.folders.keys().rev() {
            set_modified(&self.base.join(path), self.seed, &self.named(path))?;
        }
        Ok(self.written)
    }

    fn wrote(
        &mut self,
        path: &str,
        mode: u32,
        bytes: u64,
        digest: blake3::Hash,
    ) -> Result<(), FactoriaError> {
        self.placed(path, mode, bytes)?;
        if self.folder.manifest && !self.folder.growing.contains(&path) {
            let blake3 = digest.to_hex().to_string();
            self.entries.insert(
                path.to_owned(),
                Entry::File {
                    blake3,
                    bytes,
                    mode: octal(mode),
                },
            );
            self.listed += LISTED_BYTES;
        }
        Ok(())
    }

    fn placed(&mut self, path: &str, mode: u32, bytes: u64) -> Result<(), FactoriaError> {
        let full = self.base.join(path);
        // The time first: a mode without write permission would not let it be set on every system.
        set_modified(&full, self.seed, &self.named(path))?;
        fs::set_permissions(&full, Permissions::from_mode(mode))
            .map_err(FactoriaError::io("set the mode of", &full))?;
        self.written.files += 1;
        self.written.bytes += bytes;
        Ok(())
    }

    fn parents(&mut self, path: &str) -> Result<(), FactoriaError> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if !self.folders.contains_key(parent) {
                let full = self.base.join(parent);
                fs::create_dir(&full).map_err(FactoriaError::io("create", &full))?;
                self.folders.insert(parent.to_owned(), 0o755);
                self.written.folders += 1;
            }
        }
        Ok(())
    }

    fn named(&self, path: &str) -> String {
        format!("{}/{path}", self.folder.name)
    }
}

/// Sets the modification time that `name` has under `seed`; a symbolic link's own, not its target's.
pub(super) fn set_modified(path: &Path, seed: u64, name: &str) -> Result<(), FactoriaError> {
    let mut rng = Rng::new(seed, &format!("modified {name}"));
    let since = Duration::new(EPOCH_SECONDS + rng.below(SPAN_SECONDS), 0)
        + Duration::from_nanos(rng.below(1_000_000_000));
    let at = timespec(UNIX_EPOCH + since);
    let times = Timestamps {
        last_access: at,
        last_modification: at,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| FactoriaError::io("set the time of", path)(error.into()))
}

fn timespec(time: SystemTime) -> Timespec {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timespec {
        tv_sec: since.as_secs().try_into().unwrap_or(0),
        tv_nsec: since.subsec_nanos().into(),
    }
}
