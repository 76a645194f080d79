//! Where the key of a system is: the identities that open it, and each copy of the wrapped keyring. Works if the key is
//! missing or locked, and if tiers do not answer, and then says so.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_vault::key::{Identity, KeyError, Keyring, Unlock};
use rekindle_vault::{Tier, TierError};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::Application;
use crate::error::Error;
use crate::keys::other_systems::OtherSystems;
use crate::keys::{self, OpenKey, UnlockBy, keyring};
use crate::layout::Layout;
use crate::tiers;

/// How long a tier may take to answer.
const TIER_PATIENCE: Duration = Duration::from_secs(10);

/// Where the key of a system is. Nothing in it is secret.
#[derive(Debug, Serialize)]
pub struct KeyList {
    /// The folder of the workspace.
    pub workspace: PathBuf,
    /// The fingerprint that the workspace has pinned; none if it has no key.
    pub fingerprint: Option<String>,
    /// When the workspace got its key.
    pub since: Option<DateTime<Utc>>,
    /// The kind of secret that opens it, as the workspace has noted.
    pub unlock: Option<UnlockBy>,
    /// Whether the key opens here.
    pub state: KeyState,
    /// Why it does not open; none if it does.
    pub fault: Option<String>,
    /// When the recovery kit was handed out, if ever.
    pub kit_exported: Option<DateTime<Utc>>,
    /// The identity files of this user.
    pub identities: Vec<ListedIdentity>,
    /// What else the identity opens; none if no identity opens the key.
    pub other_systems: Option<OtherSystems>,
    /// The copies of the wrapped keyring: that of the workspace, then those of the tiers.
    pub copies: Vec<KeyCopy>,
}

/// Whether a key opens here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It opens.
    Opens,
    /// It needs its passphrase, which is not at hand.
    Locked,
    /// Nothing here opens it, or it is not the pinned one.
    Closed,
    /// The workspace has none.
    None,
}

/// An identity of this user.
#[derive(Debug, Serialize)]
pub struct ListedIdentity {
    /// The file that it is in.
    pub file: PathBuf,
    /// Its public half; none if the file cannot be read.
    pub recipient: Option<String>,
    /// Whether it opens the key; none if there is no copy of the key to try.
    pub opens: Option<bool>,
    /// Since when the file is used for this workspace, if that was noted.
    pub since: Option<DateTime<Utc>>,
    /// Why the file cannot be read; none if it can.
    pub fault: Option<String>,
}

/// A copy of the wrapped keyring.
#[derive(Debug, Serialize)]
pub struct KeyCopy {
    /// The tier that holds it; none for that of the workspace.
    pub tier: Option<String>,
    /// Its file, or the URL of the tier's location.
    pub place: String,
    /// How it compares.
    pub state: CopyState,
    /// Why it is not the pinned key, or not known to be; none if it is.
    pub why: Option<String>,
}

/// How a copy of the wrapped keyring compares with the pinned key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// It is byte by byte the one of the workspace. Of the one of the workspace: it is there.
    Same,
    /// It holds the pinned key, wrapped differently.
    SameKey,
    /// It holds another key.
    OtherKey,
    /// It differs from that of the workspace, or there is none, and nothing here opens it.
    Unopened,
    /// It is no whole key file.
    Damaged,
    /// There is none. If the key opens, there was one; else it may be a tier that waits for its first backup.
    Missing,
    /// The tier waits for its first backup, which stores the copy.
    NothingYet,
    /// The tier does not answer.
    Unreachable,
}

impl KeyCopy {
    /// Returns whether this copy, on the day of need, would not bring the key back.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, CopyState::OtherKey | CopyState::Damaged)
    }
}

/// Lists the key of the workspace.
///
/// # Errors
/// There is no workspace, or its pinned key cannot be read.
pub async fn list(app: &Application) -> Result<KeyList, Error> {
    let layout = app.layout()?;
    let pinned = keys::exists(&layout).then(|| keys::pinned(&layout)).transpose()?;
    let locked = pinned
        .as_ref()
        .is_some_and(|pinned| pinned.unlock == UnlockBy::Passphrase)
        && !app.unlocker.passphrase_at_hand;
    let mut key = None;
    let (state, fault) = match &pinned {
        None => (KeyState::None, Some("this workspace has no key".to_owned())),
        Some(_) if locked => (KeyState::Locked, Some("it needs its passphrase".to_owned())),
        Some(_) => match keys::open(&layout, &app.unlocker) {
            Ok(opened) => {
                key = Some(opened);
                (KeyState::Opens, None)
            }
            Err(error) => (KeyState::Closed, Some(error.to_string())),
        },
    };
    let own = keyring::wrapped(&layout).ok();
    let mut stored = stored(&layout).await;
    for (tier, _, read) in &mut stored {
        let is_new = |key: &OpenKey| tiers::is_new(&layout, key, tier);
        let none = matches!(read, Err((CopyState::Unreachable | CopyState::Missing, _)));
        if none && key.as_ref().is_some_and(is_new) {
            *read = Err((CopyState::NothingYet, "the first backup stores it".to_owned()));
        }
    }
    let files = keyring::identity_files(&layout, &app.unlocker);
    let means = Means {
        identities: files
            .iter()
            .flat_map(|file| file.identities.iter().flatten())
            .collect(),
        passphrase: match locked || !app.unlocker.passphrase_at_hand {
            true => None,
            false => Some(app.unlocker.passphrase(None)?),
        },
    };
    let fingerprint = pinned.as_ref().map(|pinned| pinned.fingerprint.clone());
    let mut copies = vec![own_copy(&layout, own.as_deref(), fingerprint.as_deref(), &means)];
    copies.extend(stored.iter().map(|(tier, place, read)| KeyCopy {
        tier: Some(tier.clone()),
        ..compare(place, read, own.as_deref(), fingerprint.as_deref(), &means)
    }));
    // If the workspace has lost its keyring, that of a tier shows which identity opens it.
    let whole = copies[0].state != CopyState::Damaged;
    let to_try = own
        .as_deref()
        .filter(|_| whole)
        .or_else(|| stored.iter().find_map(|(_, _, read)| read.as_deref().ok()));
    let mut identities = Vec::new();
    let mut right = None;
    for file in &files {
        let of_file = |recipient, opens, fault| ListedIdentity {
            file: file.path.clone(),
            recipient,
            opens,
            since: file.since(&layout.dir),
            fault,
        };
        match &file.identities {
            Err(fault) => identities.push(of_file(None, None, Some(fault.to_string()))),
            Ok(list) => identities.extend(list.iter().map(|identity| {
                let opened = to_try.map(|wrapped| unwrap(wrapped, identity));
                if let Some(Ok(keyring)) = &opened {
                    right.get_or_insert((identity, keyring.fingerprint()));
                }
                let opens = opened.map(|opened| opened.is_ok());
                of_file(Some(identity.recipient().to_string()), opens, None)
            })),
        }
    }
    let other_systems =
        right.map(|(identity, fingerprint)| OtherSystems::of(identity, &fingerprint, &layout, &files));
    Ok(KeyList {
        workspace: layout.dir.clone(),
        fingerprint,
        since: pinned.as_ref().map(|pinned| pinned.created),
        unlock: pinned.as_ref().map(|pinned| pinned.unlock),
        state,
        fault,
        kit_exported: pinned.and_then(|pinned| pinned.kit_exported),
        identities,
        other_systems,
        copies,
    })
}

