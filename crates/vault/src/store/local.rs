//! Folders of the local file system.
//!
//! [`LocalStore`] is `object_store`'s local file system with fsync on: a temporary name, fsync of the file,
//! rename, fsync of the folder. Temporary names that a crash leaves (`…#1`) are never listed.

use std::error::Error as _;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{OpenError, Store, StoreError, StoreFactory};

/// Opens folders by `file://` URLs. A path without a leading slash is relative to the folder of the system's
/// file, as in `file://./tiers/hot`.
#[derive(Debug)]
pub(super) struct LocalFactory;

#[async_trait]
impl StoreFactory for LocalFactory {
    fn scheme(&self) -> &'static str {
        "file"
    }

    async fn open(&self, url: &str, base: &FsPath, make: bool) -> Result<Arc<dyn Store>, OpenError> {
        let folder = folder(url, base).map_err(OpenError::BadUrl)?;
        let failed = |error: &io::Error| StoreError::Failed {
            action: "open",
            location: url.to_owned(),
            path: "the folder".to_owned(),
            why: error.to_string(),
        };
        if make {
            std::fs::create_dir_all(&folder).map_err(|error| OpenError::Failed(failed(&error)))?;
        }
        match std::fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(OpenError::BadUrl("it is not a folder".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Absent(failed(&error)));
            }
            Err(error) => return Err(OpenError::Failed(failed(&error))),
        }
        Ok(Arc::new(LocalStore::open(&folder).map_err(OpenError::Failed)?))
    }

    fn fault(&self, url: &str) -> Option<String> {
        folder(url, FsPath::new("")).err()
    }

    fn folder(&self, url: &str, base: &FsPath) -> Option<PathBuf> {
        folder(url, base).ok()
    }

    fn identity(&self, url: &str, base: &FsPath) -> Option<String> {
        let folder = folder(url, base).ok()?;
        // A folder that does not exist yet counts as being where its nearest existing parent is.
        let there = folder.ancestors().find_map(|above| {
            let rest = folder.strip_prefix(above).ok()?;
            Some(above.canonicalize().ok()?.join(rest))
        });
        Some(there.unwrap_or(folder).display().to_string())
    }
}

/// Returns the folder of a `file://` URL, or what is wrong with the URL.
fn folder(url: &str, base: &FsPath) -> Result<PathBuf, String> {
    let path = url.strip_prefix("file://").unwrap_or_default();
    if path.is_empty() {
        return Err("it names no folder".to_owned());
    }
    if path.starts_with('/') {
        let url = url::Url::parse(url).map_err(|error| error.to_string())?;
        let folder = url.to_file_path();
        return folder.map_err(|()| "it names no folder of this machine".to_owned());
    }
    if path != "." && path != ".." && !path.starts_with("./") && !path.starts_with("../") {
        return Err(format!(
            "it names no folder of this machine; write file://./{path} for one beside the system's file"
        ));
    }
    Ok(base.join(path.strip_prefix("./").unwrap_or(path)))
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

/// Returns whether an error says that the file system cannot link: then it cannot create a name exclusively.
fn lacks_links(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let code = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        // FAT reports EPERM. No other cause is left: the object was written just before.
        if matches!(
            code.map(rustix::io::Errno::from_raw_os_error),
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
    async fn of_many_creations_of_one_object_one_succeeds_and_its_bytes_stay() {
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

    #[test]
    fn two_urls_of_one_folder_have_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("near")).unwrap();
        std::os::unix::fs::symlink("near", dir.path().join("link")).unwrap();
        let identity = |url: &str| LocalFactory.identity(url, dir.path());
        let absolute = format!("file://{}/near", dir.path().display());
        for other in ["file://./link", "file://./link/../near", &absolute] {
            assert_eq!(identity(other), identity("file://./near"), "{other}");
        }
        assert_eq!(identity("file://./link/new"), identity("file://./near/new"));
        assert_ne!(identity("file://./far"), identity("file://./near"));
        assert_eq!(identity("file://near"), None);
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
