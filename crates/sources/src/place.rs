//! Resolves a path, however it is written. It answers "is this the same folder as that one?".
//!
//! The part of a path that exists is followed as the kernel follows it, including `..` after a link; the rest
//! is appended. Two places are the same if their paths are equal. They are also the same if both begin at the
//! same device and inode and continue equally, since a bind mount has two paths.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// How many links are followed before a path counts as a loop; Linux has the same limit.
const LINKS: usize = 40;

/// A resolved path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

/// Returns the resolved path. If its links form a circle, returns it unchanged; opening it then fails.
pub fn resolve(path: &Path) -> PathBuf {
    Place::of(path).map_or_else(|_| path.to_owned(), |place| place.0)
}

/// Resolves a path from a system's file below a root. The system's file may not contain `..`, and a link at
/// the path's end belongs to the component.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path).components().collect()
}

/// Returns the path relative to the root: empty for the root itself.
pub fn relative(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| !matches!(part, Component::CurDir)).collect()
}

impl Place {
    /// Resolves a path. A relative one begins in the current folder.
    ///
    /// Fails if links form a circle, or if a relative path has no current folder.
    pub fn of(path: &Path) -> io::Result<Self> {
        let begin = match path.is_absolute() {
            true => PathBuf::new(),
            false => std::env::current_dir()?,
        };
        let mut parts = parts(&begin.join(path));
        let mut found = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = parts.pop_front() {
            if part == ".." {
                found.pop();
                continue;
            }
            let next = found.join(&part);
            match std::fs::read_link(&next) {
                // It is no link, or nothing exists there.
                Err(_) => found = next,
                Ok(_) if links == LINKS => return Err(Errno::LOOP.into()),
                Ok(to) => {
                    links += 1;
                    if to.is_absolute() {
                        found = PathBuf::from("/");
                    }
                    for part in self::parts(&to).into_iter().rev() {
                        parts.push_front(part);
                    }
                }
            }
        }
        Ok(Self(found))
    }

    /// Returns the path: absolute; its existing part has no links, `.` or `..`.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns whether both are the same place.
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0 || self.identity().is_some_and(|own| Some(own) == other.identity())
    }

    /// Returns whether `other` is this place or lies below it.
    pub fn holds(&self, other: &Self) -> bool {
        other
            .0
            .ancestors()
            .any(|above| self.same(&Self(above.to_owned())))
    }

    /// Returns whether one of them holds the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.holds(other) || other.holds(self)
    }

    /// Returns the nearest existing part of the path that is not a folder.
    pub fn blocked_by(&self) -> Option<PathBuf> {
        let existing = self.0.ancestors().find(|path| path.symlink_metadata().is_ok())?;
        (!existing.is_dir()).then(|| existing.to_owned())
    }

    /// Device and inode of the nearest existing part, and the rest of the path.
    fn identity(&self) -> Option<(u64, u64, PathBuf)> {
        self.0.ancestors().find_map(|above| {
            let meta = above.metadata().ok()?;
            let rest = self.0.strip_prefix(above).ok()?;
            Some((meta.dev(), meta.ino(), rest.to_owned()))
        })
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_spelling_of_a_folder_is_the_same_place() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| Place::of(&temp.path().join(path)).unwrap();
        std::fs::create_dir_all(temp.path().join("shop/data/notes")).unwrap();
        std::fs::create_dir_all(temp.path().join("deep/er")).unwrap();
        symlink("shop/data", temp.path().join("link")).unwrap();
        symlink("link", temp.path().join("link-to-link")).unwrap();
        symlink(temp.path().join("deep/er"), temp.path().join("elsewhere")).unwrap();
        symlink("shop/gone", temp.path().join("dangling")).unwrap();
        symlink("circle", temp.path().join("circle")).unwrap();
        for spelling in [
            "shop/data",
            "shop/../shop/./data",
            "new/../shop/data",
            "link",
            "link/",
            "link-to-link",
            "link/notes/..",
            "elsewhere/../../shop/data",
        ] {
            assert!(at(spelling).same(&at("shop/data")), "{spelling}");
        }
        assert!(at("dangling").same(&at("shop/gone")));
        assert!(!at("elsewhere/..").same(&at(".")), "`..` after a link");
        assert!(Place::of(&temp.path().join("circle/x")).is_err());
        assert!(at("shop").holds(&at("link/notes/new")));
        assert!(!at("shop/data").holds(&at("shop/data2")) && !at("link").overlaps(&at("deep")));
        assert!(at("link/notes").overlaps(&at("shop")));
    }

    #[test]
    fn a_way_through_something_that_is_no_folder_is_blocked() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("file"), "").unwrap();
        let blocked = |path: &str| Place::of(&temp.path().join(path)).unwrap().blocked_by();
        assert_eq!(blocked("new/er"), None);
        assert!(blocked("file/x").is_some() && blocked("file").is_some());
        assert_eq!(
            Place::of(Path::new("/dev/null/x"))
                .unwrap()
                .blocked_by()
                .as_deref(),
            Some(Path::new("/dev/null"))
        );
    }

    #[test]
    fn two_paths_to_one_inode_are_one_place() {
        let temp = tempfile::tempdir().unwrap();
        // Without following links, this path looks like a folder that is mounted a second time.
        let file = std::fs::File::open(temp.path()).unwrap();
        use std::os::fd::AsRawFd;
        let by_descriptor = Place(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
        assert!(by_descriptor.same(&Place::of(temp.path()).unwrap()));
        assert!(by_descriptor.holds(&Place::of(&temp.path().join("below/it")).unwrap()));
    }
}
