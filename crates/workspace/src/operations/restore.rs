//! One snapshot, written into a folder.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_sources::place::Place;
use rekindle_vault::ProgressSink;
use rekindle_vault::restore::{self, RestoreReport, Window};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::guards::target::{self, Alternatives};
use crate::run_spec;
use crate::tiers::Tiers;

/// Which snapshot, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// A unique beginning of the snapshot's id.
    pub snapshot: String,
    /// The folder: empty or absent, but for what an earlier call of the same restore has left there.
    pub to: PathBuf,
    /// Only paths that match one of these globs, relative to the snapshot's root; empty for all.
    pub include: Vec<String>,
}

/// A restore that has come to its end.
pub struct RestoreResult {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The folder.
    pub root: PathBuf,
    /// The tier that was to serve it.
    pub preferred: String,
    /// What was written, kept and lost.
    pub report: RestoreReport,
}

/// Restores. After an interruption the same request continues.
///
/// # Errors
/// An unknown snapshot, a folder that holds something else, a disk or a tier that fails.
pub async fn restore(
    tiers: &Tiers,
    request: &RestoreRequest,
    stop: &CancellationToken,
) -> Result<RestoreResult, Error> {
    let snapshot = tiers.snapshot(&request.snapshot).await?;
    let note = Note::take(tiers, request, snapshot).await?;
    let root = note.place.path().to_owned();
    let sources: Vec<_> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let preferred = sources.first().map(|tier| tier.name().to_owned());
    let from_vault = restore::RestoreRequest {
        snapshot,
        root: root.as_path().into(),
        include: request.include.clone(),
        checkpoint: None,
        window: Window::default(),
        prefer: preferred.clone(),
    };
    // Without a run there is no checkpoint to keep: a second call compares what is there with the snapshot.
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

/// What the workspace remembers of a restore into a folder until it is done: with it the same command goes on
/// where it was interrupted, and without it what stands in the folder is somebody else's.
struct Note {
    place: Place,
    file: PathBuf,
}

impl Note {
    /// Refuses a folder in which something stands that no earlier call of this same restore has left there, and
    /// notes this call.
    async fn take(tiers: &Tiers, request: &RestoreRequest, snapshot: SnapshotId) -> Result<Self, Error> {
        let alternatives = alternatives(tiers, request, snapshot).await;
        let place = target::named(&tiers.layout, &tiers.system, &request.to, &alternatives)?;
        let name = blake3::hash(place.path().as_os_str().as_bytes()).to_hex();
        let notes = tiers.layout.state.join("restores");
        let file = notes.join(format!("{name}.json"));
        if let Some(standing) = target::standing(place.path())? {
            let told = mark(request, snapshot, &place)?;
            if std::fs::read_to_string(&file).ok() != Some(told) {
                return Err(alternatives.not_empty(&standing, None));
            }
            return Ok(Self { place, file });
        }
        let make = |folder: &Path| {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(format_args!("make {}", folder.display()), &error))
        };
        make(place.path())?;
        make(&notes)?;
        std::fs::write(&file, mark(request, snapshot, &place)?)
            .map_err(|error| Error::io(format_args!("write {}", file.display()), &error))?;
        Ok(Self { place, file })
    }

    /// The restore is done. A note that stays lets the same command look at the folder once more, no more.
    fn remove(self) {
        let _ = std::fs::remove_file(self.file);
    }
}

/// Returns what tells one restore from every other: a folder that was made anew is another one.
fn mark(request: &RestoreRequest, snapshot: SnapshotId, place: &Place) -> Result<String, Error> {
    let meta = std::fs::metadata(place.path())
        .map_err(|error| Error::io(format_args!("read {}", place.path().display()), &error))?;
    let folder = json!({ "path": place.path(), "device": meta.dev(), "inode": meta.ino() });
    Ok(json!({ "snapshot": snapshot, "include": request.include, "folder": folder }).to_string())
}

/// Returns how a restore goes on that cannot write where it was sent.
async fn alternatives(tiers: &Tiers, request: &RestoreRequest, snapshot: SnapshotId) -> Alternatives {
    let mut components = Vec::new();
    for (_, tier) in tiers.reachable() {
        if let Ok(found) = tier.snapshot(snapshot).await {
            if tiers.system.component(&found.component).is_some() {
                components.push(found.component);
            }
            break;
        }
    }
    Alternatives {
        elsewhere: Action::Restore {
            snapshot: Some(request.snapshot.clone()),
        },
        in_place: Action::Recover(Recover {
            components,
            target: RecoverTarget::InPlace,
            ..Recover::default()
        }),
        other_source: Some("the newest set's"),
        root: run_spec::data_root(&tiers.layout.system_dir(), &tiers.system),
    }
}
