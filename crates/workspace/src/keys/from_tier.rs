//! Takes the key of the vault that a system's tiers hold already. This is the way back for a host that has lost
//! everything but a tier and the recovery kit. A second key beside an existing vault would only hide that vault.

use std::path::Path;
use std::sync::Arc;

use rekindle_vault::key::{Identity, KeyError, Keyring, Unlock};
use rekindle_vault::{RecoverySet, Remembered, Tier, TierError, TierMode};
use zeroize::Zeroizing;

use crate::Application;
use rekindle_model::next_action::{Action, KeyOrigin};

use crate::error::Error;
use crate::keys::{Origin, UnlockBy};
use rekindle_model::problem::ProblemKind;

/// The secrets that may open a vault.
#[derive(Default)]
pub struct Means {
    /// Identities of the kit, then those of the config folder.
    pub identities: Vec<Identity>,
    /// A passphrase, if the person was asked for one.
    pub passphrase: Option<Zeroizing<String>>,
    /// The fingerprint of the key, as the kit says.
    pub fingerprint: Option<String>,
}

/// A vault that the tiers hold, opened.
pub struct FoundVault {
    /// The identity that opens it; none if a passphrase does.
    pub identity: Option<Identity>,
    keyring: Arc<Keyring>,
    wrapped: Vec<u8>,
    unlock: UnlockBy,
    tiers: Vec<Tier>,
}

