//! How a workspace opens its tiers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::TierError;
use crate::key::Keyring;
use crate::remembered::Remembered;
use crate::tier::{Tier, TierMode};

/// What a workspace needs to open its tiers.
#[derive(Clone)]
pub struct TierAccess {
    /// The folder that relative URLs start from.
    pub base: PathBuf,
    /// The keyring that opens and seals.
    pub keyring: Arc<Keyring>,
    /// The wrapped keyring, for writing into a tier.
    pub wrapped_key: Vec<u8>,
    /// The locations that this workspace has stored in before.
    pub remembered: Remembered,
}

impl TierAccess {
    /// Opens a tier at those of its locations that answer, as [`Tier::open_known`] does.
    ///
    /// # Errors
    /// No location can be used.
    pub async fn open(&self, tier: &str, urls: &[String], mode: TierMode) -> Result<Tier, TierError> {
        let keyring = Arc::clone(&self.keyring);
        let (wrapped, remembered) = (&self.wrapped_key, &self.remembered);
        Tier::open_known(tier, urls, &self.base, keyring, wrapped, mode, remembered).await
    }

    /// Returns whether this workspace has stored in that location before.
    ///
    /// # Errors
    /// The note of its locations cannot be read.
    pub fn has_stored_in(&self, tier: &str, url: &str) -> Result<bool, TierError> {
        let known = self.remembered.read(tier, self.keyring.repository())?;
        Ok(known.contains(url))
    }
}
