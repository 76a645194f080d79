//! How this user opens keys: the folder with their identities, and the source of a passphrase.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::problem::ProblemKind;
use rekindle_vault::key::{Identity, KeyError};

use crate::error::Error;

/// Gives a passphrase: from the file, if one is named. Otherwise the face finds it or asks for it.
pub type AskPassphrase = Arc<dyn Fn(Option<&Path>) -> Result<String, Error> + Send + Sync>;

/// How this user opens keys. Clones are the same.
#[derive(Clone)]
pub struct Unlocker {
    /// The folder of the identity file; none if this user has no settings folder.
    pub config_dir: Option<PathBuf>,
    /// That folder, if the person named it rather than the system.
    pub named_dir: Option<PathBuf>,
    /// What the face calls the setting of that folder, for advice.
    pub dir_setting: &'static str,
    /// Whether the passphrase is available without a question to a person.
    pub passphrase_at_hand: bool,
    /// The source of the passphrase.
    pub ask: AskPassphrase,
}

impl Unlocker {
    /// Returns the folder of the identity file.
    pub(crate) fn dir(&self) -> Result<&Path, Error> {
        self.config_dir.as_deref().ok_or_else(|| {
            Error::usage("there is no folder for the key: this user has no home").with_advice(format!(
                "name a folder for it outside the system and its tiers ({})",
                self.dir_setting
            ))
        })
    }

    /// Returns the passphrase.
    ///
    /// # Errors
    /// It is empty, its file cannot be read, or there is nobody to ask.
    pub fn passphrase(&self, file: Option<&Path>) -> Result<String, Error> {
        match (self.ask)(file)? {
            empty if empty.is_empty() => Err(Error::usage("the passphrase is empty")),
            passphrase => Ok(passphrase),
        }
    }

    /// Returns this user's identity; makes one if there is none.
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        if let Some(identity) = self.own_identities()?.into_iter().next() {
            return Ok(identity);
        }
        let identity = Identity::generate();
        write_secret(&identity_file(self.dir()?), identity_text(&identity).as_bytes())?;
        Ok(identity)
    }

    /// Returns the identities of this user; none if their file does not exist yet.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn own_identities(&self) -> Result<Vec<Identity>, Error> {
        let dir = self.dir()?;
        match identity_file(dir).exists() {
            true => self.read_identities(dir),
            false => Ok(Vec::new()),
        }
    }

    /// Reads the identities in a folder.
    pub(super) fn read_identities(&self, config_dir: &Path) -> Result<Vec<Identity>, Error> {
        let path = identity_file(config_dir);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(
                ProblemKind::Invalid,
                "no_identity",
                format!("there is no identity at {}", path.display()),
            )
            .with_next(from_kit(), "puts back the identity of the recovery kit")
            .with_advice(format!(
                "if it is in another folder, name that one ({})",
                self.dir_setting
            )),
            _ => Error::io(format_args!("read {}", path.display()), &error),
        })?;
        identities(&text).map_err(|error| {
            Error::from(error).with_advice(format!("{} should hold one age identity a line", path.display()))
        })
    }

    /// Adds an identity to those of this user, unless it is there already.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn keep_identity(&self, identity: &Identity) -> Result<(), Error> {
        let own = self.own_identities()?;
        if own.iter().any(|own| own.to_string() == identity.to_string()) {
            return Ok(());
        }
        let path = identity_file(self.dir()?);
        let mut text = match own.is_empty() {
            true => String::new(),
            false => std::fs::read_to_string(&path)
                .map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&identity_text(identity));
        write_secret(&path, text.as_bytes())
    }
}

impl fmt::Debug for Unlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlocker")
            .field("config_dir", &self.config_dir)
            .finish_non_exhaustive()
    }
}

/// Returns the action that takes an identity from the recovery kit.
pub(super) fn from_kit() -> Action {
    Action::Initialize {
        dir: None,
        key: KeyOrigin::Kit,
    }
}

/// Returns the identities in a text, one a line; lines that begin with `#` are for people.
pub(super) fn identities(text: &str) -> Result<Vec<Identity>, KeyError> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Identity::parse)
        .collect()
}

pub(super) fn identity_file(config_dir: &Path) -> PathBuf {
    config_dir.join("identity.txt")
}

pub(super) fn identity_text(identity: &Identity) -> String {
    format!(
        "# Rekindle: this opens your backups. Keep a copy where a disaster does not reach it.\n{}\n",
        identity.to_string()
    )
}

/// Writes a file that only its owner may read: beside, fsynced, renamed, the folder fsynced.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
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
    write().map_err(|error| Error::io(format_args!("write {}", path.display()), &error))
}
