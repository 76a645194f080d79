//! Makes the cache again from the context layers: for a system whose cache was not restored, or not all of it.
//!
//! The configuration names the documents that have entries. An entry that is right is kept, one that is not is
//! replaced, one that is absent is made, and what no document leads to is removed. The result has the bytes and
//! modes of the cache that generation made. Each file is written under `cache/pending/` and then renamed, so an
//! interrupted run leaves whole entries only, and the next run goes on from there. Files are not flushed one by one:
//! after a power failure an entry may be empty, its seal then is wrong, and it is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use walkdir::WalkDir;

use super::cache::{ENTRIES, Entry};
use super::passages::prepare;
use super::settings::{ResultCache, Settings};
use super::tokens::Tokenizer;
use crate::bounded;
use crate::context::{Document, document};
use crate::damage::check_marker;
use crate::error::FactoriaError;
use crate::layout::MANIFEST;
use crate::manifest::{self, Manifest, octal};

/// The folder of a subject's library volumes, of which the first ones have entries.
pub(crate) const LIBRARY: &str = "library";
/// Modes of what the cache consists of.
pub(crate) const FILE_MODE: u32 = 0o644;
pub(crate) const FOLDER_MODE: u32 = 0o755;
pub(crate) const PENDING_MODE: u32 = 0o750;
/// The folder of entries being written, relative to `cache/`.
pub(crate) const PENDING: &str = "pending";

/// What a rebuild did, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Documents that the configuration names.
    pub documents: u64,
    /// Entries that were right.
    pub kept: u64,
    /// Entries that were absent, and were made.
    pub made: u64,
    /// Entries that were wrong, and were made again.
    pub replaced: u64,
    /// Files that no document leads to, and were removed.
    pub removed: u64,
    /// Documents that cannot be read. They have no entry.
    pub unreadable: u64,
}

/// Rebuilds the cache of the system at `root`.
///
/// # Errors
/// [`FactoriaError::NotFactoria`], [`FactoriaError::CacheNotConfigured`], and errors of writing below `cache/`.
pub fn rebuild(root: &Path) -> Result<Rebuilt, FactoriaError> {
    check_marker(root)?;
    let settings = Settings::read(root);
    let cache = settings
        .result_cache
        .as_ref()
        .ok_or_else(|| FactoriaError::CacheNotConfigured {
            path: root.join("performance/algorithms/result_cache.json"),
        })?;
    let tokenizer = Tokenizer::load()?;
    let base = root.join("cache");
    let pending = base.join(PENDING);
    // A link to a faster disk stays.
    if !base.is_dir() {
        folder(&base, FOLDER_MODE)?;
    }
    folder(&base.join("entries"), FOLDER_MODE)?;
    folder(&pending, PENDING_MODE)?;
    let mut rebuilt = Rebuilt::default();
    let mut listed = BTreeMap::from([
        listed_folder("entries", FOLDER_MODE),
        listed_folder(PENDING, PENDING_MODE),
    ]);
    for path in documents(root, cache) {
        rebuilt.documents += 1;
        let Ok(document) = document(&root.join("context"), &path) else {
            rebuilt.unreadable += 1;
            continue;
        };
        let (path, bytes) = entry(&document, tokenizer)?;
        let full = root.join(&path);
        // It names a folder and a file below cache/.
        let within = path.strip_prefix("cache/").unwrap_or(&path);
        let parent = within.rsplit_once('/').map_or("", |(parent, _)| parent);
        listed.extend([listed_folder(parent, FOLDER_MODE)]);
        let there = fs::symlink_metadata(&full).is_ok();
        let right = mode_is(&full, FILE_MODE)
            && bounded::bytes(&full, bounded::DOCUMENT_BYTES).is_ok_and(|found| found == bytes);
        if right {
            rebuilt.kept += 1;
        } else {
            folder(&base.join(parent), FOLDER_MODE)?;
            put(&pending, &full, &bytes)?;
            rebuilt.replaced += u64::from(there);
            rebuilt.made += u64::from(!there);
        }
        listed.insert(
            within.to_owned(),
            manifest::Entry::File {
                blake3: blake3::hash(&bytes).to_hex().to_string(),
                bytes: bytes.len() as u64,
                mode: octal(FILE_MODE),
            },
        );
    }
    rebuilt.removed = remove_others(root, &base, &listed)?;
    let manifest = Manifest::new("cache", listed, &[]).map_err(FactoriaError::json(MANIFEST))?;
    let mut text = serde_json::to_vec(&manifest).map_err(FactoriaError::json(MANIFEST))?;
    text.push(b'\n');
    let full = base.join(MANIFEST);
    let same = bounded::bytes(&full, text.len() as u64).is_ok_and(|found| found == text);
    if !same {
        put(&pending, &full, &text)?;
    }
    Ok(rebuilt)
}

