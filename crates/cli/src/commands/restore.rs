//! `rekindle restore`

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rekindle_model::id::SnapshotId;
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_report::text;
use rekindle_sources::place::Place;
use rekindle_vault::ProgressSink;
use rekindle_vault::restore::{RestoreRequest, Window, restore};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::guards::target::{self, Alternatives};
use rekindle_workspace::run_spec;
use rekindle_workspace::tiers::Tiers;

/// Write one snapshot into a folder; the same command goes on after an interruption
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The snapshot: a unique beginning of its id
    snapshot: String,
    /// The folder; nothing may stand there yet, but for what this same command left when it was interrupted
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only paths that match, relative to the snapshot's root
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Restores.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let snapshot = tiers.snapshot(&args.snapshot).await?;
    let note = Note::take(&tiers, args, snapshot).await?;
    let root = note.place.path().to_owned();
    let sources: Vec<_> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let request = RestoreRequest {
        snapshot,
        root: root.as_path().into(),
        include: args.include.clone(),
        checkpoint: None,
        window: Window::default(),
        prefer: sources.first().map(|tier| tier.name().to_owned()),
    };
    // Without a run there is no checkpoint to keep: a second call finds what is right by looking at it.
    let recorded = |_| std::future::ready(Ok(()));
    let report = restore(
        &sources,
        request,
        &ProgressSink::none(),
        recorded,
        &app.application.stop,
    )
    .await
    .map_err(|error| Error::from(rekindle_model::failure::Failure::from(error)))?;
    if report.lost.is_empty() {
        note.remove();
    }
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|file| json!({ "path": file.path, "size": file.size, "why": file.why }))
        .collect();
    let body = json!({
        "snapshot": snapshot, "root": root, "files": report.files, "dirs": report.dirs, "symlinks": report.symlinks,
        "bytes_total": report.bytes_total, "bytes_written": report.bytes_written, "bytes_kept": report.bytes_kept,
        "lost": lost, "elsewhere": report.elsewhere,
    });
    app.printer.data(&body, || {
        let mut said = format!(
            "{} files, {} folders, {} links in {}: {} written, {} were right already\n",
            report.files,
            report.dirs,
            report.symlinks,
            root.display(),
            text::bytes(report.bytes_written),
            text::bytes(report.bytes_kept),
        );
        for file in &report.lost {
            said.push_str(&format!(
                "LOST {} ({}): {}\n",
                file.path.display(),
                text::bytes(file.size),
                file.why
            ));
        }
        said
    })?;
    for one in &report.elsewhere {
        let wanted = sources.first().map_or("", |tier| tier.name());
        app.printer.warn(format!(
            "{} of {} files came from tier {}, not from {wanted}: {}",
            text::bytes(one.bytes),
            one.files,
            one.tier,
            one.why
        ));
    }
    Ok(if report.lost.is_empty() {
        Exit::of_tiers(&tiers)
    } else {
        Exit::DataLost
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
    async fn take(tiers: &Tiers, args: &Args, snapshot: SnapshotId) -> Result<Self, Error> {
        let alternatives = alternatives(tiers, args, snapshot).await;
        let place = target::named(&tiers.layout, &tiers.system, &args.to, &alternatives)?;
        let name = blake3::hash(place.path().as_os_str().as_bytes()).to_hex();
        let notes = tiers.layout.state.join("restores");
        let file = notes.join(format!("{name}.json"));
        if let Some(standing) = target::standing(place.path())? {
            let told = mark(args, snapshot, &place)?;
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
        std::fs::write(&file, mark(args, snapshot, &place)?)
            .map_err(|error| Error::io(format_args!("write {}", file.display()), &error))?;
        Ok(Self { place, file })
    }

    /// The restore is done. A note that stays lets the same command look at the folder once more, no more.
    fn remove(self) {
        let _ = std::fs::remove_file(self.file);
    }
}

/// Returns what tells one restore from every other: a folder that was made anew is another one.
fn mark(args: &Args, snapshot: SnapshotId, place: &Place) -> Result<String, Error> {
    let meta = std::fs::metadata(place.path())
        .map_err(|error| Error::io(format_args!("read {}", place.path().display()), &error))?;
    let folder = json!({ "path": place.path(), "device": meta.dev(), "inode": meta.ino() });
    Ok(json!({ "snapshot": snapshot, "include": args.include, "folder": folder }).to_string())
}

/// Returns how a restore goes on that cannot write where it was sent.
async fn alternatives(tiers: &Tiers, args: &Args, snapshot: SnapshotId) -> Alternatives {
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
            snapshot: Some(args.snapshot.clone()),
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
