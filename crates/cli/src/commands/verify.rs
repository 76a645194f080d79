//! `rekindle verify`

use rekindle_workspace::operations::verify::{self, VerifyLevel, VerifyRequest};
use rekindle_workspace::{Error, ReadWriteWorkspace};

use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Prove from the stored copies that the newest backups can be read
///
/// This also reads the replicas of runs' journals in each tier, and compares them with the journal here. If this
/// workspace has a run with a damaged replica, the replica is written again when the verification ends. Exits with 5
/// if anything is damaged.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// How deep: check that all objects exist, or that every byte can be read
    #[arg(long, value_enum, default_value = "read")]
    level: Level,
    /// Read only this share of the chunks
    #[arg(long, value_name = "10%", value_parser = share, default_value = "100%")]
    sample: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Level {
    /// All objects are there, with the right size
    Exists,
    /// Every chunk is read, decrypted and hashed again
    Read,
}

/// Verifies.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = VerifyRequest {
        tiers: args.tiers.clone(),
        level: match args.level {
            Level::Exists => VerifyLevel::Exists,
            Level::Read => VerifyLevel::Read,
        },
        sample: args.sample.clone(),
    };
    let application = &app.application;
    ReadWriteWorkspace::with(application, async |workspace| {
        let run = verify::prepare(workspace, &request)?;
        drive::begin(app, workspace, run, "rekindle verify", false).await
    })
    .await
}

fn share(text: &str) -> Result<String, String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(text.to_owned()),
        _ => Err("expected a share such as 10%, above 0% and at most 100%".to_owned()),
    }
}
