//! The other systems of this host that an identity opens. A person who has the recovery kit can read those too.

use std::path::PathBuf;

use rekindle_vault::key::{Identity, KeyError, Keyring, Unlock};
use serde::Serialize;

use super::identity_files::{IdentityFile, Use};
use super::keyring;
use crate::layout::Layout;

/// How each line about what an identity opens begins.
pub(super) const OPENS: &str = "opens ";

/// What an identity opens beside the system that it is for, as far as this host knows.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct OtherSystems {
    /// The systems that it opens.
    pub opened: Vec<Use>,
    /// The systems that it does not open.
    pub not_opened: Vec<Use>,
    /// The systems whose key could not be looked at.
    pub not_checked: Vec<Unchecked>,
}

/// A system whose key could not be looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The system.
    #[serde(flatten)]
    pub system: Use,
    /// Why not.
    pub why: String,
}

impl OtherSystems {
    /// Tries an identity on the key of every other workspace that the identity files name. The key with this fingerprint
    /// is the one that the identity is for.
    pub(crate) fn of(
        identity: &Identity,
        fingerprint: &str,
        layout: &Layout,
        files: &[IdentityFile],
    ) -> Self {
        let mut seen: Vec<PathBuf> = vec![layout.dir.clone()];
        let mut found = Self::default();
        for one in files.iter().flat_map(|file| &file.uses) {
            if seen.contains(&one.workspace) {
                continue;
            }
            seen.push(one.workspace.clone());
            let wrapped = match keyring::wrapped(&Layout::at(&one.workspace)) {
                Ok(wrapped) => wrapped,
                Err(error) => {
                    found.not_checked.push(Unchecked {
                        system: one.clone(),
                        why: error.to_string(),
                    });
                    continue;
                }
            };
            match Keyring::unwrap(&wrapped, &Unlock::Identity(identity.clone())) {
                // It is another workspace of the same system.
                Ok(keyring) if keyring.fingerprint() == fingerprint => {}
                Ok(_) => found.opened.push(one.clone()),
                Err(KeyError::WrongIdentity | KeyError::NeedsPassphrase) => {
                    found.not_opened.push(one.clone())
                }
                Err(error) => found.not_checked.push(Unchecked {
                    system: one.clone(),
                    why: error.to_string(),
                }),
            }
        }
        found
    }

    /// Returns what was found as lines that begin with [`OPENS`].
    pub fn lines(&self) -> Vec<String> {
        let list = |uses: &[Use]| uses.iter().map(Use::to_string).collect::<Vec<_>>().join(", ");
        let mut lines = vec![match (&self.opened[..], &self.not_opened[..]) {
            ([], []) => {
                format!("{OPENS}this system only, as far as is known: the identity files name no other")
            }
            ([], closed) => format!(
                "{OPENS}this system only, of those that were checked: not {}",
                list(closed)
            ),
            (opened, []) => format!("{OPENS}this system, and also {}", list(opened)),
            (opened, closed) => format!(
                "{OPENS}this system, and also {}; not {}",
                list(opened),
                list(closed)
            ),
        }];
        let unchecked = self.not_checked.iter();
        lines.extend(unchecked.map(|one| {
            format!(
                "{OPENS}perhaps {}, which was not checked: {}",
                one.system, one.why
            )
        }));
        lines
    }
}
