//! Folders of the local file system, by `file://` URLs.

mod folder;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

pub use folder::LocalStore;

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
