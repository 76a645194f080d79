//! The aside folders of a recovery in place: beside the root where one rename leads there, else inside it.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use rustix::fs::{Access, AtFlags, CWD, StatxFlags};

/// What the name of an aside folder inside the root begins with; no files source captures it.
const INSIDE: &str = ".rekindle-before-";

/// Returns the folder for what is at `within` below `root`: `<root>.before-<run>` beside the root, and where
/// that is on another file system or may not be made, one inside the file system that `within` is on. Before there is a
/// run, `run` is what stands for its id.
pub fn aside_folder(root: &Path, run: impl Display, within: &Path) -> PathBuf {
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
pub(super) fn unescaped(field: &[u8]) -> PathBuf {
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

fn beside(root: &Path, run: impl Display) -> PathBuf {
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
pub(super) fn mount(path: &Path) -> Option<(u64, u32, u32)> {
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
