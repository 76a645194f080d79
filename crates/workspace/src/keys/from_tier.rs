//! Takes over the vault that a system's tiers hold already. This is the way back for a host that has lost everything
//! but a tier and the recovery kit. A second key beside an existing vault would only hide that vault.

use std::path::Path;
use std::sync::Arc;

use rekindle_vault::key::{Identity, KeyError, Keyring, Unlock};
use rekindle_vault::{RecoverySet, Remembered, Tier, TierError, TierMode};

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
    pub passphrase: Option<String>,
    /// The fingerprint of the key, as the kit says.
    pub fingerprint: Option<String>,
}

/// A vault that a tier holds, opened.
pub struct Adopted {
    /// Its key, as the workspace keeps it.
    pub origin: Origin,
    /// The identity that opens it; none if a passphrase does.
    pub identity: Option<Identity>,
    tiers: Vec<Tier>,
}

/// The content of a tier's location.
enum Found {
    /// No vault, as far as this can see, with the reason.
    Nothing(String),
    /// A vault, with its key file if that can be read.
    Vault(Result<Vec<u8>, TierError>),
}

/// Opens the vault that the tiers hold; returns none if no tier holds one. If a vault cannot be opened, this is an
/// error: a new key would never open it either. `expected` says that there must be one.
pub async fn adopt(
    app: &Application,
    tiers: &[(String, String)],
    base: &Path,
    means: &Means,
    expected: bool,
) -> Result<Option<Adopted>, Error> {
    let mut adopted: Option<(Adopted, String)> = None;
    let mut refused = None;
    let mut nothing = Vec::new();
    for (name, url) in tiers {
        let wrapped = match look(name, url, base).await {
            Found::Nothing(why) => {
                nothing.push(why);
                continue;
            }
            Found::Vault(Ok(wrapped)) => wrapped,
            Found::Vault(Err(error)) => {
                refused.get_or_insert_with(|| not_opened(name, url, &error));
                continue;
            }
        };
        let (keyring, unlock, identity) = match open(&wrapped, means) {
            Ok(opened) => opened,
            Err(error) => {
                refused.get_or_insert_with(|| locked(name, url, &error));
                continue;
            }
        };
        let keyring = Arc::new(keyring);
        let fingerprint = keyring.fingerprint();
        if let Some(expect) = means
            .fingerprint
            .as_ref()
            .filter(|expect| **expect != fingerprint)
        {
            refused.get_or_insert_with(|| {
                other_key(format!(
                    "tier {name}: the key at {url} has the fingerprint {fingerprint}, the kit says {expect}"
                ))
            });
            continue;
        }
        let urls = std::slice::from_ref(url);
        // Opening checks that a holder of this very key wrote the vault.
        let tier = match Tier::open(
            name,
            urls,
            base,
            Arc::clone(&keyring),
            &wrapped,
            TierMode::Existing,
        )
        .await
        {
            Ok(tier) => tier,
            Err(error) => {
                refused.get_or_insert_with(|| error.into());
                continue;
            }
        };
        match &mut adopted {
            None => {
                let origin = Origin::Tier {
                    keyring,
                    wrapped,
                    unlock,
                };
                let tiers = vec![tier];
                let adopted_here = Adopted {
                    origin,
                    identity,
                    tiers,
                };
                adopted = Some((adopted_here, fingerprint));
            }
            Some((adopted, first)) if *first == fingerprint => adopted.tiers.push(tier),
            Some((_, first)) => {
                return Err(other_key(format!(
                    "the tiers hold different vaults: {first}, and {fingerprint} in tier {name}"
                )));
            }
        }
    }
    match (adopted, refused) {
        (Some((adopted, _)), refused) => {
            if let Some(error) = refused {
                app.notices.warn(error.to_string());
            }
            Ok(Some(adopted))
        }
        (None, Some(error)) => Err(error),
        (None, None) if expected => Err(Error::usage(format!(
            "no tier holds a vault that could be taken over{}",
            nothing.iter().map(|why| format!("\n  {why}")).collect::<String>()
        ))
        .with_advice("mount a tier, or name where one is now (--tier-url file:///FOLDER)")),
        (None, None) => Ok(None),
    }
}

impl Adopted {
    /// Opens a tier with the adopted key, and notes its locations.
    pub async fn opens(
        &self,
        name: &str,
        urls: &[String],
        base: &Path,
        remembered: &Remembered,
    ) -> Result<(), TierError> {
        let Origin::Tier { keyring, wrapped, .. } = &self.origin else {
            return Ok(());
        };
        let keyring = Arc::clone(keyring);
        let mode = TierMode::Existing;
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

async fn look(name: &str, url: &str, base: &Path) -> Found {
    let why = match Tier::read_wrapped_key(name, url, base).await {
        Ok(wrapped) => return Found::Vault(Ok(wrapped)),
        Err(TierError::NotAVault { .. }) => format!("tier {name}: there is no vault at {url}"),
        Err(TierError::Unreachable { source, .. }) => format!("tier {name}: {source}"),
        Err(TierError::BadUrl { why, .. }) => format!("tier {name}: {url} is not usable: {why}"),
        Err(error) => error.to_string(),
    };
    // A vault without its key file is still a vault: opening it with any key shows whether one is there.
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
        ) => Found::Nothing(why),
        Err(error) => Found::Vault(Err(error)),
    }
}

fn open(wrapped: &[u8], means: &Means) -> Result<(Keyring, UnlockBy, Option<Identity>), KeyError> {
    let mut failed = None;
    if let Some(passphrase) = &means.passphrase {
        match Keyring::unwrap(wrapped, &Unlock::Passphrase(passphrase.clone())) {
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
    let init = |key| Action::Initialize { dir: None, key };
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
