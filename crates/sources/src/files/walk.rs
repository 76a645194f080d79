//! The sorted walk.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::{DeviceNumber, Entry, EntryKind, TreePath, TreeSource, Unreadable};
use rekindle_model::failure::Failure;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::globs::Selection;
use super::live_database::database_of;
use super::notes::{NoteKind, Notes};
use super::own;
use super::read::Promised;
use super::xattrs::Attributes;
use crate::failures::{changed, unreadable};
use crate::place::Place;

/// How many folders stay open along the current path. In deeper trees the walk reopens the upper folders, so
/// that the limit on open files (commonly 1024) does not bound the depth.
const OPEN_FOLDERS: usize = 128;

/// How often the walk looks again at a name that changes its kind between two system calls.
const LOOKS: usize = 3;

/// One folder on the current path.
struct Level {
    path: TreePath,
    folder: Option<OwnedFd>,
    /// Device and inode, to recognise the folder when it is reopened.
    identity: (u64, u64),
    /// Names still to visit, in reverse.
    names: Vec<CString>,
    /// Whether an include glob matched the whole folder.
    taken: bool,
    /// The folder's own entry, until something below it is included.
    pending: Option<Entry>,
}

/// Paths that are never captured: the workspace and the tiers.
struct Never {
    identities: Vec<(u64, u64)>,
    places: Vec<Place>,
}

/// A folder or a file as a tree to capture. See the [module](super).
pub struct FilesTree {
    root: PathBuf,
    /// Whether the root is a file; then it is the only entry.
    single: bool,
    globs: Selection,
    never: Never,
    levels: Vec<Level>,
    ready: VecDeque<(Entry, Option<(File, Stat)>)>,
    opened: Option<(TreePath, File, Stat)>,
    /// Files with names still to come, by device and inode.
    linked: HashMap<(u64, u64), Linked>,
    /// The paths that could not be read. None: such a path is a failure.
    unreadable: Option<Unreadable>,
    notes: Notes,
}

/// A file with several names.
struct Linked {
    /// Its first name.
    path: TreePath,
    /// How many names may follow. Some may be outside of the tree.
    left: u64,
    /// Size and modification time at the first name, seconds and nanoseconds.
    state: (i64, i64, i64),
}

impl FilesTree {
    /// Opens a tree. `root` may be a symbolic link, since a person named it; no link below it is followed.
    /// The walk leaves out the paths in `never`, which need not exist.
    pub fn open(
        root: &Path,
        include: &[String],
        exclude: &[String],
        never: &[PathBuf],
    ) -> Result<Self, Failure> {
        let canonical = root
            .canonicalize()
            .map_err(|why| unreadable("read", root, &why))?;
        let mut source = Self {
            globs: Selection::new(include, exclude)?,
            never: Never::new(never)?,
            levels: Vec::new(),
            ready: VecDeque::new(),
            opened: None,
            linked: HashMap::new(),
            unreadable: None,
            notes: Notes::default(),
            root: canonical,
            single: false,
        };
        let place = Place::of(&source.root).map_err(|why| unreadable("resolve", root, &why))?;
        if source.never.places.iter().any(|never| never.holds(&place)) {
            let message = format!("{} belongs to the workspace or to a tier", source.root.display());
            return Err(Failure::permanent("source_is_own", message)
                .with_hint("point the source's `path` at the data to protect"));
        }
        source.begin()?;
        Ok(source)
    }

    /// Goes on without the paths that cannot be read, and counts them. The root itself must be readable.
    pub fn leaving_out_unreadable(self) -> Self {
        Self {
            unreadable: Some(Unreadable::default()),
            ..self
        }
    }

    /// Counts a path that cannot be read, or fails.
    fn cannot(&mut self, action: &str, path: &TreePath, why: &io::Error) -> Result<(), Failure> {
        let failure = unreadable(action, &self.shown(path), why);
        let about_it = is_about_the_path(why) && !path.is_root();
        let Some(unreadable) = self.unreadable.as_mut().filter(|_| about_it) else {
            return Err(failure);
        };
        tracing::warn!(path = path.display(), %failure, "left out: it cannot be read");
        unreadable.add(path);
        Ok(())
    }

