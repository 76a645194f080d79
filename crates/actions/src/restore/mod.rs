//! `restore`: puts one component back below the recovery's root.
//!
//! The component's source decides how ([`rekindle_sources::RestorePlan`]). Files go straight to their place, in
//! windows with a checkpoint after each. Data that are replaced as a whole, such as a database, are restored into a
//! staging folder beside their place; then the source moves them there. Data for a program or a server are restored
//! into the workspace; then the source hands them over.

mod job;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::entry::Entry;
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SnapshotId;
use rekindle_plan::Problem;
use rekindle_sources::{blocking, discard};
use rekindle_vault::restore::{
    self, Aspect, Depth, Elsewhere, Part, RestoreCheckpoint, RestoreError, RestoreReport, RestoreRequest,
    RestoreRoot,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use job::Job;

use crate::copy;
use crate::failures;
use crate::measure::number;
use crate::outlook::Objective;
use crate::params::{self, Field, Kind};
use crate::put_back;
use crate::rto_watch;
use crate::site::Site;
use crate::snapshot::BASELINE;
use crate::views;

/// See the module's documentation.
pub(crate) struct Restore(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("component", Kind::Text),
    Field::optional("root", Kind::Text),
    Field::optional("snapshot", Kind::Text),
    Field::optional("tiers", Kind::Names),
    Field::optional("no_owner", Kind::Flag),
];

/// How many lost files a failure's message names. The step's last checkpoint names all of them.
const LOST_NAMED: usize = 50;

/// The progress of an attempt; only an attempt that restores the same snapshot can use it.
#[derive(Serialize, Deserialize)]
struct Progress {
    snapshot: SnapshotId,
    root: PathBuf,
    restored: RestoreCheckpoint,
    /// The RTOs that now stand worse than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    objectives: Vec<Objective>,
}

#[async_trait]
impl Action for Restore {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(job) = Job::of(&self.0, cx).await? else {
            return Ok(Reconciled::redo("the component has no data"));
        };
        if job.is_given_away() {
            let why =
                "a program that was cut off may have done any part of its work; it gets everything again";
            return Ok(Reconciled::Redo {
                evidence: json!({ "why": why, "snapshot": job.snapshot.id }),
            });
        }
        let checkpoint = job.usable(checkpoint);
        let at_place = checkpoint.clone().filter(|_| job.into == job.root);
        let found = restore::inspect(&job.tiers, &job.request(&job.root, at_place), &cx.stop).await?;
        let whole = found.is_whole() && !job.is_disturbed();
        let mut evidence = json!({
            "snapshot": job.snapshot.id,
            "root": job.root,
            "whole": whole,
            "entries": found.entries,
            "entries_differing": found.differing,
            "bytes_right": found.bytes,
            "bytes": job.snapshot.bytes,
        });
        if whole {
            tidy_up(&job).await;
            let report = RestoreReport {
                files: job.snapshot.files,
                dirs: job.snapshot.dirs,
                symlinks: job.snapshot.symlinks,
                nodes: job.snapshot.nodes - found.unheld.count(Part::Node),
                unheld: found.unheld,
                bytes_total: job.snapshot.bytes,
                bytes_kept: job.snapshot.bytes,
                elsewhere: checkpoint.map_or_else(Vec::new, |restored| restored.elsewhere),
                ..RestoreReport::default()
            };
            return Ok(Reconciled::Complete {
                output: output(&job, &report),
                evidence,
            });
        }
        let (covers, bytes_right) = (checkpoint.is_some(), found.bytes);
        if let Some(refuted) = job.refuted(checkpoint, found, &cx.stop).await? {
            // A redo drops the checkpoint. The next attempt checks every file again, and keeps the correct ones.
            evidence["checkpoint_refuted"] = json!(refuted);
            return Ok(Reconciled::Redo { evidence });
        }
        Ok(match (covers, bytes_right) {
            (false, 0) => Reconciled::Redo { evidence },
            (true, _) | (false, _) => Reconciled::Continue { evidence },
        })
    }

    /// Compares the restored data with the snapshot's list of entries.
    ///
    /// Between a restore and the end of a recovery nothing may remove an entry or change its type, so a missing entry
    /// or another type always counts. Other content of a file counts (its length, or its bytes if its time differs),
    /// unless something may have changed it rightly. That is a `command` step of the run that has ended and that this
    /// step does not need, or a process that has a database open, as a file beside it shows. Modes, owners, attributes,
    /// hard links and additional files never count.
    async fn recheck(&self, cx: &StepContext, _output: &Value) -> Result<Option<String>, Failure> {
        let Some(job) = Job::of(&self.0, cx).await? else {
            return Ok(None);
        };
        if job.is_given_away() {
            // Only a program or a server can read the data; the probes of the validation check it.
            return Ok(None);
        }
        let may_change = job.is_disturbed() || views::ran_a_command(cx, self.0.system(), &job.name);
        let counts = |entry: &Entry, aspect| match aspect {
            // The target may not hold FIFOs and devices at all; the restore has named them.
            Aspect::Missing => !entry.kind.is_node(),
            Aspect::Type => true,
            Aspect::Target | Aspect::Size | Aspect::Content => !may_change,
            Aspect::HardLink | Aspect::Mode | Aspect::Owner | Aspect::Attributes | Aspect::Time => false,
        };
        let request = job.request(&job.root, None);
        let found = restore::first_difference(&job.tiers, &request, Depth::Touched, counts, &cx.stop).await;
        match found {
            Ok(found) => Ok(found.map(|found| {
                let path = job.root.join(found.path.display());
                format!("{}: {}", path.display(), found.aspect)
            })),
            // The next attempt refuses it, and says what to do about it.
            Err(error @ RestoreError::Link { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Some(job) = Job::of(&self.0, cx).await? else {
            let value = json!({ "nothing_to_restore": true, "bytes": 0, "files": 0 });
            return Ok(Output {
                value,
                measures: Measures::new(),
            });
        };
        if let Some(sandbox) = self.0.sandbox() {
            let done = job
                .usable(checkpoint.as_ref())
                .map_or(0, |restored| restored.bytes_done);
            room_for(&job, sandbox, done)?;
        }
        // This comes before the first change: a workspace that has lost the run must change nothing in the target.
        cx.barrier().await;
        if job.is_given_away() {
            let given = self.give(cx, &job, checkpoint.as_ref()).await;
            // No plain data may stay in the workspace, even after a failure.
            tidy_up(&job).await;
            return given;
        }
        make_folder(&job.named, &job.into).await?;
        if job.into != job.root {
            mark_temporary(&job.into).await?;
        }
        let request = job.request(&job.into, job.usable(checkpoint.as_ref()));
        let report = restored(&self.0, cx, &job, request).await?;
        if !report.lost.is_empty() {
            return Err(lost(&job, &report));
        }
        if let Some(aside) = &job.aside {
            // The next calls use paths, so the path is checked for links once more.
            make_folder(&job.named, &job.root).await?;
            if let Some(above) = job.target.parent() {
                make_folder(above, aside).await?;
            }
            mark_temporary(&put_back::top_of(&job.target, &job.root, cx.run)).await?;
            cx.barrier().await;
            put_back::put_back(&job.source, &job.into, &job.place, aside).await?;
        }
        tidy_up(&job).await;
        Ok(output(&job, &report))
    }
}

/// Restores the tree. Journals a checkpoint at most once a second, and whenever the attempt ends early.
async fn restored(
    site: &Site,
    cx: &StepContext,
    job: &Job,
    request: RestoreRequest,
) -> Result<RestoreReport, Failure> {
    // The newest checkpoint, if it is not journaled yet. A window takes only a fraction of a second.
    let newest = Mutex::new(None);
    rto_watch::restoring(site, cx, &job.name, job.snapshot.bytes);
    let record = |restored: RestoreCheckpoint| {
        let now = site.clock().now();
        let mut outlook = site.outlook();
        let objectives = outlook.as_mut().map_or_else(Vec::new, |outlook| {
            outlook.progressed(&job.name, &now, restored.bytes_done)
        });
        drop(outlook);
        let worse = !objectives.is_empty();
        let progress = json!(Progress {
            snapshot: job.snapshot.id,
            root: job.into.clone(),
            restored,
            objectives,
        });
        let newest = &newest;
        async move {
            let due = worse || cx.checkpoint_due();
            if due {
                cx.checkpoint(progress.clone()).await?;
            }
            // A process that was stopped for a while may have lost the run since. Then it writes no further window.
            cx.still_ours().await;
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = (!due).then_some(progress);
            Ok(())
        }
    };
    let report = restore::restore(&job.tiers, request, &copy::progress(cx), record, &cx.stop).await;
    let short = report.as_ref().map_or(true, |report| !report.lost.is_empty());
    let unrecorded = newest.into_inner().unwrap_or_else(PoisonError::into_inner);
    let recorded = match unrecorded.filter(|_| short) {
        Some(progress) => cx.checkpoint(progress).await,
        None => Ok(()),
    };
    // Another attempt begins anew.
    if let Some(outlook) = &mut *site.outlook() {
        outlook.ended(&job.name);
    }
    // The reason for the attempt's end matters more than a checkpoint that could not be recorded.
    let report = report?;
    recorded.map(|()| report)
}

impl Restore {
    /// Restores the tree into the workspace. Then the source hands it over to its program or server.
    async fn give(&self, cx: &StepContext, job: &Job, checkpoint: Option<&Value>) -> Result<Output, Failure> {
        make_folder(&job.named, &job.into).await?;
        let request = job.request(&job.into, job.usable(checkpoint));
        let report = restored(&self.0, cx, job, request).await?;
        if !report.lost.is_empty() {
            return Err(lost(job, &report));
        }
        make_folder(&job.target, &job.target).await?;
        cx.barrier().await;
        job.give(&self.0, cx).await?;
        Ok(output(job, &report))
    }
}

/// What a recovery into a sandbox leaves free on the disk of the workspace, in bytes: the journal needs room to go on.
const LEFT_FREE: u64 = 256 << 20;

/// Returns how many bytes a sandbox may take where it is or will be; none if the file system does not tell.
pub fn sandbox_room(sandbox: &Path) -> Option<u64> {
    let there = sandbox.ancestors().find(|folder| folder.exists());
    let space = rustix::fs::statvfs(there.unwrap_or(sandbox)).ok()?;
    Some((space.f_bavail * space.f_frsize).saturating_sub(LEFT_FREE))
}

/// Refuses to fill the disk of the workspace with a sandbox: the run must still be journaled. `done` bytes are there.
fn room_for(job: &Job, sandbox: &Path, done: u64) -> Result<(), Failure> {
    let needed = job.snapshot.bytes.saturating_sub(done);
    let Some(room) = sandbox_room(sandbox).filter(|room| *room < needed) else {
        return Ok(());
    };
    let message = format!(
        "{} needs {needed} bytes in the sandbox of the workspace, and {room} can be used",
        job.name
    );
    Err(Failure::permanent("no_room_for_proof", message).with_hint("make room on the disk of the workspace"))
}

/// Removes the folders that only the restore needed.
async fn tidy_up(job: &Job) {
    if job.into != job.root || job.is_given_away() {
        discard(&job.into).await;
    }
    if let Some(aside) = &job.aside {
        // If this folder stays, that does not affect the restored data.
        let _ = put_back::remove_unused(&job.target, &job.root, aside).await;
    }
}

/// Makes a folder in `named`. `named` itself may be a link; below it, no link is followed.
async fn make_folder(named: &Path, folder: &Path) -> Result<(), Failure> {
    let root = RestoreRoot::beneath(named, folder);
    blocking(move || {
        root.make().map_err(|error| match error {
            RestoreError::Io { path, source, .. } => failures::io(&path, &source),
            other => other.into(),
        })
    })
    .await
}

/// Marks a folder that no capture may take for the user's.
async fn mark_temporary(folder: &Path) -> Result<(), Failure> {
    let folder = folder.to_owned();
    blocking(move || {
        rekindle_sources::files::mark_temporary(&folder);
        Ok(())
    })
    .await
}

fn lost(job: &Job, report: &RestoreReport) -> Failure {
    let names: Vec<String> = report
        .lost
        .iter()
        .take(LOST_NAMED)
        .map(|file| file.path.display())
        .collect();
    let more = report.lost.len().saturating_sub(names.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Failure::permanent(
        code::DATA_LOST,
        format!(
            "{} of {} files of {} are in no tier: {}{more}",
            report.lost.len(),
            job.snapshot.files,
            job.name,
            names.join(", ")
        ),
    )
    .with_hint("the other files are restored; an older recovery set may hold these")
}

fn output(job: &Job, report: &RestoreReport) -> Output {
    let mut value = json!({
        "component_restored": job.name,
        "root": if job.is_given_away() { &job.target } else { &job.root },
        "place": (!job.is_given_away()).then_some(&job.place),
        "files": report.files,
        "dirs": report.dirs,
        "symlinks": report.symlinks,
        "nodes": report.nodes,
        "bytes": report.bytes_total,
        "bytes_written": report.bytes_written,
        "bytes_kept": report.bytes_kept,
        "unheld": report.unheld,
        "preferred_tier": job.prefer.tier,
        "bytes_elsewhere": report.elsewhere.iter().map(|one| one.bytes).sum::<u64>(),
        "elsewhere": report.elsewhere.iter().map(|one| elsewhere(job, one)).collect::<Vec<_>>(),
        "snapshot": job.snapshot.id,
        "consistency_point": job.snapshot.consistency_point.utc,
        "consistency_stamp": job.snapshot.consistency_point,
        "content_digest": job.snapshot.content_digest,
    });
    if let Some(baseline) = job.snapshot.metadata.get(BASELINE) {
        value[BASELINE] = baseline.clone();
    }
    if let Some(refuted) = &report.checkpoint_refuted {
        value["checkpoint_refuted"] = json!(refuted);
    }
    let measures = [
        ("bytes_total", report.bytes_total),
        ("bytes_written", report.bytes_written),
        ("bytes_kept", report.bytes_kept),
    ];
    Output {
        value,
        measures: Measures::from(measures.map(|(name, count)| (name.to_owned(), number(count)))),
    }
}

/// Returns the content that came from another tier than the preferred one, as it is journaled and shown.
fn elsewhere(job: &Job, one: &Elsewhere) -> Value {
    let silent = job.prefer.silent.as_ref().filter(|_| one.why.is_empty());
    json!({
        "tier": one.tier,
        "files": one.files,
        "bytes": one.bytes,
        "list": one.list,
        "named": one.named.iter().map(|path| path.display()).collect::<Vec<_>>(),
        "why": silent.unwrap_or(&one.why),
    })
}
