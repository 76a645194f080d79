//! How this user opens keys: the folder with their identities, and the source of a passphrase.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::trust::Trust;
use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::problem::ProblemKind;
use rekindle_model::shell;
use rekindle_vault::key::Identity;
use zeroize::Zeroizing;

use rekindle_vault::regular;

use super::identity_files::{self, IdentityFile, Use};
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
    /// The folder of the identity files; none if this user has no settings folder.
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
    /// Returns the folder of the identity files.
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

    /// Returns the identity of a workspace: the one that was made for it earlier, if its `.rekindle` was lost since, or a
    /// new one in a file of its own.
    pub(super) fn identity_for(&self, one: &Use) -> Result<Identity, Error> {
        let is_its = |other: &Use| other.workspace == one.workspace && other.system == one.system;
        let mut files = IdentityFile::all(self.dir()?).into_iter();
        if let Some(file) = files.find(|file| file.uses.iter().any(is_its)) {
            // Another user may have put it there, to open with it what is backed up from now on.
            self.check_owner(&file.path)?;
            let mut identities = file.identities?;
            // Of several, the notes do not say which one is whose.
            if let (Some(identity), true) = (identities.pop(), identities.is_empty()) {
                return Ok(identity);
            }
        }
        let identity = Identity::generate();
        self.keep_identity(&identity, one)?;
        Ok(identity)
    }

    fn check_owner(&self, file: &Path) -> Result<(), Error> {
        Trust::of_this_user(None)
            .check(file)
            .map(drop)
            .map_err(|untrusted| {
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
            })
    }

    /// Returns the identities of this user, and the faults of files that cannot be read.
    ///
    /// # Errors
    /// This user has no folder for them.
    pub fn own_identities(&self) -> Result<(Vec<Identity>, Vec<Error>), Error> {
        let (mut own, mut faults) = (Vec::new(), Vec::new());
        for file in IdentityFile::all(self.dir()?) {
            match file.identities {
                Ok(identities) => own.extend(identities),
                Err(fault) => faults.push(fault),
            }
        }
        Ok((own, faults))
    }

    /// Returns why files of identities are no secrets any more, or cannot be read.
    pub fn identity_faults(&self) -> Vec<Error> {
        let files = self.config_dir.as_deref().map(IdentityFile::all);
        let files = files.unwrap_or_default().into_iter();
        files
            .filter_map(|file| exposed(&file.path).or(file.identities.err()))
            .collect()
    }

    /// Takes the rights of other users from the files of the identities. Returns each such file with the mode that it had,
    /// and why others could not be closed: they are another user's.
    pub fn close_identities(&self) -> (Vec<(PathBuf, u32)>, Vec<Error>) {
        let files = self.config_dir.as_deref().map(IdentityFile::all);
        let (mut closed, mut faults) = (Vec::new(), Vec::new());
        for path in files.unwrap_or_default().into_iter().map(|file| file.path) {
            let Ok((file, meta)) = regular::open(&path) else {
                continue;
            };
            let mode = meta.permissions().mode() & 0o777;
            if mode & OTHERS == 0 {
                continue;
            }
            match file.set_permissions(std::fs::Permissions::from_mode(mode & !OTHERS)) {
                Ok(()) => closed.push((path, mode)),
                Err(error) => {
                    let what = format_args!("close {} to other users", path.display());
                    faults.push(Error::io(what, &error));
                }
            }
        }
        (closed, faults)
    }

    /// Adds an identity to those of this user, unless it is there already, and notes what it is used for.
    ///
    /// # Errors
    /// Its file cannot be read or written.
    pub fn keep_identity(&self, identity: &Identity, one: &Use) -> Result<(), Error> {
        let dir = self.dir()?;
        let there = IdentityFile::all(dir)
            .into_iter()
            .find(|file| file.holds(identity));
        match there {
            Some(file) if file.since(&one.workspace).is_some() => Ok(()),
            // The note is for people. A file that another user can change must not become ours by it.
            Some(file) if self.check_owner(&file.path).is_err() => Ok(()),
            Some(file) => identity_files::write(&file.path, identity, one),
            None => {
                let path = identity_files::path_for(dir, &one.system, identity);
                self.check_owner(&path)?;
                identity_files::write(&path, identity, one)
            }
        }
    }
}

/// Returns why a file is no secret any more; none if it is one.
fn exposed(file: &Path) -> Option<Error> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let message = format!("other users can open {}: its mode is {mode:04o}", file.display());
        return Some(
            Error::new(ProblemKind::Invalid, "identity_exposed", message)
                .with_advice(format!("close it: `chmod 600 {}`; {EXPOSED}", shell::word(file))),
        );
    }
    let untrusted = Trust::of_this_user(None).check(file).err()?;
    Some(
        Error::new(ProblemKind::Invalid, NOT_TRUSTED, untrusted.to_string())
            .with_advice("make the file and its folder yours alone"),
    )
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

    fn used(workspace: &str) -> Use {
        Use {
            system: "shop".to_owned(),
            workspace: PathBuf::from(workspace),
            since: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_identity_that_others_can_open_is_a_fault() {
        let temp = tempfile::tempdir().unwrap();
        let unlocker = unlocker(temp.path());
        assert_eq!(unlocker.identity_faults(), [], "there is none");
        unlocker.identity_for(&used("/srv/shop")).unwrap();
        assert_eq!(unlocker.identity_faults(), []);
        let file = IdentityFile::all(temp.path()).remove(0).path;
        for (mode, fault) in [
            (0o644, true),
            (0o640, true),
            (0o620, true),
            (0o600, false),
            (0o400, false),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(!unlocker.identity_faults().is_empty(), fault, "{mode:o}");
            let (closed, faults) = unlocker.close_identities();
            assert!(faults.is_empty());
            let expected: Vec<(PathBuf, u32)> = fault.then(|| (file.clone(), mode)).into_iter().collect();
            assert_eq!(closed, expected);
            assert!(unlocker.identity_faults().is_empty());
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
        let shop = used("/srv/shop");
        unlocker.identity_for(&shop).unwrap();
        let file = IdentityFile::all(temp.path()).remove(0).path;
        std::os::unix::fs::chown(file, Some(65_534), None).unwrap();
        assert_eq!(unlocker.identity_for(&shop).unwrap_err().code(), NOT_TRUSTED);
        assert_eq!(unlocker.identity_faults()[0].code(), NOT_TRUSTED);
        // It still opens what was backed up before: the fingerprint is pinned.
        assert_eq!(unlocker.own_identities().unwrap().0.len(), 1);
    }

    #[test]
    fn each_workspace_has_an_identity_of_its_own_and_finds_it_again() {
        let temp = tempfile::tempdir().unwrap();
        let unlocker = unlocker(temp.path());
        let identity = |one: &Use| unlocker.identity_for(one).unwrap().to_string();
        let (shop, branch) = (used("/srv/shop"), used("/srv/branch"));
        let first = identity(&shop);
        assert_ne!(first, identity(&branch), "two systems of the same name");
        assert_eq!(first, identity(&shop), "its workspace was lost");
        let renamed = Use {
            system: "blog".to_owned(),
            ..shop
        };
        assert_ne!(first, identity(&renamed), "another system in the same folder");
        assert_eq!(IdentityFile::all(temp.path()).len(), 3);
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