    /// Returns the notes of this walk, still readable after the source was handed over.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Opens the root: a folder becomes the first level; a file becomes the only entry.
    fn begin(&mut self) -> Result<(), Failure> {
        let opened = rustix::fs::open(&self.root, OFlags::RDONLY | SAFELY, Mode::empty())
            .and_then(|fd| Ok((rustix::fs::fstat(&fd)?, fd)));
        let (stat, fd) = opened.map_err(|why| unreadable("open", &self.root, &why.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let entry = entry(TreePath::ROOT, EntryKind::Dir, &stat);
                let entry = self.with_xattrs(entry, Attributes::of(fd.as_fd()));
                self.ready.push_back((entry, None));
                let names = list(fd.as_fd()).map_err(|why| unreadable("list", &self.root, &why.into()))?;
                self.descend(TreePath::ROOT, fd, names, &stat, self.globs.include_all(), None);
                Ok(())
            }
            FileType::RegularFile => {
                self.single = true;
                let name = self.root.file_name().unwrap_or_default().as_bytes();
                let path = tree_path(name, &self.root)?;
                let entry = entry(path, EntryKind::File { size: size(&stat) }, &stat);
                let entry = self.with_xattrs(entry, Attributes::of(fd.as_fd()));
                self.ready.push_back((entry, Some((File::from(fd), stat))));
                Ok(())
            }
            _ => Err(unreadable(
                "read",
                &self.root,
                &io::Error::other("it is neither a folder nor a file"),
            )),
        }
    }

    /// Makes a folder, with its names, the deepest level.
    fn descend(
        &mut self,
        path: TreePath,
        folder: OwnedFd,
        names: Vec<CString>,
        stat: &Stat,
        taken: bool,
        pending: Option<Entry>,
    ) {
        let identity = identity(stat);
        self.levels.push(Level {
            path,
            folder: Some(folder),
            identity,
            names,
            taken,
            pending,
        });
        if let Some(upper) = self
            .levels
            .len()
            .checked_sub(OPEN_FOLDERS + 1)
            .and_then(|i| self.levels.get_mut(i))
        {
            upper.folder = None;
        }
    }

