//! `rekindle restore`

use std::path::PathBuf;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;

/// Write one snapshot into a folder
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The snapshot: a unique beginning of its id
    snapshot: String,
    /// The folder; what stands there and differs is replaced
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only paths that match, relative to the snapshot's root
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Restores.
pub(crate) async fn run(_app: &App, _args: &Args) -> Result<Exit, CliError> {
    Ok(Exit::Failed)
}
