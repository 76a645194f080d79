//! What stands where a recovery in place is going to write: found, and moved out of the way.
//!
//! Each move is one rename that replaces nothing, of a whole folder where everything in it belongs to the
//! component and no other one may write there, so a kill between two leaves every file in one of two known
//! places. What no component claims, the workspace, the tiers and the key stay where they are. The system's own
//! file stays too, since nothing works without it; as the restore may replace it, a copy goes aside.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::entry::{EntryKind, TreePath, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::system::Source;
use rekindle_sources::files::{Excludes, FilesSource};
use rustix::fs::{Access, AtFlags, CWD, RenameFlags, StatxFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::failures;

/// The files that SQLite keeps beside a database; they belong to the one that moves.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// What the name of an aside folder inside the root begins with; no files source captures it.
const INSIDE: &str = ".rekindle-before-";

/// What stands at a target, as paths below the root.
#[derive(Debug, Default)]
pub struct Standing {
    /// Files and links.
    pub files: Vec<PathBuf>,
    /// Folders, each before what is in it.
    folders: Vec<PathBuf>,
}

impl Standing {
    /// Returns all of it that could be moved: the root itself never is.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.folders.iter().chain(&self.files).map(PathBuf::as_path);
        all.filter(|path| !path.as_os_str().is_empty())
    }
}

/// What is never moved, though a component may claim it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Not even looked at: the workspace, the tiers, the key's folder.
    pub never: Vec<PathBuf>,
    /// Copied aside and left in place: the system's file.
    pub copied: Vec<PathBuf>,
}

/// One thing that goes aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Where it stands below the root, and will stand below the aside folder.
    pub(crate) path: TreePath,
    /// The aside folder: the one of the file system that it stands on.
    pub(crate) aside: PathBuf,
    /// Whether it is copied, and stays where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) copied: bool,
}

impl Move {
    pub(crate) fn from(&self, root: &Path) -> PathBuf {
        root.join(OsStr::from_bytes(self.path.as_bytes()))
    }

    pub(crate) fn to(&self) -> PathBuf {
        self.aside.join(OsStr::from_bytes(self.path.as_bytes()))
    }

    /// Returns whether it has yet to be done.
    pub(crate) fn stands(&self, root: &Path) -> bool {
        is_there(&self.from(root)) && !(self.copied && is_there(&self.to()))
    }
}

/// Returns the files and links at a component's target, relative to `root`, and its folders, outermost first.
pub fn standing(root: &Path, source: &Source, never: &[PathBuf]) -> Result<Standing, Failure> {
    let mut found = Standing::default();
    let Some(own) = own_path(source) else {
        return Ok(found);
    };
    let place = root.join(&own);
    match source {
        Source::Sqlite { .. } => {
            let sidecars = SIDECARS.iter().map(|suffix| {
                let mut name: OsString = own.clone().into_os_string();
                name.push(suffix);
                PathBuf::from(name)
            });
            found.files.extend(
                std::iter::once(own.clone())
                    .chain(sidecars)
                    .filter(|path| is_there(&root.join(path))),
            );
        }
        Source::Files { include, exclude, .. } if is_there(&place) => {
            // A link is moved as the link that it is; the root itself is where things stand, link or not.
            if !own.as_os_str().is_empty() && (place.is_symlink() || !place.is_dir()) {
                found.files.push(own);
                return Ok(found);
            }
            let mut walk = FilesSource::open(&place, include, exclude, never)?;
            while let Some(entry) = walk.next_entry()? {
                // Of the tree's root the name is empty, and to join it would end the path with a slash.
                let path = match entry.path.is_root() {
                    true => own.clone(),
                    false => own.join(OsStr::from_bytes(entry.path.as_bytes())),
                };
                match entry.kind {
                    EntryKind::Dir => found.folders.push(path),
                    EntryKind::File { .. } | EntryKind::Symlink { .. } => found.files.push(path),
                }
            }
        }
        Source::Files { .. } | Source::Command { .. } => {}
    }
    Ok(found)
}

