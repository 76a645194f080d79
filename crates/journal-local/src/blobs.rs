//! Large values, each in a file named by its BLAKE3 hash.
//!
//! A blob is written under another name, synced and renamed, and its folder is synced. So the file of its name is whole
//! or missing. Each read compares the bytes with the name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rekindle_journal::JournalError;
use rekindle_journal::codec;
use rekindle_model::id::Hash32;

use crate::durable::{self, make_dir, private, sync_dir};

/// The prefix of a blob that is still being written.
const UNFINISHED: &str = "tmp-";

/// A folder of blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    written: AtomicU64,
}

impl Blobs {
    /// Opens the folder and removes unfinished blobs that a crash left.
    pub(crate) fn open(dir: &Path) -> Result<Self, JournalError> {
        make_dir(dir)?;
        let io = |error| JournalError::io("list", dir, error);
        for entry in fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())
                    .map_err(|error| JournalError::io("remove", &entry.path(), error))?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            written: AtomicU64::new(0),
        })
    }

    /// Opens the folder for reading only, whether it exists or not. Changes nothing in it.
    pub(crate) fn view(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            written: AtomicU64::new(0),
        }
    }

    /// Stores bytes durably and returns their name.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Hash32, JournalError> {
        let hash = codec::hash(bytes);
        let path = self.path(hash);
        if durable::read(&path).is_ok_and(|present| present == bytes) {
            // The process that renamed it may have died before it synced the folder.
            sync_dir(&self.dir)?;
            return Ok(hash);
        }
        let turn = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.dir.join(format!("{UNFINISHED}{}-{turn}", hash.short()));
        let written = private()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // The file is useless now; the next open removes it too.
            let _ = fs::remove_file(&unfinished);
            return Err(JournalError::io("write", &path, error));
        }
        sync_dir(&self.dir)?;
        Ok(hash)
    }

    /// Returns a blob's bytes, after comparing them with its name.
    pub(crate) fn get(&self, expected: Hash32) -> Result<Vec<u8>, JournalError> {
        let path = self.path(expected);
        let bytes = durable::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::UnknownBlob(expected),
            _ => JournalError::io("read", &path, error),
        })?;
        let found = codec::hash(&bytes);
        if found != expected {
            return Err(JournalError::BlobCorrupt { expected, found });
        }
        Ok(bytes)
    }

    /// Returns the hash of every blob.
    pub(crate) fn list(&self) -> Result<Vec<Hash32>, JournalError> {
        let io = |error| JournalError::io("list", &self.dir, error);
        let mut hashes = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            hashes.extend(name.to_str().and_then(|name| name.parse::<Hash32>().ok()));
        }
        hashes.sort();
        Ok(hashes)
    }

    /// Makes the names of the blobs durable.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        sync_dir(&self.dir)
    }

    pub(crate) fn path(&self, hash: Hash32) -> PathBuf {
        self.dir.join(hash.to_string())
    }
}
