//! The demo's story, act by act, with the figures that were measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_factoria::layout::RUN;
use rekindle_factoria::watermark;
use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::{builtin, load_system};
use rekindle_report::recovery::{Validity, recovery_table};
use rekindle_report::rework::rework;
use rekindle_report::text;
use serde_json::{Value, json};

use super::child::{End, Stage, interrupted};
use super::compare::{Comparison, Tree};
use super::make_system;
use super::service::Reach;
use super::witness::{self, Witness};
use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::Pinned;
use crate::session::{Seat, Session};
use crate::workspace::Workspace;

/// The shares of the data after which the recovery is killed; each is tried when the one before came too late.
const KILL_AT: [f64; 4] = [0.5, 0.3, 0.15, 0.05];

/// Tells the story in `dir`.
pub(super) async fn tell(app: &App, dir: &Path, size: u64, keep: bool) -> Result<Exit, CliError> {
    let begun = app.clock.now();
    let say = |text: String| app.printer.say(text);
    let took = |since: &Stamp| text::duration(app.clock.now().since(since).duration);
    let data = dir.join("data");
    let system = load_system("la-factoria/system.yaml", builtin::LA_FACTORIA)?.value;
    let stage = Stage::new(dir, &dir.join("key"))?;

    let made = {
        let dir = dir.to_owned();
        blocking(move || make_system(&dir, size)).await?
    };
    let kit = dir.join("recovery-kit.txt");
    stage
        .done(app, &["init", "--kit", &kit.to_string_lossy()])
        .await?;
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
    let backing_up = app.clock.now();
    let backup = stage.done(app, &["backup"]).await?;
    let took_backup = took(&backing_up);
    let ends = watermark(&data)?;
    let after = before.compare(&read(&data, &system).await?);
    expect_same(&after, "the backup has changed the system")?;
    let components = backup["backup"]["components"].as_array().map_or(0, Vec::len);
    say(format!(
        "2. backed up {components} components into {} tiers, each copy verified, while it wrote {} records ({took_backup})",
        system.tiers.len(),
        records(&ends) - records(&begins),
    ));

    let points = points(app, &stage, &system).await?;
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

    let resuming = app.clock.now();
    stage.done(app, &["resume", "latest"]).await?;
    say(format!("5. resumed and done ({})", took(&resuming)));
    let back = read(&data, &system).await?;
    let compared = before.compare(&back);
    let mut told = witness.testify(&data, &points.instants, &begins)?;
    if back.bytes + told.bytes != points.bytes {
        told.faults.push(format!(
            "{} bytes came back, {} were backed up",
            back.bytes + told.bytes,
            points.bytes
        ));
    }
    say(format!(
        "6. compared with what was backed up: {} files, {} databases, {} links, {} folders, {}: {}",
        compared.files + told.logs,
        compared.databases + told.databases,
        compared.links,
        compared.folders,
        text::bytes(points.bytes),
        if compared.differences.is_empty() && told.faults.is_empty() {
            "all the same"
        } else {
            "DIFFERENT"
        }
    ));
    expect_same(&compared, "what came back is not what was backed up")?;
    expect_none(
        &told.faults,
        "the stores that the system wrote to did not come back as they were",
    )?;

    let service = stage.serve(&data).await?;
    service.is_healthy(&system).await?;
    let again = service.writes_on(app, &watermark(&data)?).await?;
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
        told.lines()
    ));

    let session = Session::open(app, Workspace::at(dir), Seat::Leaves).await?;
    let facts = json!({
        "compared": compared, "stores": told.stores, "killed_at_bytes": killed.at_bytes,
        "kills_too_late": killed.too_late,
    });
    let reported = report(app, &session, facts, &begun, keep).await;
    session.close().await;
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
    app: &App,
    stage: &Stage,
    data: &Path,
    bytes: u64,
    disaster: impl Fn(usize) -> String,
) -> Result<Killed, CliError> {
    for (too_late, share) in KILL_AT.into_iter().enumerate() {
        destroy(data)?;
        let told = app.clock.now().utc.to_rfc3339();
        app.printer.say(disaster(too_late + 1));
        let threshold = (bytes as f64 * share) as u64;
        let args = [
            "recover",
            "--scenario",
            "complete_system_failure",
            "--disaster-at",
            &told,
        ];
        match stage.killed_at(&args, threshold).await? {
            End::Killed { restored } => {
                app.printer.say(format!(
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
            End::ByItself(status) if status.success() => app.printer.say(format!(
                "4. recover: it was done before the kill at {:.0} % came; once more, killed earlier",
                share * 100.0
            )),
            End::ByItself(status) => {
                return Err(CliError::new(
                    Exit::Failed,
                    "demo",
                    format!("the recovery ended by itself with {status}"),
                )
                .with_hint(
                    "keep what it leaves, then `rekindle show latest` there: rekindle demo --keep DIR",
                ));
            }
        }
        if app.signals.stop().is_cancelled() {
            return Err(interrupted());
        }
    }
    Err(CliError::new(
        Exit::Failed,
        "demo",
        format!(
            "{} recoveries were each done before they could be killed",
            KILL_AT.len()
        ),
    )
    .with_hint("give it more to do: --size 200MB"))
}

/// What the snapshots of the one backup say of themselves.
struct Points {
    /// Each component's consistency point.
    instants: BTreeMap<String, DateTime<Utc>>,
    /// Bytes of all of them.
    bytes: u64,
}

async fn points(app: &App, stage: &Stage, system: &System) -> Result<Points, CliError> {
    let tier = system.tiers.keys().next().map_or("", String::as_str);
    let snapshots = stage.lines(app, &["snapshots", "--tier", tier]).await?;
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
    app: &App,
    session: &Session,
    mut facts: Value,
    begun: &Stamp,
    keep: bool,
) -> Result<Exit, CliError> {
    let run = session.ground.run("latest").await?;
    let evidence = session.ground.evidence(run).await?;
    let pinned = Pinned::read(&*session.ground.journal, &evidence.state, &evidence.inputs).await?;
    let table = recovery_table(&evidence, &pinned.plan()?, &pinned.system);
    let cost = rework(&evidence);
    let total: Duration = app.clock.now().since(begun).duration;
    facts["run"] = json!(run);
    facts["recovery"] = json!(table);
    facts["rework"] = json!(cost);
    facts["duration"] = json!(total.as_secs_f64());
    facts["kept"] = json!(keep.then(|| session.ground.workspace.dir.clone()));
    app.printer.data(&facts, || {
        let mut said = format!("\n{}\n{}", text::recovery(&table), text::interruptions(&cost));
        said.push_str(&format!("the whole demo took {}\n", text::duration(total)));
        if keep {
            let dir = session.ground.workspace.dir.display();
            said.push_str(&format!(
                "\nleft in {dir}; go on there:\n  rekindle -w {dir}\n  rekindle -w {dir} show latest\n  rekindle -w {dir} history latest\n"
            ));
        }
        said
    })?;
    // Without a probe there is no data, which is told; a probe that fails is a demo that fails.
    let invalid = table
        .components
        .iter()
        .any(|row| row.valid == Validity::No || row.restored == Some(false));
    Ok(if invalid { Exit::Partial } else { Exit::Done })
}

fn destroy(data: &Path) -> Result<(), CliError> {
    std::fs::remove_dir_all(data)
        .map_err(|error| CliError::io(format_args!("destroy {}", data.display()), &error))
}

async fn read(data: &Path, system: &System) -> Result<Tree, CliError> {
    let (data, frames) = (data.to_owned(), frames(system));
    // What the running system writes to is judged by what it has written; where it listens is no part of it.
    let without: Vec<PathBuf> = witness::growing().chain([PathBuf::from(RUN)]).collect();
    blocking(move || Tree::read(&data, &frames, &without)).await
}

/// Returns the folders that hold components and belong to none: nobody has captured them.
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

fn expect_same(compared: &Comparison, what: &str) -> Result<(), CliError> {
    expect_none(&compared.differences, what)
}

fn expect_none(faults: &[String], what: &str) -> Result<(), CliError> {
    if faults.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = faults.iter().take(20).map(String::as_str).collect();
    Err(CliError::new(
        Exit::DataLost,
        "different",
        format!("{what}: {} differences", faults.len()),
    )
    .with_details(first.join("\n"))
    .with_hint("keep what it leaves and look: rekindle demo --keep DIR"))
}

/// Runs what reads or writes many files beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        CliError::new(
            Exit::Failed,
            "internal",
            format!("a task of the demo broke: {error}"),
        )
    })?
}
