//! A workspace's keyring: how to make it, open it, and check it against the pinned key.
//!
//! ```text
//! ~/.config/rekindle/identities/    the secrets that open keyrings; 0600; never in a workspace or a tier
//! .rekindle/keyring.age             the keyring, wrapped to one of them or to a passphrase
//! .rekindle/key.json                what is pinned: fingerprint, repository, how it is opened, kit exported?
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_sources::place::resolve;
use rekindle_vault::key::{Identity, KeyError, Keyring, Unlock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::problem::ProblemKind;
use rekindle_vault::regular;

use super::identity::{Unlocker, from_kit};
use super::identity_files::{IdentityFile, Use};
use super::secret_file::write_secret;
use crate::error::Error;
use crate::layout::Layout;
use crate::yaml_file;

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
    /// By an identity in the config folder.
    Identity,
    /// By a passphrase.
    Passphrase,
}

/// Where a workspace's key comes from.
pub enum Origin {
    /// It is new. This passphrase protects it, or else an identity in the config folder.
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
                None => {
                    let identity =
                        unlocker.identity_for(&Use::of(layout, yaml_file::system_name(layout), now))?;
                    (keyring.wrap_to(&[identity.recipient()])?, UnlockBy::Identity)
                }
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
    open_with(layout, unlocker, None)
}

/// Does as [`open`], with the passphrase from a file, if one is named.
pub fn open_with(
    layout: &Layout,
    unlocker: &Unlocker,
    passphrase_file: Option<&Path>,
) -> Result<OpenKey, Error> {
    let pinned = pinned(layout)?;
    let path = wrapped_file(layout);
    let wrapped = wrapped(layout)?;
    let keyring = match pinned.unlock {
        UnlockBy::Identity => right_identity(layout, unlocker, &wrapped)?.keyring,
        UnlockBy::Passphrase => {
            let passphrase = unlocker.passphrase(passphrase_file)?;
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

/// Returns the folders that may hold the identity of a workspace, with nothing twice.
pub fn folders(layout: &Layout, unlocker: &Unlocker) -> Vec<PathBuf> {
    let remembered = pinned(layout).ok().and_then(|pinned| pinned.identity_dir);
    let remembered = remembered.map(|dir| layout.dir.join(dir));
    let mut folders: Vec<PathBuf> = Vec::new();
    for dir in unlocker.config_dir.clone().into_iter().chain(remembered) {
        if folders.iter().all(|other| resolve(other) != resolve(&dir)) {
            folders.push(dir);
        }
    }
    folders
}

/// Returns every identity file that may open the key of a workspace.
pub(crate) fn identity_files(layout: &Layout, unlocker: &Unlocker) -> Vec<IdentityFile> {
    folders(layout, unlocker)
        .iter()
        .flat_map(|dir| IdentityFile::all(dir))
        .collect()
}

/// Returns the file with the identity that opens the key of a workspace; none if a passphrase does.
pub fn identity_file(layout: &Layout, unlocker: &Unlocker) -> Result<Option<PathBuf>, Error> {
    Ok(match pinned(layout)?.unlock {
        UnlockBy::Identity => Some(right_identity(layout, unlocker, &wrapped(layout)?)?.file),
        UnlockBy::Passphrase => None,
    })
}

/// The identity that opens a keyring.
pub(super) struct RightIdentity {
    pub(super) identity: Identity,
    pub(super) keyring: Keyring,
    /// The file that it is in.
    file: PathBuf,
}

/// Returns the identity that opens a keyring. Several folders may each hold several identities.
///
/// # Errors
/// None opens it. The error says where this looked, and what brings the identity back.
pub(super) fn right_identity(
    layout: &Layout,
    unlocker: &Unlocker,
    wrapped: &[u8],
) -> Result<RightIdentity, Error> {
    let mut unread = Vec::new();
    for file in identity_files(layout, unlocker) {
        let own = match file.identities {
            Ok(own) => own,
            Err(error) => {
                unread.push(error);
                continue;
            }
        };
        for identity in own {
            match Keyring::unwrap(wrapped, &Unlock::Identity(identity.clone())) {
                Ok(keyring) => {
                    return Ok(RightIdentity {
                        identity,
                        keyring,
                        file: file.path,
                    });
                }
                Err(KeyError::WrongIdentity) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let looked_in: Vec<String> = folders(layout, unlocker)
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    if looked_in.is_empty() {
        unlocker.dir()?;
    }
    let message = format!(
        "no identity in {} opens the key of {}",
        looked_in.join(" or "),
        layout.dir.display()
    );
    let refused = Error::new(ProblemKind::Invalid, "no_identity", message)
        .with_next(from_kit(), "puts back the identity of the recovery kit")
        .with_advice(format!(
            "if it is in another folder, name that one ({})",
            unlocker.dir_setting
        ));
    Err(unread
        .into_iter()
        .fold(refused, |refused, fault| refused.with_advice(fault.to_string())))
}

/// Puts back the identity of a kit, for a workspace that has its key already. Refuses an identity of another vault.
pub fn put_back_identity(
    layout: &Layout,
    unlocker: &Unlocker,
    identities: &[Identity],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let wrapped = wrapped(layout)?;
    let opens =
        |identity: &&Identity| Keyring::unwrap(&wrapped, &Unlock::Identity((*identity).clone())).is_ok();
    match identities.iter().find(opens) {
        Some(identity) => {
            unlocker.keep_identity(identity, &Use::of(layout, yaml_file::system_name(layout), now))
        }
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

/// Returns the keyring of a workspace, wrapped.
pub(crate) fn wrapped(layout: &Layout) -> Result<Vec<u8>, Error> {
    let path = wrapped_file(layout);
    regular::read(&path, regular::SMALL).map_err(|error| {
        let failed = Error::io(format_args!("read {}", path.display()), &error);
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                failed.with_advice("copy `key.age` from the top of a tier there: it is the same file")
            }
            _ => failed,
        }
    })
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

pub(crate) fn wrapped_file(layout: &Layout) -> PathBuf {
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
