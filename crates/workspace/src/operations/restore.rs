//! One snapshot, written into a folder.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_model::system::Component;
use rekindle_sources::place::Place;
use rekindle_sources::private;
use rekindle_vault::regular;
use rekindle_vault::restore::{self, RestoreReport, RestoreRoot, Window};
use rekindle_vault::{ProgressSink, SnapshotReader};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::guards::target::{self, Alternatives};
use crate::keys::secret_file::write_secret;
use crate::operations::browse;
use crate::run_spec;
use crate::tiers::{Tiers, Wanted};

/// The snapshot, and the folder to write it into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: Wanted,
    /// The folder: empty or absent, except for files of an earlier call of the same restore.
    pub to: PathBuf,
    /// Only paths that match one of these globs, relative to the snapshot's root; empty for all.
    pub include: Vec<String>,
    /// Whether everything is to belong to the user who restores, without set-id bits.
    pub no_owner: bool,
}

/// The result of a completed restore.
pub struct RestoreResult {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The folder.
    pub root: PathBuf,
    /// The tier that the restore preferred.
    pub preferred: String,
    /// What was written, kept and lost.
    pub report: RestoreReport,
}

/// Restores. After an interruption the same request continues.
///
/// # Errors
/// The snapshot is unknown, the folder holds something else, or a disk or a tier fails.
pub async fn restore(
    tiers: &Tiers,
    request: &RestoreRequest,
    stop: &CancellationToken,
) -> Result<RestoreResult, Error> {
    let snapshot = tiers.snapshot(&request.snapshot).await?;
    let sources: Vec<_> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let reader = SnapshotReader::open(&sources, snapshot).await?;
    let include = browse::selected(&reader, &request.include).await?;
    let note = Note::take(tiers, request, snapshot).await?;
    let root = note.place.path().to_owned();
    let preferred = sources.first().map(|tier| tier.name().to_owned());
    let from_vault = restore::RestoreRequest {
        snapshot,
        root: root.as_path().into(),
        include,
        checkpoint: None,
        window: Window::default(),
        prefer: preferred.clone(),
        owners: !request.no_owner,
    };
    // A restore without a run keeps no checkpoint: a second call compares the folder with the snapshot.
    let recorded = |_| std::future::ready(Ok(()));
    let report = restore::restore(&sources, from_vault, &ProgressSink::none(), recorded, stop)
        .await
        .map_err(|error| Error::from(Failure::from(error)))?;
    if report.lost.is_empty() {
        note.remove();
    }
    Ok(RestoreResult {
        snapshot,
        root,
        preferred: preferred.unwrap_or_default(),
        report,
    })
}

/// The workspace's note of a restore into a folder, kept until the restore is done. With it, the same request resumes
/// after an interruption. Without it, the content of the folder belongs to somebody else.
struct Note {
    place: Place,
    file: PathBuf,
}

impl Note {
    /// Refuses a folder with content that no earlier call of this same restore has left there. Notes this call.
    async fn take(tiers: &Tiers, request: &RestoreRequest, snapshot: SnapshotId) -> Result<Self, Error> {
        let alternatives = alternatives(tiers, snapshot).await;
        let place = target::named(&tiers.layout, &tiers.system, &request.to, &alternatives)?;
        let name = blake3::hash(place.path().as_os_str().as_bytes()).to_hex();
        let notes = tiers.layout.state.join("restores");
        let file = notes.join(format!("{name}.json"));
        if let Some(standing) = target::standing(place.path())? {
            let own = mark(request, snapshot, &place)?;
            if regular::read_text(&file, regular::SMALL).ok() != Some(own) {
                return Err(alternatives.not_empty(&standing, None));
            }
            return Ok(Self { place, file });
        }
        let make = |folder: &Path| {
            private::create_dir_all(folder)
                .map_err(|error| Error::io(format_args!("make {}", folder.display()), &error))
        };
        // Only the last folder is for its owner alone. No link of another user is followed on the way.
        let above = place.path().parent().unwrap_or(place.path());
        let made = RestoreRoot::beneath(above, place.path()).make();
        made.map_err(|error| Error::from(Failure::from(error)))?;
        make(&notes)?;
        write_secret(&file, mark(request, snapshot, &place)?.as_bytes())?;
        Ok(Self { place, file })
    }

    /// Removes the note: the restore is done. If the note remains, the same request only compares the folder once
    /// more.
    fn remove(self) {
        let _ = std::fs::remove_file(self.file);
    }
}

/// Returns the mark of one restore. If the folder was made again, it is another restore.
fn mark(request: &RestoreRequest, snapshot: SnapshotId, place: &Place) -> Result<String, Error> {
    let meta = std::fs::metadata(place.path())
        .map_err(|error| Error::io(format_args!("read {}", place.path().display()), &error))?;
    let folder = json!({ "path": place.path(), "device": meta.dev(), "inode": meta.ino() });
    Ok(json!({ "snapshot": snapshot, "include": request.include, "folder": folder }).to_string())
}

/// Returns the alternatives of a restore that cannot write into the named folder.
async fn alternatives(tiers: &Tiers, snapshot: SnapshotId) -> Alternatives {
    let mut components = Vec::new();
    for (_, tier) in tiers.reachable() {
        if let Ok(found) = tier.snapshot(snapshot).await {
            if tiers.system.component(&found.component).is_some() {
                components.push(found.component);
            }
            break;
        }
    }
    let own: Vec<&Component> = components
        .iter()
        .filter_map(|name| tiers.system.components.get(name))
        .collect();
    Alternatives {
        elsewhere: Action::Restore {
            snapshot: Some(snapshot.to_string()),
        },
        in_place: Action::Recover(Recover {
            components,
            target: RecoverTarget::InPlace,
            ..Recover::default()
        }),
        other_source: Some("the newest set's"),
        roots: run_spec::displaced_roots(&run_spec::living(&tiers.layout.system_dir(), &tiers.system), own),
    }
}
