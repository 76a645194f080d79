//! `restore`: puts one component back below the recovery's root.
//!
//! Files go straight to their place, in windows with a checkpoint after each. A database is restored into a
//! staging folder beside its place and then put back past what its predecessor left behind. A dump is restored into
//! the workspace and then given to the program that takes it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::entry::Entry;
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SnapshotId;
use rekindle_model::system::{Component, Source};
use rekindle_plan::Problem;
use rekindle_vault::restore::{
    self, Aspect, Depth, Difference, Elsewhere, Inspection, RestoreCheckpoint, RestoreError, RestoreReport,
    RestoreRequest, RestoreRoot, Window,
};
use rekindle_vault::{Snapshot, SnapshotReader, Tier, TierMode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::copy;
use crate::dump::{self, Piped};
use crate::failures;
use crate::measure::number;
use crate::params::{self, Field, Kind};
use crate::put_back;
use crate::shape::Shape;
use crate::site::Site;
use crate::snapshot::blocking;
use crate::views;

/// See the module's documentation.
pub(crate) struct Restore(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("component", Kind::Text),
    Field::optional("root", Kind::Text),
    Field::optional("snapshot", Kind::Text),
    Field::optional("tiers", Kind::Names),
];

/// How many lost files a failure's sentence names; the step's last checkpoint has all of them.
const LOST_NAMED: usize = 50;

#[derive(Deserialize)]
struct Params {
    component: Option<String>,
    root: Option<PathBuf>,
    snapshot: Option<String>,
    #[serde(default)]
    tiers: params::Names,
}

/// How far an attempt got; of use only to one that restores the same snapshot.
#[derive(Serialize, Deserialize)]
struct Progress {
    snapshot: SnapshotId,
    root: PathBuf,
    restored: RestoreCheckpoint,
}

/// What is to be put back, and where.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) tiers: Vec<Arc<Tier>>,
    /// The tier that all should come from.
    prefer: Preferred,
    /// The folder that the whole system is recovered into; below it no link is followed.
    pub(crate) target: PathBuf,
    /// Where the component's data shall stand.
    pub(crate) place: PathBuf,
    /// The folder that becomes the root of the tree when it stands there.
    root: PathBuf,
    /// Where the tree is restored to first; the root itself for files.
    into: PathBuf,
    /// Where what a database displaces goes; none for files.
    aside: Option<PathBuf>,
    /// The program that gets what was restored; it stands in a staging folder of the workspace then.
    feed: Option<Feed>,
}

/// The tier that all should come from: the one that was asked for, else the fastest that holds the set.
#[derive(Clone, Default)]
struct Preferred {
    tier: Option<String>,
    /// Why it does not answer, where it does not.
    silent: Option<String>,
}

/// The last part of restoring what programs dump and restore.
struct Feed {
    words: Vec<String>,
    /// Where the program runs: the folder that the whole system is recovered into.
    target: PathBuf,
}

impl Job {
    /// Returns the request to restore the tree at `folder`.
    fn request(&self, folder: &Path, checkpoint: Option<RestoreCheckpoint>) -> RestoreRequest {
        RestoreRequest {
            snapshot: self.snapshot.id,
            root: RestoreRoot::beneath(&self.target, folder),
            include: Vec::new(),
            checkpoint,
            window: window(&self.snapshot),
            prefer: self.prefer.tier.clone(),
        }
    }

    /// Returns what of that which the checkpoint covers does not stand, as `whole` found it where the tree is
    /// restored straight to its place.
    async fn refuted(
        &self,
        checkpoint: Option<RestoreCheckpoint>,
        whole: Inspection,
        stop: &CancellationToken,
    ) -> Result<Option<Difference>, Failure> {
        if checkpoint.is_none() || self.into == self.root {
            return Ok(whole.refuted);
        }
        let request = self.request(&self.into, checkpoint);
        let counts = |_: &Entry, _| true;
        Ok(restore::first_difference(&self.tiers, &request, Depth::Content, counts, stop).await?)
    }
}

