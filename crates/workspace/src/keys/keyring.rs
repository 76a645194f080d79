//! Where the keys are, and how a workspace's keyring is opened.
//!
//! ```text
//! ~/.config/rekindle/identity.txt   the secret that opens keyrings; 0600; never in a workspace or a tier
//! .rekindle/keyring.age             the keyring, wrapped to that identity or to a passphrase
//! .rekindle/key.json                what is pinned: fingerprint, repository, how it is opened, kit exported?
//! ```

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_sources::place::resolve;
use rekindle_vault::key::{Identity, Keyring, Unlock};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::kit;
use crate::prompt;
use crate::workspace::Workspace;

/// Overrides the folder of the identity.
pub const CONFIG_DIR_VAR: &str = "REKINDLE_CONFIG_DIR";
/// Holds a passphrase, for machines without a terminal.
pub const PASSPHRASE_VAR: &str = "REKINDLE_PASSPHRASE";

/// What a workspace remembers of its key; none of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The keyring's fingerprint: a keyring that differs is refused.
    pub fingerprint: String,
    /// The repository that the keyring belongs to.
    pub repository: String,
    /// How it is opened.
    pub unlock: UnlockBy,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The folder that the identity was made or found in, where it is not the user's own; relative to the
    /// workspace where it lies below it.
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
pub(crate) enum Origin {
    /// It is made, and protected by this passphrase or else by the identity in the config folder.
    New {
        /// The passphrase.
        passphrase: Option<String>,
    },
    /// A tier holds it.
    Tier {
        /// The keyring.
        keyring: Arc<Keyring>,
        /// The keyring as the tier holds it.
        wrapped: Vec<u8>,
        /// What opened it.
        unlock: UnlockBy,
    },
}

/// A workspace's key, opened.
pub struct OpenKey {
    /// The keyring.
    pub keyring: Arc<Keyring>,
    /// The keyring as it is written into tiers.
    pub wrapped: Vec<u8>,
    /// What the workspace has pinned.
    pub pinned: Pinned,
}

/// Returns the folder of the identity: REKINDLE_CONFIG_DIR, else `rekindle` in XDG_CONFIG_HOME or ~/.config.
pub(crate) fn config_dir() -> Result<PathBuf, CliError> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    var(CONFIG_DIR_VAR)
        .or_else(|| var("XDG_CONFIG_HOME").map(|dir| dir.join("rekindle")))
        .or_else(|| var("HOME").map(|home| home.join(".config/rekindle")))
        .ok_or_else(|| {
            CliError::usage("there is no place for the key: HOME is not set").with_hint(format!(
                "set {CONFIG_DIR_VAR} to a folder outside the system and its tiers"
            ))
        })
}

/// Returns the identity in `config_dir`, making one where there is none.
fn identity(config_dir: &Path) -> Result<Identity, CliError> {
    let path = identity_file(config_dir);
    if path.exists()
        && let Some(identity) = read_identities(config_dir)?.into_iter().next()
    {
        return Ok(identity);
    }
    let identity = Identity::generate();
    write_secret(&path, identity_text(&identity).as_bytes())?;
    Ok(identity)
}

/// Returns the identities in the config folder, none where there is none yet.
pub(crate) fn own_identities() -> Result<Vec<Identity>, CliError> {
    let dir = config_dir()?;
    match identity_file(&dir).exists() {
        true => read_identities(&dir),
        false => Ok(Vec::new()),
    }
}

/// Adds an identity to those in the config folder, unless it is there already.
pub(crate) fn keep_identity(identity: &Identity) -> Result<(), CliError> {
    let dir = config_dir()?;
    let own = own_identities()?;
    if own.iter().any(|own| own.to_string() == identity.to_string()) {
        return Ok(());
    }
    let path = identity_file(&dir);
    let mut text = match own.is_empty() {
        true => String::new(),
        false => std::fs::read_to_string(&path)
            .map_err(|error| CliError::io(format_args!("read {}", path.display()), &error))?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&identity_text(identity));
    write_secret(&path, text.as_bytes())
}

fn read_identities(config_dir: &Path) -> Result<Vec<Identity>, CliError> {
    let path = identity_file(config_dir);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::new(
            Exit::Usage,
            "no_identity",
            format!("there is no identity at {}", path.display()),
        )
        .with_hint(format!(
            "`rekindle init --from-kit FILE` puts back the one of the recovery kit; {CONFIG_DIR_VAR} names another folder"
        )),
        _ => CliError::io(format_args!("read {}", path.display()), &error),
    })?;
    kit::identities(&text).map_err(|error| {
        CliError::from(error).with_hint(format!("{} should hold one age identity a line", path.display()))
    })
}

fn identity_file(config_dir: &Path) -> PathBuf {
    config_dir.join("identity.txt")
}

fn identity_text(identity: &Identity) -> String {
    format!(
        "# Rekindle: this opens your backups. Keep a copy where a disaster does not reach it.\n{}\n",
        identity.to_string()
    )
}

