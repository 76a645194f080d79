//! Keys: where they are, how a keyring is opened, the recovery kit, and the key that a tier holds.

pub mod from_tier;
pub mod identity;
pub mod keyring;
pub mod kit;

pub use identity::Unlocker;
pub use keyring::{
    OpenKey, Origin, PINNED_KEY, PinnedKey, UnlockBy, establish, exists, open, pinned, put_back_identity,
};
