//! Whether a running system is whole: measured by opening what it consists of, at each request.
//!
//! Every file that a manifest lists is opened and its length compared; contents are not read, which is the probes'
//! work and takes as long as the system is large. Databases are opened and each of their tables is read from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use rekindle_model::time::Clock;
use serde::{Deserialize, Serialize};

use super::store::StoreHealth;
use super::writer::Shared;
use crate::layout::{CONTENT_DB, FOLDERS, Folder, USERS_DB};
use crate::manifest::{Entry, Manifest};
use crate::probe::database::Opened;
use crate::probe::regular;
use crate::stamps::{AUDIT, CONTENT, METRICS};

/// The answer to `GET /health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `failing` where a component is not whole or a store is not written.
    pub status: String,
    /// Every folder of the layout, by name.
    pub components: BTreeMap<String, ComponentHealth>,
    /// Every store that is written, by name.
    pub stores: BTreeMap<String, StoreHealth>,
    /// Since when it runs, in UTC, RFC 3339.
    pub started: String,
    /// How long it has run, in seconds.
    pub uptime_seconds: f64,
    /// Records a second that were asked for.
    pub rate_stated: f64,
    /// Records a second that were written since the start.
    pub rate_measured: f64,
    /// Records written since the start.
    pub records: u64,
    /// HTTP requests since the start, this one included.
    pub requests: u64,
    /// How long all components took to look at, in milliseconds.
    pub measured_ms: f64,
}

/// How one folder is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// Whether everything in it could be opened.
    pub ok: bool,
    /// Files opened.
    pub opened: u64,
    /// What is wrong: the first fault found.
    pub fault: Option<String>,
    /// How long it took to look at, in milliseconds.
    pub measured_ms: f64,
}

/// Looks at the whole system.
pub(super) fn measure(root: &Path, clock: &dyn Clock, shared: &Shared) -> Health {
    let begun = clock.now();
    let (records, rate_measured, stores) = shared.written();
    let mut components = BTreeMap::new();
    for folder in &FOLDERS {
        let begun = clock.now();
        let mut opened = 0;
        let whole = look(root, folder, &mut opened);
        let written = written_in(folder.name).and_then(|store| stores.get(store)?.fault.clone());
        let fault = whole.err().or(written);
        let health = ComponentHealth {
            ok: fault.is_none(),
            opened,
            fault,
            measured_ms: milliseconds(clock, &begun),
        };
        components.insert(folder.name.to_owned(), health);
    }
    let whole = components.values().all(|component| component.ok);
    Health {
        status: if whole { "ok" } else { "failing" }.to_owned(),
        components,
        stores,
        started: shared
            .started
            .utc
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        uptime_seconds: shared.uptime().as_secs_f64(),
        rate_stated: shared.rate,
        rate_measured,
        records,
        requests: shared.live.requests.load(std::sync::atomic::Ordering::Relaxed),
        measured_ms: milliseconds(clock, &begun),
    }
}

/// Returns the milliseconds since `begun`.
pub(super) fn milliseconds(clock: &dyn Clock, begun: &rekindle_model::time::Stamp) -> f64 {
    clock.now().since(begun).duration.as_secs_f64() * 1e3
}

/// Returns the store that is written in a folder.
fn written_in(folder: &str) -> Option<&'static str> {
    match folder {
        "security" => Some(AUDIT),
        "db" => Some(CONTENT),
        "monitoring" => Some(METRICS),
        _ => None,
    }
}

fn look(root: &Path, folder: &Folder, opened: &mut u64) -> Result<(), String> {
    match folder.name {
        "db" => tables(
            &root.join(CONTENT_DB),
            &["items", "prompts", "assessments"],
            opened,
        ),
        "users" => tables(
            &root.join(USERS_DB),
            &["users", "preferences", "favourites"],
            opened,
        ),
        _ => files(root, folder, opened),
    }
}

fn files(root: &Path, folder: &Folder, opened: &mut u64) -> Result<(), String> {
    let base = root.join(folder.name);
    let manifest = Manifest::read(&base).ok_or_else(|| format!("{} has no sound manifest", folder.name))?;
    for name in folder.growing {
        open(&base, name, None)?;
        *opened += 1;
    }
    for (path, entry) in &manifest.entries {
        let told = |error: &dyn std::fmt::Display| format!("{}/{path}: {error}", folder.name);
        match entry {
            Entry::File { bytes, .. } => {
                open(&base, path, Some(*bytes)).map_err(|error| told(&error))?;
                *opened += 1;
            }
            Entry::Link { target } => {
                let leads = fs::read_link(base.join(path)).map_err(|error| told(&error))?;
                if leads != Path::new(target) {
                    return Err(told(&"leads elsewhere"));
                }
            }
            Entry::Folder { .. } => {
                let about = fs::symlink_metadata(base.join(path)).map_err(|error| told(&error))?;
                if !about.is_dir() {
                    return Err(told(&"is no folder"));
                }
            }
        }
    }
    Ok(())
}

fn open(base: &Path, path: &str, bytes: Option<u64>) -> Result<(), String> {
    let full = base.join(path);
    let length = regular(&full)
        .and_then(|()| File::open(&full))
        .and_then(|file| file.metadata())
        .map_err(|error| error.to_string())?
        .len();
    match bytes {
        Some(bytes) if bytes != length => Err(format!("has {length} bytes instead of {bytes}")),
        _ => Ok(()),
    }
}

fn tables(path: &Path, names: &[&str], opened: &mut u64) -> Result<(), String> {
    let database = Opened::open(path).ok_or("the database is absent or cannot be opened")?;
    for name in names {
        let rows = database
            .connection
            .query_row(&format!("SELECT EXISTS (SELECT 1 FROM {name})"), [], |row| {
                row.get::<_, bool>(0)
            })
            .map_err(|error| format!("{name}: {error}"))?;
        if !rows {
            return Err(format!("{name} is empty"));
        }
    }
    *opened += 1;
    Ok(())
}
