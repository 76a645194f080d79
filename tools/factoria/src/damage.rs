//! Really damages a generated system: deletes parts, or corrupts files as disks and intruders do.
//!
//! Two checks protect everything else. The root must carry the marker that only [`crate::generate()`] writes.
//! And only paths of the [`layout`] are accepted, resolved without leaving the root through a symbolic link.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::error::FactoriaError;
use crate::layout::{self, MARKER, MARKER_SYSTEM};
use crate::text::Rng;

/// What to damage, and how.
#[derive(Clone, Debug)]
pub struct DamageOptions {
    /// The system's folder.
    pub root: PathBuf,
    /// Folders of the layout, or files and folders in them.
    pub components: Vec<PathBuf>,
    /// How to damage them.
    pub how: How,
    /// Chooses which files and bytes a corruption hits.
    pub seed: u64,
}

/// How to damage a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Everything in it is gone; the folder itself stays.
    Delete,
    /// About a third of its files, at least one, have bytes flipped or are cut short.
    Corrupt,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Files deleted, symbolic links and special files included.
    pub files_deleted: u64,
    /// Bytes in the files deleted.
    pub bytes_deleted: u64,
    /// Folders deleted.
    pub folders_deleted: u64,
    /// Files in which bytes were flipped.
    pub files_flipped: u64,
    /// Bytes that now differ from what they were.
    pub bytes_flipped: u64,
    /// Files cut short.
    pub files_truncated: u64,
    /// Bytes cut off.
    pub bytes_truncated: u64,
    /// The files corrupted, relative to the root, sorted. Deletions are only counted: they have no end.
    pub corrupted: Vec<String>,
}

/// The marker at the root of a generated system.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) system: String,
    pub(crate) seed: u64,
    pub(crate) size_bytes: u64,
}

/// Damages the components and returns what was done.
///
/// All paths are checked before the first is touched.
///
/// # Errors
/// [`FactoriaError::NotFactoria`] without the marker, [`FactoriaError::UnknownComponent`] and
/// [`FactoriaError::Absent`] for paths that are not there, [`FactoriaError::Io`] while damaging.
pub fn damage(options: &DamageOptions) -> Result<Damaged, FactoriaError> {
    check_marker(&options.root)?;
    let root = options
        .root
        .canonicalize()
        .map_err(FactoriaError::io("resolve", &options.root))?;
    let mut targets = Vec::new();
    for component in &options.components {
        targets.push(resolve(&root, component)?);
    }
    let mut damaged = Damaged::default();
    for target in &targets {
        match options.how {
            How::Delete => delete(target, &mut damaged)?,
            How::Corrupt => corrupt(&root, target, options.seed, &mut damaged)?,
        }
    }
    damaged.corrupted.sort();
    damaged.corrupted.dedup();
    Ok(damaged)
}

pub(crate) fn check_marker(root: &Path) -> Result<(), FactoriaError> {
    let refused = |why: String| FactoriaError::NotFactoria {
        root: root.to_owned(),
        why,
    };
    let path = root.join(MARKER);
    let kind = fs::symlink_metadata(&path).map_err(|error| refused(error.to_string()))?;
    if !kind.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    let text = fs::read(&path).map_err(|error| refused(error.to_string()))?;
    let marker: Marker = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    if marker.system != MARKER_SYSTEM {
        return Err(refused(format!("it names the system {:?}", marker.system)));
    }
    Ok(())
}

/// Returns the full path of a component, whose real place must be below the real root.
fn resolve(root: &Path, component: &Path) -> Result<PathBuf, FactoriaError> {
    let (_, relative) = layout::part(component)?;
    let full = root.join(&relative);
    let parent = full.parent().unwrap_or(root);
    let absent = |_| FactoriaError::Absent { path: full.clone() };
    fs::symlink_metadata(&full).map_err(absent)?;
    // A symbolic link above the target could lead out of the root; the target itself is never followed.
    let real = parent.canonicalize().map_err(absent)?;
    if real != parent {
        return Err(FactoriaError::UnknownComponent {
            path: component.to_owned(),
            known: layout::FOLDERS.map(|folder| folder.name).join(", "),
        });
    }
    Ok(full)
}

