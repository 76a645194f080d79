//! Writes a La Factoria system of any size from a seed.
//!
//! Each folder of the [`layout`](crate::layout) has its own module and its own share of the size. What a folder must hold
//! (frameworks, policies, configuration) is written first, and what makes it large after, until its share is
//! used up. Names, contents, modes and modification times follow from seed and size alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::damage::Marker;
use crate::error::FactoriaError;
use crate::layout::{FOLDERS, MARKER, MARKER_SYSTEM};

mod analytics;
mod cache;
pub(crate) mod content_db;
mod context;
mod education;
mod facts;
pub(crate) mod fill;
mod intelligence;
mod monitoring;
mod performance;
mod quality;
mod reporting;
mod security;
mod users_db;
mod writer;

use writer::Writer;

/// The smallest system, in bytes: below it the frameworks alone would overrun their folder's share.
pub const MINIMUM_BYTES: u64 = 1_000_000;

/// What to generate.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// The folder to make; it must be new or empty.
    pub root: PathBuf,
    /// The same seed and size give the same system.
    pub seed: u64,
    /// The size wanted, in bytes; the result is within a tenth of it.
    pub size_bytes: u64,
}

/// What was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// Regular files, databases and manifests included.
    pub files: u64,
    /// Folders below the root.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Length of all files, in bytes.
    pub bytes: u64,
    /// Bytes per folder of the layout, in its order.
    pub components: Vec<ComponentBytes>,
}

/// What one folder of the layout got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentBytes {
    /// The folder.
    pub name: String,
    /// Length of its files, in bytes.
    pub bytes: u64,
    /// Its regular files.
    pub files: u64,
}

/// Generates a system.
///
/// # Errors
/// [`FactoriaError::RootNotEmpty`], [`FactoriaError::TooSmall`], and errors of writing; what was written until
/// then stays, and the root is not empty any more.
pub fn generate(options: &GenerateOptions) -> Result<Generated, FactoriaError> {
    let GenerateOptions {
        root,
        seed,
        size_bytes,
    } = options;
    if *size_bytes < MINIMUM_BYTES {
        return Err(FactoriaError::TooSmall {
            size: *size_bytes,
            minimum: MINIMUM_BYTES,
        });
    }
    make_empty(root)?;
    let mut generated = Generated::default();
    let marker = write_marker(root, *seed, *size_bytes)?;
    generated.files += 1;
    generated.bytes += marker;
    let users = users_db::users(*size_bytes);
    let plan = context::Plan::new(*size_bytes);
    let mut items = 0;
    for folder in &FOLDERS {
        // Divided first, so that the largest sizes do not overflow.
        let budget = size_bytes / 1000 * folder.share;
        let mut writer = Writer::create(root, folder, *seed, budget)?;
        match folder.name {
            "security" => security::write(&mut writer)?,
            "cache" => cache::write(&mut writer, root)?,
            "education" => education::write(&mut writer)?,
            "performance" => performance::write(&mut writer, root, &plan)?,
            "context" => context::write(&mut writer, &plan)?,
            "quality" => {
                facts::write(&mut writer, &plan)?;
                quality::write(&mut writer)?;
            }
            "intelligence" => intelligence::write(&mut writer)?,
            "monitoring" => monitoring::write(&mut writer)?,
            "analytics" => analytics::write(&mut writer)?,
            "reporting" => reporting::write(&mut writer)?,
            "db" => items = content_db::write(&mut writer, users)?,
            _ => users_db::write(&mut writer, users, items)?,
        }
        let written = writer.finish()?;
        generated.files += written.files;
        generated.folders += written.folders;
        generated.symlinks += written.symlinks;
        generated.bytes += written.bytes;
        generated.components.push(ComponentBytes {
            name: folder.name.to_owned(),
            bytes: written.bytes,
            files: written.files,
        });
    }
    writer::set_modified(root, *seed, "")?;
    Ok(generated)
}

fn make_empty(root: &Path) -> Result<(), FactoriaError> {
    match fs::read_dir(root) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(FactoriaError::RootNotEmpty {
                    root: root.to_owned(),
                });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(root).map_err(FactoriaError::io("create", root))?;
        }
        Err(error) => return Err(FactoriaError::io("read", root)(error)),
    }
    fs::set_permissions(root, Permissions::from_mode(0o755))
        .map_err(FactoriaError::io("set the mode of", root))
}

fn write_marker(root: &Path, seed: u64, size_bytes: u64) -> Result<u64, FactoriaError> {
    let marker = Marker {
        system: MARKER_SYSTEM.to_owned(),
        seed,
        size_bytes,
    };
    let mut text = serde_json::to_vec_pretty(&marker).map_err(FactoriaError::json("the marker"))?;
    text.push(b'\n');
    let path = root.join(MARKER);
    fs::write(&path, &text).map_err(FactoriaError::io("write", &path))?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))
        .map_err(FactoriaError::io("set the mode of", &path))?;
    writer::set_modified(&path, seed, MARKER)?;
    Ok(text.len() as u64)
}
