//! `snapshot`: captures one component into the spool.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::entry::TreeSource;
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::system::Source;
use rekindle_plan::Problem;
use rekindle_sources::files::{FilesSource, NoteKind, Notes};
use rekindle_sources::sqlite::{self, SqliteSource};
use rekindle_vault::{CaptureRequest, Snapshot, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::copy;
use crate::dump::Piped;
use crate::failures;
use crate::measure::number;
use crate::params::{self, Field, Kind, Names};
use crate::shape::Shape;
use crate::site::Site;
use crate::views;

/// See the module's documentation.
pub(crate) struct TakeSnapshot(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("component", Kind::Text),
    Field::optional("tiers", Kind::Names),
];

#[derive(Deserialize)]
struct Params {
    component: Option<String>,
    /// The tiers that are due: what all of them hold already is not written again.
    #[serde(default)]
    tiers: Names,
}

/// The snapshot's name is recorded before anything is captured, so that it is recognised after a crash.
#[derive(Serialize, Deserialize)]
struct Progress {
    snapshot: SnapshotId,
}

/// What is about to be captured.
struct Opened {
    source: Box<dyn TreeSource>,
    metadata: Value,
    /// What a walk of files left out.
    notes: Option<Notes>,
    /// What is removed once the capture is over.
    staging: Option<PathBuf>,
}

#[async_trait]
impl Action for TakeSnapshot {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(progress) = checkpoint.and_then(|value| Progress::deserialize(value).ok()) else {
            return Ok(Reconciled::Redo {
                evidence: json!({ "why": "nothing was captured yet" }),
            });
        };
        let Params { component, .. } = params::read(&cx.with)?;
        let (name, component) = self.0.component(&views::looped(cx, "component", component)?)?;
        let spool = self.0.spool().await?;
        // The document is written last: where it is, everything that it names is too.
        Ok(
            match spool.snapshot(progress.snapshot).await.map_err(failures::vault)? {
                Some(snapshot) => {
                    let evidence =
                        json!({ "snapshot": snapshot.id, "content_digest": snapshot.content_digest });
                    let tiers = self.0.tiers_that_answer(&self.0.tiers_hot_first()).await;
                    let before = parent_of(&tiers, &snapshot).await;
                    let mut output = output(name, &snapshot, before.as_ref(), None);
                    if matches!(component.source, Some(Source::Files { .. })) {
                        // What the walk left out died with the process.
                        output.value["noted"] = Value::Null;
                    }
                    Reconciled::Adopt { output, evidence }
                }
                None => Reconciled::Redo {
                    evidence: json!({ "snapshot": progress.snapshot, "why": "its document is not in the spool" }),
                },
            },
        )
    }

    async fn recheck(&self, _cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        let Some(id) = output
            .get("snapshot")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
        else {
            return Ok(None);
        };
        let spool = self.0.spool().await?;
        if spool.snapshot(id).await.map_err(failures::vault)?.is_some() {
            return Ok(None);
        }
        for tier in self.0.tiers_that_answer(&self.0.tiers_hot_first()).await {
            if copy::holds(&tier, id).await? {
                return Ok(None);
            }
        }
        Ok(Some(format!(
            "snapshot {id} is neither in the spool nor in a tier that answers"
        )))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params { component, tiers } = params::read(&cx.with)?;
        let (name, component) = self.0.component(&views::looped(cx, "component", component)?)?;
        let Some(source) = &component.source else {
            return Ok(nothing_to_capture(name));
        };
        let spool = self.0.spool().await?;
        let due = match tiers {
            Names::All => self.0.tiers_hot_first(),
            Names::These(tiers) => tiers,
        };
        let tiers = self.0.tiers_that_answer(&due).await;
        let before = newest(&tiers, name).await?;

        let consistency_point = self.0.clock().now();
        let snapshot = SnapshotId::new(&consistency_point);
        cx.checkpoint(json!(Progress { snapshot })).await?;
        let opened = self.open(cx, name, source).await?;
        let request = CaptureRequest {
            snapshot,
            component: name.to_owned(),
            parent: before.as_ref().map(|before| before.id),
            source: opened.source,
            consistency_point,
            captured_by: format!("rekindle {}", env!("CARGO_PKG_VERSION")),
            metadata: opened.metadata,
            tiers,
        };
        let captured = rekindle_vault::capture(&spool, request, &copy::progress(cx), &cx.stop).await;
        if let Some(staging) = opened.staging {
            discard(&staging).await;
        }
        let captured = captured.map_err(failures::vault)?;
        Ok(output(name, &captured, before.as_ref(), opened.notes.as_ref()))
    }
}

