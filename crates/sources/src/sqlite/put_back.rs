//! Moves a restored database to its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rekindle_model::failure::{Failure, code};

use super::aside::{Aside, same};
use super::{SIDECARS, beside, check, folder_of, sync_folder};
use crate::files::{copy_xattrs, mark, unmark};
use crate::private;

/// Suffix of the sibling that becomes the database. If a kill left one, it is made again.
const SIBLING: &str = ".rekindle-new";

/// The stage that [`put_back`] has completed. A kill after any stage is harmless: the next call has the same
/// result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutBackStage {
    /// The sibling holds the bytes, mode, owner and time of the staged file.
    Copied,
    /// The sibling passed `integrity_check`.
    Checked,
    /// The sibling is durable.
    Synced,
    /// The old database is aside, if there was one.
    DatabaseAside,
    /// The old `-wal` is aside, if there was one.
    WalAside,
    /// The old `-shm` is aside, if there was one.
    ShmAside,
    /// The old `-journal` is aside, if there was one.
    JournalAside,
    /// The moves are durable on both sides.
    AsideSynced,
    /// The sibling has the database's name.
    Renamed,
    /// The name is durable.
    FolderSynced,
}

impl PutBackStage {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Copied,
        Self::Checked,
        Self::Synced,
        Self::DatabaseAside,
        Self::WalAside,
        Self::ShmAside,
        Self::JournalAside,
        Self::AsideSynced,
        Self::Renamed,
        Self::FolderSynced,
    ];
}

/// The result of [`put_back`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Length of the database in bytes.
    pub bytes: u64,
    /// Whether the right bytes were there already; then only sidecars were moved.
    pub already: bool,
    /// The new names of the files that this call moved aside.
    pub displaced: Vec<PathBuf>,
}

/// Puts the database in `staged` at `target`. Files that are there go to the folder `aside`, whole.
///
/// It reads `staged` and never changes it. `staged` must still exist when a killed call is repeated. `at`
/// gets each completed stage. Nobody may have `target` open. It blocks.
///
/// Between [`PutBackStage::DatabaseAside`] and [`PutBackStage::Renamed`] no file has the name. A process that
/// opens it in that moment creates an empty database. A repeated call moves that aside like any other.
pub fn put_back(
    staged: &Path,
    target: &Path,
    aside: &Path,
    at: &mut dyn FnMut(PutBackStage),
) -> Result<PutBack, Failure> {
    let name = target
        .file_name()
        .ok_or_else(|| unusable(target, "it has no file name"))?;
    if target.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(unusable(
            target,
            "the place holds no regular file; if it is a link, name its target",
        ));
    }
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |why: io::Error| refused(action, &path, &why)
    };
    let folder = folder_of(target);
    fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    let bytes = fs::metadata(staged).map_err(failed("read", staged))?.len();
    let mut done = PutBack {
        bytes,
        ..PutBack::default()
    };
    done.already = target.is_file() && same(staged, target).map_err(failed("read", target))?;

    let sibling = beside(target, SIBLING);
    if done.already {
        // There was a kill after the rename, or the database never differed. Its bytes need a check in both
        // cases.
        remove_if_there(&sibling).map_err(failed("remove", &sibling))?;
        check::integrity(target)?;
        dress(staged, target).map_err(failed("write", target))?;
        unmark(target);
    } else {
        make_sibling(staged, &sibling).map_err(failed("write", &sibling))?;
        at(PutBackStage::Copied);
        check::integrity(&sibling)?;
        at(PutBackStage::Checked);
        File::open(&sibling)
            .and_then(|file| file.sync_all())
            .map_err(failed("sync", &sibling))?;
        at(PutBackStage::Synced);
    }

    let place = Aside::open(aside, name).map_err(failed("make the folder", aside))?;
    if !done.already {
        done.displaced.extend(
            place
                .take_database(target)
                .map_err(failed("move aside", target))?,
        );
        at(PutBackStage::DatabaseAside);
    }
    let stages = [
        PutBackStage::WalAside,
        PutBackStage::ShmAside,
        PutBackStage::JournalAside,
    ];
    for (suffix, stage) in SIDECARS.into_iter().zip(stages) {
        let sidecar = beside(target, suffix);
        done.displaced.extend(
            place
                .take_sidecar(&sidecar, suffix)
                .map_err(failed("move aside", &sidecar))?,
        );
        at(stage);
    }
    // Without this, a power cut could keep the rename below and lose the moves: new bytes beside the old
    // -wal.
    place.sync().map_err(failed("sync", aside))?;
    sync_folder(folder).map_err(failed("sync", folder))?;
    at(PutBackStage::AsideSynced);

    if !done.already {
        fs::rename(&sibling, target).map_err(failed("rename", &sibling))?;
        unmark(target);
        at(PutBackStage::Renamed);
    }
    sync_folder(folder).map_err(failed("sync", folder))?;
    at(PutBackStage::FolderSynced);
    Ok(done)
}

fn make_sibling(staged: &Path, sibling: &Path) -> io::Result<()> {
    // A kill may have left this, and SQLite files beside it.
    remove_if_there(sibling)?;
    for suffix in SIDECARS {
        remove_if_there(&beside(sibling, suffix))?;
    }
    let mut from = File::open(staged)?;
    let mut to = private::create_new(sibling)?;
    mark(&to);
    io::copy(&mut from, &mut to)?;
    dress(staged, sibling)
}

/// Gives a database the owner, extended attributes, time and mode of another file. A mode such as 0444 does not prevent
/// that.
fn dress(like: &Path, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    copy_xattrs(like, &file)?;
    private::dress(&fs::metadata(like)?, &file, path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn unusable(target: &Path, why: &str) -> Failure {
    Failure::permanent(
        "obstructed",
        format!("no database can be put at {}: {why}", target.display()),
    )
    .with_hint("name the path of the database file itself")
}

fn refused(action: &str, path: &Path, why: &io::Error) -> Failure {
    let message = format!("could not {action} {}: {why}", path.display());
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::transient(code::DISK_FULL, message).with_hint("free some space and resume")
        }
        _ => Failure::transient("target_unwritable", message)
            .with_hint("check the folder, its owner and its mode"),
    }
}
