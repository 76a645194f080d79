//! Where a path leads, however it is written: the one answer to "is this the same folder as that one?".
//!
//! A path is followed as the kernel follows it, `..` after a link included, as far as it exists; the rest is
//! taken as it will be made. Two places are the same when their paths are, or when both begin at the same
//! device and inode and go on the same way: a bind mount has two paths.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// Links that are followed before a path is taken for a loop; Linux takes as many.
const LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

/// Returns where a path leads. A path whose links lead round in a circle stays as it is; opening it fails.
pub fn resolve(path: &Path) -> PathBuf {
    Place::of(path).map_or_else(|_| path.to_owned(), |place| place.0)
}

/// Returns where a path that a system's file names leads below a root. The file is refused where the path has `..` in
/// it, and a link at its end is the component's own.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path).components().collect()
}

/// Returns the path relative to the root: empty for the root itself.
pub fn relative(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| !matches!(part, Component::CurDir)).collect()
}

impl Place {
    /// Follows a path; a relative one begins in the current folder.
    ///
    /// Fails on links that lead round in a circle, and where a relative path has no current folder to begin in.
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
                // Not a link, or nothing at all.
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

    /// Returns the path: absolute, without links, `.` and `..` as far as it exists.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns whether both are one place.
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

    /// Returns the nearest thing on the way to the place that exists and is no folder.
    pub fn blocked_by(&self) -> Option<PathBuf> {
        let existing = self.0.ancestors().find(|path| path.symlink_metadata().is_ok())?;
        (!existing.is_dir()).then(|| existing.to_owned())
    }

    /// Device and inode of the nearest thing that exists, and the way on from there.
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
        // Not followed, this path is like that of a folder that is mounted a second time.
        let file = std::fs::File::open(temp.path()).unwrap();
        use std::os::fd::AsRawFd;
        let by_descriptor = Place(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
        assert!(by_descriptor.same(&Place::of(temp.path()).unwrap()));
        assert!(by_descriptor.holds(&Place::of(&temp.path().join("below/it")).unwrap()));
    }
}
