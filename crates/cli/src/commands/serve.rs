//! `rekindle serve`

use std::time::Duration;

use rekindle_model::system::System;
use rekindle_server::Pace;
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use crate::serve_log;
use rekindle_workspace::Error;
use rekindle_workspace::open::{OwnerLifetime, ReadWriteWorkspace};

/// Own the workspace: continue every interrupted run, and drive the runs that other commands submit, until Ctrl-C
///
/// It continues to look for unfinished runs that no process drives. If `rekindle retry` or `skip` reopens a run, it
/// continues that run at once. If a full disk has interrupted a run, it tries again after half a minute, then after
/// longer and longer waits, up to an hour.
///
/// The other commands find this process by themselves. On Ctrl-C, SIGTERM or a lost terminal (SIGHUP), running steps
/// record a checkpoint. The next `rekindle serve` or `rekindle resume` continues from there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many steps of all runs may be at work at once, 1 to 256 [default: `max_parallel` of system.yaml, else 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(System::MOST_PARALLEL)))]
    max_parallel: Option<u32>,
}

/// How long the last lines about runs may take.
const REST_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Serves.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let layout = app.application.layout()?;
    let max_parallel = args.max_parallel;
    let workspace = ReadWriteWorkspace::open(
        &app.application,
        layout,
        OwnerLifetime::UntilStopped { max_parallel },
    )
    .await?;
    let Some(owner) = workspace.owner().cloned() else {
        let error = workspace.held_by_other();
        workspace.close().await;
        return Err(error);
    };
    // A passphrase is asked for now, not when another terminal submits a run.
    if rekindle_workspace::keys::has_system(&workspace.context.layout)
        && let Err(error) = workspace.context.key()
    {
        drop(owner);
        workspace.close().await;
        return Err(error);
    }
    let records = workspace.context.journal.subscribe();
    let told = tokio::spawn(serve_log::follow(records, app.printer));
    let mut sweeper = owner.sweeper(Pace::default());
    let swept = sweeper.sweep().await;
    match &swept {
        Ok(taken) => {
            let body = json!({ "pid": std::process::id(), "resumed": taken, "socket": workspace.socket() });
            app.printer.note("serving", &body);
            app.printer.say(format!(
                "serving {} as process {}; continuing {} interrupted runs",
                workspace.context.layout.dir.display(),
                std::process::id(),
                taken.len()
            ));
            sweeper.keep_on().await;
            app.printer.say(drive::STOPPING);
            owner.idle().await;
        }
        Err(problem) => tracing::debug!(%problem, "cannot sweep"),
    }
    drop((sweeper, owner));
    workspace.close().await;
    // It ends with the journal, once it has told the rest.
    let _ = tokio::time::timeout(REST_TOLD_WITHIN, told).await;
    swept?;
    app.printer.say("stopped; nothing that is journaled runs again");
    Ok(Exit::Done)
}