fn delete(target: &Path, damaged: &mut Damaged) -> Result<(), FactoriaError> {
    let kind = fs::symlink_metadata(target).map_err(FactoriaError::io("look at", target))?;
    if kind.is_dir() {
        // Contents first, so that each folder is empty when its turn comes; links are not followed.
        for entry in WalkDir::new(target).min_depth(1).contents_first(true) {
            let entry = entry.map_err(|error| walk_error(target, error))?;
            remove(entry.path(), entry.file_type().is_dir(), damaged)?;
        }
        return Ok(());
    }
    // The write-ahead log belongs to its database: left behind, it would be replayed into whatever comes next.
    for suffix in ["", "-wal", "-shm"] {
        let mut name = target.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        if suffix.is_empty() || fs::symlink_metadata(&path).is_ok() {
            remove(&path, false, damaged)?;
        }
    }
    Ok(())
}

fn remove(path: &Path, is_folder: bool, damaged: &mut Damaged) -> Result<(), FactoriaError> {
    if is_folder {
        fs::remove_dir(path).map_err(FactoriaError::io("delete", path))?;
        damaged.folders_deleted += 1;
        return Ok(());
    }
    let kind = fs::symlink_metadata(path).map_err(FactoriaError::io("look at", path))?;
    fs::remove_file(path).map_err(FactoriaError::io("delete", path))?;
    damaged.files_deleted += 1;
    damaged.bytes_deleted += if kind.is_file() { kind.len() } else { 0 };
    Ok(())
}

fn corrupt(root: &Path, target: &Path, seed: u64, damaged: &mut Damaged) -> Result<(), FactoriaError> {
    let mut files = Vec::new();
    // The walk would follow a link given as its start: what that leads to is not ours to touch.
    for entry in WalkDir::new(target).follow_root_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| walk_error(target, error))?;
        let is_file = entry.file_type().is_file();
        if is_file && entry.metadata().map_err(|error| walk_error(target, error))?.len() > 0 {
            files.push(entry.into_path());
        }
    }
    let mut rng = Rng::new(seed, &format!("corrupt {}", relative(root, target)));
    let wanted = files.len().div_ceil(3);
    for taken in 0..wanted {
        // A partial Fisher-Yates shuffle: each file is equally likely, none is taken twice.
        let pick = taken + rng.below_usize(files.len() - taken);
        files.swap(taken, pick);
        let path = &files[taken];
        writable(path, |file, length| {
            if taken % 4 == 3 && length > 1 {
                let keep = rng.below(length);
                file.set_len(keep)?;
                damaged.files_truncated += 1;
                damaged.bytes_truncated += length - keep;
            } else {
                damaged.bytes_flipped += flip(file, length, &mut rng)?;
                damaged.files_flipped += 1;
            }
            Ok(())
        })?;
        damaged.corrupted.push(relative(root, path));
    }
    Ok(())
}

/// Flips one byte in each stretch of 64 KiB, at least one in the file, and returns how many.
fn flip(file: &mut fs::File, length: u64, rng: &mut Rng) -> io::Result<u64> {
    const STRETCH: u64 = 64 * 1024;
    let mut flipped = 0;
    let mut start = 0;
    while start < length {
        let at = start + rng.below(STRETCH.min(length - start));
        let mut byte = [0_u8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut byte)?;
        // Any mask but zero changes the byte.
        byte[0] ^= u8::try_from(1 + rng.below(255)).unwrap_or(1);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&byte)?;
        flipped += 1;
        start += STRETCH;
    }
    Ok(flipped)
}

/// Opens a file for writing even where its mode forbids that, and puts the mode back.
fn writable(
    path: &Path,
    act: impl FnOnce(&mut fs::File, u64) -> io::Result<()>,
) -> Result<(), FactoriaError> {
    let before = fs::symlink_metadata(path).map_err(FactoriaError::io("look at", path))?;
    let mode = before.permissions().mode();
    let locked = mode & 0o600 != 0o600;
    if locked {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o600))
            .map_err(FactoriaError::io("unlock", path))?;
    }
    let acted = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .and_then(|mut file| act(&mut file, before.len()))
        .map_err(FactoriaError::io("corrupt", path));
    if locked {
        fs::set_permissions(path, before.permissions()).map_err(FactoriaError::io("lock", path))?;
    }
    acted
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

fn walk_error(target: &Path, error: walkdir::Error) -> FactoriaError {
    let path = error.path().unwrap_or(target).to_owned();
    FactoriaError::Io {
        doing: "walk",
        path,
        source: error.into(),
    }
}
