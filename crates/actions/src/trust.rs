//! Whether other users can change the files that decide which programs run.
//!
//! A system file, a workflow and the folder `.rekindle` name programs. Those run with the rights of the user who starts
//! Rekindle, so only that user and root may be able to change the files. [`Trust::check`] follows a path from the root
//! of the file system down, and returns the first place that somebody else can change. A user may trust a path all the
//! same: [`TrustedPaths`] keeps the list.
//!
//! A place is safe if
//!
//! - this user or root owns it, and
//! - others cannot write it, nor a group that has other members, or
//! - it is a sticky folder above the path, such as `/tmp`: there only the owner of an entry can replace it.

mod accounts;
mod list;

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use accounts::Accounts;
pub use list::{ListError, TrustedPath, TrustedPaths};

/// The mode's bits by which a group, or everybody, may write.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// The mode's bits by which others may enter a folder.
const OTHERS_ENTER: u32 = 0o011;
/// The mode's bit by which only the owner of an entry may replace it.
const STICKY: u32 = 0o1000;
/// How many links are followed; Linux has the same limit for one path.
const LINKS: usize = 40;
/// Where Linux keeps a file's access control list. Its entries count within the mode's group bits.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// What this process's user trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    uid: u32,
    /// The owner of `/` controls every path. It is root, except in some containers.
    root_uid: u32,
    accounts: Accounts,
    trusted: TrustedPaths,
}

/// A place that another user can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The place: the path that was checked, or a folder above it.
    pub place: PathBuf,
    /// Who can change it.
    pub why: Why,
}

/// Who can change a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its owner, who is another user.
    Owner {
        /// The user's id.
        uid: u32,
        /// The user's name, if there is one.
        name: Option<String>,
    },
    /// Everybody.
    Everybody,
    /// The members of a group.
    Group {
        /// The group's id.
        gid: u32,
        /// The group's name, if there is one.
        name: Option<String>,
    },
    /// Those whom its access control list names.
    AccessList,
    /// It cannot be examined.
    Unknown(String),
}

impl Trust {
    /// Returns what the effective user of this process trusts. The list of trusted paths is in `config_dir`.
    ///
    /// A list that another user can change counts as empty. [`TrustedPaths::ignored`] says so.
    pub fn of_this_user(config_dir: Option<&Path>) -> Self {
        let mut trust = Self {
            uid: rustix::process::geteuid().as_raw(),
            root_uid: std::fs::metadata("/").map_or(0, |root| root.uid()),
            accounts: Accounts::of_host(),
            trusted: TrustedPaths::default(),
        };
        if let Some(dir) = config_dir {
            trust.trusted = trust.list(dir);
        }
        trust
    }

    /// Reads the list of trusted paths in a config folder.
    pub fn list(&self, config_dir: &Path) -> TrustedPaths {
        TrustedPaths::read(config_dir, |file| {
            self.check(file).err().map(|why| why.to_string())
        })
    }

    /// Returns why the list of trusted paths does not count, if it does not.
    pub fn list_ignored(&self) -> Option<&str> {
        self.trusted.ignored()
    }

    /// Checks that only this user and root can change what is at `path`, which need not exist. Links are followed.
    ///
    /// Returns the path without links, or its nearest folder that exists. Nobody else can lead that path elsewhere
    /// after the check, so the caller reads it, and not `path`.
    ///
    /// # Errors
    /// The first place, from `/` down, that somebody else can change.
    pub fn check(&self, path: &Path) -> Result<PathBuf, Untrusted> {
        let (whole, exists) = existing(path)?;
        if self.trusted.contains(&whole) {
            return Ok(whole);
        }
        let mut down: Vec<&Path> = whole.ancestors().collect();
        down.reverse();
        for place in down {
            let last = exists && place == whole;
            let meta = place.symlink_metadata().map_err(|error| unknown(place, &error))?;
            self.check_place(place, &meta, !last)?;
        }
        Ok(whole)
    }

    /// Checks that no link on the way to `path`, which need not exist, belongs to another user: that user would choose
    /// where the path leads.
    ///
    /// # Errors
    /// The first such link.
    pub fn check_links(&self, path: &Path) -> Result<(), Untrusted> {
        let path = std::path::absolute(path).map_err(|error| unknown(path, &error))?;
        let mut links = 0;
        let mut to_follow = vec![path];
        while let Some(path) = to_follow.pop() {
            let mut down: Vec<&Path> = path.ancestors().collect();
            down.reverse();
            for place in down {
                let Ok(meta) = place.symlink_metadata() else { break };
                if !meta.is_symlink() {
                    continue;
                }
                self.check_place(place, &meta, true)?;
                links += 1;
                if let (Ok(to), true) = (std::fs::read_link(place), links <= LINKS) {
                    // The part below the link is followed by the file system, as the rest of this walk is.
                    to_follow.push(place.parent().unwrap_or(Path::new("/")).join(to));
                }
            }
        }
        Ok(())
    }

