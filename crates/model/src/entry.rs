//! One entry of a captured tree, as the vault keeps it: a file, a folder, a symbolic link, a FIFO or a device.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A path inside a captured tree: names joined with `/`, never absolute, never with `.` or `..`.
///
/// Names are bytes on Linux and need not be UTF-8.
/// Paths sort name by name, so that a folder's content follows the folder at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreePath(#[serde(with = "path_bytes")] Vec<u8>);

/// A path that no captured tree can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot cannot hold path {path:?}: {why}")]
pub struct BadTreePath {
    /// The path, lossily as text.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl TreePath {
    /// The root of the tree itself.
    pub const ROOT: Self = Self(Vec::new());

    /// Checks and returns a path. The empty path is the root of the tree.
    pub fn new(bytes: &[u8]) -> Result<Self, BadTreePath> {
        let bad = |why| BadTreePath {
            path: String::from_utf8_lossy(bytes).into_owned(),
            why,
        };
        if bytes.is_empty() {
            return Ok(Self::ROOT);
        }
        if bytes.contains(&0) {
            return Err(bad("it contains a zero byte"));
        }
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" => return Err(bad("it is absolute or has an empty name in it")),
                b"." | b".." => return Err(bad("it has a relative name in it")),
                name if name.len() > 255 => return Err(bad("a name is longer than 255 bytes")),
                _ => {}
            }
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Returns the bytes, names joined with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path below the folder that the tree is in.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns whether this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path as people see it. Its characters are its own: see [`crate::shown`].
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0
            .split(|byte| *byte == b'/')
            .cmp(other.0.split(|byte| *byte == b'/'))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

mod path_bytes {
    //! Reading a path checks it again: a snapshot's content is not trusted.
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        super::text_or_bytes::serialize(bytes, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let bytes = super::text_or_bytes::deserialize(deserializer)?;
        super::TreePath::new(&bytes)
            .map(|path| path.0)
            .map_err(serde::de::Error::custom)
    }
}

mod text_or_bytes {
    //! Names on Linux are bytes. They are written as a string if they are UTF-8, else as bytes.
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(bytes),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(TextOrBytes)
    }

    struct TextOrBytes;

    impl<'de> Visitor<'de> for TextOrBytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or bytes")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<u8>, E> {
            Ok(text.as_bytes().to_vec())
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        /// JSON has no bytes, so there they are a list of numbers.
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = seq.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file of `size` bytes.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Its target, byte for byte. The link is never followed.
        #[serde(with = "text_or_bytes")]
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

impl EntryKind {
    /// Returns whether it is a FIFO or a device.
    pub fn is_node(&self) -> bool {
        matches!(self, Self::Fifo | Self::CharDevice(_) | Self::BlockDevice(_))
    }
}

/// The number of a device, as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// One extended attribute. POSIX ACLs and file capabilities are extended attributes too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name with the namespace, such as `user.origin`.
    #[serde(with = "text_or_bytes")]
    pub name: Vec<u8>,
    /// Its value, byte for byte as the kernel returns it.
    #[serde(with = "text_or_bytes")]
    pub value: Vec<u8>,
}

impl Xattr {
    /// The longest name: the kernel's `XATTR_NAME_MAX`.
    pub const NAME_MAX: usize = 255;
    /// The longest value: the kernel's `XATTR_SIZE_MAX`.
    pub const VALUE_MAX: usize = 64 << 10;
    /// The most bytes of names and values that one entry keeps. No limit of the kernel covers all values of a
    /// file, and a record must fit into memory. 1 MiB is sixteen of the largest values.
    pub const TOTAL_MAX: usize = 1 << 20;

    /// The attribute of what Rekindle makes for a while: unfinished files, staging folders, data moved aside. Captures
    /// leave out what has it and one of Rekindle's names. No snapshot keeps it.
    pub const TEMPORARY: &[u8] = b"user.rekindle.temporary";

    /// Returns whether a snapshot keeps attributes of this name. The others belong to the host: the labels of
    /// its security modules, and what its file system computes.
    pub fn is_kept(name: &[u8]) -> bool {
        matches!(
            name,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        ) || name.starts_with(b"user.") && name != Self::TEMPORARY
            || name.starts_with(b"trusted.")
    }

    /// Returns the names to keep from the list that `listxattr` gives, in ascending order.
    pub fn kept_names(list: &[u8]) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = list
            .split(|byte| *byte == 0)
            .filter(|name| Self::is_kept(name))
            .collect();
        names.sort_unstable();
        names
    }

    /// Returns the bytes of name and value.
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

