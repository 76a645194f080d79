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

/// Returns the place of a path below a folder, never outside of it. A link at the path's end belongs to the component.
pub fn below(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    folder.join(relative(path)).components().collect()
}

/// Returns the path relative to a folder, without a `/` at its beginning: empty for the folder itself. The system's file
/// may not contain `..`.
pub fn relative(path: impl AsRef<Path>) -> PathBuf {
    let parts = path.as_ref().components();
    parts
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

/// What the paths of a system's file are seen from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    folder: PathBuf,
    /// Whether the folder is the living system's. There, and only there, an absolute path leads out of the folder.
    living: bool,
}

impl Root {
    /// Returns the root of the living system. An absolute path is where it says.
    pub fn living(folder: PathBuf) -> Self {
        Self { folder, living: true }
    }

    /// Returns the folder of a recovery elsewhere. An absolute path is below it: `/etc` is `DIR/etc`.
    pub fn elsewhere(folder: PathBuf) -> Self {
        Self {
            folder,
            living: false,
        }
    }

    /// Returns the root for data in `folder`, of a system whose living data are in `living`. Both are resolved.
    pub fn of(folder: PathBuf, living: &Path) -> Self {
        Self {
            living: folder == living,
            folder,
        }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the place of a path.
    pub fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let (folder, path) = self.split(path.as_ref());
        below(&folder, path)
    }

    /// Returns the folder that belongs to a path, and the path relative to it. It is this root's folder. If an absolute path
    /// of the living system leads out of that, it is the parent of the path: what a recovery in place moves out of the
    /// way stays near.
    pub fn split(&self, path: &Path) -> (PathBuf, PathBuf) {
        let own = relative(path);
        if !path.is_absolute() || !self.living {
            return (self.folder.clone(), own);
        }
        let whole = Path::new("/").join(&own);
        match (
            whole.strip_prefix(&self.folder),
            whole.parent(),
            whole.file_name(),
        ) {
            (Ok(inside), _, _) => (self.folder.clone(), inside.to_owned()),
            (Err(_), Some(parent), Some(name)) => (resolve(parent), PathBuf::from(name)),
            (Err(_), _, _) => (whole, PathBuf::new()),
        }
    }
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
    fn an_absolute_path_is_where_it_says_in_the_living_system_and_below_the_folder_elsewhere() {
        let (living, elsewhere) = (
            Root::living("/srv/shop".into()),
            Root::elsewhere("/tmp/out".into()),
        );
        for (path, here, there) in [
            ("notes", "/srv/shop/notes", "/tmp/out/notes"),
            ("./notes/", "/srv/shop/notes", "/tmp/out/notes"),
            (".", "/srv/shop", "/tmp/out"),
            ("/etc", "/etc", "/tmp/out/etc"),
            ("//etc/./nginx/", "/etc/nginx", "/tmp/out/etc/nginx"),
            ("/", "/", "/tmp/out"),
            // The reader of the system's file refuses it. It must not escape in any case.
            ("/../../etc", "/etc", "/tmp/out/etc"),
        ] {
            assert_eq!(living.place(path), Path::new(here), "{path}");
            assert_eq!(elsewhere.place(path), Path::new(there), "{path}");
        }
        let split = |path| living.split(Path::new(path));
        assert_eq!(split("/no-such/x"), ("/no-such".into(), "x".into()));
        assert_eq!(split("/srv/shop/notes"), ("/srv/shop".into(), "notes".into()));
        assert_eq!(split("/srv"), ("/".into(), "srv".into()));
        assert_eq!(split("/"), ("/".into(), "".into()));
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
