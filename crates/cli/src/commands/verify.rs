//! `rekindle verify`

use rekindle_model::origin::{RunKind, Trigger};
use rekindle_plan::{Inputs, builtin};
use serde_json::{Map, Value};

use crate::App;
use crate::commands::backup::tiers;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::{self, Pinned};
use crate::session::Session;

/// Prove from the stored copies that the newest backups can be read
///
/// The copies of runs' journals in each tier are read back, too, and compared with the journal here. What is damaged of a
/// run that this workspace has is written anew when the verification ends. Exits with 5 where anything is damaged.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// How deep: that all objects exist, or that every byte can be read
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
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    Session::here(app, async |session| verify(app, args, session).await).await
}

async fn verify(app: &App, args: &Args, session: &Session) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.ground.workspace)?;
    let mut loops = system.default_loops(RunKind::Verify);
    if !args.tiers.is_empty() {
        loops.insert("tier".to_owned(), tiers(&system, &args.tiers)?);
    }
    let level = match args.level {
        Level::Exists => "exists",
        Level::Read => "read",
    };
    let params = Map::from_iter([
        ("level".to_owned(), Value::from(level)),
        ("sample".to_owned(), Value::from(args.sample.clone())),
    ]);
    let inputs = Inputs { params, loops };
    let pinned = Pinned::new(app, &session.ground.workspace, "verify", builtin::VERIFY, inputs)?;
    drive::begin(
        app,
        session,
        pinned,
        Request {
            kind: RunKind::Verify,
            trigger: Trigger::command("rekindle verify"),
            disaster_at: None,
            detach: false,
        },
    )
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
