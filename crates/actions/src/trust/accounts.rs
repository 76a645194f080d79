//! The users and groups of this host, as `/etc/passwd` and `/etc/group` list them.

use std::path::PathBuf;

/// Users and groups. An account of another directory (LDAP) is unknown here, so its group never counts as private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Accounts {
    /// Returns the accounts of this host. A file that cannot be read has none.
    pub fn of_host() -> Self {
        let text = |path| std::fs::read(path).unwrap_or_default();
        Self::parse(
            &String::from_utf8_lossy(&text("/etc/passwd")),
            &String::from_utf8_lossy(&text("/etc/group")),
        )
    }

    /// Reads the text of both files. Lines that are not whole are left out.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let [name, _, uid, gid, _, home, ..] = line.split(':').collect::<Vec<_>>()[..] else {
                return None;
            };
            Some(User {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: home.into(),
            })
        };
        let group_of = |line: &str| {
            let [name, _, gid, members] = line.split(':').collect::<Vec<_>>()[..] else {
                return None;
            };
            let members = members.split(',').map(str::trim).filter(|name| !name.is_empty());
            Some(Group {
                name: name.to_owned(),
                gid: gid.parse().ok()?,
                members: members.map(str::to_owned).collect(),
            })
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// Returns the name of a user.
    pub fn user(&self, uid: u32) -> Option<String> {
        self.of_uid(uid).map(|user| user.name.clone())
    }

    /// Returns the name of a group.
    pub fn group(&self, gid: u32) -> Option<String> {
        let mut groups = self.groups.iter();
        groups
            .find(|group| group.gid == gid)
            .map(|group| group.name.clone())
    }

    /// Returns the home of a user.
    pub fn home(&self, uid: u32) -> Option<PathBuf> {
        let home = self.of_uid(uid).map(|user| user.home.clone());
        home.filter(|home| home.is_absolute())
    }

    /// Returns whether a group is the user's own: it is the user's primary group, and nobody else is in it.
    pub fn is_private(&self, gid: u32, uid: u32) -> bool {
        let Some(user) = self.of_uid(uid) else {
            return false;
        };
        let mut same_gid = self.groups.iter().filter(|group| group.gid == gid).peekable();
        user.gid == gid
            && same_gid.peek().is_some()
            && same_gid.all(|group| group.members.iter().all(|member| *member == user.name))
            && self
                .users
                .iter()
                .all(|other| other.gid != gid || other.uid == uid)
    }

    fn of_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }
}
