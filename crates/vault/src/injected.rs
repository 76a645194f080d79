//! A location whose readers get damaged copies of some objects. It proves that a verification notices such damage, and never
//! writes to the location itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::store::{Store, StoreError};

/// What is wrong with the copy of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Injected {
    /// A bit in its middle is another one.
    FlippedBit,
    /// Its second half is not there.
    CutShort,
    /// It is not there.
    Missing,
}

impl Injected {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::FlippedBit, Self::CutShort, Self::Missing];
}

/// See the module's documentation. What is written to it stays in memory.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: BTreeMap<String, Injected>,
    written: Mutex<BTreeMap<String, Bytes>>,
}

impl FaultyStore {
    /// Returns a location that gives damaged copies of the objects at these paths.
    pub fn new(inner: Arc<dyn Store>, faults: BTreeMap<String, Injected>) -> Self {
        Self {
            inner,
            faults,
            written: Mutex::default(),
        }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the length of the copy that a reader gets; none if the object is missing.
    fn length(&self, path: &str, real: u64) -> Option<u64> {
        match self.faults.get(path) {
            Some(Injected::Missing) => None,
            Some(Injected::CutShort) => Some(real / 2),
            Some(Injected::FlippedBit) | None => Some(real),
        }
    }

    /// Returns the bytes from `offset` as a reader gets them.
    fn damaged(&self, path: &str, offset: u64, bytes: Bytes, real: u64) -> Result<Bytes, StoreError> {
        let not_found = || StoreError::NotFound {
            path: path.to_owned(),
        };
        let length = self.length(path, real).ok_or_else(not_found)?;
        let here = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = bytes.slice(..here.min(bytes.len()));
        if self.faults.get(path) == Some(&Injected::FlippedBit)
            && let Some(at) = (real / 2).checked_sub(offset)
            && let Ok(at) = usize::try_from(at)
            && at < bytes.len()
        {
            let mut changed = BytesMut::from(bytes.as_ref());
            changed[at] ^= 1;
            bytes = changed.freeze();
        }
        Ok(bytes)
    }

    async fn real(&self, path: &str) -> Result<u64, StoreError> {
        let length = self.inner.len(path).await?;
        length.ok_or_else(|| StoreError::NotFound {
            path: path.to_owned(),
        })
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.written().get(path) {
            return Ok(bytes.clone());
        }
        let bytes = self.inner.get(path, most).await?;
        let real = bytes.len() as u64;
        self.damaged(path, 0, bytes, real)
    }

    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        if self.faults.contains_key(path) {
            let real = self.real(path).await?;
            let bytes = self.inner.get_range(path, offset, len).await?;
            return self.damaged(path, offset, bytes, real);
        }
        if let Some(bytes) = self.written().get(path) {
            let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(bytes.slice(at(offset)..at(offset.saturating_add(len))));
        }
        self.inner.get_range(path, offset, len).await
    }

    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        if let Some(bytes) = self.written().get(path) {
            return Ok(Some(bytes.len() as u64));
        }
        let real = self.inner.len(path).await?;
        Ok(real.and_then(|real| self.length(path, real)))
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.written().insert(path.to_owned(), bytes);
        Ok(())
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        if self.len(path).await?.is_some() {
            return Ok(false);
        }
        self.put(path, bytes).await?;
        Ok(true)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.inner.folders(folder).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let real = self.inner.list(folder).await?;
        let written = self.written();
        let own = written.iter().filter(|(path, _)| path.starts_with(folder));
        let own = own.map(|(path, bytes)| (path.clone(), bytes.len() as u64));
        let seen = real
            .into_iter()
            .filter(|(path, _)| !written.contains_key(path))
            .filter_map(|(path, real)| {
                let length = self.length(&path, real)?;
                Some((path, length))
            });
        Ok(seen.chain(own).collect())
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.written().remove(path);
        Ok(())
    }
}
