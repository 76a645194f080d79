//! A workspace's keyring: how to make it, open it, and check it against the pinned key.
//!
//! ```text
//! ~/.config/rekindle/identity.txt   the secret that opens keyrings; 0600; never in a workspace or a tier
//! .rekindle/keyring.age             the keyring, wrapped to that identity or to a passphrase
//! .rekindle/key.json                what is pinned: fingerprint, repository, how it is opened, kit exported?
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_sources::place::resolve;
use rekindle_vault::key::{Identity, Keyring, Unlock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::problem::ProblemKind;
use rekindle_vault::regular;

use super::identity::{Unlocker, from_kit, identity_file, write_secret};
use crate::error::Error;
use crate::layout::Layout;

/// The name of the pinned key's file in `.rekindle`.
pub const PINNED_KEY: &str = "key.json";

/// What a workspace remembers of its key; none of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKey {
    /// The keyring's fingerprint: a keyring with another one is refused.
    pub fingerprint: String,
    /// The repository that the keyring belongs to.
    pub repository: String,
    /// How it is opened.
    pub unlock: UnlockBy,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The folder in which the identity was made or found, if it is not the user's own. Relative to the workspace if
    /// it is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_dir: Option<PathBuf>,
    /// When the recovery kit was handed out, if ever.
    #[serde(default)]
    pub kit_exported: Option<DateTime<Utc>>,
    /// The URLs of the tiers that the kit names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kit_tiers: Vec<String>,
}

/// How a keyring is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlockBy {
    /// By the identity in the config folder.
    Identity,
    /// By a passphrase.
    Passphrase,
}

/// Where a workspace's key comes from.
pub enum Origin {
    /// It is new. This passphrase protects it, or else the identity in the config folder.
    New {
        /// The passphrase.
        passphrase: Option<Zeroizing<String>>,
    },
    /// A tier holds it.
    Tier {
        /// The keyring.
        keyring: Arc<Keyring>,
        /// The keyring as the tier holds it.
        wrapped: Vec<u8>,
        /// The kind of secret that opened it.
        unlock: UnlockBy,
    },
}

/// A workspace's key, opened.
pub struct OpenKey {
    /// The keyring.
    pub keyring: Arc<Keyring>,
    /// The keyring as it is written into tiers.
    pub wrapped: Vec<u8>,
    /// The pinned key.
    pub pinned: PinnedKey,
}

