//! `rekindle backup`

use rekindle_workspace::operations::backup::{self, BackupRequest};
use rekindle_workspace::{Error, ReadWriteWorkspace};

use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Capture every component, store it in every tier, verify the stored copies, seal a recovery set
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this component, by name or alias; the set inherits the others
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Accept the result of this recovery in place, although the recovery failed; the history records this
    #[arg(long = "accept", value_name = "RUN")]
    accepted: Vec<String>,
    /// Count a missed target as a partial failure (exit 3)
    #[arg(long)]
    strict: bool,
    /// Submit the run to the workspace's owner (`rekindle serve`), and return at once with its id
    #[arg(long)]
    detach: bool,
}

/// Backs up.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let application = &app.application;
    ReadWriteWorkspace::with(application, async |workspace| {
        let mut request = BackupRequest {
            components: args.components.clone(),
            tiers: args.tiers.clone(),
            accepted: Vec::new(),
            strict: args.strict,
        };
        for word in &args.accepted {
            request.accepted.push(workspace.context.run(word).await?);
        }
        let run = backup::prepare(workspace, &request).await?;
        let accepted = request.accepted.iter().map(|run| format!(" --accept {run}"));
        let command = format!("rekindle backup{}", accepted.collect::<String>());
        drive::begin(app, workspace, run, command, args.detach).await
    })
    .await
}