/// Gives a workspace that has no key the one of `origin`, and returns what it pins.
pub(crate) fn establish(
    workspace: &Workspace,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Pinned, CliError> {
    let (keyring, wrapped, unlock) = match origin {
        Origin::New { passphrase } => {
            let keyring = Arc::new(Keyring::generate());
            let (wrapped, unlock) = match passphrase {
                Some(passphrase) => (keyring.wrap_with_passphrase(&passphrase)?, UnlockBy::Passphrase),
                None => (
                    keyring.wrap_to(&[identity(&config_dir()?)?.recipient()])?,
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
    let pinned = Pinned {
        fingerprint: keyring.fingerprint(),
        repository: keyring.repository().to_string(),
        unlock,
        created: now,
        identity_dir: std::env::var_os(CONFIG_DIR_VAR)
            .filter(|dir| !dir.is_empty())
            .map(|dir| {
                let dir = std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(&dir));
                resolve(&dir)
                    .strip_prefix(resolve(&workspace.dir))
                    .map_or(dir, Path::to_owned)
            }),
        kit_exported: None,
        kit_tiers: Vec::new(),
    };
    // The keyring before what pins it: a crash in between leaves a workspace that begins again.
    write_secret(&wrapped_file(workspace), &wrapped)?;
    pin(workspace, &pinned)?;
    Ok(pinned)
}

/// Opens the workspace's keyring and checks it against what is pinned.
pub(crate) fn open(workspace: &Workspace) -> Result<OpenKey, CliError> {
    let pinned = pinned(workspace)?;
    let path = wrapped_file(workspace);
    let wrapped = wrapped(workspace)?;
    let keyring = match pinned.unlock {
        UnlockBy::Identity => unwrap_by_identity(workspace, &pinned, &wrapped)?,
        UnlockBy::Passphrase => Keyring::unwrap(&wrapped, &Unlock::Passphrase(passphrase(None)?))?,
    };
    if keyring.fingerprint() != pinned.fingerprint {
        return Err(CliError::new(
            Exit::DataLost,
            "key_mismatch",
            format!(
                "{} is not the keyring that this workspace has pinned",
                path.display()
            ),
        )
        .with_hint("somebody has replaced it; put back the key.age of a tier, it is the same file"));
    }
    Ok(OpenKey {
        keyring: Arc::new(keyring),
        wrapped,
        pinned,
    })
}

/// Returns the folders that may hold the workspace's identity: the told one, the remembered one, the user's.
fn identity_dirs(workspace: &Workspace, pinned: &Pinned) -> Result<Vec<PathBuf>, CliError> {
    let mut dirs = vec![config_dir()?];
    dirs.extend(pinned.identity_dir.iter().map(|dir| workspace.dir.join(dir)));
    Ok(dirs)
}

/// Several identities may lie in several folders; the one that opens this keyring is the right one.
fn unwrap_by_identity(workspace: &Workspace, pinned: &Pinned, wrapped: &[u8]) -> Result<Keyring, CliError> {
    Ok(right_identity(workspace, pinned, wrapped)?.1)
}

fn right_identity(
    workspace: &Workspace,
    pinned: &Pinned,
    wrapped: &[u8],
) -> Result<(Identity, Keyring), CliError> {
    let dirs = identity_dirs(workspace, pinned)?;
    let mut last = None;
    for dir in dirs.iter().filter(|dir| identity_file(dir).exists()) {
        let own = match read_identities(dir) {
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
                    last = Some(CliError::from(error).with_hint(format!(
                        "`rekindle init --from-kit FILE` adds the one of the recovery kit to {}",
                        identity_file(dir).display()
                    )));
                }
            }
        }
    }
    match (last, dirs.first()) {
        (Some(error), _) => Err(error),
        // None is there: reading the first says which file is missing and where to get it.
        (None, Some(dir)) => Err(read_identities(dir)
            .err()
            .unwrap_or_else(|| CliError::usage("no identity"))),
        (None, None) => Err(CliError::usage("no identity")),
    }
}

/// Puts back the identity of a kit for a workspace that has its key already; an identity of another vault is
/// refused.
pub(crate) fn put_back_identity(workspace: &Workspace, identities: &[Identity]) -> Result<(), CliError> {
    let wrapped = wrapped(workspace)?;
    let opens =
        |identity: &&Identity| Keyring::unwrap(&wrapped, &Unlock::Identity((*identity).clone())).is_ok();
    match identities.iter().find(opens) {
        Some(identity) => keep_identity(identity),
        None if identities.is_empty() => Ok(()),
        None => Err(CliError::new(
            Exit::Usage,
            "other_key",
            format!(
                "{} has a key already, and the kit is of another",
                workspace.dir.display()
            ),
        )
        .with_hint("name another folder for the kit's system; nothing was changed")),
    }
}

fn wrapped(workspace: &Workspace) -> Result<Vec<u8>, CliError> {
    let path = wrapped_file(workspace);
    std::fs::read(&path).map_err(|error| CliError::io(format_args!("read {}", path.display()), &error))
}

/// Returns whether the workspace has a key.
pub(crate) fn exists(workspace: &Workspace) -> bool {
    pinned_file(workspace).exists()
}

/// Returns what the workspace has pinned.
pub(crate) fn pinned(workspace: &Workspace) -> Result<Pinned, CliError> {
    let path = pinned_file(workspace);
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::new(
            Exit::Usage,
            "no_key",
            format!("{} has no key yet", workspace.dir.display()),
        )
        .with_hint(format!(
            "run `rekindle init {}`; it keeps what exists",
            workspace.dir.display()
        )),
        _ => CliError::io(format_args!("read {}", path.display()), &error),
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        CliError::new(
            Exit::DataLost,
            "bad_key_file",
            format!("{} is damaged: {error}", path.display()),
        )
        .with_hint("put it back from a copy of the workspace")
    })
}

