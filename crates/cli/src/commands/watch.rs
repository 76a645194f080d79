//! `rekindle watch`

use std::sync::Arc;

use rekindle_model::event::Event;
use rekindle_model::id::RunId;
use rekindle_server::owner::told_of;
use rekindle_server::{Client, Desk, Told, Unreachable};
use tokio::sync::mpsc;

use crate::App;
use crate::drive;
use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::session::{self, KNOCK, Look, PATIENCE};

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
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let look = Look::here(app).await?;
    let run = look.ground.run(&args.run).await;
    // Who looks must not keep anybody from driving.
    let ground = look.let_go().await;
    let run = run?;
    let told = follow(app, &ground, run).await?;
    drive::watch(app, &ground, run, told).await
}

/// Returns what there is to tell of a run: by whoever drives it, else by the journal. An owner may leave and another
/// one come at any instant; while there is one that cannot be asked yet, or not any more, it is given its time.
async fn follow(app: &App, ground: &Ground, run: RunId) -> Result<mpsc::Receiver<Told>, CliError> {
    let state = &ground.workspace.state;
    let begun = app.clock.now();
    loop {
        match Client::connect(state).await {
            Ok(client) => match client.follow(run, 0).await {
                Err(problem) if problem.is_of_end() => {}
                told => return Ok(told?),
            },
            Err(Unreachable::Nobody { .. }) => {
                let records = ground.journal.read(run).await?;
                let over = matches!(
                    records.last().map(|record| &record.event),
                    Some(Event::RunFinished { .. })
                );
                let Some(holder) = rekindle_journal_local::owner(state)?.filter(|_| !over) else {
                    return Ok(told_of(Arc::unwrap_or_clone(records)));
                };
                if app.clock.now().since(&begun).duration >= PATIENCE {
                    return Err(session::answers_nobody(holder));
                }
            }
            Err(error) => return Err(session::unreachable(error, state)),
        }
        tokio::select! {
            () = tokio::time::sleep(KNOCK) => {}
            () = app.signals.stop().cancelled() => return Err(session::interrupted()),
        }
    }
}
