//! Objects as files below one folder.
//!
//! **Reading** opens through no symbolic link below the folder and without blocking, and takes only regular
//! files. So what another program left in an object's place cannot lead elsewhere or hang the reader.
//!
//! **Writing** goes through a temporary file `NAME#HEX` beside the object: fsync, then a rename (or a hard
//! link, which fails if the name exists), then an fsync of the folder. The writer holds a lock on its temporary
//! file. A killed writer leaves the file without the lock, and so anyone can tell that it is over.
//!
//! Files are made with mode 0600 and folders with 0700, under any umask: they hold one owner's backups.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rekindle_model::planted;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use uuid::Uuid;

use crate::beneath::{self, FOLDER};
use crate::object::{FORMAT_MARKER, WRAPPED_KEY};
use crate::store::{Store, StoreError, Temporary};

/// Splits an object's name from the rest of its temporary name. No object has it in its name.
const TEMPORARY: char = '#';

/// How often a write begins again because someone took its temporary file for an abandoned one.
const TRIES: u32 = 3;

/// How deep folders are listed. Objects lie at most two folders deep.
const DEEPEST: u32 = 4;

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A folder of the local file system.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: Arc<Path>,
}

/// Why a call failed, before it is put into words.
enum Fault {
    Errno(Errno),
    /// Something else is in the object's place.
    NotAFile(&'static str),
    TooLarge(u64),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP => Self::NotAFile("it is a symbolic link, or behind one"),
            Errno::NOTDIR => Self::NotAFile("its folder is a file or a symbolic link"),
            Errno::ISDIR => Self::NotAFile("it is a folder"),
            Errno::NXIO => Self::NotAFile("it is a socket or a device"),
            errno => Self::Errno(errno),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

impl LocalStore {
    /// Opens a folder that exists.
    ///
    /// # Errors
    /// It is missing, is no folder, or cannot be opened.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        match store.folder() {
            Ok(_) => Ok(store),
            Err(errno) => Err(store.error("open", "the folder", errno.into())),
        }
    }