/// Returns the folder for what stands at `within` below `root`: `<root>.before-<run>` beside the root, and where
/// that is on another file system or may not be made, one inside the file system that `within` is on.
pub fn aside_folder(root: &Path, run: RunId, within: &Path) -> PathBuf {
    let within = existing(within);
    if let Some(above) = root.parent().map(existing)
        && mount(above) == mount(within)
        && rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    {
        return beside(root, run);
    }
    let mut top = if within.starts_with(root) { within } else { root };
    while top != root
        && let Some(above) = top.parent()
        && mount(above) == mount(top)
    {
        top = above;
    }
    top.join(format!("{INSIDE}{run}"))
}

/// Returns the folders that [`aside_folder`] can have named for a run and that are there.
pub fn asides(root: &Path, run: RunId) -> Vec<PathBuf> {
    let name = format!("{INSIDE}{run}");
    let inside = mount_points(root).into_iter().map(|top| top.join(&name));
    let mut found: Vec<PathBuf> = [beside(root, run), root.join(&name)]
        .into_iter()
        .chain(inside)
        .filter(|folder| folder.is_dir())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns where other file systems are mounted below a folder; none where the kernel does not tell.
fn mount_points(root: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points
        .map(unescaped)
        .filter(|point| point.starts_with(root))
        .collect()
}

/// Returns a path of the mount table, in which blanks and backslashes are three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let byte = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(byte.unwrap_or(*first));
        rest = byte.map_or(after, |_| &after[3..]);
    }
    PathBuf::from(OsString::from_vec(path))
}

/// Returns what has to be moved for a component to be restored, the fewest renames that take nothing else along.
///
/// `others` are the sources of the system's other components: they may be restored at the same time, and a folder
/// in which one of them may write is never moved as a whole.
pub(crate) fn moves(
    root: &Path,
    run: RunId,
    source: &Source,
    others: &[Source],
    kept: &Kept,
) -> Result<Vec<Move>, Failure> {
    let found = standing(root, source, &kept.never)?;
    let others: Vec<Reach> = others
        .iter()
        .filter_map(|other| Some((own_path(other)?, other)))
        .map(|(own, other)| Reach::of(own, other))
        .collect::<Result<_, _>>()?;
    let copied: Vec<PathBuf> = kept
        .copied
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let stays = |path: &Path| {
        copied.iter().any(|copied| copied.file_name() == path.file_name())
            && root
                .join(path)
                .canonicalize()
                .is_ok_and(|path| copied.contains(&path))
    };
    let (copies, files): (Vec<PathBuf>, Vec<PathBuf>) = found.files.into_iter().partition(|path| stays(path));
    let claimed: HashSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut whole: HashSet<&Path> = HashSet::new();
    // Folders stand before what is in them: from the end, each comes after all that is in it.
    for folder in found.folders.iter().rev() {
        if others.iter().any(|other| other.enters(folder)) {
            continue;
        }
        if is_whole(root, folder, &claimed, &whole).map_err(|error| unmoved(&root.join(folder), &error))? {
            whole.insert(folder);
        }
    }
    let above = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut covered: HashSet<&Path> = HashSet::new();
    let mut found_moves = Vec::new();
    let mut add = |path: &Path, copied: bool| {
        let aside = aside_folder(root, run, &root.join(above(path)));
        let path = TreePath::new(path.as_os_str().as_bytes())
            .map_err(|error| failures::io(&path.display().to_string(), &io::Error::other(error)))?;
        found_moves.push(Move { path, aside, copied });
        Ok::<(), Failure>(())
    };
    for folder in &found.folders {
        if covered.contains(above(folder).as_path()) && !folder.as_os_str().is_empty() {
            covered.insert(folder);
        } else if whole.contains(folder.as_path())
            && !folder.as_os_str().is_empty()
            && mount(&root.join(folder)) == mount(&root.join(above(folder)))
        {
            add(folder, false)?;
            covered.insert(folder);
        }
    }
    for file in files
        .iter()
        .filter(|file| !covered.contains(above(file).as_path()))
    {
        add(file, false)?;
    }
    for file in &copies {
        add(file, true)?;
    }
    Ok(found_moves)
}