#[async_trait]
impl Action for Restore {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(job) = self.job(cx).await? else {
            return Ok(Reconciled::Redo {
                evidence: json!({ "why": "the component has no data" }),
            });
        };
        if job.feed.is_some() {
            let why =
                "a program that was cut off may have done any part of its work; it gets everything again";
            return Ok(Reconciled::Redo {
                evidence: json!({ "why": why, "snapshot": job.snapshot.id }),
            });
        }
        let checkpoint = usable(checkpoint, &job);
        let at_place = checkpoint.clone().filter(|_| job.into == job.root);
        let found = restore::inspect(&job.tiers, &job.request(&job.root, at_place), &cx.stop).await?;
        let whole = found.is_whole() && !(job.aside.is_some() && put_back::sidecar_stands_beside(&job.place));
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
            self.tidy_up(&job).await;
            let report = RestoreReport {
                files: job.snapshot.files,
                dirs: job.snapshot.dirs,
                symlinks: job.snapshot.symlinks,
                bytes_total: job.snapshot.bytes,
                bytes_kept: job.snapshot.bytes,
                elsewhere: checkpoint.map_or_else(Vec::new, |restored| restored.elsewhere),
                ..RestoreReport::default()
            };
            return Ok(Reconciled::Adopt {
                output: output(&job, &report),
                evidence,
            });
        }
        let (covers, bytes_right) = (checkpoint.is_some(), found.bytes);
        if let Some(refuted) = job.refuted(checkpoint, found, &cx.stop).await? {
            // Redo takes the checkpoint away; the next attempt looks at every file again, and keeps what is right.
            evidence["checkpoint_refuted"] = json!(refuted);
            return Ok(Reconciled::Redo { evidence });
        }
        Ok(match (covers, bytes_right) {
            (false, 0) => Reconciled::Redo { evidence },
            (true, _) | (false, _) => Reconciled::Continue { evidence },
        })
    }

    /// Compares what was restored with the snapshot's list of entries. Nothing between a restore and the end of a
    /// recovery removes an entry or makes it something else, so that always counts. What is in a file counts (its
    /// length, or its bytes where its time moved) unless it may have been changed rightly: by a `command` step of
    /// the run that has ended and that this step does not need (probes only look), or by whoever has a database
    /// open, as its sidecar shows. Modes, owners, and what stands there beyond the snapshot never count.
    async fn recheck(&self, cx: &StepContext, _output: &Value) -> Result<Option<String>, Failure> {
        let Some(job) = self.job(cx).await? else {
            return Ok(None);
        };
        if job.feed.is_some() {
            // Only programs know where it stands; the probes of its validation look.
            return Ok(None);
        }
        let in_use = job.aside.is_some() && put_back::sidecar_stands_beside(&job.place);
        let may_change = in_use || views::ran_a_command(cx);
        let counts = |_: &Entry, aspect| match aspect {
            Aspect::Missing | Aspect::Type => true,
            Aspect::Target | Aspect::Size | Aspect::Content => !may_change,
            Aspect::Mode | Aspect::Owner | Aspect::Time => false,
        };
        let request = job.request(&job.root, None);
        let found = restore::first_difference(&job.tiers, &request, Depth::Touched, counts, &cx.stop).await;
        match found {
            Ok(found) => Ok(found.map(|found| {
                let path = job.root.join(found.path.display());
                format!("{}: {}", path.display(), found.aspect)
            })),
            // The next attempt refuses it with what to do about it.
            Err(error @ RestoreError::Link { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Some(job) = self.job(cx).await? else {
            let value = json!({ "nothing_to_restore": true, "bytes": 0, "files": 0 });
            return Ok(Output {
                value,
                measures: Measures::new(),
            });
        };
        // Before the first change: whoever has lost the run changes nothing of its target.
        cx.barrier().await;
        if let Some(feed) = &job.feed {
            let fed = self.feed(cx, &job, feed, checkpoint.as_ref()).await;
            // Nothing of the plain data stays in the workspace, however it went.
            self.tidy_up(&job).await;
            return fed;
        }
        make_folder(&job.target, &job.into).await?;
        let request = job.request(&job.into, usable(checkpoint.as_ref(), &job));
        let report = restored(cx, &job, request).await?;
        if !report.lost.is_empty() {
            return Err(lost(&job, &report));
        }
        if let Some(aside) = &job.aside {
            // What follows goes by paths: that no link stands on the way is looked at once more before it.
            make_folder(&job.target, &job.root).await?;
            if let Some(above) = job.target.parent() {
                make_folder(above, aside).await?;
            }
            cx.barrier().await;
            put_back::put_back(&job.into, &job.place, aside).await?;
        }
        self.tidy_up(&job).await;
        Ok(output(&job, &report))
    }
}

/// Returns how much is restored between two looks back: an eighth of the snapshot, so that a kill costs little of
/// a small component too, and never more than the vault's own window.
fn window(snapshot: &Snapshot) -> Window {
    let most = Window::default();
    let entries = usize::try_from(snapshot.files + snapshot.dirs + snapshot.symlinks).unwrap_or(usize::MAX);
    Window {
        bytes: (snapshot.bytes / 8).clamp(1 << 20, most.bytes),
        entries: (entries / 8).clamp(64, most.entries),
    }
}

/// Restores the tree, journaling a checkpoint at most once a second and whenever the attempt ends short of
/// its goal.
async fn restored(cx: &StepContext, job: &Job, request: RestoreRequest) -> Result<RestoreReport, Failure> {
    // The newest checkpoint, where it is not journaled yet: a window takes a fraction of a second.
    let newest = Mutex::new(None);
    let record = |restored: RestoreCheckpoint| {
        let progress = json!(Progress {
            snapshot: job.snapshot.id,
            root: job.into.clone(),
            restored
        });
        let newest = &newest;
        async move {
            let due = cx.checkpoint_due();
            if due {
                cx.checkpoint(progress.clone()).await?;
            }
            // A process that was stopped for a while may have lost the run since: it writes no further window then.
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
    // Why the attempt ended says more than that its checkpoint could not be recorded.
    let report = report?;
    recorded.map(|()| report)
}

impl Restore {
    /// Returns what is to be put back; none for a component without data.
    pub(crate) async fn job(&self, cx: &StepContext) -> Result<Option<Job>, Failure> {
        let params: Params = params::read(&cx.with)?;
        let (name, component) = self
            .0
            .component(&views::looped(cx, "component", params.component)?)?;
        if component.source.is_none() {
            return Ok(None);
        }
        let located = views::located(&cx.steps);
        let snapshot = match &params.snapshot {
            Some(text) => text.parse().map_err(|_| {
                Failure::permanent(
                    params::BAD_PARAMETER,
                    format!("{text:?} is not the id of a snapshot"),
                )
                .with_hint("`rekindle snapshots` lists them")
            })?,
            None => located_member(located.as_ref(), name)?,
        };
        let order = match (params.tiers, located) {
            (params::Names::These(tiers), _) => tiers,
            (params::Names::All, Some(located)) => located.tier_order,
            (params::Names::All, None) => self.0.tiers_hot_first(),
        };
        let tiers = self.0.tiers_that_answer(&order).await;
        if tiers.is_empty() {
            return Err(Failure::transient(
                code::TIER_UNAVAILABLE,
                format!("none of {} answers", order.join(", ")),
            )
            .with_hint("bring a tier back, then resume the run"));
        }
        let reader = SnapshotReader::open(&tiers, snapshot)
            .await
            .map_err(failures::vault)?;
        let snapshot = reader.snapshot().clone();
        let root = params
            .root
            .or_else(|| self.0.target_root().map(Path::to_path_buf))
            .ok_or_else(|| {
                // The living system is never a default target.
                Failure::permanent(params::BAD_PARAMETER, "the step does not say where to restore to")
                    .with_hint("give it `root:`, or recover with --to or --in-place")
            })?;
        let mut job = self.place_job(cx, name, component, snapshot, tiers, &root)?;
        job.prefer = self.preferred(&job, order.into_iter().next()).await;
        Ok(Some(job))
    }

    /// Returns the tier that all should come from, with why it does not answer where it does not.
    async fn preferred(&self, job: &Job, tier: Option<String>) -> Preferred {
        let silent = match &tier {
            Some(name) if job.tiers.iter().all(|tier| tier.name() != name) => {
                let asked = self.0.tier(name, TierMode::Existing).await;
                asked.err().map(|failure| failure.message)
            }
            _ => None,
        };
        Preferred { tier, silent }
    }

    fn place_job(
        &self,
        cx: &StepContext,
        name: &str,
        component: &Component,
        snapshot: Snapshot,
        tiers: Vec<Arc<Tier>>,
        target: &Path,
    ) -> Result<Job, Failure> {
        let target = rekindle_sources::place::resolve(&self.0.system_dir().join(target));
        if let Some(Source::Command { restore, .. }) = &component.source {
            let staging = self.0.staging_dir(&cx.run.to_string(), name);
            return Ok(Job {
                name: name.to_owned(),
                snapshot,
                tiers,
                prefer: Preferred::default(),
                target: staging.clone(),
                place: staging.join(dump::FILE),
                root: staging.clone(),
                into: staging,
                aside: None,
                feed: Some(Feed {
                    words: restore.clone(),
                    target,
                }),
            });
        }
        let place = Site::place(&target, component).unwrap_or_else(|| target.clone());
        let root = Shape::named_in(&snapshot.metadata)?.root(&place);
        let is_database = matches!(component.source, Some(Source::Sqlite { .. }));
        let (into, aside) = if is_database {
            // Beside its place, so that the last move is a rename on one file system.
            let staging = root.join(format!(".rekindle-staging-{}-{name}", cx.run));
            (staging, Some(put_back::aside_folder(&target, &root, cx.run)))
        } else {
            (root.clone(), None)
        };
        Ok(Job {
            name: name.to_owned(),
            snapshot,
            tiers,
            prefer: Preferred::default(),
            target,
            place,
            root,
            into,
            aside,
            feed: None,
        })
    }

    /// Restores the dump into the workspace, and gives it to its program.
    async fn feed(
        &self,
        cx: &StepContext,
        job: &Job,
        feed: &Feed,
        checkpoint: Option<&Value>,
    ) -> Result<Output, Failure> {
        make_folder(&job.target, &job.into).await?;
        let report = restored(cx, job, job.request(&job.into, usable(checkpoint, job))).await?;
        if !report.lost.is_empty() {
            return Err(lost(job, &report));
        }
        make_folder(&feed.target, &feed.target).await?;
        let piped = Piped {
            site: &self.0,
            cx,
            name: &job.name,
            component: self.0.component(&job.name)?.1,
        };
        cx.barrier().await;
        piped.restore(&feed.words, &feed.target, &job.place).await?;
        Ok(output(job, &report))
    }

    /// Removes what only the way to the goal needed.
    async fn tidy_up(&self, job: &Job) {
        if job.into != job.root || job.feed.is_some() {
            crate::snapshot::discard(&job.into).await;
        }
        if let Some(aside) = &job.aside {
            // One that stays takes nothing from the restored data.
            let _ = put_back::remove_unused(&job.target, &job.root, aside).await;
        }
    }
}

fn located_member(located: Option<&views::Located>, name: &str) -> Result<SnapshotId, Failure> {
    let Some(located) = located else {
        return Err(Failure::permanent(
            views::NOTHING_TO_WORK_ON,
            "no earlier step of this run located a recovery set",
        )
        .with_hint("let the step need a step that uses locate-set, or name a snapshot"));
    };
    located
        .components
        .get(name)
        .map(|member| member.snapshot)
        .ok_or_else(|| {
            Failure::permanent(
                "not_in_set",
                format!("recovery set {} holds nothing of {name}", located.set),
            )
            .with_hint("choose a set that does with --from; `rekindle sets` lists them")
        })
}

/// Returns the checkpoint as far as it is about the same snapshot at the same place.
fn usable(checkpoint: Option<&Value>, job: &Job) -> Option<RestoreCheckpoint> {
    let progress = Progress::deserialize(checkpoint?).ok()?;
    let same = progress.snapshot == job.snapshot.id && progress.root == job.into;
    // Without its folder a checkpoint covers nothing.
    (same && job.into.exists()).then_some(progress.restored)
}

/// Makes a folder that lies in `named`, which may be a link; below it none is followed.
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
    .with_hint("the other files are restored; an older set may hold these: `rekindle sets`, then --from SET")
}

fn output(job: &Job, report: &RestoreReport) -> Output {
    let mut value = json!({
        "component_restored": job.name,
        "root": job.feed.as_ref().map_or(&job.root, |feed| &feed.target),
        "place": job.feed.is_none().then_some(&job.place),
        "files": report.files,
        "dirs": report.dirs,
        "symlinks": report.symlinks,
        "bytes": report.bytes_total,
        "bytes_written": report.bytes_written,
        "bytes_kept": report.bytes_kept,
        "owners_unset": report.owners_unset,
        "preferred_tier": job.prefer.tier,
        "bytes_elsewhere": report.elsewhere.iter().map(|one| one.bytes).sum::<u64>(),
        "elsewhere": report.elsewhere.iter().map(|one| elsewhere(job, one)).collect::<Vec<_>>(),
        "snapshot": job.snapshot.id,
        "consistency_point": job.snapshot.consistency_point.utc,
        "consistency_stamp": job.snapshot.consistency_point,
        "content_digest": job.snapshot.content_digest,
    });
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

/// Returns what came from another tier than the preferred one, as it is journaled and shown.
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