/// One entry of a tree, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path, relative to the root of the tree.
    pub path: TreePath,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Permission bits (`st_mode & 0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime_s: i64,
    /// Modification time, nanoseconds of the second.
    pub mtime_ns: u32,
    /// Change time in nanoseconds since 1970, to notice a file that changed since the last capture.
    pub ctime_ns: i64,
    /// Inode number, for the same purpose.
    pub inode: u64,
    /// If this is another name of a file (a hard link): the file's first name in the order of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<TreePath>,
    /// Its extended attributes, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    /// How many names the file had in its file system when it was captured. A snapshot does not keep it.
    #[serde(skip)]
    pub names: u64,
}

impl Entry {
    /// Checks what the types do not rule out: a snapshot's content is not trusted.
    ///
    /// # Errors
    /// The reason why no honest tree has this entry.
    pub fn check(&self) -> Result<(), &'static str> {
        if let Some(first) = &self.first_name {
            if !matches!(self.kind, EntryKind::File { .. }) {
                return Err("it is a hard link and not a file");
            }
            if first.is_root() || *first >= self.path {
                return Err("it is a hard link to a path that does not come before it");
            }
        }
        let mut last: &[u8] = b"";
        let mut total = 0;
        for xattr in &self.xattrs {
            let name = xattr.name.as_slice();
            if name <= last || name.len() > Xattr::NAME_MAX || name.contains(&0) {
                return Err("its extended attributes are not in order");
            }
            if xattr.value.len() > Xattr::VALUE_MAX {
                return Err("an extended attribute is longer than 64 KiB");
            }
            if !Xattr::is_kept(name) {
                return Err("it has an extended attribute that no snapshot keeps");
            }
            last = name;
            total += xattr.size();
        }
        if total > Xattr::TOTAL_MAX {
            return Err("its extended attributes are longer than 1 MiB");
        }
        Ok(())
    }
}

/// The paths of a tree that could not be read, and so are not captured: counted, the first ones named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// How many there are. A folder counts once, with all that is in it.
    pub count: u64,
    /// The first of them, at most [`Unreadable::NAMED`].
    pub named: Vec<TreePath>,
}

impl Unreadable {
    /// How many paths are named; the others are counted, so that a bad disk costs no memory.
    pub const NAMED: usize = 100;

    /// Returns whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a path.
    pub fn add(&mut self, path: &TreePath) {
        self.count += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(path.clone());
        }
    }
}

/// Something that can be captured: its entries in the order of their paths, and the content of its files.
///
/// Sources implement it, and the vault reads it, so neither depends on the other.
pub trait TreeSource: Send {
    /// Returns the next entry; none at the end. Each path is greater than the one before, so a folder comes before its
    /// content. If the root of the tree is a folder, it is the first entry, with the empty path. A tree of one file
    /// has one entry with the file's name.
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure>;

    /// Opens the content of a file. Its entry must be the last one returned. If the entry has a `first_name`, that
    /// entry was returned before.
    fn open(&mut self, entry: &Entry) -> Result<Box<dyn Read + Send>, Failure>;

    /// Takes note that the content of an opened file cannot be read to its end. Returns whether the capture goes on
    /// without the file; without this method it fails.
    fn leave_out(&mut self, _entry: &Entry, _why: &std::io::Error) -> bool {
        false
    }

    /// Returns the paths that could not be read so far. The tree that was returned lacks them.
    fn unreadable(&self) -> Unreadable {
        Unreadable::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_folder_follows_the_folder() {
        let mut paths = ["a-b", "a/z", "", "a", "a/b/c", "a/b"].map(|p| TreePath::new(p.as_bytes()).unwrap());
        paths.sort();
        assert_eq!(
            paths.map(|p| p.display()),
            ["", "a", "a/b", "a/b/c", "a/z", "a-b"]
        );
    }

    #[test]
    fn a_path_that_would_leave_the_tree_is_refused() {
        for bad in ["/etc/passwd", "a/../../b", "..", "a//b", "./a", "a/", "a\0b"] {
            assert!(TreePath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(TreePath::new(b"a/b c/\xff").is_ok());
        assert!(rmp_serde::from_slice::<TreePath>(&rmp_serde::to_vec("../x").unwrap()).is_err());
    }

    #[test]
    fn an_entry_with_a_name_that_is_not_utf8_survives_messagepack() {
        let entry = Entry {
            path: TreePath::new(b"a/\xff\xfe").unwrap(),
            kind: EntryKind::Symlink {
                target: b"\xff/..".to_vec(),
            },
            mode: 0o777,
            uid: 1,
            gid: 2,
            mtime_s: -5,
            mtime_ns: 9,
            ctime_ns: 3,
            inode: 4,
            first_name: None,
            xattrs: vec![Xattr {
                name: b"trusted.x".to_vec(),
                value: b"\xff\0".to_vec(),
            }],
            names: 0,
        };
        let packed = rmp_serde::to_vec_named(&entry).unwrap();
        assert_eq!(rmp_serde::from_slice::<Entry>(&packed).unwrap(), entry);
        let device = Entry {
            kind: EntryKind::BlockDevice(DeviceNumber { major: 259, minor: 7 }),
            first_name: Some(TreePath::new(b"a").unwrap()),
            ..entry
        };
        let packed = rmp_serde::to_vec_named(&device).unwrap();
        assert_eq!(rmp_serde::from_slice::<Entry>(&packed).unwrap(), device);
    }

    #[test]
    fn only_attributes_that_another_host_can_use_are_kept() {
        let list = b"user.b\0security.selinux\0system.posix_acl_access\0user.a\0system.nfs4_acl\0security.capability\0";
        let kept: [&[u8]; 4] = [
            b"security.capability",
            b"system.posix_acl_access",
            b"user.a",
            b"user.b",
        ];
        assert_eq!(Xattr::kept_names(list), kept);
    }
}
