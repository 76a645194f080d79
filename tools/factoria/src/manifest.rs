//! Digests inside each component, by which a restored copy can be judged alone.
//!
//! `<folder>/.manifest.json` lists every file, link and folder below it with BLAKE3, length and mode, except
//! the files that keep growing. A seal over the list reveals a changed list.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component as Part, Path};

use serde::{Deserialize, Serialize};

use crate::layout::MANIFEST;
use crate::probe::bounded;

/// The format written; a newer one is refused.
const FORMAT: u32 = 1;
/// The longest manifest that is read, in bytes: a list of some 400,000 files.
const LONGEST: u64 = 64 << 20;

/// The static content of one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document.
    pub format: u32,
    /// The folder's name in the layout.
    pub component: String,
    /// The content of the folder, by path relative to it.
    pub entries: BTreeMap<String, Entry>,
    /// Files below it that live, and so are not in `entries`.
    pub growing: Vec<String>,
    /// BLAKE3 over the JSON of `entries`, in hex.
    pub seal: String,
}

/// One expected entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Entry {
    /// A regular file.
    File {
        /// BLAKE3 of its content, in hex.
        blake3: String,
        /// Its length in bytes.
        bytes: u64,
        /// Its permission bits, in octal: `0644`.
        mode: String,
    },
    /// A symbolic link.
    Link {
        /// Where it points to, as written.
        target: String,
    },
    /// A folder, empty or not.
    Folder {
        /// Its permission bits, in octal.
        mode: String,
    },
}

/// How an entry on disk compares with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Content, type and mode are as expected.
    Same,
    /// Content and type are as expected, the mode is not.
    OtherMode,
    /// There is something else, or it cannot be read.
    Altered,
    /// There is nothing.
    Missing,
}

impl Manifest {
    /// Returns the sealed manifest of these entries.
    pub fn new(
        component: &str,
        entries: BTreeMap<String, Entry>,
        growing: &[&str],
    ) -> serde_json::Result<Self> {
        let seal = seal(&entries)?;
        let growing = growing.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self {
            format: FORMAT,
            component: component.to_owned(),
            entries,
            growing,
            seal,
        })
    }

    /// Reads the manifest of `folder`. `None` if it is absent, unreadable, of another format, or has a wrong
    /// seal. A probe then counts everything as missing.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(MANIFEST);
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let manifest: Self = serde_json::from_slice(&bounded(&path, LONGEST)?).ok()?;
        (manifest.format == FORMAT && seal(&manifest.entries).ok()? == manifest.seal).then_some(manifest)
    }
}

impl Entry {
    /// Compares this entry with the file at `path` below `folder`. Reads files whole, in small pieces.
    pub fn compare(&self, folder: &Path, path: &str) -> Found {
        // A list may be damaged as well: it must not lead the reader out of the folder.
        if Path::new(path)
            .components()
            .any(|part| !matches!(part, Part::Normal(_)))
        {
            return Found::Altered;
        }
        let full = folder.join(path);
        let on_disk = match fs::symlink_metadata(&full) {
            Ok(on_disk) => on_disk,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Missing,
            Err(_) => return Found::Altered,
        };
        let (same, mode) = match self {
            Self::File { blake3, bytes, mode } => {
                let same = on_disk.is_file()
                    && on_disk.len() == *bytes
                    && digest(&full).is_ok_and(|digest| digest.to_hex().as_str() == blake3);
                (same, Some(mode))
            }
            Self::Link { target } => {
                let same =
                    on_disk.is_symlink() && fs::read_link(&full).is_ok_and(|to| to == Path::new(target));
                (same, None)
            }
            Self::Folder { mode } => (on_disk.is_dir(), Some(mode)),
        };
        let mode_is_same = mode.is_none_or(|mode| *mode == octal(on_disk.permissions().mode()));
        match (same, mode_is_same) {
            (true, true) => Found::Same,
            (true, false) => Found::OtherMode,
            (false, _) => Found::Altered,
        }
    }
}

/// Returns permission bits as four octal digits.
pub fn octal(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// Returns the BLAKE3 of a file, reading it in pieces.
pub fn digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

fn seal(entries: &BTreeMap<String, Entry>) -> serde_json::Result<String> {
    Ok(blake3::hash(&serde_json::to_vec(entries)?).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entry: Entry) -> Manifest {
        Manifest::new("cache", BTreeMap::from([("a".to_owned(), entry)]), &[]).unwrap()
    }

    #[test]
    fn a_manifest_that_was_edited_is_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = of(Entry::Folder {
            mode: "0755".to_owned(),
        });
        let write = |manifest: &Manifest| {
            fs::write(
                folder.path().join(MANIFEST),
                serde_json::to_vec(manifest).unwrap(),
            )
            .unwrap();
        };
        write(&manifest);
        assert_eq!(Manifest::read(folder.path()).as_ref(), Some(&manifest));
        manifest.entries.clear();
        write(&manifest);
        assert_eq!(Manifest::read(folder.path()), None);
    }

    #[test]
    fn an_entry_never_leads_out_of_its_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("inside")).unwrap();
        let entry = Entry::Folder {
            mode: "0755".to_owned(),
        };
        assert_eq!(
            entry.compare(&root.path().join("inside"), "../inside"),
            Found::Altered
        );
        assert_eq!(entry.compare(&root.path().join("inside"), "/tmp"), Found::Altered);
    }

    #[test]
    fn content_mode_type_and_absence_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let entry = Entry::File {
            blake3: blake3::hash(b"one").to_hex().to_string(),
            bytes: 3,
            mode: "0640".to_owned(),
        };
        assert_eq!(entry.compare(root.path(), "a"), Found::Missing);
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(entry.compare(root.path(), "a"), Found::Same);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(entry.compare(root.path(), "a"), Found::OtherMode);
        fs::write(&path, "two").unwrap();
        assert_eq!(entry.compare(root.path(), "a"), Found::Altered);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(entry.compare(root.path(), "a"), Found::Altered);
    }
}
