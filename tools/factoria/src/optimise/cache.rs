//! The cache: the prepared passages of a document, kept by what they were made from.
//!
//! ```text
//! cache/entries/<kk>/<key>.json    {"key":…,"document":…,"passages":[{"tokens":…,"text":…}…],"seal":…}
//! ```
//!
//! The key is the BLAKE3 of the vocabulary's name and the document's text, so an entry of another text, or one that
//! was made with another vocabulary, is never found. The seal is the BLAKE3 of the key and the passages: an entry
//! that was damaged is not used. A person who forges an entry can seal it as well. The probe `performance` finds that,
//! because it counts the tokens of what was answered and looks for every passage in the restored documents.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::passages::Passage;
use super::tokens::VOCABULARY;
use crate::bounded;
use crate::context::Document;

/// Where the entries are, relative to the root.
pub(crate) const ENTRIES: &str = "cache/entries";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    key: String,
    /// The document that it was made from, for people; a look-up goes by the key.
    document: String,
    passages: Vec<Passage>,
    seal: String,
}

impl Entry {
    /// Returns the entry of a document's passages.
    pub(crate) fn new(document: &Document, passages: Vec<Passage>) -> Self {
        let key = key(&document.text);
        Self {
            seal: seal(&key, &passages),
            key,
            document: document.path.clone(),
            passages,
        }
    }

    /// Returns the entry as it is stored: one line.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns its path relative to the root.
    pub(crate) fn path(&self) -> String {
        path(&self.key)
    }
}

/// Returns the passages kept for a text, or `None` where there is no sound entry for it.
pub(crate) fn look_up(root: &Path, text: &str) -> Option<Vec<Passage>> {
    let key = key(text);
    let path: PathBuf = root.join(path(&key));
    let entry: Entry = bounded::json(&path)?;
    (entry.key == key && entry.seal == seal(&key, &entry.passages)).then_some(entry.passages)
}

fn path(key: &str) -> String {
    format!("{ENTRIES}/{}/{key}.json", &key[..2])
}

fn key(text: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rekindle-factoria 2026 prepared document");
    hasher.update(VOCABULARY.as_bytes());
    hasher.update(&[0]);
    hasher.update(text.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn seal(key: &str, passages: &[Passage]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rekindle-factoria 2026 seal of prepared passages");
    hasher.update(key.as_bytes());
    for passage in passages {
        hasher.update(&passage.tokens.to_le_bytes());
        hasher.update(&(passage.text.len() as u64).to_le_bytes());
        hasher.update(passage.text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