/// Returns what is wrong with the recovery kit as it was handed out, and what to do, where something is: on the day
/// on which it is needed, nothing else may be left.
pub(crate) fn kit_fault(pinned: &Pinned, tiers: &[(String, String)]) -> Option<String> {
    let export = "rekindle key export --kit FILE";
    if pinned.kit_exported.is_none() {
        let why = "the recovery kit was never exported: if this machine is lost, so are its backups";
        return Some(format!("{why} ({export})"));
    }
    let told = |url: &String| pinned.kit_tiers.is_empty() || pinned.kit_tiers.contains(url);
    let missing = tiers.iter().find(|(_, url)| !told(url));
    missing.map(|(name, url)| {
        format!(
            "the recovery kit was exported before tier {name} was at {url}: it does not lead there ({export})"
        )
    })
}

/// Notes that the recovery kit was handed out, naming these tiers.
pub(crate) fn kit_was_exported(
    workspace: &Workspace,
    tiers: Vec<String>,
    now: DateTime<Utc>,
) -> Result<(), CliError> {
    let mut pinned = pinned(workspace)?;
    pinned.kit_exported = Some(now);
    pinned.kit_tiers = tiers;
    pin(workspace, &pinned)
}

/// Returns the recovery kit: all that is needed, beside a tier, to come back on a bare machine.
fn kit_text(workspace: &Workspace, tiers: &[(String, String)]) -> Result<String, CliError> {
    let pinned = pinned(workspace)?;
    let secret = match pinned.unlock {
        UnlockBy::Identity => {
            let (identity, _) = right_identity(workspace, &pinned, &wrapped(workspace)?)?;
            identity_text(&identity)
        }
        UnlockBy::Passphrase => format!(
            "# Opened by your passphrase, which is not written down here: it is asked for, or taken from\n\
             # {PASSPHRASE_VAR} or --passphrase-file FILE.\n"
        ),
    };
    Ok(kit::text(&pinned, &workspace.system_file, tiers, &secret))
}

/// Hands out the kit, to `file` or as text, and notes that it was. On a disk that has turned read-only the kit is wanted
/// most: that it cannot be noted there is only warned of.
pub(crate) fn hand_out(
    app: &App,
    workspace: &Workspace,
    tiers: &[(String, String)],
    file: Option<&Path>,
) -> Result<String, CliError> {
    let kit = kit_text(workspace, tiers)?;
    if let Some(file) = file {
        if file.exists() {
            return Err(CliError::usage(format!("{} exists", file.display()))
                .with_hint("name a new file for the kit"));
        }
        write_secret(file, kit.as_bytes())?;
    }
    let tiers = tiers.iter().map(|(_, url)| url.clone()).collect();
    if let Err(error) = kit_was_exported(workspace, tiers, app.clock.now().utc) {
        app.printer.warn(format!(
            "the kit is whole, but nothing here will say that it was handed out: {error}"
        ));
    }
    Ok(kit)
}

/// Returns the passphrase: from `file`, else REKINDLE_PASSPHRASE, else asked for at the terminal. Never argv.
pub(crate) fn passphrase(file: Option<&Path>) -> Result<String, CliError> {
    let passphrase = match (file, std::env::var(PASSPHRASE_VAR)) {
        (Some(file), _) => std::fs::read_to_string(file)
            .map_err(|error| CliError::io(format_args!("read {}", file.display()), &error))?
            .trim_end_matches(['\n', '\r'])
            .to_owned(),
        (None, Ok(passphrase)) if !passphrase.is_empty() => passphrase,
        (None, _) => prompt::secret("passphrase")?,
    };
    if passphrase.is_empty() {
        return Err(CliError::usage("the passphrase is empty"));
    }
    Ok(passphrase)
}

fn wrapped_file(workspace: &Workspace) -> PathBuf {
    workspace.state.join("keyring.age")
}

fn pinned_file(workspace: &Workspace) -> PathBuf {
    workspace.state.join("key.json")
}

fn pin(workspace: &Workspace, pinned: &Pinned) -> Result<(), CliError> {
    let text = serde_json::to_vec_pretty(pinned)
        .map_err(|error| CliError::new(Exit::Failed, "internal", error.to_string()))?;
    write_secret(&pinned_file(workspace), &text)
}

/// Writes a file that only its owner may read: beside, fsynced, renamed, the folder fsynced.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = parent.join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(parent)?.sync_all()
    };
    write().map_err(|error| CliError::io(format_args!("write {}", path.display()), &error))
}
