//! Writes a La Factoria system of any size from a seed.
//!
//! Each folder of the [`layout`](crate::layout) has its own module and its own share of the size. What a folder must hold
//! (frameworks, policies, configuration) is written first, and what makes it large after, until its share is
//! used up. What the system produces is made last, from what was written before ([`produced`](crate::produced)).
//! Names, contents, modes and modification times follow from seed and size alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;
use serde_json::json;

use crate::damage::Marker;
use crate::error::FactoriaError;
use crate::layout::{self, CONTENT_DB, FOLDERS, MARKER, MARKER_SYSTEM};
use crate::probe::database::Opened;
use crate::produced::{EXTENT, Extent, Files};

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
mod plan;
mod quality;
mod reporting;
mod security;
mod users_db;
mod writer;

use writer::Writer;

/// The smallest system, in bytes: below it the frameworks alone would overrun their folder's share.
pub const MINIMUM_BYTES: u64 = 1_000_000;

/// The folders in the order in which they are written: each after those that it is made from.
const ORDER: [&str; 12] = [
    "security",
    "education",
    // The optimiser is configured for the documents, and makes the cache from both.
    "context",
    "performance",
    "cache",
    "monitoring",
    "db",
    "users",
    "quality",
    "intelligence",
    "analytics",
    "reporting",
];

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
    let plan = plan::Plan::new(*size_bytes);
    let mut extent = Extent::default();
    for folder in ORDER.iter().filter_map(|name| layout::find(name)) {
        // Divided first, so that the largest sizes do not overflow.
        let budget = size_bytes / 1000 * folder.share;
        let mut writer = Writer::create(root, folder, *seed, budget)?;
        match folder.name {
            "security" => extent.audit = security::write(&mut writer)?,
            "cache" => cache::write(&mut writer, root)?,
            "education" => education::write(&mut writer)?,
            "performance" => performance::write(&mut writer, root, &plan)?,
            "context" => context::write(&mut writer, &plan)?,
            "quality" => {
                facts::write(&mut writer, &plan)?;
                quality::write(&mut writer, &extent)?;
            }
            "intelligence" => intelligence::write(&mut writer, users)?,
            "monitoring" => extent.metrics = monitoring::write(&mut writer)?,
            "analytics" => analytics::write(&mut writer, &extent)?,
            "reporting" => reporting::write(&mut writer, &extent)?,
            "db" => extent.items = content_db::write(&mut writer, users)?,
            _ => users_db::write(&mut writer, users, extent.items)?,
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
    generated
        .components
        .sort_by_key(|written| FOLDERS.iter().position(|folder| folder.name == written.name));
    writer::set_modified(root, *seed, "")?;
    Ok(generated)
}

/// Writes produced files, and the extent of what they were made from.
fn produce(
    writer: &mut Writer,
    extent: &Extent,
    mode: u32,
    make: impl FnOnce(&Path, &Connection) -> Files,
) -> Result<(), FactoriaError> {
    let root = writer.root();
    let files = with_database(&root, |database| make(&root, database))?;
    produce_from_logs(writer, extent, mode, |_| files)
}

/// Writes files that are produced without the content database.
fn produce_from_logs(
    writer: &mut Writer,
    extent: &Extent,
    mode: u32,
    make: impl FnOnce(&Path) -> Files,
) -> Result<(), FactoriaError> {
    for (path, text) in make(&writer.root()) {
        writer.file(&path, mode, &text)?;
    }
    writer.json(EXTENT, 0o644, &json!(extent))
}

/// Calls `read` with the content database, which was written before.
fn with_database<T>(root: &Path, read: impl FnOnce(&Connection) -> T) -> Result<T, FactoriaError> {
    let path = root.join(CONTENT_DB);
    let opened = Opened::open(&path).ok_or_else(|| {
        let why = io::Error::new(io::ErrorKind::NotFound, "it is no database");
        FactoriaError::io("read", &path)(why)
    })?;
    Ok(read(&opened.connection))
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
