//! The identity files of a user, in the config folder.
//!
//! ```text
//! identities/shop-q8x2m7ce.txt   the identity of system shop; its recipient ends in these characters
//! identity.txt                   identities that several systems share; earlier versions wrote only this file
//! ```
//! The right identity is found by trying all, never by the name of its file: a system may get another name. Comment
//! lines note for which workspaces a file was used. They are how this host knows its other systems.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use rekindle_model::shown;
use rekindle_vault::key::{Identity, KeyError};
use rekindle_vault::regular;
use serde::Serialize;
use zeroize::Zeroizing;

use super::secret_file::write_secret;
use crate::error::Error;
use crate::layout::Layout;
use crate::names::file_word;

/// The file that earlier versions wrote, for all systems of a user.
const SHARED: &str = "identity.txt";
/// The folder with a file for each system.
const FOLDER: &str = "identities";
/// The end of the names of the files in that folder.
const EXTENSION: &str = "txt";
/// How many characters of the recipient are in the name of a file. Two systems may have the same name.
const TAIL: usize = 8;

/// A file with identities, as it was read.
pub struct IdentityFile {
    /// Where it is.
    pub path: PathBuf,
    /// The identities in it, or why they cannot be read.
    pub identities: Result<Vec<Identity>, Error>,
    /// The workspaces that it was used for.
    pub uses: Vec<Use>,
}

/// A workspace whose key an identity opened when this was noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The name of its system then.
    pub system: String,
    /// Its folder.
    pub workspace: PathBuf,
    /// When this was noted.
    pub since: DateTime<Utc>,
}

impl IdentityFile {
    /// Reads the identity files in a config folder. One that cannot be read does not hide the others.
    pub(crate) fn all(config_dir: &Path) -> Vec<Self> {
        let mut paths = Vec::new();
        let shared = config_dir.join(SHARED);
        if shared.symlink_metadata().is_ok() {
            paths.push(shared);
        }
        let folder = config_dir.join(FOLDER);
        let unread = match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => {
                let mut own: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
                own.retain(|path| path.extension().is_some_and(|end| end == EXTENSION));
                own.sort();
                paths.extend(own);
                None
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Self {
                identities: Err(Error::io(format_args!("read {}", folder.display()), &error)),
                path: folder,
                uses: Vec::new(),
            }),
        };
        paths.into_iter().map(Self::read).chain(unread).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = match regular::read_text(&path, regular::SMALL) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                return Self {
                    identities: Err(Error::io(format_args!("read {}", path.display()), &error)),
                    path,
                    uses: Vec::new(),
                };
            }
        };
        let read = identities(&text).map_err(|error| {
            Error::new(
                rekindle_model::problem::ProblemKind::Invalid,
                "key",
                format!("{}: {error}", path.display()),
            )
            .with_advice(format!("{} should hold one age identity a line", path.display()))
        });
        Self {
            identities: read,
            uses: text.lines().filter_map(Use::parse).collect(),
            path,
        }
    }

    /// Returns whether it holds an identity.
    pub(crate) fn holds(&self, identity: &Identity) -> bool {
        let same = |own: &Identity| own.recipient().to_string() == identity.recipient().to_string();
        self.identities.iter().flatten().any(same)
    }

    /// Returns when it was noted that it opens the key of a workspace.
    pub fn since(&self, workspace: &Path) -> Option<DateTime<Utc>> {
        let mut uses = self.uses.iter();
        uses.find(|one| one.workspace == workspace).map(|one| one.since)
    }
}

/// Returns the file of its own for the identity of a system.
pub(crate) fn path_for(config_dir: &Path, system: &str, identity: &Identity) -> PathBuf {
    let recipient = identity.recipient().to_string();
    let tail = recipient
        .get(recipient.len().saturating_sub(TAIL)..)
        .unwrap_or_default();
    config_dir
        .join(FOLDER)
        .join(format!("{}-{tail}.{EXTENSION}", file_word(system)))
}

/// Writes an identity into a file, unless it is there, and notes a use of it, unless it is noted.
pub(crate) fn write(path: &Path, identity: &Identity, one: &Use) -> Result<(), Error> {
    let mut text = Zeroizing::new(match regular::read_text(path, regular::SMALL) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io(format_args!("read {}", path.display()), &error)),
    });
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !text.lines().any(|line| line.trim() == identity.to_string()) {
        text.push_str(&identity_text(identity));
    }
    text.push_str(&one.line().unwrap_or_default());
    write_secret(path, text.as_bytes())
}

impl Use {
    /// Returns the use of an identity for a workspace.
    pub(crate) fn of(layout: &Layout, system: String, now: DateTime<Utc>) -> Self {
        Self {
            system,
            workspace: layout.dir.clone(),
            since: now,
        }
    }

    /// Returns its comment line; none if the folder's name cannot be in a line.
    fn line(&self) -> Option<String> {
        let folder = self.workspace.to_str().filter(|dir| shown::line(dir) == *dir)?;
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!(
            "# since {since}: opens {} in {folder}\n",
            shown::line(&self.system)
        ))
    }

    fn parse(line: &str) -> Option<Self> {
        let (since, rest) = line.trim().strip_prefix("# since ")?.split_once(": opens ")?;
        // The folder is absolute.
        let at = rest.find(" in /")?;
        Some(Self {
            system: rest.get(..at)?.to_owned(),
            workspace: PathBuf::from(rest.get(at + 4..)?),
            since: DateTime::parse_from_rfc3339(since).ok()?.to_utc(),
        })
    }
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.system, self.workspace.display())
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

pub(super) fn identity_text(identity: &Identity) -> String {
    format!(
        "# Rekindle: this opens your backups. Keep a copy where a disaster does not reach it.\n{}\n",
        identity.to_string()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_a_use_is_read_back_and_one_that_would_break_the_line_is_not_written() {
        let temp = tempfile::tempdir().unwrap();
        let identity = Identity::generate();
        let used = |workspace: &str| Use {
            system: "shop in town".to_owned(),
            workspace: PathBuf::from(workspace),
            since: DateTime::UNIX_EPOCH,
        };
        let path = path_for(temp.path(), "Shop", &identity);
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("shop-"));
        for workspace in ["/srv/shop", "/srv/my in /shop", "/srv/a\nAGE-SECRET-KEY-1"] {
            write(&path, &identity, &used(workspace)).unwrap();
        }
        let [file] = &IdentityFile::all(temp.path())[..] else {
            panic!("one file")
        };
        assert_eq!(file.identities.as_ref().unwrap().len(), 1);
        assert_eq!(file.uses, [used("/srv/shop"), used("/srv/my in /shop")]);
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_hide_the_others() {
        let temp = tempfile::tempdir().unwrap();
        let identity = Identity::generate();
        std::fs::create_dir(temp.path().join(FOLDER)).unwrap();
        std::fs::write(temp.path().join(FOLDER).join("torn.txt"), "AGE-SECRET-KEY-1TORN").unwrap();
        std::fs::write(temp.path().join(SHARED), identity_text(&identity)).unwrap();
        let files = IdentityFile::all(temp.path());
        assert_eq!(
            files.iter().map(|file| file.holds(&identity)).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(files[1].identities.is_err());
    }
}
