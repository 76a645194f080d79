//! The demo's story, act by act, with the figures that were measured.

use rekindle_model::problem::ProblemKind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_factoria::layout::RUN;
use rekindle_factoria::watermark;
use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::builtin;
use rekindle_report::recovery::{Validity, recovery_table};
use rekindle_report::rework::rework;
use rekindle_report::text;
use rekindle_workspace::load_system;
use serde_json::{Value, json};

use super::child::{End, Stage, broken, interrupted};
use super::compare::Tree;
use super::make_system;
use super::service::Reach;
use super::witness::{self, Witness};
use crate::Shown;
use crate::factoria;
use rekindle_workspace::Error;
use rekindle_workspace::files::blocking;
use rekindle_workspace::layout::Layout;
use rekindle_workspace::open::{OwnerLifetime, ReadWriteWorkspace};
use rekindle_workspace::run_spec::LoadedSpec;

/// The shares of the data after which the recovery is killed; each is tried when the one before came too late.
const KILL_AT: [f64; 4] = [0.5, 0.3, 0.15, 0.05];

/// Tells the story in `dir`.
pub(super) async fn tell(app: Shown<'_>, dir: &Path, size: u64, keep: bool) -> Result<bool, Error> {
    let begun = app.application.clock.now();
    let say = |text: String| app.face.say(&text);
    let took = |since: &Stamp| text::duration(app.application.clock.now().since(since).duration);
    let data = dir.join("data");
    let system = load_system("la-factoria/system.yaml", builtin::LA_FACTORIA)?.value;
    let stage = Stage::new(app, dir, &dir.join("key"));

    let made = {
        let dir = dir.to_owned();
        blocking(move || make_system(&dir, size)).await??
    };
    let kit = dir.join("recovery-kit.txt");
    stage.done(&["init", "--kit", &kit.to_string_lossy()]).await?;
    let before = read(&data, &system).await?;
    let service = stage.serve(&data).await?;
    service.is_healthy(&system).await?;
    say(format!(
        "1. made a La Factoria system, {} files, {}, and started it: process {} answers at {} ({})",
        made.files,
        text::bytes(made.bytes),
        service.address.pid,
        service.address.listening,
        took(&begun)
    ));

    let begins = service.writes_on(app, &Reach::new()).await?;
    let backing_up = app.application.clock.now();
    let backup = stage.done(&["backup"]).await?;
    let took_backup = took(&backing_up);
    let ends = watermark(&data).map_err(factoria::error)?;
    let after = before.compare(&read(&data, &system).await?);
    expect_none(&after.differences, "the backup has changed the system")?;
    let components = backup["backup"]["components"].as_array().map_or(0, Vec::len);
    say(format!(
        "2. backed up {components} components into {} tiers, each copy verified, while it wrote {} records ({took_backup})",
        system.tiers.len(),
        records(&ends) - records(&begins),
    ));

    let points = points(&stage, &system).await?;
    // Something is always lost that was written after the last backup; here one sees how much.
    service.writes_on(app, &ends).await?;
    let pid = service.address.pid;
    service.kill().await?;
    let witness = Witness::of(&data)?;
    let killed = kill_recovery(app, &stage, &data, points.bytes, |attempt| match attempt {
        1 => format!(
            "3. disaster: process {pid} is killed, {} records after the backup, and {} destroyed",
            records(&witness.reach) - records(&ends),
            data.display()
        ),
        _ => format!("3. once more: {} is destroyed", data.display()),
    })
    .await?;

    let resuming = app.application.clock.now();
    stage.done(&["resume", "latest"]).await?;
    say(format!("5. resumed and done ({})", took(&resuming)));
    let back = read(&data, &system).await?;
    let compared = before.compare(&back);
    let mut testimony = witness.testify(&data, &points.instants, &begins)?;
    if back.bytes + testimony.bytes != points.bytes {
        testimony.faults.push(format!(
            "{} bytes came back, {} were backed up",
            back.bytes + testimony.bytes,
            points.bytes
        ));
    }
    say(format!(
        "6. compared with what was backed up: {} files, {} databases, {} links, {} folders, {}: {}",
        compared.files + testimony.logs,
        compared.databases + testimony.databases,
        compared.links,
        compared.folders,
        text::bytes(points.bytes),
        if compared.differences.is_empty() && testimony.faults.is_empty() {
            "all the same"
        } else {
            "DIFFERENT"
        }
    ));
    expect_none(&compared.differences, "what came back is not what was backed up")?;
    expect_none(
        &testimony.faults,
        "the stores that the system wrote to did not come back as they were",
    )?;

    let service = stage.serve(&data).await?;
    service.is_healthy(&system).await?;
    let again = service
        .writes_on(app, &watermark(&data).map_err(factoria::error)?)
        .await?;
    service.stop().await?;
    let gaps = again
        .iter()
        .filter(|(_, mark)| mark.missing + mark.doubled > 0)
        .map(|(store, mark)| format!("{store}: {mark:?}"));
    expect_none(
        &gaps.collect::<Vec<_>>(),
        "the system did not go on where it was backed up",
    )?;
    say(format!(
        "7. started it again: healthy, it goes on writing, no record is missing up to each consistency point\n{}",
        testimony.lines()
    ));

    let workspace =
        ReadWriteWorkspace::open(app.application, Layout::at(dir), OwnerLifetime::UntilIdle).await?;
    let facts = json!({
        "compared": compared, "stores": testimony.stores, "killed_at_bytes": killed.at_bytes,
        "kills_too_late": killed.too_late,
    });
    let reported = report(app, &workspace, facts, &begun, keep).await;
    workspace.close().await;
    reported
}