impl TakeSnapshot {
    /// Opens the component's source; a database is copied aside first, and what a program prints is spooled.
    async fn open(&self, cx: &StepContext, name: &str, source: &Source) -> Result<Opened, Failure> {
        let path = crate::site::below(&self.0.data_root(), source.path().unwrap_or_default());
        match source.clone() {
            Source::Files { include, exclude, .. } => {
                let never = self.0.never_captured();
                let shape = Shape::of(&path);
                let source = blocking(move || FilesSource::open(&path, &include, &exclude, &never)).await?;
                let notes = Some(source.notes());
                let metadata = json!({ "source": "files", "shape": shape });
                Ok(Opened {
                    source: Box::new(source),
                    metadata,
                    notes,
                    staging: None,
                })
            }
            Source::Sqlite { .. } => {
                let staging = self.0.staging_dir(&cx.run.to_string(), name);
                tokio::fs::create_dir_all(&staging)
                    .await
                    .map_err(|error| failures::io(&staging.display().to_string(), &error))?;
                // An attempt that ran out of time may still be at its last step when the next one begins: it is told
                // to stop, and has a file of its own.
                let copy = staging.join(format!("database-{}", cx.attempt));
                let stop = cx.stop.child_token();
                let _over = stop.clone().drop_guard();
                let captured =
                    blocking(move || sqlite::capture(&path, &copy, &|| stop.is_cancelled())).await?;
                let metadata = json!({
                    "source": "sqlite", "shape": Shape::File,
                    "pages": captured.pages, "database_bytes": captured.bytes,
                });
                let source = Box::new(SqliteSource::new(captured));
                Ok(Opened {
                    source,
                    metadata,
                    notes: None,
                    staging: Some(staging),
                })
            }
            Source::Command { dump, max_bytes, .. } => {
                let staging = self.0.staging_dir(&cx.run.to_string(), name);
                let (site, (_, component)) = (&self.0, self.0.component(name)?);
                let piped = Piped {
                    site,
                    cx,
                    name,
                    component,
                };
                let opened = async {
                    let file = piped.dump(&dump, max_bytes, &staging).await?;
                    blocking(move || FilesSource::open(&file, &[], &[], &[])).await
                };
                match opened.await {
                    Ok(source) => Ok(Opened {
                        source: Box::new(source),
                        metadata: json!({ "source": "command", "shape": Shape::File }),
                        notes: None,
                        staging: Some(staging),
                    }),
                    Err(failure) => {
                        discard(&staging).await;
                        Err(failure)
                    }
                }
            }
        }
    }
}

/// Runs what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::permanent(
            rekindle_model::failure::code::INTERNAL,
            format!("a task broke: {error}; this is a defect of Rekindle"),
        )),
    }
}

/// Removes a staging folder; one that stays costs space and nothing else, and is replaced by the next.
pub(crate) async fn discard(staging: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(staging).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %staging.display(), %error, "a staging folder stays behind");
    }
}

/// Returns the newest snapshot of the component that any of the tiers holds: what a capture compares with.
async fn newest(tiers: &[Arc<Tier>], component: &str) -> Result<Option<Snapshot>, Failure> {
    let mut newest: Option<Snapshot> = None;
    for tier in tiers {
        if let Some(found) = copy::newest_of(tier, component).await?
            && newest.as_ref().is_none_or(|newest| newest.id < found.id)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// Returns what a snapshot was compared with, where a tier still says.
async fn parent_of(tiers: &[Arc<Tier>], snapshot: &Snapshot) -> Option<Snapshot> {
    let parent = snapshot.parent?;
    for tier in tiers {
        if let Ok(found) = tier.snapshot(parent).await {
            return Some(found);
        }
    }
    None
}

fn nothing_to_capture(component: &str) -> Output {
    let value = json!({
        "component": component,
        "snapshot": null,
        "captured_by": "",
        "nothing_to_capture": true,
        "bytes": 0,
        "files": 0,
    });
    Output {
        value,
        measures: Measures::new(),
    }
}

fn output(component: &str, snapshot: &Snapshot, before: Option<&Snapshot>, notes: Option<&Notes>) -> Output {
    let mut value = json!({
        "component": component,
        "snapshot": snapshot.id,
        "captured_by": snapshot.captured_by,
        "consistency_point": snapshot.consistency_point.utc,
        "bytes": snapshot.bytes,
        "files": snapshot.files,
        "dirs": snapshot.dirs,
        "symlinks": snapshot.symlinks,
        "content_digest": snapshot.content_digest,
        "parent": snapshot.parent,
        "metadata": snapshot.metadata,
    });
    if let Some(before) = before {
        value["before"] = json!({ "files": before.files, "bytes": before.bytes });
    }
    if let Some(notes) = notes.filter(|notes| notes.total() > 0) {
        // A record is small: the first few name the kind of trouble, the log has them all.
        let mut first = notes.first();
        first.retain(|note| note.kind != NoteKind::Own);
        first.truncate(20);
        value["noted"] = json!({ "total": notes.total(), "counts": notes.counts(), "first": first });
    }
    let measures = [
        ("bytes_read", snapshot.bytes_read),
        ("bytes_new", snapshot.bytes_new),
        ("files", snapshot.files),
        ("bytes", snapshot.bytes),
    ];
    let measures = measures.map(|(name, count)| (name.to_owned(), number(count)));
    Output {
        value,
        measures: Measures::from(measures),
    }
}
