//! One location's storage: whole objects under relative paths, durable when a write returns.
//!
//! [`LocalStore`] is `object_store`'s local file system with fsync on: a temporary name, fsync of the file,
//! rename, fsync of the folder. Temporary names that a crash leaves (`…#1`) are never listed. S3 and others
//! come in as further implementations of [`Store`]; nothing above this trait knows of files.

use std::error::Error as _;
use std::io;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

/// Where objects are kept.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Returns the object's bytes.
    async fn get(&self, path: &str) -> Result<Bytes, StoreError>;
    /// Returns `len` bytes from `offset`. Fewer come back where the object ends earlier.
    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError>;
    /// Returns the object's length in bytes, none where there is no such object.
    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError>;
    /// Writes the object whole, or not at all; durable when it returns. Replaces what stood there.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// Writes the object whole and durably where there is none under that path, and returns whether it did: of all who
    /// ask for one path, whenever and from wherever, one is told so. After an error it may be there all the same.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError>;
    /// Returns the names of the folders directly below a folder.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError>;
    /// Returns the paths under a folder (all for the empty one) with their lengths, in no special order.
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError>;
    /// Removes the object; it is no error that there is none.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;
}

/// Storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{path} is not there")]
    NotFound {
        /// The object's path.
        path: String,
    },
    /// The disk (or the quota) is full.
    #[error("no room to write {path} in {location}; make room, then go on")]
    DiskFull {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
    },
    /// The storage cannot write an object only where there is none.
    #[error("{location} cannot create {path} only where nothing stands: {why}")]
    NotExclusive {
        /// The location.
        location: String,
        /// The object's path.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Anything else: the disk, the network, permissions.
    #[error("could not {action} {path} in {location}: {why}")]
    Failed {
        /// What was tried, as a verb.
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
    /// Returns whether room on a disk is all that is missing.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

/// A folder of the local file system.
#[derive(Debug)]
pub struct LocalStore {
    files: Arc<LocalFileSystem>,
    location: String,
}

impl LocalStore {
    /// Opens a folder that exists.
    pub fn open(root: &FsPath) -> Result<Self, StoreError> {
        let location = root.display().to_string();
        let files = LocalFileSystem::new_with_prefix(root).map_err(|error| StoreError::Failed {
            action: "open",
            location: location.clone(),
            path: "the folder".to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self {
            files: Arc::new(files.with_fsync(true)),
            location,
        })
    }

    fn error(&self, action: &'static str, path: &str, error: &object_store::Error) -> StoreError {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return StoreError::NotFound {
                path: path.to_owned(),
            };
        }
        let mut cause = error.source();
        let mut why = error.to_string();
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                if matches!(
                    io.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) {
                    return StoreError::DiskFull {
                        location: self.location.clone(),
                        path: path.to_owned(),
                    };
                }
                why = io.to_string();
            }
            cause = inner.source();
        }
        StoreError::Failed {
            action,
            location: self.location.clone(),
            path: path.to_owned(),
            why,
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let answer = async { self.files.get(&Path::from(path)).await?.bytes().await };
        answer.await.map_err(|error| self.error("read", path, &error))
    }

    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        let Some(have) = self.len(path).await? else {
            return Err(StoreError::NotFound {
                path: path.to_owned(),
            });
        };
        let end = offset.saturating_add(len).min(have);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let answer = self.files.get_range(&Path::from(path), offset..end).await;
        answer.map_err(|error| self.error("read", path, &error))
    }

    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.files.head(&Path::from(path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("look at", path, &error)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let answer = self.files.put(&Path::from(path), bytes.into()).await;
        answer
            .map(|_| ())
            .map_err(|error| self.error("write", path, &error))
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let exclusive = PutOptions::from(PutMode::Create);
        match self
            .files
            .put_opts(&Path::from(path), bytes.into(), exclusive)
            .await
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) if lacks_links(&error) => Err(StoreError::NotExclusive {
                location: self.location.clone(),
                path: path.to_owned(),
                why: "its file system has no hard links".to_owned(),
            }),
            Err(error) => Err(self.error("create", path, &error)),
        }
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.files.list_with_delimiter(Some(&Path::from(folder))).await;
        let listed = listed.map_err(|error| self.error("list", folder, &error))?;
        let names = listed.common_prefixes.iter();
        Ok(names
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect())
    }

    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        let found = self
            .files
            .list(prefix.as_ref())
            .map_ok(|meta| (meta.location.to_string(), meta.size));
        found
            .try_collect()
            .await
            .map_err(|error| self.error("list", folder, &error))
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.files.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", path, &error)),
        }
    }
}

/// Returns whether an error says that the file system cannot link: a new name is then never given exclusively.
fn lacks_links(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let told = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        // FAT says that it is not permitted; what is not permitted otherwise could not have been written before.
        if matches!(
            told.map(rustix::io::Errno::from_raw_os_error),
            Some(
                rustix::io::Errno::PERM
                    | rustix::io::Errno::OPNOTSUPP
                    | rustix::io::Errno::NOSYS
                    | rustix::io::Errno::MLINK
            )
        ) {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_who_create_one_object_one_does_and_its_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        for round in 0..20 {
            let path = format!("journal/run/{round}");
            let all = (0..8_u8).map(|who| store.create(&path, Bytes::from(vec![who; 3])));
            let done = futures::future::join_all(all).await;
            let won: Vec<usize> = (0..8).filter(|who| *done[*who].as_ref().unwrap()).collect();
            assert_eq!(won.len(), 1, "{done:?}");
            let winner = u8::try_from(won[0]).unwrap();
            assert_eq!(&store.get(&path).await.unwrap()[..], [winner; 3]);
        }
        assert_eq!(store.folders("journal").await.unwrap(), ["run"]);
        assert_eq!(store.folders("nowhere").await.unwrap(), [""; 0]);
        assert_eq!(store.list("journal").await.unwrap().len(), 20);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_from_other_failures() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let full = |code: i32| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from_raw_os_error(code)),
        };
        assert!(store.error("write", "a", &full(28)).is_disk_full(), "ENOSPC");
        assert!(store.error("write", "a", &full(122)).is_disk_full(), "EDQUOT");
        assert!(!store.error("write", "a", &full(5)).is_disk_full(), "EIO");
    }

    #[tokio::test]
    async fn what_a_crash_left_under_a_temporary_name_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store
            .put("packs/ab/cd", Bytes::from_static(b"whole"))
            .await
            .unwrap();
        std::fs::write(dir.path().join("packs/ab/cd#1"), b"who").unwrap();
        assert_eq!(store.list("").await.unwrap(), [("packs/ab/cd".to_owned(), 5)]);
        assert_eq!(&store.get_range("packs/ab/cd", 3, 99).await.unwrap()[..], b"le");
        assert!(matches!(
            store.get("packs/ab/none").await,
            Err(StoreError::NotFound { .. })
        ));
        assert_eq!(store.len("packs/ab/none").await.unwrap(), None);
    }
}