    /// Visits names until an entry is ready; returns whether one is.
    fn advance(&mut self) -> Result<bool, Failure> {
        while self.ready.is_empty() {
            let Some(level) = self.levels.last_mut() else {
                return Ok(false);
            };
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                self.reopen()?;
                continue;
            };
            self.visit(&name)?;
        }
        Ok(true)
    }

    /// Reopens the deepest level, if needed, after the one below it ended.
    fn reopen(&mut self) -> Result<(), Failure> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        if level.folder.is_some() || level.names.is_empty() {
            return Ok(());
        }
        let (path, shown) = (level.path.clone(), self.shown(&level.path));
        let opened = open_below(&self.root, &path).and_then(|fd| Ok((rustix::fs::fstat(&fd)?, fd)));
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.cannot("open", &path, &why.into())?;
                self.levels.pop();
                return self.reopen();
            }
        };
        if self
            .levels
            .last()
            .is_some_and(|level| identity(&opened.0) != level.identity)
        {
            return Err(changed(&shown, "was replaced"));
        }
        if let Some(level) = self.levels.last_mut() {
            level.folder = Some(opened.1);
        }
        Ok(())
    }

    fn visit(&mut self, name: &CString) -> Result<(), Failure> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let mut bytes = level.path.as_bytes().to_vec();
        if !level.path.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        let shown = self.root.join(OsStr::from_bytes(&bytes));
        let path = tree_path(&bytes, &shown)?;
        if self.globs.excludes(&path) {
            return Ok(());
        }
        let taken = level.taken || self.globs.includes(&path);
        let Some(folder) = &level.folder else {
            return Err(unreadable(
                "list",
                &shown,
                &io::Error::other("its folder is not open"),
            ));
        };
        if own::is_own(folder.as_fd(), name) {
            self.notes.add(&path, NoteKind::Own);
            return Ok(());
        }
        let found = match look(folder.as_fd(), name, taken) {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.notes.add(&path, NoteKind::Vanished);
                return Ok(());
            }
            Err(why) => {
                let own = self.never.places.iter().any(|place| place.path() == shown);
                return match own {
                    true => Ok(()),
                    false => self.cannot("read", &path, &why.into()),
                };
            }
        };
        let stat = found.stat();
        if self.never.holds(identity(stat), &shown) {
            self.notes.add(&path, NoteKind::Own);
            return Ok(());
        }
        let xattrs = match &found {
            Found::Folder(_, fd) => Attributes::of(fd.as_fd()),
            Found::File(_, file) => Attributes::of(file.as_fd()),
            _ if taken => Attributes::of_name(folder.as_fd(), name),
            _ => Attributes::default(),
        };
        let own = |kind| entry(path.clone(), kind, found.stat());
        let own = match &found {
            Found::Folder(..) => own(EntryKind::Dir),
            Found::File(stat, _) => own(EntryKind::File { size: size(stat) }),
            Found::Link(_, target) => own(EntryKind::Symlink {
                target: target.clone(),
            }),
            Found::Special(stat) if taken => match special(stat) {
                Some(kind) => own(kind),
                None => {
                    self.notes.add(&path, NoteKind::Socket);
                    return Ok(());
                }
            },
            Found::Special(_) => return Ok(()),
        };
        let own = self.with_xattrs(own, xattrs);
        match found {
            Found::Folder(stat, fd) => {
                let names = match list(fd.as_fd()) {
                    Ok(names) => names,
                    Err(why) => return self.cannot("list", &path, &why.into()),
                };
                if taken {
                    self.release();
                    self.ready.push_back((own, None));
                    self.descend(path, fd, names, &stat, taken, None);
                } else {
                    self.descend(path, fd, names, &stat, taken, Some(own));
                }
            }
            Found::File(stat, file) => {
                if taken && let Some(database) = database_of(folder.as_fd(), name, &path) {
                    self.notes.add(&database, NoteKind::LiveDatabase);
                }
                self.release();
                let own = self.with_first_name(own, &stat);
                self.ready.push_back((own, Some((file, stat))));
            }
            Found::Link(..) | Found::Special(_) if taken => {
                self.release();
                self.ready.push_back((own, None));
            }
            _ => {}
        }
        Ok(())
    }

    fn with_xattrs(&self, entry: Entry, xattrs: Attributes) -> Entry {
        if xattrs.left_out {
            self.notes.add(&entry.path, NoteKind::Attributes);
        }
        Entry {
            xattrs: xattrs.read,
            ..entry
        }
    }

    /// Refers a further name of a file to its first name, and remembers a first name until all others came.
    fn with_first_name(&mut self, entry: Entry, stat: &Stat) -> Entry {
        let identity = identity(stat);
        let state = (stat.st_size, stat.st_mtime, stat.st_mtime_nsec.cast_signed());
        // A file that was removed meanwhile may have left its inode to another one, which is no name of it.
        let known = self.linked.get_mut(&identity);
        let Some(known) = known.filter(|known| entry.names > 1 && known.state == state) else {
            self.linked.remove(&identity);
            if entry.names > 1 {
                let first = Linked {
                    path: entry.path.clone(),
                    left: entry.names - 1,
                    state,
                };
                self.linked.insert(identity, first);
            }
            return entry;
        };
        let first_name = Some(known.path.clone());
        known.left -= 1;
        if known.left == 0 {
            self.linked.remove(&identity);
        }
        Entry { first_name, ..entry }
    }

    /// Returns the folders on the way to an included entry.
    fn release(&mut self) {
        for level in &mut self.levels {
            if let Some(entry) = level.pending.take() {
                self.ready.push_back((entry, None));
            }
        }
    }

    fn shown(&self, path: &TreePath) -> PathBuf {
        if path.is_root() {
            self.root.clone()
        } else {
            self.root.join(path.as_path())
        }
    }
}

impl TreeSource for FilesTree {
    fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        self.opened = None;
        if !self.advance()? {
            return Ok(None);
        }
        let Some((entry, content)) = self.ready.pop_front() else {
            return Ok(None);
        };
        self.opened = content.map(|(file, stat)| (entry.path.clone(), file, stat));
        Ok(Some(entry))
    }

    fn leave_out(&mut self, entry: &Entry, why: &io::Error) -> bool {
        // A file that changed while it was read can be read in another attempt.
        let failed = why.raw_os_error().is_some() && !self.single;
        failed && self.cannot("read", &entry.path, why).is_ok()
    }

    fn unreadable(&self) -> Unreadable {
        self.unreadable.clone().unwrap_or_default()
    }

    fn open(&mut self, entry: &Entry) -> Result<Box<dyn Read + Send>, Failure> {
        let shown = if self.single {
            self.root.clone()
        } else {
            self.shown(&entry.path)
        };
        match (self.opened.take(), &entry.kind) {
            (Some((path, file, taken)), EntryKind::File { size }) if path == entry.path => {
                Ok(Box::new(Promised {
                    file,
                    left: *size,
                    taken,
                    path,
                    shown,
                    notes: self.notes.clone(),
                    ended: false,
                }))
            }
            _ => Err(Failure::permanent(
                rekindle_model::failure::code::INTERNAL,
                format!("{} was opened out of turn", shown.display()),
            )),
        }
    }
}