/// A copy in a tier, as it was read: the tier, the URL, and the bytes or why there are none.
type Stored = (String, String, Result<Vec<u8>, (CopyState, String)>);

/// Reads the copy of every location of the tiers, all at once: one that hangs must not hold up the others.
async fn stored(layout: &Layout) -> Vec<Stored> {
    let mut asked = tokio::task::JoinSet::new();
    for (at, (tier, url)) in tiers::urls(layout).into_iter().enumerate() {
        let base = layout.system_dir();
        asked.spawn(async move {
            let read = tokio::time::timeout(TIER_PATIENCE, Tier::read_wrapped_key(&tier, &url, &base)).await;
            let read = match read {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(error @ TierError::NotAVault { .. })) => {
                    Err((CopyState::Missing, tiers::bare(&tier, &error)))
                }
                Ok(Err(error)) => Err((CopyState::Unreachable, tiers::bare(&tier, &error))),
                Err(_) => Err((
                    CopyState::Unreachable,
                    format!("no answer within {TIER_PATIENCE:?}"),
                )),
            };
            (at, (tier, url, read))
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, stored)| stored).collect()
}

/// What may open a copy.
struct Means<'a> {
    identities: Vec<&'a Identity>,
    passphrase: Option<Zeroizing<String>>,
}

impl Means<'_> {
    fn open(&self, wrapped: &[u8]) -> Result<Keyring, KeyError> {
        let mut refused = match &self.passphrase {
            Some(passphrase) => Keyring::unwrap(wrapped, &Unlock::Passphrase(String::clone(passphrase))),
            // If there is nothing to try, the error for a new identity still says whether it is a key file.
            None => unwrap(wrapped, &Identity::generate()),
        };
        for identity in &self.identities {
            if matches!(refused, Err(KeyError::WrongIdentity | KeyError::NeedsIdentity)) {
                refused = unwrap(wrapped, identity);
            }
        }
        refused
    }
}

fn unwrap(wrapped: &[u8], identity: &Identity) -> Result<Keyring, KeyError> {
    Keyring::unwrap(wrapped, &Unlock::Identity(identity.clone()))
}

fn own_copy(layout: &Layout, own: Option<&[u8]>, pinned: Option<&str>, means: &Means<'_>) -> KeyCopy {
    let file = keyring::wrapped_file(layout).display().to_string();
    let read = own
        .ok_or((CopyState::Missing, "it is not there".to_owned()))
        .map(<[u8]>::to_vec);
    let compared = compare(&file, &read, None, pinned, means);
    match compared.state {
        CopyState::SameKey | CopyState::Unopened => KeyCopy {
            state: CopyState::Same,
            why: None,
            ..compared
        },
        _ => compared,
    }
}

/// Compares a copy with the keyring of the workspace, and with the pinned fingerprint.
fn compare(
    place: &str,
    read: &Result<Vec<u8>, (CopyState, String)>,
    own: Option<&[u8]>,
    pinned: Option<&str>,
    means: &Means<'_>,
) -> KeyCopy {
    let (state, why) = match read {
        Err((state, why)) => (*state, Some(why.clone())),
        Ok(bytes) if own == Some(bytes) => (CopyState::Same, None),
        Ok(bytes) => match means.open(bytes) {
            Ok(keyring) => match pinned {
                Some(pinned) if keyring.fingerprint() != pinned => (
                    CopyState::OtherKey,
                    Some(format!("its fingerprint is {}", keyring.fingerprint())),
                ),
                _ => (CopyState::SameKey, None),
            },
            Err(error @ (KeyError::Damaged(_) | KeyError::NewerFormat { .. })) => {
                (CopyState::Damaged, Some(error.to_string()))
            }
            Err(error) => (CopyState::Unopened, Some(error.to_string())),
        },
    };
    KeyCopy {
        tier: None,
        place: place.to_owned(),
        state,
        why,
    }
}