/// Returns the documents that have entries, relative to `context/`, sorted.
pub(crate) fn documents(root: &Path, cache: &ResultCache) -> BTreeSet<String> {
    let base = root.join("context");
    let mut documents = BTreeSet::new();
    for layer in &cache.layers {
        if !crate::context::stays_below(layer) {
            continue;
        }
        let walk = WalkDir::new(base.join(layer)).follow_root_links(false);
        for entry in walk.into_iter().filter_map(Result::ok) {
            let path = entry.path().strip_prefix(&base).ok().and_then(Path::to_str);
            if let Some(path) = path.filter(|_| entry.file_type().is_file())
                && volume(path).is_none_or(|volume| volume <= cache.volumes)
            {
                documents.insert(path.to_owned());
            }
        }
    }
    documents
}

/// Returns the number of a library volume: `L3/history/library/0012.md` is 12.
fn volume(path: &str) -> Option<u64> {
    let (folder, name) = path.rsplit_once('/')?;
    let number = name.strip_suffix(".md")?.parse().ok()?;
    folder.ends_with(&format!("/{LIBRARY}")).then_some(number)
}

/// Returns path and content of a document's entry.
pub(crate) fn entry(document: &Document, tokenizer: Tokenizer) -> Result<(String, Vec<u8>), FactoriaError> {
    let entry = Entry::new(document, prepare(&document.text, tokenizer));
    let bytes = entry.to_bytes().map_err(FactoriaError::json("a cache entry"))?;
    Ok((entry.path(), bytes))
}

fn listed_folder(path: &str, mode: u32) -> (String, manifest::Entry) {
    (path.to_owned(), manifest::Entry::Folder { mode: octal(mode) })
}

fn mode_is(path: &Path, mode: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.permissions().mode() & 0o7777 == mode)
}

/// Makes a folder where there is none, and gives it its mode.
fn folder(path: &Path, mode: u32) -> Result<(), FactoriaError> {
    if fs::symlink_metadata(path).is_ok_and(|about| about.is_dir()) {
        if mode_is(path, mode) {
            return Ok(());
        }
    } else {
        clear(path)?;
        fs::create_dir(path).map_err(FactoriaError::io("create", path))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(FactoriaError::io("set the mode of", path))
}

/// Removes what is at a path: a folder where a file belongs, or the other way round.
fn clear(path: &Path) -> Result<(), FactoriaError> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(FactoriaError::io("remove", path))
}

/// Puts a file in place: all of it or nothing.
fn put(pending: &Path, path: &Path, bytes: &[u8]) -> Result<(), FactoriaError> {
    let new: PathBuf = pending.join(path.file_name().unwrap_or_default());
    clear(&new)?;
    fs::write(&new, bytes).map_err(FactoriaError::io("write", &new))?;
    fs::set_permissions(&new, Permissions::from_mode(FILE_MODE))
        .map_err(FactoriaError::io("set the mode of", &new))?;
    if fs::symlink_metadata(path).is_ok_and(|about| about.is_dir()) {
        clear(path)?;
    }
    fs::rename(&new, path).map_err(FactoriaError::io("write", path))
}

/// Removes what is below the folders of entries and is not listed, and returns the number of files.
fn remove_others(
    root: &Path,
    base: &Path,
    listed: &BTreeMap<String, manifest::Entry>,
) -> Result<u64, FactoriaError> {
    let mut removed = 0;
    for top in [root.join(ENTRIES), base.join(PENDING)] {
        // Contents first, so that each folder is empty when its turn comes.
        for entry in WalkDir::new(&top).min_depth(1).contents_first(true) {
            let entry = entry.map_err(|error| FactoriaError::io("walk", &top)(error.into()))?;
            let within = entry.path().strip_prefix(base).ok().and_then(Path::to_str);
            if within.is_some_and(|within| listed.contains_key(within)) {
                continue;
            }
            if entry.file_type().is_dir() {
                fs::remove_dir(entry.path()).map_err(FactoriaError::io("remove", entry.path()))?;
            } else {
                fs::remove_file(entry.path()).map_err(FactoriaError::io("remove", entry.path()))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