/// A recovery that was killed.
struct Killed {
    at_bytes: u64,
    /// Recoveries before it that were done before their kill came.
    too_late: usize,
}

/// Destroys the data, so many bytes, and kills a recovery of it half-way; `disaster` says what happens at each attempt, from 1.
async fn kill_recovery(
    app: Shown<'_>,
    stage: &Stage<'_>,
    data: &Path,
    bytes: u64,
    disaster: impl Fn(usize) -> String,
) -> Result<Killed, Error> {
    for (too_late, share) in KILL_AT.into_iter().enumerate() {
        destroy(data)?;
        let disaster_at = app.application.clock.now().utc.to_rfc3339();
        app.face.say(&disaster(too_late + 1));
        let threshold = (bytes as f64 * share) as u64;
        let args = [
            "recover",
            "--scenario",
            "complete_system_failure",
            "--disaster-at",
            &disaster_at,
        ];
        match stage.killed_at(&args, threshold).await? {
            End::Killed { restored } => {
                app.face.say(&format!(
                    "4. recover: SIGKILL at {} of {} ({:.0} %)",
                    text::bytes(restored),
                    text::bytes(bytes),
                    restored as f64 / bytes.max(1) as f64 * 100.0
                ));
                return Ok(Killed {
                    at_bytes: restored,
                    too_late,
                });
            }
            End::ByItself(status) if status.success() => app.face.say(&format!(
                "4. recover: it was done before the kill at {:.0} % came; once more, killed earlier",
                share * 100.0
            )),
            End::ByItself(status) => {
                return Err(
                    broken(format!("the recovery ended by itself with {status}")).with_advice(
                        "`rekindle demo --keep DIR` keeps what it leaves; `rekindle -w DIR show latest` then shows the run",
                    ),
                );
            }
        }
        if app.application.stop.is_cancelled() {
            return Err(interrupted());
        }
    }
    Err(broken(format!(
        "{} recoveries were each done before they could be killed",
        KILL_AT.len()
    ))
    .with_advice("give it more to do: --size 200MB"))
}

/// What the snapshots of the one backup say of themselves.
struct Points {
    /// Each component's consistency point.
    instants: BTreeMap<String, DateTime<Utc>>,
    /// Bytes of all of them.
    bytes: u64,
}

