//! The kinds of storage that this version opens, by the scheme of their URLs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::system::TierUrls;

use super::local::LocalFactory;
use super::{OpenError, Store, StoreFactory};

/// Every kind of storage; a new one is a file beside this one and a line here.
pub const FACTORIES: &[&dyn StoreFactory] = &[&LocalFactory];

/// The URLs that lead to a kind of storage.
pub const TIER_URLS: &TierUrls = &TierUrls {
    schemes,
    fault: |url| factory(url).ok()?.fault(url),
    folder: occupied_folder,
};

/// Returns the schemes of all kinds of storage.
pub fn schemes() -> Vec<&'static str> {
    FACTORIES.iter().map(|factory| factory.scheme()).collect()
}

/// Opens the location of a URL; `make` creates a missing one.
pub async fn open(url: &str, base: &Path, make: bool) -> Result<Arc<dyn Store>, OpenError> {
    factory(url)?.open(url, base, make).await
}

/// Returns the folder of this machine that a location occupies: no source captures it, and no recovery writes
/// into it. None if the location is elsewhere, or its URL cannot be used.
pub fn occupied_folder(url: &str, base: &Path) -> Option<PathBuf> {
    factory(url).ok()?.folder(url, base)
}

/// Returns whether two URLs lead to one location.
pub fn is_same_location(one: &str, other: &str, base: &Path) -> bool {
    let identity = |url: &str| {
        let factory = factory(url).ok()?;
        Some((factory.scheme(), factory.identity(url, base)?))
    };
    one == other || identity(one).is_some_and(|found| identity(other) == Some(found))
}

fn factory(url: &str) -> Result<&'static dyn StoreFactory, OpenError> {
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(OpenError::BadUrl("it is not a URL".to_owned()));
    };
    let mut all = FACTORIES.iter().copied();
    all.find(|factory| factory.scheme() == scheme)
        .ok_or_else(|| OpenError::UnknownScheme(scheme.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_on_this_machine_occupies_its_folder() {
        let base = Path::new("/srv/shop");
        let folder = |url: &str| occupied_folder(url, base);
        assert_eq!(folder("file://./near"), Some(base.join("near")));
        assert_eq!(folder("file:///mnt/a%20b"), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(folder("gopher://near"), None);
        assert!(is_same_location("file://./near", "file:///srv/shop/near", base));
        assert!(!is_same_location("file://./near", "gopher://./near", base));
    }
}