    /// Checks the owners of a folder's entries, and of those of the folders in it. If other users can enter the folder,
    /// checks the modes too. `leave_out` names entries that need no check.
    ///
    /// # Errors
    /// The first entry that somebody else can change.
    pub fn check_content(&self, folder: &Path, leave_out: &[&str]) -> Result<(), Untrusted> {
        let (whole, exists) = existing(folder)?;
        if !exists || self.trusted.contains(&whole) {
            return Ok(());
        }
        let meta = whole.metadata().map_err(|error| unknown(&whole, &error))?;
        let can_be_entered = meta.mode() & OTHERS_ENTER != 0;
        let check = |entry: &Path, meta: &Metadata| match can_be_entered {
            true => self.check_place(entry, meta, false),
            false => self.check_owner(entry, meta),
        };
        for (entry, meta) in entries(&whole)? {
            check(&entry, &meta)?;
            let is_left_out = leave_out
                .iter()
                .any(|name| entry.file_name().is_some_and(|own| own == *name));
            if meta.is_dir() && !is_left_out {
                for (below, meta) in entries(&entry)? {
                    check(&below, &meta)?;
                }
            }
        }
        Ok(())
    }

    fn check_owner(&self, place: &Path, meta: &Metadata) -> Result<(), Untrusted> {
        let uid = meta.uid();
        match [self.uid, 0, self.root_uid].contains(&uid) {
            true => Ok(()),
            false => Err(Untrusted {
                place: place.to_owned(),
                why: Why::Owner {
                    uid,
                    name: self.accounts.user(uid),
                },
            }),
        }
    }

    /// Checks one place. A sticky folder that is only on the way may be writable.
    fn check_place(&self, place: &Path, meta: &Metadata, on_the_way: bool) -> Result<(), Untrusted> {
        let untrusted = |why| {
            Err(Untrusted {
                place: place.to_owned(),
                why,
            })
        };
        self.check_owner(place, meta)?;
        // A link has no mode. The peers of a socket are checked one by one.
        if meta.is_symlink() || meta.file_type().is_socket() {
            return Ok(());
        }
        let mode = meta.mode();
        if on_the_way && mode & STICKY != 0 {
            return Ok(());
        }
        if mode & OTHERS_WRITE != 0 {
            return untrusted(Why::Everybody);
        }
        if mode & GROUP_WRITES != 0 {
            if has_access_list(place) {
                return untrusted(Why::AccessList);
            }
            let gid = meta.gid();
            if !self.accounts.is_private(gid, self.uid) {
                let name = self.accounts.group(gid);
                return untrusted(Why::Group { gid, name });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &Option<String>, what: &str, id: u32| match name {
            Some(name) => format!("{name} ({what} {id})"),
            None => format!("{what} {id}"),
        };
        let place = self.place.display();
        match &self.why {
            Why::Owner { uid, name } => write!(f, "{place} belongs to {}", named(name, "uid", *uid)),
            Why::Everybody => write!(f, "every user can write {place}"),
            Why::Group { gid, name } => {
                write!(f, "the group {} can write {place}", named(name, "gid", *gid))
            }
            Why::AccessList => write!(f, "an access control list lets other users write {place}"),
            Why::Unknown(why) => write!(f, "{place} cannot be examined: {why}"),
        }
    }
}

impl std::error::Error for Untrusted {}

fn unknown(place: &Path, error: &io::Error) -> Untrusted {
    Untrusted {
        place: place.to_owned(),
        why: Why::Unknown(error.to_string()),
    }
}

/// Returns the path without links, or its nearest folder that exists, and whether the path itself exists.
fn existing(path: &Path) -> Result<(PathBuf, bool), Untrusted> {
    let absolute = std::path::absolute(path).map_err(|error| unknown(path, &error))?;
    for (depth, above) in absolute.ancestors().enumerate() {
        match above.canonicalize() {
            Ok(whole) => return Ok((whole, depth == 0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unknown(above, &error)),
        }
    }
    Ok((PathBuf::from("/"), false))
}

/// Returns the entries of a folder; entries that vanish meanwhile are left out.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>, Untrusted> {
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| unknown(folder, &error))?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| unknown(folder, &error))?;
        match entry.metadata() {
            Ok(meta) => found.push((entry.path(), meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unknown(&entry.path(), &error)),
        }
    }
    Ok(found)
}

fn has_access_list(place: &Path) -> bool {
    let mut nothing: [u8; 0] = [];
    rustix::fs::lgetxattr(place, ACCESS_LIST, &mut nothing[..]).is_ok()
}

#[cfg(test)]
mod tests;