async fn points(stage: &Stage<'_>, system: &System) -> Result<Points, Error> {
    let tier = system.tiers.keys().next().map_or("", String::as_str);
    let snapshots = stage.lines(&["snapshots", "--tier", tier]).await?;
    let mut points = Points {
        instants: BTreeMap::new(),
        bytes: 0,
    };
    for snapshot in snapshots {
        let at = snapshot["consistency_point"]
            .as_str()
            .and_then(|at| at.parse().ok());
        if let (Some(component), Some(at)) = (snapshot["component"].as_str(), at) {
            points.instants.insert(component.to_owned(), at);
        }
        points.bytes += snapshot["bytes"].as_u64().unwrap_or_default();
    }
    Ok(points)
}

/// Returns how many records all stores hold.
fn records(reach: &Reach) -> u64 {
    reach.values().map(|mark| mark.seq).sum()
}

async fn report(
    app: Shown<'_>,
    workspace: &ReadWriteWorkspace,
    mut facts: Value,
    begun: &Stamp,
    keep: bool,
) -> Result<bool, Error> {
    let run = workspace.context.run("latest").await?;
    let evidence = workspace.context.evidence(run).await?;
    let pinned = LoadedSpec::read(&*workspace.context.journal, &evidence.state, &evidence.inputs).await?;
    let table = recovery_table(&evidence, &pinned.plan()?, &pinned.system);
    let cost = rework(&evidence);
    let total: Duration = app.application.clock.now().since(begun).duration;
    facts["run"] = json!(run);
    facts["recovery"] = json!(table);
    facts["rework"] = json!(cost);
    facts["duration_seconds"] = json!(total.as_secs_f64());
    facts["kept"] = json!(keep.then(|| workspace.context.layout.dir.clone()));
    let mut said = format!("\n{}\n{}", text::recovery(&table), text::interruptions(&cost));
    said.push_str(&format!("the whole demo took {}\n", text::duration(total)));
    if keep {
        let dir = workspace.context.layout.dir.display();
        said.push_str(&format!(
            "\nleft in {dir}; go on there:\n  rekindle -w {dir}\n  rekindle -w {dir} show latest\n  rekindle -w {dir} history latest\n"
        ));
    }
    app.face.data(&facts, &said)?;
    // Without a probe there is no data, which is shown; a probe that fails is a demo that fails.
    let invalid = table
        .components
        .iter()
        .any(|row| row.valid == Validity::No || row.restored == Some(false));
    Ok(!invalid)
}

fn destroy(data: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(data)
        .map_err(|error| Error::io(format_args!("destroy {}", data.display()), &error))
}

async fn read(data: &Path, system: &System) -> Result<Tree, Error> {
    let (data, frames) = (data.to_owned(), frames(system));
    // What the running system writes to is judged by what it has written; where it listens is no part of it.
    let without: Vec<PathBuf> = witness::growing().chain([PathBuf::from(RUN)]).collect();
    blocking(move || Tree::read(&data, &frames, &without)).await?
}

/// Returns the folders that hold components and belong to none: no snapshot has them.
fn frames(system: &System) -> Vec<PathBuf> {
    let mut frames = Vec::new();
    let sources = system
        .components
        .values()
        .filter_map(|component| component.source.as_ref());
    for claim in sources.filter_map(|source| rekindle_sources::open(source).ok()?.claim()) {
        let path = rekindle_sources::place::relative(&claim.path);
        let above = path
            .ancestors()
            .skip(1)
            .map(Path::to_owned)
            .filter(|folder| !folder.as_os_str().is_empty());
        frames.extend(above);
    }
    frames
}

fn expect_none(faults: &[String], what: &str) -> Result<(), Error> {
    if faults.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = faults.iter().take(20).map(String::as_str).collect();
    Err(Error::new(
        ProblemKind::DataLost,
        "different",
        format!("{what}: {} differences", faults.len()),
    )
    .with_details(first.join("\n"))
    .with_advice("keep what it leaves and look: rekindle demo --keep DIR"))
}
