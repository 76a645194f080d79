//! `rekindle watch`

use rekindle_server::Desk;
use rekindle_server::{Client, Unreachable};

use crate::App;
use crate::drive;
use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Look;

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
    let run = look.ground.run(&args.run).await?;
    let client = match Client::connect(&look.ground.workspace.state).await {
        Ok(client) => Some(client),
        Err(Unreachable::Nobody { .. }) => None,
        Err(error) => return Err(rekindle_server::Problem::from(error).into()),
    };
    // Who looks must not keep anybody from driving.
    let ground = look.let_go().await;
    let told = match &client {
        Some(client) => client.follow(run, 0).await?,
        None => rekindle_server::owner::told_of(ground.journal.read(run).await?),
    };
    drive::watch(app, &ground, run, told).await
}
