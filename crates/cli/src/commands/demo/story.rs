//! The demo's story, act by act, with the figures that were measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::{builtin, load_system};
use rekindle_report::recovery::{Validity, recovery_table};
use rekindle_report::rework::rework;
use rekindle_report::text;
use serde_json::json;

use super::child::{End, Stage};
use super::compare::{Comparison, Tree};
use super::make_system;
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
    say(format!(
        "1. made a La Factoria system: {} files, {} ({})",
        made.files,
        text::bytes(made.bytes),
        took(&begun)
    ));
    let kit = dir.join("recovery-kit.txt");
    stage
        .done(app, &["init", "--kit", &kit.to_string_lossy()])
        .await?;

    let backing_up = app.clock.now();
    let before = read(&data, &system).await?;
    let backup = stage.done(app, &["backup"]).await?;
    let after = before.compare(&read(&data, &system).await?);
    expect_same(&after, "the backup has changed the system")?;
    let components = backup["backup"]["components"].as_array().map_or(0, Vec::len);
    say(format!(
        "2. backed up {components} components into {} tiers, each copy verified ({})",
        system.tiers.len(),
        took(&backing_up)
    ));

    let mut interrupted = None;
    let mut too_late = 0;
    for share in KILL_AT {
        destroy(&data)?;
        let told = app.clock.now().utc.to_rfc3339();
        say(format!("3. destroyed it: {} is gone", data.display()));
        let threshold = (before.bytes as f64 * share) as u64;
        let args = [
            "recover",
            "--scenario",
            "complete_system_failure",
            "--disaster-at",
            &told,
        ];
        match stage.killed_at(&args, threshold).await? {
            End::Killed { restored } => {
                say(format!(
                    "4. recover: SIGKILL at {} of {} ({:.0} %)",
                    text::bytes(restored),
                    text::bytes(before.bytes),
                    restored as f64 / before.bytes.max(1) as f64 * 100.0
                ));
                interrupted = Some(restored);
                break;
            }
            End::ByItself(status) if status.success() => {
                too_late += 1;
                say(format!(
                    "4. recover: it was done before the kill at {:.0} % came; once more, killed earlier",
                    share * 100.0
                ));
            }
            End::ByItself(status) => {
                return Err(CliError::new(
                    Exit::Failed,
                    "demo",
                    format!("the recovery ended by itself with {status}"),
                )
                .with_hint(format!("`rekindle -w {} show latest` tells why", dir.display())));
            }
        }
        if app.signals.stop().is_cancelled() {
            return Err(CliError::new(
                Exit::Interrupted,
                "interrupted",
                "the demo was interrupted",
            ));
        }
    }
    let Some(killed_at_bytes) = interrupted else {
        return Err(CliError::new(
            Exit::Failed,
            "demo",
            format!("{too_late} recoveries were each done before they could be killed"),
        )
        .with_hint("give it more to do: --size 200MB"));
    };

    let resuming = app.clock.now();
    stage.done(app, &["resume", "latest"]).await?;
    say(format!("5. resumed and done ({})", took(&resuming)));
    let compared = before.compare(&read(&data, &system).await?);
    say(format!(
        "6. compared with what was backed up: {} files, {} databases, {} links, {} folders, {}: {}",
        compared.files,
        compared.databases,
        compared.links,
        compared.folders,
        text::bytes(compared.bytes),
        if compared.differences.is_empty() {
            "all the same"
        } else {
            "DIFFERENT"
        }
    ));

    let session = Session::open(app, Workspace::at(dir), Seat::Leaves).await?;
    let reported = report(app, &session, &compared, &begun, killed_at_bytes, too_late, keep).await;
    session.close().await;
    expect_same(&compared, "what came back is not what was backed up")?;
    reported
}

async fn report(
    app: &App,
    session: &Session,
    compared: &Comparison,
    begun: &Stamp,
    killed_at_bytes: u64,
    too_late: usize,
    keep: bool,
) -> Result<Exit, CliError> {
    let run = session.ground.run("latest").await?;
    let evidence = session.ground.evidence(run).await?;
    let pinned = Pinned::read(&*session.ground.journal, &evidence.state, &evidence.inputs).await?;
    let table = recovery_table(&evidence, &pinned.plan()?, &pinned.system);
    let cost = rework(&evidence);
    let total: Duration = app.clock.now().since(begun).duration;
    let body = json!({
        "run": run, "recovery": table, "rework": cost, "compared": compared,
        "killed_at_bytes": killed_at_bytes, "kills_too_late": too_late, "duration": total.as_secs_f64(),
        "kept": keep.then(|| session.ground.workspace.dir.clone()),
    });
    app.printer.data(&body, || {
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
    blocking(move || Tree::read(&data, &frames)).await
}

/// Returns the folders that hold components and belong to none: nobody has captured them.
fn frames(system: &System) -> Vec<PathBuf> {
    let mut frames = Vec::new();
    for path in system
        .components
        .values()
        .filter_map(|component| component.source.as_ref()?.path())
    {
        let path: PathBuf = Path::new(path)
            .components()
            .filter(|c| !matches!(c, std::path::Component::CurDir))
            .collect();
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
    if compared.differences.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = compared.differences.iter().take(20).map(String::as_str).collect();
    Err(CliError::new(
        Exit::DataLost,
        "different",
        format!("{what}: {} differences", compared.differences.len()),
    )
    .with_details(first.join("\n")))
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
