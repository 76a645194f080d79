//! How this user opens keys: the folder with their identities, and the source of a passphrase.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::trust::Trust;
use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::problem::ProblemKind;
use rekindle_model::shell;
use rekindle_vault::key::{Identity, KeyError};
use rekindle_vault::regular;
use zeroize::Zeroizing;

use crate::error::Error;

/// The stable word of a refusal because another user can change a path.
pub const NOT_TRUSTED: &str = "not_trusted";
/// The bits of a mode that concern other users than the owner.
const OTHERS: u32 = 0o077;
/// What stays true of an identity that was open to others.
pub(crate) const EXPOSED: &str = "a person who has read it can read every backup";
/// The shortest passphrase that needs no remark. Six random words have more; the scrypt of `age` makes each guess slow.
const PASSPHRASE_CHARS: usize = 16;
/// How many different characters it has at least.
const DIFFERENT_CHARS: usize = 8;

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

    /// Returns the passphrase. It wipes itself from memory.
    ///
    /// # Errors
    /// It is empty, its file cannot be read, or there is nobody to ask.
    pub fn passphrase(&self, file: Option<&Path>) -> Result<Zeroizing<String>, Error> {
        match Zeroizing::new((self.ask)(file)?) {
            empty if empty.is_empty() => Err(Error::usage("the passphrase is empty")),
            passphrase => Ok(passphrase),
        }
    }

    /// Returns this user's identity; makes one if there is none.
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        if let Some(identity) = self.own_identities()?.into_iter().next() {
            // Another user may have put it there, to open with it what is backed up from now on.
            let file = identity_file(self.dir()?);
            Trust::of_this_user(None).check(&file).map_err(|untrusted| {
                Error::new(
                    ProblemKind::Invalid,
                    NOT_TRUSTED,
                    format!("{untrusted}; no key is made for it"),
                )
                .with_advice(format!(
                    "make {} and its folder yours alone, or name another folder ({})",
                    file.display(),
                    self.dir_setting
                ))
            })?;
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

    /// Returns why the file of the identities is no secret any more; none if it is one, or if there is none.
    pub fn identity_fault(&self) -> Option<Error> {
        let file = identity_file(self.config_dir.as_deref()?);
        let mode = std::fs::metadata(&file).ok()?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            let message = format!("other users can open {}: its mode is {mode:04o}", file.display());
            return Some(
                Error::new(ProblemKind::Invalid, "identity_exposed", message)
                    .with_advice(format!("close it: `chmod 600 {}`; {EXPOSED}", shell::word(&file))),
            );
        }
        let untrusted = Trust::of_this_user(None).check(&file).err()?;
        Some(
            Error::new(ProblemKind::Invalid, NOT_TRUSTED, untrusted.to_string())
                .with_advice("make the file and its folder yours alone"),
        )
    }

    /// Takes the rights of other users from the file of the identities. Returns the file and the mode that it had; none
    /// if other users had no rights.
    ///
    /// # Errors
    /// The file is another user's.
    pub fn close_identity(&self) -> Result<Option<(PathBuf, u32)>, Error> {
        let Some(path) = self.config_dir.as_deref().map(identity_file) else {
            return Ok(None);
        };
        let Ok((file, meta)) = regular::open(&path) else {
            return Ok(None);
        };
        let mode = meta.permissions().mode() & 0o777;
        if mode & OTHERS == 0 {
            return Ok(None);
        }
        file.set_permissions(std::fs::Permissions::from_mode(mode & !OTHERS))
            .map_err(|error| Error::io(format_args!("close {} to other users", path.display()), &error))?;
        Ok(Some((path, mode)))
    }

    /// Reads the identities in a folder.
    pub(super) fn read_identities(&self, config_dir: &Path) -> Result<Vec<Identity>, Error> {
        let path = identity_file(config_dir);
        let text = regular::read_text(&path, regular::SMALL).map(Zeroizing::new);
        let text = text.map_err(|error| match error.kind() {
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
            false => regular::read_text(&path, regular::SMALL)
                .map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&identity_text(identity));
        write_secret(&path, text.as_bytes())
    }
}

/// Returns a remark on a passphrase that can be guessed from a stolen tier; none if it is long enough.
pub fn remark_on(passphrase: &str) -> Option<String> {
    let chars: Vec<char> = passphrase.chars().collect();
    let different: std::collections::BTreeSet<&char> = chars.iter().collect();
    let weak = chars.len() < PASSPHRASE_CHARS || different.len() < DIFFERENT_CHARS;
    weak.then(|| {
        format!(
            "the passphrase is weak: who copies a tier can try guesses for years. Take at least {PASSPHRASE_CHARS} \
             characters, or six random words"
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unlocker(dir: &Path) -> Unlocker {
        Unlocker {
            config_dir: Some(dir.to_owned()),
            named_dir: None,
            dir_setting: "DIR",
            passphrase_at_hand: false,
            ask: Arc::new(|_| Ok("word".to_owned())),
        }
    }

    #[test]
    fn an_identity_that_others_can_open_is_a_fault() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, file) = (temp.path(), identity_file(temp.path()));
        let unlocker = unlocker(dir);
        assert_eq!(unlocker.identity_fault(), None, "there is none");
        unlocker.identity().unwrap();
        assert_eq!(unlocker.identity_fault(), None);
        for (mode, fault) in [
            (0o644, true),
            (0o640, true),
            (0o620, true),
            (0o600, false),
            (0o400, false),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(unlocker.identity_fault().is_some(), fault, "{mode:o}");
            let closed = unlocker.close_identity().unwrap();
            assert_eq!(closed, fault.then(|| (file.clone(), mode)));
            assert_eq!(unlocker.identity_fault(), None);
            let left = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(left, mode & 0o700, "the owner keeps its rights");
        }
    }

    #[test]
    fn no_key_is_made_for_an_identity_that_another_user_has_put_there() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make files of another user");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let unlocker = unlocker(temp.path());
        unlocker.identity().unwrap();
        std::os::unix::fs::chown(identity_file(temp.path()), Some(65_534), None).unwrap();
        assert_eq!(unlocker.identity().unwrap_err().code(), NOT_TRUSTED);
        assert_eq!(unlocker.identity_fault().unwrap().code(), NOT_TRUSTED);
        // It still opens what was backed up before: the fingerprint is pinned.
        assert_eq!(unlocker.own_identities().unwrap().len(), 1);
    }

    #[test]
    fn a_short_passphrase_is_remarked_on() {
        for (passphrase, weak) in [
            ("secret", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("Tr0ub4dor&3", true),
            ("correct horse battery staple", false),
            ("x7Kq-93vd-LmPa-27", false),
        ] {
            assert_eq!(remark_on(passphrase).is_some(), weak, "{passphrase}");
        }
    }
}