/// Opens the vault that the tiers hold; returns none if no tier holds one. If a vault cannot be opened, this is an
/// error: a new key would never open it either. `expected` says that there must be one.
pub async fn find_vault(
    app: &Application,
    tiers: &[(String, String)],
    base: &Path,
    means: &Means,
    expected: bool,
) -> Result<Option<FoundVault>, Error> {
    let mut found: Option<FoundVault> = None;
    let mut refused = None;
    let mut nothing = String::new();
    for (name, url) in tiers {
        match open(name, url, base, means).await {
            Ok(Ok(vault)) => match &mut found {
                None => found = Some(vault),
                Some(first) if first.keyring.fingerprint() == vault.keyring.fingerprint() => {
                    first.tiers.extend(vault.tiers);
                }
                Some(first) => {
                    let [first, other] = [&*first, &vault].map(|vault| vault.keyring.fingerprint());
                    return Err(other_key(format!(
                        "the tiers hold different vaults: {first}, and {other} in tier {name}"
                    )));
                }
            },
            Ok(Err(why)) => nothing.push_str(&format!("\n  {why}")),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    match (found, refused) {
        (Some(vault), refused) => {
            if let Some(error) = refused {
                app.notices.warn(error.to_string());
            }
            Ok(Some(vault))
        }
        (None, Some(error)) => Err(error),
        (None, None) if expected => Err(Error::usage(format!(
            "no tier holds a vault whose key could be taken{nothing}"
        ))
        .with_advice("mount a tier, or name where one is now")
        .with_next(init(KeyOrigin::KitElsewhere), "takes the key from there")),
        (None, None) => Ok(None),
    }
}

impl FoundVault {
    /// Returns its key, as the workspace keeps it.
    pub fn origin(self) -> Origin {
        Origin::Tier {
            keyring: self.keyring,
            wrapped: self.wrapped,
            unlock: self.unlock,
        }
    }

    /// Opens a tier with the key of this vault, and notes its locations.
    pub async fn opens(
        &self,
        name: &str,
        urls: &[String],
        base: &Path,
        remembered: &Remembered,
    ) -> Result<(), TierError> {
        let (keyring, wrapped, mode) = (Arc::clone(&self.keyring), &self.wrapped, TierMode::Existing);
        Tier::open_remembered(name, urls, base, keyring, wrapped, mode, remembered)
            .await
            .map(drop)
    }

    /// Returns the newest recovery set that can be read: it keeps the system's definition.
    pub async fn newest_set(&self) -> Option<RecoverySet> {
        let mut newest: Option<RecoverySet> = None;
        for tier in &self.tiers {
            for id in tier.sets().await.unwrap_or_default() {
                if newest.as_ref().is_some_and(|set| set.id >= id) {
                    break;
                }
                if let Ok(set) = tier.set(id).await {
                    newest = Some(set);
                    break;
                }
            }
        }
        newest
    }
}

/// Opens the vault in a tier's location. Returns why there is none, if there is none.
async fn open(
    name: &str,
    url: &str,
    base: &Path,
    means: &Means,
) -> Result<Result<FoundVault, String>, Error> {
    let wrapped = match Tier::read_wrapped_key(name, url, base).await {
        Ok(wrapped) => wrapped,
        Err(error) => return without_key(name, url, base, error).await.map(Err),
    };
    let (keyring, unlock, identity) = unwrap(&wrapped, means).map_err(|error| locked(name, url, &error))?;
    let fingerprint = keyring.fingerprint();
    if let Some(expect) = means
        .fingerprint
        .as_ref()
        .filter(|expect| **expect != fingerprint)
    {
        return Err(other_key(format!(
            "tier {name}: the key at {url} has the fingerprint {fingerprint}, the kit says {expect}"
        )));
    }
    let keyring = Arc::new(keyring);
    let urls = [url.to_owned()];
    // Opening checks that a holder of this very key wrote the vault.
    let tier = Tier::open(
        name,
        &urls,
        base,
        Arc::clone(&keyring),
        &wrapped,
        TierMode::Existing,
    )
    .await?;
    Ok(Ok(FoundVault {
        identity,
        keyring,
        wrapped,
        unlock,
        tiers: vec![tier],
    }))
}

/// Returns why a location without a key file holds no vault, as far as this can see.
///
/// # Errors
/// It is a vault that has lost its key file. Opening it with any key shows whether one is there.
async fn without_key(name: &str, url: &str, base: &Path, error: TierError) -> Result<String, Error> {
    let why = match error {
        TierError::NotAVault { .. } => format!("tier {name}: there is no vault at {url}"),
        TierError::Unreachable { source, .. } => format!("tier {name}: {source}"),
        TierError::BadUrl { why, .. } => format!("tier {name}: {url} is not usable: {why}"),
        error => error.to_string(),
    };
    let urls = [url.to_owned()];
    let stranger = Arc::new(Keyring::generate());
    match Tier::open(name, &urls, base, stranger, &[], TierMode::Existing).await {
        Ok(_)
        | Err(
            TierError::NotAVault { .. }
            | TierError::Unreachable { .. }
            | TierError::BadUrl { .. }
            | TierError::UnknownScheme { .. }
            | TierError::NoLocation { .. },
        ) => Ok(why),
        Err(error) => Err(not_opened(name, url, &error)),
    }
}

/// Returns the keyring, with the kind of secret that opened it, and the identity if it was one.
fn unwrap(wrapped: &[u8], means: &Means) -> Result<(Keyring, UnlockBy, Option<Identity>), KeyError> {
    let mut failed = None;
    if let Some(passphrase) = &means.passphrase {
        match Keyring::unwrap(wrapped, &Unlock::Passphrase(String::clone(passphrase))) {
            Ok(keyring) => return Ok((keyring, UnlockBy::Passphrase, None)),
            Err(error) => failed = Some(error),
        }
    }
    for identity in &means.identities {
        match Keyring::unwrap(wrapped, &Unlock::Identity(identity.clone())) {
            Ok(keyring) => return Ok((keyring, UnlockBy::Identity, Some(identity.clone()))),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    // If there is nothing to try, the error for a new identity still says which kind of secret is needed.
    let needed = || Keyring::unwrap(wrapped, &Unlock::Identity(Identity::generate())).err();
    Err(failed.or_else(needed).unwrap_or(KeyError::WrongIdentity))
}

fn locked(name: &str, url: &str, error: &KeyError) -> Error {
    let why = match error {
        KeyError::WrongIdentity => "no identity here opens it".to_owned(),
        error => error.to_string(),
    };
    let message = format!("tier {name}: {url} holds a vault already, and {why}");
    let refused = Error::new(ProblemKind::Invalid, "vault_exists", message);
    match error {
        KeyError::NeedsPassphrase => refused.with_next(
            init(KeyOrigin::Passphrase),
            "opens it with its passphrase; a new key would never open it",
        ),
        KeyError::WrongPassphrase => {
            refused.with_advice("check the passphrase; a new key would never open it")
        }
        _ => refused
            .with_next(
                init(KeyOrigin::Kit),
                "opens it with its recovery kit; a new key would never open it",
            )
            .with_advice("for a new vault, point the tier at another folder"),
    }
}

fn init(key: KeyOrigin) -> Action {
    Action::Initialize { dir: None, key }
}

fn not_opened(name: &str, url: &str, error: &TierError) -> Error {
    let message = match error {
        TierError::Foreign { found, .. } => {
            format!(
                "tier {name}: {url} holds a vault already, of repository {found}, and its key file is missing"
            )
        }
        error => format!("tier {name}: {url} holds a vault already: {error}"),
    };
    Error::new(ProblemKind::Invalid, "vault_exists", message)
        .with_advice("another tier of the system has the key too: name its URL; for a new vault, point the tier at another folder")
}

fn other_key(message: String) -> Error {
    Error::new(ProblemKind::Invalid, "other_key", message)
        .with_advice("use the kit that was exported for this vault; nothing was changed")
}
