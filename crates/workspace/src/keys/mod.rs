//! Keys: where they are, how a keyring is opened, the recovery kit, and the key that a tier holds.

pub mod from_tier;
pub mod identity;
pub mod identity_files;
pub mod keyring;
pub mod kit;
pub mod other_systems;
pub(crate) mod secret_file;

use crate::layout::Layout;

pub(crate) use identity::EXPOSED;
pub use identity::Unlocker;
pub use keyring::{
    OpenKey, Origin, PINNED_KEY, PinnedKey, UnlockBy, establish, exists, folders, identity_file, open,
    open_with, pinned, put_back_identity,
};

/// Returns whether a workspace has a system. One without a key that has no system file only runs workflows. One with a
/// key has lost its file.
pub fn has_system(layout: &Layout) -> bool {
    layout.has_system_file() || exists(layout)
}
