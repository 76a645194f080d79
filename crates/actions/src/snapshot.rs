//! `snapshot`: captures one component into the spool.
//!
//! Right before the capture, the component's validations that have `at: backup` measure the living system. The snapshot
//! keeps their numbers, as the baseline of each recovery from it. A probe that fails or misses costs no backup: the output
//! says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_model::source::SourceSpec;
use rekindle_model::system::{Component, WhenUnreadable};
use rekindle_plan::Problem;
use rekindle_sources::files::{NoteKind, Notes};
use rekindle_sources::{Captured, Placed, SourceContext, discard};
use rekindle_vault::{CaptureRequest, Snapshot, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{self, Check, Numbers};
use crate::copy;
use crate::failures;
use crate::measure::number;
use crate::params::{self, Field, Kind, Names};
use crate::prober::Prober;
use crate::programs::SourcePrograms;
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
    /// The due tiers. Content that all of them hold is not written again.
    #[serde(default)]
    tiers: Names,
}

/// The snapshot's name is recorded before the capture begins, so that the snapshot is recognised after a crash.
#[derive(Serialize, Deserialize)]
struct Progress {
    snapshot: SnapshotId,
}

#[async_trait]
impl Action for TakeSnapshot {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(progress) = checkpoint.and_then(|value| Progress::deserialize(value).ok()) else {
            return Ok(Reconciled::redo("nothing was captured yet"));
        };
        let Params { component, .. } = params::read(&cx.with)?;
        let (name, component) = self.0.component(&views::looped(cx, "component", component)?)?;
        let spool = self.0.spool().await?;
        // The document is written last. If it exists, so does everything that it names.
        Ok(
            match spool.snapshot(progress.snapshot).await.map_err(failures::vault)? {
                Some(snapshot) => {
                    let evidence =
                        json!({ "snapshot": snapshot.id, "content_digest": snapshot.content_digest });
                    let tiers = self.0.tiers_that_answer(&self.0.tiers_hot_first()).await;
                    let before = parent_of(&tiers, &snapshot).await;
                    let mut output = output(name, component, &snapshot, before.as_ref(), None);
                    let source = component
                        .source
                        .as_ref()
                        .map(rekindle_sources::open)
                        .transpose()?;
                    if source.is_some_and(|source| source.may_leave_out()) {
                        // The capture's list of what it left out was lost with the process.
                        output.value["noted"] = Value::Null;
                    }
                    Reconciled::Complete { output, evidence }
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
        let Some(spec) = &component.source else {
            return Ok(nothing_to_capture(name));
        };
        let placed = rekindle_sources::place(spec, &self.0.living())?;
        let spool = self.0.spool().await?;
        let due = match tiers {
            Names::All => self.0.tiers_hot_first(),
            Names::These(tiers) => tiers,
        };
        let tiers = self.0.tiers_that_answer(&due).await;
        let before = newest(&tiers, name).await?;

        let living = self.living(cx, name, component).await?;
        let consistency_point = self.0.clock().now();
        let snapshot = SnapshotId::new(&consistency_point);
        cx.checkpoint(json!(Progress { snapshot })).await?;
        let opened = self.open(cx, name, &placed).await?;
        let mut opened = living
            .warnings
            .iter()
            .fold(opened, |opened, warning| opened.with_warning(warning));
        let request = CaptureRequest {
            snapshot,
            component: name.to_owned(),
            parent: before.as_ref().map(|before| before.id),
            metadata: metadata(spec, &mut opened, &living),
            source: opened.tree,
            consistency_point,
            captured_by: format!("rekindle {}", env!("CARGO_PKG_VERSION")),
            tiers,
        };
        let captured = rekindle_vault::capture(&spool, request, &copy::progress(cx), &cx.stop).await;
        discard(&self.staging(cx, name)).await;
        let captured = captured.map_err(failures::vault)?;
        let mut output = output(name, component, &captured, before.as_ref(), opened.notes.as_ref());
        output.value["living"] = json!(living.checks);
        Ok(output)
    }
}

/// What was measured on the living system.
#[derive(Default)]
struct Living {
    baseline: Numbers,
    checks: Vec<Check>,
    /// Sentences for people.
    warnings: Vec<String>,
}

impl TakeSnapshot {
    /// Measures the living system for the baseline. Only an end of the step itself is a failure.
    async fn living(&self, cx: &StepContext, name: &str, component: &Component) -> Result<Living, Failure> {
        let mut living = Living::default();
        let prober =
            Prober::new(&self.0, cx, Some(self.0.data_root()), Some(name)).with_limit(BASELINE_LIMIT);
        for probe in self.0.system().baseline_probes(component) {
            match prober.measure(probe).await {
                Ok(numbers) => {
                    living.checks.extend(checks::judge_living(probe, &numbers));
                    living.baseline.extend(numbers);
                }
                Err(failure) if cx.stop.is_cancelled() => return Err(failure),
                Err(failure) => living.warnings.push(format!("no baseline: {}", failure.message)),
            }
        }
        let missed = checks::missed(&living.checks);
        if !missed.is_empty() {
            let warning = format!("the living system is not valid: {missed}");
            living.warnings.push(warning);
        }
        Ok(living)
    }

    /// Opens the component's source. If an attempt fails, removes what it has put into the staging folder.
    async fn open(&self, cx: &StepContext, name: &str, placed: &Placed) -> Result<Captured, Failure> {
        let staging = self.staging(cx, name);
        let opened = placed
            .source
            .capture(&SourceContext {
                component: name,
                attempt: cx.attempt,
                root: &placed.root,
                staging: &staging,
                never: &self.0.never_captured(),
                stop: &cx.stop,
                programs: &SourcePrograms {
                    site: &self.0,
                    cx,
                    name,
                },
            })
            .await;
        if opened.is_err() {
            discard(&staging).await;
        }
        opened
    }

    fn staging(&self, cx: &StepContext, name: &str) -> PathBuf {
        self.0.staging_dir(&cx.run.to_string(), name)
    }
}

/// How long a probe of the living system may take that has no timeout of its own. A probe must not cost a backup.
const BASELINE_LIMIT: Duration = Duration::from_secs(2 * 60);
/// The key of a snapshot's metadata, and of a restore's output, with the numbers of the living system.
pub(crate) const BASELINE: &str = "baseline";

/// Returns a snapshot's description of its source, and of the system that it was captured from.
fn metadata(spec: &SourceSpec, captured: &mut Captured, living: &Living) -> Value {
    let mut metadata = std::mem::take(&mut captured.facts);
    metadata.insert("source".to_owned(), json!(spec.kind));
    metadata.insert("shape".to_owned(), json!(captured.shape));
    if !living.baseline.is_empty() {
        metadata.insert(BASELINE.to_owned(), json!(living.baseline));
    }
    Value::Object(metadata)
}

/// Returns the component's newest snapshot in any of the tiers. A capture compares with it.
async fn newest(tiers: &[Arc<Tier>], component: &str) -> Result<Option<Snapshot>, Failure> {
    let mut newest: Option<Snapshot> = None;
    for tier in tiers {
        // A tier that cannot be listed must not cost the others their backup. Its own steps name it.
        let found = match copy::newest_of(tier, component).await {
            Ok(found) => found,
            Err(failure) => {
                tracing::warn!(tier = tier.name(), %failure, "nothing is compared with it");
                None
            }
        };
        if let Some(found) = found
            && newest.as_ref().is_none_or(|newest| newest.id < found.id)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// Returns the snapshot that a snapshot was compared with, if a tier still holds it.
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

fn output(
    name: &str,
    component: &Component,
    snapshot: &Snapshot,
    before: Option<&Snapshot>,
    notes: Option<&Notes>,
) -> Output {
    let mut value = json!({
        "component": name,
        "snapshot": snapshot.id,
        "captured_by": snapshot.captured_by,
        "consistency_point": snapshot.consistency_point.utc,
        "bytes": snapshot.bytes,
        "files": snapshot.files,
        "dirs": snapshot.dirs,
        "symlinks": snapshot.symlinks,
        "hard_links": snapshot.hard_links,
        "nodes": snapshot.nodes,
        "content_digest": snapshot.content_digest,
        "parent": snapshot.parent,
        "metadata": snapshot.metadata,
    });
    if !snapshot.unreadable.is_empty() {
        value["unreadable"] = json!(snapshot.unreadable);
        value["unreadable_accepted"] = json!(component.unreadable == WhenUnreadable::Accept);
    }
    if let Some(before) = before {
        value["before"] = json!({ "files": before.files, "bytes": before.bytes });
    }
    if let Some(notes) = notes.filter(|notes| notes.total() > 0) {
        // A record is small. The first few notes show the kind of trouble; the log has all of them.
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
