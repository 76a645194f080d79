//! One location's storage: whole objects under relative paths, durable when a write returns.
//!
//! A kind of storage is one file here that implements [`Store`] and [`StoreFactory`], and one line of the
//! [list of factories](FACTORIES). Nothing above knows of files. The factory knows the kind's URLs.

mod local;
mod registry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use local::LocalStore;
pub use registry::{FACTORIES, TIER_URLS, is_same_location, occupied_folder, open, schemes};

/// Where objects are kept.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Returns the object's bytes. An object of more than `most` bytes is not read, but is an error
    /// ([`StoreError::TooLarge`]): nobody knows what lies in a tier.
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError>;
    /// Returns `len` bytes from `offset`; fewer if the object ends earlier.
    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError>;
    /// Returns the object's length in bytes; none if there is no such object.
    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError>;
    /// Writes the object whole, or not at all; durable when it returns. Replaces an older one.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// Writes the object whole and durably if there is none under that path, and returns whether it did. Of
    /// all calls for one path, from any host and at any time, one returns true. After an error the object may
    /// be there all the same.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError>;
    /// Returns the names of the folders directly below a folder, and of all that is no object there.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError>;
    /// Returns the paths under a folder (all for the empty one) with their lengths, in no special order. What is
    /// neither an object nor a folder is listed with length 0; reading it fails.
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError>;
    /// Removes the object; succeeds if there is none.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;
    /// Returns the temporary files of writes that were killed, and removes them if `remove` is set. A file
    /// that a living process may still write is neither returned nor removed.
    async fn abandoned(&self, remove: bool) -> Result<Vec<Temporary>, StoreError> {
        let _ = remove;
        Ok(Vec::new())
    }
}

/// The temporary file of a write that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// Its path in the location.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Opens the locations of one URL scheme. A URL may be relative to `base`, the folder of the system's file.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// Returns the scheme, such as `file`.
    fn scheme(&self) -> &'static str;

    /// Returns why a URL of the scheme leads nowhere.
    fn fault(&self, url: &str) -> Option<String>;

    /// Opens a location; `make` creates a missing one.
    async fn open(&self, url: &str, base: &Path, make: bool) -> Result<Arc<dyn Store>, OpenError>;

    /// Returns the folder of this machine that holds the objects; none if another machine holds them.
    fn folder(&self, url: &str, base: &Path) -> Option<PathBuf> {
        let (_, _) = (url, base);
        None
    }

    /// Returns a text that all URLs of one location share, and no others; none for a URL that cannot be used.
    fn identity(&self, url: &str, base: &Path) -> Option<String>;
}

/// A location could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No kind of storage has the URL's scheme.
    UnknownScheme(String),
    /// The URL cannot be used: why.
    BadUrl(String),
    /// There is nothing at the location.
    Absent(StoreError),
    /// The location could not be reached.
    Failed(StoreError),
}

/// Storage failed to do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{path} is not there")]
    NotFound {
        /// The object's path.
        path: String,
    },
    /// The disk (or the quota) is full.
    #[error("no room to write {path} in {location}; make room, then resume")]
    DiskFull {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
    },
    /// The storage cannot create a name exclusively.
    #[error("{location} cannot create {path} exclusively: {why}")]
    NotExclusive {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Something else is in the object's place.
    #[error("{path} in {location} cannot be used: {what}; remove it")]
    NotAFile {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
        /// What is there.
        what: &'static str,
    },
    /// The object is larger than its kind can be.
    #[error("{path} in {location} has {len} bytes, more than its kind can have")]
    TooLarge {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// Anything else: the disk, the network, permissions.
    #[error("could not {action} {path} in {location}: {why}")]
    Failed {
        /// The call, as a verb.
        action: &'static str,
        /// The location.
        location: String,
        /// The object's path.
        path: String,
        /// What the system said.
        why: String,
    },
}

impl StoreError {
    /// Returns whether the disk is full and nothing else is wrong.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
