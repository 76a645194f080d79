//! The aside folders of a recovery in place. Such a folder is beside the root if one rename leads there, else inside
//! the root.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rekindle_model::id::RunId;
use rustix::fs::{Access, AtFlags, CWD, StatxFlags};

/// How the name of an aside folder inside the root begins. No files source captures such a folder.
const INSIDE: &str = ".rekindle-before-";

/// Returns the aside folder for the content at `within` below `root`. It is `<root>.before-<run>` beside the root. If
/// that place is on another file system or not writable, the folder is at the top of the file system of `within`.
/// Before a run exists, `run` is a placeholder for its id.
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

/// Returns the existing folders that [`aside_folder`] can have named for a run.
pub fn asides(root: &Path, run: RunId) -> Vec<PathBuf> {
    let places = aside_places(root, run).into_iter();
    places.filter(|folder| folder.is_dir()).collect()
}

/// Returns the places that [`aside_folder`] can name for a run, whether they exist or not.
pub(crate) fn aside_places(root: &Path, run: RunId) -> Vec<PathBuf> {
    let name = format!("{INSIDE}{run}");
    let inside = mount_points(root).into_iter().map(|top| top.join(&name));
    let mut found: Vec<PathBuf> = [beside(root, run), root.join(&name)]
        .into_iter()
        .chain(inside)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns the mount points below a folder; empty if the kernel does not list them.
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

/// Returns a path from the mount table, which writes blanks and backslashes as three octal digits.
pub(crate) fn unescaped(field: &[u8]) -> PathBuf {
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

/// Returns the path, or its nearest parent that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}

/// Returns the id of a path's mount. If the kernel does not know it, returns the device. A rename is possible between
/// two paths with the same value.
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