/// What one component may write to when it is restored.
struct Reach {
    own: PathBuf,
    /// What a folder's component leaves out; none for a single database.
    excludes: Option<Excludes>,
}

impl Reach {
    fn of(own: PathBuf, source: &Source) -> Result<Self, Failure> {
        let excludes = match source {
            Source::Files { exclude, .. } => Some(Excludes::new(exclude)?),
            Source::Sqlite { .. } | Source::Command { .. } => None,
        };
        Ok(Self { own, excludes })
    }

    /// Returns whether it may write into a folder, at any depth.
    fn enters(&self, folder: &Path) -> bool {
        match (&self.excludes, folder.strip_prefix(&self.own)) {
            (Some(excludes), Ok(below)) => !excludes.leaves_out(below),
            _ => self.own.starts_with(folder),
        }
    }
}

/// Returns where a source's data stand below the root: empty for the root itself, none where only programs know.
fn own_path(source: &Source) -> Option<PathBuf> {
    let parts = Path::new(source.path()?).components();
    Some(
        parts
            .filter(|part| !matches!(part, std::path::Component::CurDir))
            .collect(),
    )
}

/// Returns whether everything in a folder, at any depth, is claimed and on the folder's own file system.
fn is_whole(root: &Path, folder: &Path, files: &HashSet<&Path>, whole: &HashSet<&Path>) -> io::Result<bool> {
    let here = mount(&root.join(folder));
    for entry in fs::read_dir(root.join(folder))? {
        let path = folder.join(entry?.file_name());
        let taken = files.contains(path.as_path())
            || (whole.contains(path.as_path()) && mount(&root.join(&path)) == here);
        if !taken {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Does one move; one that was done before is no error.
pub(crate) fn set_aside(root: &Path, it: &Move) -> Result<(), Failure> {
    let (from, to) = (it.from(root), it.to());
    let mut made = Vec::new();
    let done = make_above(root, it, &mut made).and_then(|()| match it.copied {
        true => copy(&from, &to),
        false => take(&from, &to),
    });
    // Where nothing was moved after all, what was made for it goes; of an empty folder that was moved, nothing does.
    for folder in made.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
    done.map_err(|error| unmoved(&from, &error))
}

/// Makes all that was renamed durable, on both sides.
pub(crate) fn sync(root: &Path, moves: &[Move]) -> Result<(), Failure> {
    let asides: HashSet<&Path> = moves.iter().map(|it| it.aside.as_path()).collect();
    for folder in asides.into_iter().chain([root]) {
        File::open(folder)
            .and_then(|folder| rustix::fs::syncfs(folder).map_err(io::Error::from))
            .map_err(|error| unmoved(folder, &error))?;
    }
    Ok(())
}

fn unmoved(path: &Path, error: &io::Error) -> Failure {
    let failure = failures::io(&format!("move {} aside", path.display()), error);
    match failure.hint {
        Some(_) => failure,
        None => failure.with_hint(
            "nothing was overwritten; clear the cause and recover again, or recover --to another folder",
        ),
    }
}

/// Makes the folders that a moved path stands in, each as its original is, and adds them to `added`.
fn make_above(root: &Path, it: &Move, added: &mut Vec<PathBuf>) -> io::Result<()> {
    if !it.aside.is_dir() {
        fs::create_dir_all(it.aside.parent().unwrap_or(Path::new("/")))?;
        make_like(root, &it.aside)?;
        added.push(it.aside.clone());
    }
    let (mut original, mut made) = (root.to_owned(), it.aside.clone());
    let path = it.from(Path::new(""));
    for name in path.parent().into_iter().flat_map(Path::components) {
        original.push(name);
        made.push(name);
        if !made.is_dir() {
            make_like(&original, &made)?;
            added.push(made.clone());
        }
    }
    Ok(())
}

/// Makes a folder with the mode of another and, where this user may, its owner.
fn make_like(original: &Path, folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        made => made?,
    }
    if let Ok(like) = fs::metadata(original) {
        let _ = std::os::unix::fs::chown(folder, Some(like.uid()), Some(like.gid()));
        fs::set_permissions(folder, like.permissions())?;
    }
    Ok(())
}

/// Renames without replacing: a name that is taken by an earlier move gets a number, folders are joined.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let mut target = to.to_owned();
    for n in 2_u32.. {
        match rename(from, &target) {
            Err(Errno::NOENT) if !is_there(from) => return Ok(()),
            Err(Errno::EXIST) if is_folder(from) && is_folder(&target) => return join(from, &target),
            // Some layered file systems rename files but not folders.
            Err(Errno::XDEV) if is_folder(from) => {
                make_like(from, &target)?;
                return join(from, &target);
            }
            Err(Errno::EXIST) => {
                let mut name = to.as_os_str().to_owned();
                name.push(format!(".{n}"));
                target = PathBuf::from(name);
            }
            result => return result.map_err(io::Error::from),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

fn rename(from: &Path, to: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag.
        Err(Errno::INVAL) if is_there(to) => Err(Errno::EXIST),
        Err(Errno::INVAL) => rustix::fs::rename(from, to),
        result => result,
    }
}

fn join(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        take(&from.join(&name), &to.join(&name))?;
    }
    fs::remove_dir(from)
}

/// Copies under a passing name first, so that what has the name is whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut passing = to.as_os_str().to_owned();
    passing.push(".part");
    let passing = PathBuf::from(passing);
    fs::copy(from, &passing)?;
    let copied = File::options().write(true).open(&passing)?;
    copied.set_modified(from.metadata()?.modified()?)?;
    copied.sync_all()?;
    fs::rename(&passing, to)
}

fn beside(root: &Path, run: RunId) -> PathBuf {
    let mut name = root.as_os_str().to_owned();
    name.push(format!(".before-{run}"));
    PathBuf::from(name)
}

/// Returns the nearest folder above a path, or the path itself, that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}

/// Returns what two paths share between which a rename is possible: the mount, or where the kernel does not tell
/// it, the device.
fn mount(path: &Path) -> Option<(u64, u32, u32)> {
    let found = rustix::fs::statx(
        CWD,
        path,
        AtFlags::empty(),
        StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
    )
    .ok()?;
    let known = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let mount = if known { found.stx_mnt_id } else { 0 };
    Some((mount, found.stx_dev_major, found.stx_dev_minor))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use rekindle_model::time::{Clock, SystemClock};

    use super::*;

    fn files(path: &str, include: &[&str]) -> Source {
        let include = include.iter().map(|glob| (*glob).to_owned()).collect();
        Source::Files {
            path: path.to_owned(),
            include,
            exclude: Vec::new(),
        }
    }

    struct Ground {
        _temp: tempfile::TempDir,
        root: PathBuf,
        aside: PathBuf,
        run: RunId,
    }

    impl Ground {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let run = RunId::new(&SystemClock.now());
            let root = temp.path().join("data");
            let aside = temp.path().join(format!("data.before-{run}"));
            Self {
                _temp: temp,
                root,
                aside,
                run,
            }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn take(&self, source: &Source, kept: &Kept) -> Vec<String> {
            self.take_beside(source, &[], kept)
        }

        fn take_beside(&self, source: &Source, others: &[Source], kept: &Kept) -> Vec<String> {
            let moves = moves(&self.root, self.run, source, others, kept).unwrap();
            for it in &moves {
                set_aside(&self.root, it).unwrap();
            }
            moves.iter().map(|it| it.path.display()).collect()
        }

        fn aside(&self, path: &str) -> String {
            fs::read_to_string(self.aside.join(path)).unwrap()
        }
    }

    #[test]
    fn what_is_gone_before_it_is_moved_leaves_no_folder_and_an_empty_folder_that_was_moved_stays() {
        let ground = Ground::new();
        ground.write("a/b/one.md", "1");
        let other = ground.root.join("a/other.bin");
        fs::write(&other, "stays").unwrap();
        let found = moves(
            &ground.root,
            ground.run,
            &files("a", &["**/*.md"]),
            &[],
            &Kept::default(),
        )
        .unwrap();
        fs::remove_dir_all(ground.root.join("a/b")).unwrap();
        for it in &found {
            set_aside(&ground.root, it).unwrap();
        }
        assert!(!ground.aside.exists(), "{found:?}");
        assert_eq!(asides(&ground.root, ground.run), Vec::<PathBuf>::new());

        fs::create_dir_all(ground.root.join("a/queue/new")).unwrap();
        assert_eq!(ground.take(&files("a/queue", &[]), &Kept::default()), ["a/queue"]);
        assert!(ground.aside.join("a/queue/new").is_dir());
        // Something that goes below it and is gone takes nothing away.
        let gone = Move {
            path: TreePath::new(b"a/queue/new/x").unwrap(),
            aside: ground.aside.clone(),
            copied: false,
        };
        set_aside(&ground.root, &gone).unwrap();
        assert!(ground.aside.join("a/queue/new").is_dir());
        assert_eq!(
            asides(&ground.root, ground.run),
            std::slice::from_ref(&ground.aside)
        );
    }

    #[test]
    fn a_mount_point_is_read_as_the_kernel_spells_it() {
        assert_eq!(unescaped(b"/a\\040b\\134c/\\09"), Path::new("/a b\\c/\\09"));
    }

    #[test]
    fn only_what_the_component_claims_moves_and_nothing_is_replaced() {
        let ground = Ground::new();
        ground.write("a/one.md", "1");
        ground.write("a/deep/two.md", "2");
        ground.write("a/other.bin", "stays");
        ground.write("db/x.sqlite", "db");
        ground.write("db/x.sqlite-wal", "wal");
        let notes = files("a", &["**/*.md"]);
        assert_eq!(ground.take(&notes, &Kept::default()), ["a/deep", "a/one.md"]);
        let database = Source::Sqlite {
            path: "db/x.sqlite".to_owned(),
        };
        assert_eq!(
            ground.take(&database, &Kept::default()),
            ["db/x.sqlite", "db/x.sqlite-wal"]
        );
        assert!(ground.root.join("a/other.bin").exists() && !ground.root.join("a/deep").exists());
        assert_eq!(
            (ground.aside("a/deep/two.md"), ground.aside("db/x.sqlite-wal")),
            ("2".into(), "wal".into())
        );

        // Cut off after the first move and made again, with new files under the old names.
        ground.write("a/one.md", "new");
        ground.write("a/deep/two.md", "newer");
        ground.take(&notes, &Kept::default());
        assert_eq!(
            (ground.aside("a/one.md"), ground.aside("a/one.md.2")),
            ("1".into(), "new".into())
        );
        assert_eq!(
            (ground.aside("a/deep/two.md"), ground.aside("a/deep/two.md.2")),
            ("2".into(), "newer".into())
        );
    }

    #[test]
    fn a_folder_that_is_all_the_components_moves_as_one_and_the_root_itself_never_does() {
        let ground = Ground::new();
        ground.write("a/b/c/one", "1");
        ground.write("a/b/two", "2");
        ground.write("top", "3");
        assert_eq!(ground.take(&files("a", &[]), &Kept::default()), ["a"]);
        assert_eq!(ground.aside("a/b/c/one"), "1");
        assert_eq!(ground.take(&files(".", &[]), &Kept::default()), ["top"]);
        assert!(ground.root.is_dir());
    }

    #[test]
    fn a_folder_in_which_another_component_may_write_is_moved_file_by_file() {
        let ground = Ground::new();
        for path in ["pages/deep/one.md", "pages/two.md", "own/three.md"] {
            ground.write(path, path);
        }
        let all_but = |exclude: &str| Source::Files {
            path: ".".to_owned(),
            include: Vec::new(),
            exclude: vec![exclude.to_owned()],
        };
        // Nothing of it stands in pages/deep now: its restore may be about to put something there.
        let images = files("pages", &["*.png"]);
        let texts = files(".", &["*.md"]);
        assert_eq!(
            ground.take_beside(&texts, std::slice::from_ref(&images), &Kept::default()),
            ["own", "pages/deep/one.md", "pages/two.md"]
        );
        assert!(ground.root.join("pages/deep").is_dir());

        let ground = Ground::new();
        ground.write("pages/deep/one.md", "1");
        let rest = all_but("pages");
        assert_eq!(
            ground.take_beside(&files("pages", &[]), &[rest], &Kept::default()),
            ["pages"],
            "what it excludes, another component does not write to"
        );
    }

    #[test]
    fn what_was_cut_off_between_any_two_moves_ends_the_same() {
        let source = files(".", &["*.md"]);
        let begin = || {
            let ground = Ground::new();
            for folder in ["a", "b", "c/d"] {
                ground.write(&format!("{folder}/one.md"), folder);
                ground.write(&format!("{folder}/other.bin"), "stays");
            }
            ground.write("whole/deep/two.md", "2");
            ground.write("system.yaml.md", "3");
            let kept = Kept {
                never: Vec::new(),
                copied: vec![ground.root.join("system.yaml.md")],
            };
            (ground, kept)
        };
        let look = |folder: &Path| {
            let mut found = Vec::new();
            let mut folders = vec![folder.to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    match path.is_dir() {
                        true => folders.push(path),
                        false => found.push((path.clone(), fs::read_to_string(path).unwrap())),
                    }
                }
            }
            found.sort();
            found
        };
        let relative = |found: Vec<(PathBuf, String)>, folder: &Path| -> Vec<(PathBuf, String)> {
            let below =
                |(path, text): (PathBuf, String)| (path.strip_prefix(folder).unwrap().to_owned(), text);
            found.into_iter().map(below).collect()
        };
        let both = |ground: &Ground| {
            (
                relative(look(&ground.root), &ground.root),
                relative(look(&ground.aside), &ground.aside),
            )
        };
        let (whole, kept) = begin();
        let count = whole.take(&source, &kept).len();
        assert_eq!(count, 5, "four renames and a copy");
        for done in 0..=count {
            let (ground, kept) = begin();
            let all = moves(&ground.root, ground.run, &source, &[], &kept).unwrap();
            for it in &all[..done] {
                set_aside(&ground.root, it).unwrap();
            }
            // A new process knows nothing but what it finds, or what was recorded: both end the same.
            ground.take(&source, &kept);
            for it in &all {
                set_aside(&ground.root, it).unwrap();
            }
            assert_eq!(both(&ground), both(&whole), "cut off after {done} of {count}");
        }
    }

    #[test]
    fn what_must_stay_stays_with_a_copy_aside_where_it_may_be_replaced() {
        let ground = Ground::new();
        for path in [
            "system.yaml",
            "notes/a",
            ".rekindle/log",
            "keys/identity",
            "notes/.rekindle-partial-1",
        ] {
            ground.write(path, path);
        }
        let kept = Kept {
            never: vec![ground.root.join(".rekindle"), ground.root.join("keys")],
            copied: vec![ground.root.join("system.yaml")],
        };
        assert_eq!(ground.take(&files(".", &[]), &kept), ["notes/a", "system.yaml"]);
        for path in ["system.yaml", ".rekindle/log", "keys/identity"] {
            assert_eq!(fs::read_to_string(ground.root.join(path)).unwrap(), path);
        }
        assert_eq!(
            (ground.aside("system.yaml"), ground.aside("notes/a")),
            ("system.yaml".into(), "notes/a".into())
        );
        assert!(!ground.aside.join("keys").exists() && !ground.aside.join(".rekindle").exists());
    }
}
