//! `rekindle watch`

use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::{Error, operations};

use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Follow a run that another process drives, to its end
///
/// Ctrl-C ends only the watching. The exit code is the run's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning or end of its id, or latest
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
    let updates = operations::watch::follow(&app.application, &context, run).await?;
    drive::watch(app, &context, run, updates).await
}