impl Never {
    fn new(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut never = Self {
            identities: Vec::new(),
            places: Vec::new(),
        };
        for path in paths {
            let place = Place::of(path).map_err(|why| unreadable("resolve", path, &why))?;
            match rustix::fs::stat(place.path()) {
                Ok(stat) => never.identities.push(identity(&stat)),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(why) => return Err(unreadable("read", path, &why.into())),
            }
            never.places.push(place);
        }
        Ok(never)
    }

    fn holds(&self, identity: (u64, u64), shown: &Path) -> bool {
        self.identities.contains(&identity) || self.places.iter().any(|place| place.path() == shown)
    }
}

/// Flags of every open: do not follow a final link, do not wait for the other side of a FIFO.
const SAFELY: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

enum Found {
    Folder(Stat, OwnedFd),
    File(Stat, File),
    Link(Stat, Vec<u8>),
    Special(Stat),
}

impl Found {
    fn stat(&self) -> &Stat {
        match self {
            Self::Folder(stat, _) | Self::File(stat, _) | Self::Link(stat, _) | Self::Special(stat) => stat,
        }
    }
}

/// Looks at a name and opens it; none if it vanished. Does not open a file that is not included.
fn look(folder: std::os::fd::BorrowedFd<'_>, name: &CString, taken: bool) -> Result<Option<Found>, Errno> {
    for _ in 0..LOOKS {
        let seen = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(why) => return Err(why),
        };
        let kind = FileType::from_raw_mode(seen.st_mode);
        let flags = match kind {
            FileType::Symlink => match rustix::fs::readlinkat(folder, name, Vec::new()) {
                Ok(target) => return Ok(Some(Found::Link(seen, target.into_bytes()))),
                Err(Errno::INVAL) => continue,
                Err(Errno::NOENT) => return Ok(None),
                Err(why) => return Err(why),
            },
            FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY | SAFELY,
            FileType::RegularFile if taken => OFlags::RDONLY | SAFELY,
            _ => return Ok(Some(Found::Special(seen))),
        };
        let fd = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            // It was replaced in between, perhaps by a link: look again.
            Err(Errno::LOOP | Errno::NOTDIR) => continue,
            Err(why) => return Err(why),
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            continue;
        }
        return Ok(Some(match kind {
            FileType::Directory => Found::Folder(stat, fd),
            _ => Found::File(stat, File::from(fd)),
        }));
    }
    Err(Errno::AGAIN)
}

/// Opens a folder by its path below the root, name by name and never through a link.
fn open_below(root: &Path, path: &TreePath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFELY;
    let mut folder = rustix::fs::open(root, flags, Mode::empty())?;
    for name in path
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        folder = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
    }
    Ok(folder)
}

/// Returns a folder's names in reverse order; the walk pops the next one off the end.
fn list(folder: std::os::fd::BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
    Ok(names)
}

fn tree_path(bytes: &[u8], shown: &Path) -> Result<TreePath, Failure> {
    TreePath::new(bytes).map_err(|why| unreadable("name", shown, &io::Error::other(why)))
}

/// Returns the kind of a FIFO or a device; none for a socket.
fn special(stat: &Stat) -> Option<EntryKind> {
    let number = DeviceNumber {
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => Some(EntryKind::Fifo),
        FileType::CharacterDevice => Some(EntryKind::CharDevice(number)),
        FileType::BlockDevice => Some(EntryKind::BlockDevice(number)),
        _ => None,
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[allow(clippy::useless_conversion, reason = "the count has 32 bits on some machines")]
fn links(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

/// Returns the entry of a stat.
pub(crate) fn entry(path: TreePath, kind: EntryKind, stat: &Stat) -> Entry {
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_s: stat.st_mtime,
        mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ctime_ns: stat
            .st_ctime
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        inode: stat.st_ino,
        first_name: None,
        xattrs: Vec::new(),
        names: match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => links(stat),
            _ => 0,
        },
    }
}

/// Returns whether an error is about one path. Other errors, such as too many open files or a file system that does not
/// answer, would be the same for all: then nothing is left out, and the capture is tried again.
fn is_about_the_path(why: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(why),
        Some(Errno::ACCESS | Errno::PERM | Errno::IO | Errno::NODATA)
    )
}
