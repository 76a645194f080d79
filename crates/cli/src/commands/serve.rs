//! `rekindle serve`

use rekindle_model::system::System;
use rekindle_server::Pace;
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::open::{OwnerLifetime, ReadWriteWorkspace};

/// Own the workspace: go on with every interrupted run, and drive what other commands submit, until Ctrl-C
///
/// It keeps looking for unfinished runs that nobody drives: one that a full disk has interrupted is tried again after
/// half a minute, then after longer and longer rests, up to an hour; one that `rekindle retry` or `skip` opens again, at
/// once.
///
/// The other commands find it by themselves. Ctrl-C, SIGTERM or a lost terminal (SIGHUP) lets running steps leave a
/// checkpoint; whoever serves next, or `rekindle resume`, goes on from there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many steps of all runs may be at work at once, 1 to 256 [default: `max_parallel` of system.yaml, else 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(System::MOST_PARALLEL)))]
    max_parallel: Option<u32>,
}

/// Serves.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let layout = app.application.layout()?;
    let max_parallel = args.max_parallel;
    let session = ReadWriteWorkspace::open(
        &app.application,
        layout,
        OwnerLifetime::UntilStopped { max_parallel },
    )
    .await?;
    let Some(owner) = session.owner().cloned() else {
        let error = session.held_by_other();
        session.close().await;
        return Err(error);
    };
    // What needs a person's word is asked now, and not when a run is submitted from another terminal.
    if let Err(error) = session.context.key() {
        drop(owner);
        session.close().await;
        return Err(error);
    }
    let mut sweeper = owner.sweeper(Pace::default());
    let swept = sweeper.sweep().await;
    match &swept {
        Ok(taken) => {
            let body = json!({ "pid": std::process::id(), "resumed": taken, "socket": session.socket() });
            app.printer.note("serving", &body);
            app.printer.say(format!(
                "serving {} as process {}; going on with {} interrupted runs",
                session.context.layout.dir.display(),
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
    session.close().await;
    swept?;
    app.printer.say("stopped; nothing that is journaled runs again");
    Ok(Exit::Done)
}