/// Gives a workspace without a key the key of `origin`, and returns the pinned key.
pub fn establish(
    layout: &Layout,
    unlocker: &Unlocker,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<PinnedKey, Error> {
    let (keyring, wrapped, unlock) = match origin {
        Origin::New { passphrase } => {
            let keyring = Arc::new(Keyring::generate());
            let (wrapped, unlock) = match passphrase {
                Some(passphrase) => (keyring.wrap_with_passphrase(&passphrase)?, UnlockBy::Passphrase),
                None => (
                    keyring.wrap_to(&[unlocker.identity()?.recipient()])?,
                    UnlockBy::Identity,
                ),
            };
            (keyring, wrapped, unlock)
        }
        Origin::Tier {
            keyring,
            wrapped,
            unlock,
        } => (keyring, wrapped, unlock),
    };
    let pinned = PinnedKey {
        fingerprint: keyring.fingerprint(),
        repository: keyring.repository().to_string(),
        unlock,
        created: now,
        identity_dir: unlocker.named_dir.as_ref().map(|dir| {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            resolve(&dir)
                .strip_prefix(resolve(&layout.dir))
                .map_or(dir, Path::to_owned)
        }),
        kit_exported: None,
        kit_tiers: Vec::new(),
    };
    // Write the keyring before its pin: after a crash in between, the workspace has no key yet and can start again.
    write_secret(&wrapped_file(layout), &wrapped)?;
    pin(layout, &pinned)?;
    Ok(pinned)
}

/// Opens the workspace's keyring and checks it against the pinned key.
pub fn open(layout: &Layout, unlocker: &Unlocker) -> Result<OpenKey, Error> {
    let pinned = pinned(layout)?;
    let path = wrapped_file(layout);
    let wrapped = wrapped(layout)?;
    let keyring = match pinned.unlock {
        UnlockBy::Identity => right_identity(layout, unlocker, &pinned, &wrapped)?.1,
        UnlockBy::Passphrase => {
            let passphrase = unlocker.passphrase(None)?;
            Keyring::unwrap(&wrapped, &Unlock::Passphrase(String::clone(&passphrase)))?
        }
    };
    if keyring.fingerprint() != pinned.fingerprint {
        return Err(Error::new(
            ProblemKind::DataLost,
            "key_mismatch",
            format!(
                "{} is not the keyring that this workspace has pinned",
                path.display()
            ),
        )
        .with_advice("somebody has replaced it; put back the key.age of a tier, it is the same file"));
    }
    Ok(OpenKey {
        keyring: Arc::new(keyring),
        wrapped,
        pinned,
    })
}

/// Returns the identity that opens a keyring, and the keyring. Several folders may each hold several identities.
pub(super) fn right_identity(
    layout: &Layout,
    unlocker: &Unlocker,
    pinned: &PinnedKey,
    wrapped: &[u8],
) -> Result<(Identity, Keyring), Error> {
    let usual = unlocker.dir()?.to_owned();
    let remembered = pinned.identity_dir.iter().map(|dir| layout.dir.join(dir));
    let remembered = remembered.filter(|dir| identity_file(dir).exists());
    let mut last = None;
    for dir in std::iter::once(usual).chain(remembered) {
        let own = match unlocker.read_identities(&dir) {
            Ok(own) => own,
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        for identity in own {
            match Keyring::unwrap(wrapped, &Unlock::Identity(identity.clone())) {
                Ok(keyring) => return Ok((identity, keyring)),
                Err(error) => {
                    last = Some(Error::from(error).with_next(
                        from_kit(),
                        format!(
                            "adds the identity of the recovery kit to {}",
                            identity_file(&dir).display()
                        ),
                    ));
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::usage("no identity")))
}

/// Puts back the identity of a kit, for a workspace that has its key already. Refuses an identity of another vault.
pub fn put_back_identity(layout: &Layout, unlocker: &Unlocker, identities: &[Identity]) -> Result<(), Error> {
    let wrapped = wrapped(layout)?;
    let opens =
        |identity: &&Identity| Keyring::unwrap(&wrapped, &Unlock::Identity((*identity).clone())).is_ok();
    match identities.iter().find(opens) {
        Some(identity) => unlocker.keep_identity(identity),
        None if identities.is_empty() => Ok(()),
        None => Err(Error::new(
            ProblemKind::Invalid,
            "other_key",
            format!(
                "{} has a key already, and the kit is of another",
                layout.dir.display()
            ),
        )
        .with_advice("name another folder for the kit's system; nothing was changed")),
    }
}

pub(super) fn wrapped(layout: &Layout) -> Result<Vec<u8>, Error> {
    let path = wrapped_file(layout);
    regular::read(&path, regular::SMALL)
        .map_err(|error| Error::io(format_args!("read {}", path.display()), &error))
}

/// Returns whether the workspace has a key.
pub fn exists(layout: &Layout) -> bool {
    pinned_file(layout).exists()
}

/// Returns the pinned key of the workspace.
pub fn pinned(layout: &Layout) -> Result<PinnedKey, Error> {
    let path = pinned_file(layout);
    let text = regular::read(&path, regular::SMALL).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ProblemKind::Invalid,
            "no_key",
            format!("{} has no key yet", layout.dir.display()),
        )
        .with_next(
            Action::Initialize {
                dir: Some(layout.dir.clone()),
                key: KeyOrigin::Default,
            },
            "makes one, and keeps what exists",
        ),
        _ => Error::io(format_args!("read {}", path.display()), &error),
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::new(
            ProblemKind::DataLost,
            "bad_key_file",
            format!("{} is damaged: {error}", path.display()),
        )
        .with_advice("put it back from a copy of the workspace")
    })
}

fn wrapped_file(layout: &Layout) -> PathBuf {
    layout.state.join("keyring.age")
}

fn pinned_file(layout: &Layout) -> PathBuf {
    layout.state.join(PINNED_KEY)
}

pub(super) fn pin(layout: &Layout, pinned: &PinnedKey) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(pinned)
        .map_err(|error| Error::new(ProblemKind::Failed, "internal", error.to_string()))?;
    write_secret(&pinned_file(layout), &text)
}
