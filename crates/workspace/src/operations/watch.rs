//! A run, watched while another process drives it.

use std::sync::Arc;

use rekindle_model::event::Event;
use rekindle_model::id::RunId;
use rekindle_server::api::is_of_end;
use rekindle_server::owner::updates_of;
use rekindle_server::{Client, RunService, RunUpdate, Unreachable};
use tokio::sync::mpsc;

use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::open::{self, KNOCK, PATIENCE};

/// Returns the updates of a run: of the process that drives it, else of the journal. An owner may leave and another one
/// start at any instant. An owner that does not answer yet, or no more, is given some time.
///
/// # Errors
/// The owner does not answer, or the person stops the wait.
pub async fn follow(
    app: &Application,
    context: &WorkspaceContext,
    run: RunId,
) -> Result<mpsc::Receiver<RunUpdate>, Error> {
    let state = &context.layout.state;
    let begun = app.clock.now();
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
                if app.clock.now().since(&begun).duration >= PATIENCE {
                    return Err(open::answers_nobody(holder));
                }
            }
            Err(error) => return Err(open::unreachable(error, state)),
        }
        tokio::select! {
            () = tokio::time::sleep(KNOCK) => {}
            () = app.stop.cancelled() => return Err(open::interrupted()),
        }
    }
}