    /// Opens the folder itself. A link that the person named is followed.
    fn folder(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&*self.root, flags, Mode::empty())
    }

    fn read(&self, path: &str, most: u64) -> Result<Bytes, Fault> {
        let (mut file, len) = self.open_object(path)?;
        let most = if planted::is(planted::Fault::SizeUnbounded) {
            u64::MAX
        } else {
            most
        };
        if len > most {
            return Err(Fault::TooLarge(len));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        // One byte more than allowed shows that the file grew meanwhile.
        (&mut file).take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 {
            read if read > most => Err(Fault::TooLarge(read)),
            _ => Ok(bytes.into()),
        }
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, Fault> {
        let (file, have) = self.open_object(path)?;
        let len = len.min(have.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// Opens an object for reading; returns its length too.
    fn open_object(&self, path: &str) -> Result<(File, u64), Fault> {
        let file = beneath::open(self.folder()?, path.as_bytes(), READ)?;
        let stat = rustix::fs::fstat(&file)?;
        match other_than_a_file(FileType::from_raw_mode(stat.st_mode)) {
            Some(what) => Err(Fault::NotAFile(what)),
            None => Ok((file.into(), u64::try_from(stat.st_size).unwrap_or_default())),
        }
    }

    /// Opens a folder below the root for writing into it, and makes it durably if it is missing.
    fn made(&self, path: &str) -> Result<OwnedFd, Fault> {
        let folder = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = self.folder()?;
        match beneath::open(&root, path.as_bytes(), folder) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let mut deeper = beneath::open(&root, b"", folder)?;
        for name in path.split('/') {
            match rustix::fs::mkdirat(&deeper, name, Mode::RWXU) {
                Ok(()) => {
                    rustix::fs::chmodat(&deeper, name, Mode::RWXU, AtFlags::empty())?;
                    rustix::fs::fsync(&deeper)?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            deeper = beneath::open(&deeper, name.as_bytes(), folder)?;
        }
        Ok(deeper)
    }

    /// Writes an object; returns false if `exclusive` and there is one already.
    fn write(&self, path: &str, bytes: &[u8], exclusive: bool) -> Result<bool, Fault> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.made(folder)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut temporary = BeingWritten::new(&folder, name)?;
            match temporary
                .write(bytes)
                .and_then(|()| temporary.publish(name, exclusive))
            {
                // Someone removed the temporary file before this process had its lock.
                Err(Errno::NOENT | Errno::AGAIN) if tries < TRIES => {}
                published => {
                    let published = published?;
                    rustix::fs::fsync(&folder)?;
                    return Ok(published);
                }
            }
        }
    }

    /// Calls `see` with each file under a folder that is an object or a temporary: its folder, its name, its
    /// path, and its type.
    fn walk(&self, path: &str, see: &mut See<'_>) -> Result<(), Fault> {
        match beneath::open(
            self.folder()?,
            path.as_bytes(),
            OFlags::RDONLY | OFlags::DIRECTORY,
        ) {
            Ok(folder) => walk_folder(&folder, path, DEEPEST, see),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn lengths(&self, path: &str) -> Result<Vec<(String, u64)>, Fault> {
        let mut found = Vec::new();
        self.walk(path, &mut |folder, name, path, kind| {
            if name.contains(TEMPORARY) {
                return Ok(());
            }
            let len = match kind {
                FileType::RegularFile => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => u64::try_from(stat.st_size).unwrap_or_default(),
                    Err(Errno::NOENT) => return Ok(()),
                    Err(errno) => return Err(errno.into()),
                },
                _ => 0,
            };
            found.push((path, len));
            Ok(())
        })?;
        Ok(found)
    }

    fn abandoned(&self, remove: bool) -> Result<Vec<Temporary>, Fault> {
        let mut found = Vec::new();
        self.walk("", &mut |folder, name, path, kind| {
            if kind == FileType::RegularFile
                && is_temporary(name)
                && let Some(len) = len_if_abandoned(folder, name, remove)?
            {
                found.push(Temporary { path, len });
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn names(&self, path: &str) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        let folder = match beneath::open(
            self.folder()?,
            path.as_bytes(),
            OFlags::RDONLY | OFlags::DIRECTORY,
        ) {
            Err(Errno::NOENT) => return Ok(names),
            opened => opened?,
        };
        for (name, kind) in entries(&folder)? {
            if kind != FileType::RegularFile {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes an object; returns whether there was one.
    fn remove(&self, path: &str) -> Result<bool, Fault> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let removed = beneath::open(self.folder()?, folder.as_bytes(), FOLDER).and_then(|folder| {
            match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
                // An empty folder in an object's place goes too.
                Err(Errno::ISDIR) => rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR),
                removed => removed,
            }
        });
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn error(&self, action: &'static str, path: &str, fault: Fault) -> StoreError {
        // The location itself has no path within it, and every message names something.
        let path = if path.is_empty() { "the folder" } else { path }.to_owned();
        let location = self.root.display().to_string();
        match fault {
            Fault::Errno(Errno::NOENT) => StoreError::NotFound { path },
            Fault::Errno(Errno::NOSPC | Errno::DQUOT) => StoreError::DiskFull { location, path },
            Fault::Errno(errno) => StoreError::Failed {
                action,
                location,
                path,
                why: std::io::Error::from(errno).to_string(),
            },
            Fault::NotAFile(what) => StoreError::NotAFile { location, path, what },
            Fault::TooLarge(len) => StoreError::TooLarge { location, path, len },
        }
    }

    /// Runs a call off the asynchronous threads.
    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &str,
        call: impl FnOnce(&Self, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, owned) = (self.clone(), path.to_owned());
        let done = tokio::task::spawn_blocking(move || call(&store, &owned)).await;
        done.unwrap_or(Err(Fault::Errno(Errno::IO)))
            .map_err(|fault| self.error(action, path, fault))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, StoreError> {
        self.call("read", path, move |store, path| store.read(path, most))
            .await
    }

    async fn get_range(&self, path: &str, offset: u64, len: u64) -> Result<Bytes, StoreError> {
        let read = move |store: &Self, path: &str| store.read_range(path, offset, len);
        self.call("read", path, read).await
    }

    async fn len(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let len = |store: &Self, path: &str| match store.open_object(path) {
            Ok((_, len)) => Ok(Some(len)),
            Err(Fault::Errno(Errno::NOENT)) => Ok(None),
            Err(fault) => Err(fault),
        };
        self.call("look at", path, len).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let write = move |store: &Self, path: &str| store.write(path, &bytes, false);
        self.call("write", path, write).await.map(drop)
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let write = move |store: &Self, path: &str| match store.write(path, &bytes, true) {
            // FAT reports EPERM. No other cause is left: the object was written just before.
            Err(Fault::Errno(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)) => Ok(None),
            written => written.map(Some),
        };
        let created = self.call("create", path, write).await?;
        created.ok_or_else(|| StoreError::NotExclusive {
            location: self.root.display().to_string(),
            path: path.to_owned(),
            why: "its file system has no hard links".to_owned(),
        })
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.call("list", folder, |store, path| store.names(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.call("list", folder, |store, path| store.lengths(path)).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.call("delete", path, |store, path| store.remove(path))
            .await
            .map(drop)
    }

    async fn abandoned(&self, remove: bool) -> Result<Vec<Temporary>, StoreError> {
        self.call("list", "", move |store, _| store.abandoned(remove))
            .await
    }
}

/// A temporary file that this process writes and holds the lock of. Dropping it removes the file, unless it
/// was renamed.
struct BeingWritten<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> BeingWritten<'a> {
    fn new(folder: &'a OwnedFd, object: &str) -> Result<Self, Errno> {
        let name = format!("{object}{TEMPORARY}{}", Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &name, flags, FILE_MODE)?;
        Ok(Self {
            folder,
            name,
            file: file.into(),
            renamed: false,
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            // A file system without locks leaves its temporary files to a person.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::fchmod(&self.file, FILE_MODE)?;
        let written = (&self.file).write_all(bytes).and_then(|()| self.file.sync_all());
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Gives the file the object's name; returns false if `exclusive` and something has it already.
    fn publish(&mut self, object: &str, exclusive: bool) -> Result<bool, Errno> {
        if !exclusive {
            let rename = || rustix::fs::renameat(self.folder, &self.name, self.folder, object);
            match rename() {
                // Nothing is lost with an empty folder in the object's place.
                Err(Errno::ISDIR) => {
                    let removed = rustix::fs::unlinkat(self.folder, object, AtFlags::REMOVEDIR);
                    removed.map_err(|_| Errno::ISDIR)?;
                    rename()?;
                }
                renamed => renamed?,
            }
            self.renamed = true;
            return Ok(true);
        }
        let link = || rustix::fs::linkat(self.folder, &self.name, self.folder, object, AtFlags::empty());
        match link() {
            Ok(()) => Ok(true),
            // An empty folder is no object. The call that removes it may create one.
            Err(Errno::EXIST) => match rustix::fs::unlinkat(self.folder, object, AtFlags::REMOVEDIR) {
                Ok(()) => match link() {
                    Err(Errno::EXIST) => Ok(false),
                    linked => linked.map(|()| true),
                },
                Err(_) => Ok(false),
            },
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for BeingWritten<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed now is found as abandoned later.
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Returns the length of a temporary file if no living process writes it. Removes it if asked to.
fn len_if_abandoned(folder: &OwnedFd, name: &str, remove: bool) -> Result<Option<u64>, Fault> {
    // Some network file systems lock only what is open for writing.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else {
        return Ok(None);
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let len = rustix::fs::fstat(&file)?.st_size;
    if remove {
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Some(u64::try_from(len).unwrap_or_default()))
}

/// Returns whether a name is a temporary one of an object: its number after the sign is ours (a UUID), or of an earlier
/// version (decimal). A person's file in the folder is none.
fn is_temporary(name: &str) -> bool {
    let Some((object, number)) = name.split_once(TEMPORARY) else {
        return false;
    };
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let of_object = digits(object, 64)
        || digits(object, 10)
        || Uuid::try_parse(object).is_ok()
        || matches!(object, FORMAT_MARKER | WRAPPED_KEY);
    let earlier = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    of_object && (digits(number, 32) || earlier)
}

type See<'a> = dyn FnMut(&OwnedFd, &str, String, FileType) -> Result<(), Fault> + 'a;

fn walk_folder(folder: &OwnedFd, path: &str, deepest: u32, see: &mut See<'_>) -> Result<(), Fault> {
    for (name, kind) in entries(folder)? {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}/{name}")
        };
        if kind != FileType::Directory {
            see(folder, &name, path, kind)?;
        } else if let Some(deeper) = deepest.checked_sub(1) {
            match beneath::open(folder, name.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(inner) => walk_folder(&inner, &path, deeper, see)?,
                // It was removed or replaced since it was listed.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                // A disk of its own has this folder, which only root may open.
                Err(Errno::ACCESS) if path == "lost+found" => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

/// Returns the names in a folder with their types. No object has a name that is not UTF-8.
fn entries(folder: &OwnedFd) -> Result<Vec<(String, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

/// Returns what something is; none for a regular file.
fn other_than_a_file(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("it is a folder"),
        FileType::Symlink => Some("it is a symbolic link"),
        FileType::Fifo => Some("it is a FIFO"),
        FileType::Socket => Some("it is a socket"),
        _ => Some("it is a device"),
    }
}
