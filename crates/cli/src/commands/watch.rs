//! `rekindle watch`

use std::sync::Arc;

use rekindle_model::event::Event;
use rekindle_model::id::RunId;
use rekindle_server::api::is_of_end;
use rekindle_server::owner::updates_of;
use rekindle_server::{Client, RunService, RunUpdate, Unreachable};
use tokio::sync::mpsc;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::context::WorkspaceContext;
use rekindle_workspace::open::{self, KNOCK, PATIENCE, ReadOnlyWorkspace};

/// Watch a run while another process drives it, to its end
///
/// Ctrl-C stops watching, and nothing else. The exit code is the run's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning of its id, or latest
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
}

/// Watches.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let run = workspace.context.run(&args.run).await;
    // A watcher must not keep another process from driving the run.
    let context = workspace.let_go().await;
    let run = run?;
    let updates = follow(app, &context, run).await?;
    drive::watch(app, &context, run, updates).await
}

/// Returns the updates of a run: of the process that drives it, else of the journal. An owner may leave and another one
/// start at any instant. An owner that does not answer yet, or no more, is given some time.
async fn follow(
    app: &App,
    context: &WorkspaceContext,
    run: RunId,
) -> Result<mpsc::Receiver<RunUpdate>, Error> {
    let state = &context.layout.state;
    let begun = app.application.clock.now();
    loop {
        match Client::connect(state).await {
            Ok(client) => match client.follow(run, 0).await {
                Err(problem) if is_of_end(&problem) => {}
                updates => return Ok(updates?),
            },
            Err(Unreachable::Nobody { .. }) => {
                let records = context.journal.read(run).await?;
                let over = matches!(
                    records.last().map(|record| &record.event),
                    Some(Event::RunFinished { .. })
                );
                let Some(holder) = rekindle_journal_local::owner(state)?.filter(|_| !over) else {
                    return Ok(updates_of(Arc::unwrap_or_clone(records)));
                };
                if app.application.clock.now().since(&begun).duration >= PATIENCE {
                    return Err(open::answers_nobody(holder));
                }
            }
            Err(error) => return Err(open::unreachable(error, state)),
        }
        tokio::select! {
            () = tokio::time::sleep(KNOCK) => {}
            () = app.application.stop.cancelled() => return Err(open::interrupted()),
        }
    }
}
