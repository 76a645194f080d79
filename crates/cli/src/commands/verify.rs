//! `rekindle verify`

use rekindle_workspace::operations::recover::{self, CheckedSet, From, RecoverRequest, Target};
use rekindle_workspace::operations::run::RunRequest;
use rekindle_workspace::operations::verify::{self, VerifyLevel, VerifyRequest};
use rekindle_workspace::{Error, ReadWriteWorkspace};

use super::recover::{advised, from_arg};
use crate::App;
use crate::drive;
use crate::exit::Exit;

/// The share that is all of it.
const ALL: &str = "100%";

/// Prove from the stored copies that the newest backups can be read
///
/// This also reads the replicas of runs' journals in each tier, and compares them with the journal here. If this
/// workspace has a run with a damaged replica, the replica is written again when the verification ends. Exits with 5
/// if anything is damaged.
///
/// Level `restore` also proves that the data is valid: it recovers a set into a sandbox in the workspace, as `recover` would,
/// runs the validations of the restored data there, and removes the sandbox. It is a run of kind drill. Exits with 3 if a
/// component is invalid.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tier; with level `restore`, the tier to read from if possible
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// How deep: check that all objects exist, that every byte can be read, or that it can be recovered and is valid
    #[arg(long, value_enum, default_value = "read")]
    level: Level,
    /// Read only this share of the chunks
    #[arg(long, value_name = "10%", value_parser = share, default_value = ALL)]
    sample: String,
    #[command(flatten)]
    restore: RestoreArgs,
}

/// What only level `restore` takes.
#[derive(Debug, clap::Args)]
struct RestoreArgs {
    /// With level `restore`: this recovery set, the newest before a time, or the newest
    #[arg(long, value_name = "SET|TIME|latest")]
    from: Option<String>,
    /// With level `restore`: only this component, by name or alias, and those whose data it needs
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// With level `restore`: take the newest recovery set that can be read, although a newer one is known and lost
    #[arg(long)]
    accept_older: bool,
    /// With level `restore`: count a missed objective or target as a partial failure (exit 3)
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Level {
    /// All objects are there, with the right size
    Exists,
    /// Every chunk is read, decrypted and hashed again
    Read,
    /// A set is recovered into a sandbox and valid there
    Restore,
}

/// Verifies.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let level = match args.level {
        Level::Exists => VerifyLevel::Exists,
        Level::Read => VerifyLevel::Read,
        Level::Restore => return drill(app, args).await,
    };
    if args.restore.is_given() {
        let error = Error::usage("--from, --component, --accept-older and --strict belong to another level");
        return Err(error.with_advice("add --level restore, or leave them out"));
    }
    let request = VerifyRequest {
        tiers: args.tiers.clone(),
        level,
        sample: args.sample.clone(),
    };
    let application = &app.application;
    ReadWriteWorkspace::with(application, async |workspace| {
        let run = verify::prepare(workspace, &request)?;
        drive::begin(app, workspace, run, "rekindle verify", false).await
    })
    .await
}

impl RestoreArgs {
    fn is_given(&self) -> bool {
        self.from.is_some() || !self.components.is_empty() || self.accept_older || self.strict
    }
}

/// Recovers a set into a sandbox and proves it there.
async fn drill(app: &App, args: &Args) -> Result<Exit, Error> {
    let tier = match args.tiers.as_slice() {
        [] => None,
        [tier] => Some(tier.clone()),
        _ => return Err(Error::usage("level restore reads from one tier").with_advice("give --tier once")),
    };
    if args.sample != ALL {
        let error = Error::usage("level restore recovers whole components");
        return Err(error.with_advice("leave --sample out, or choose with --component"));
    }
    let request = RecoverRequest {
        components: args.restore.components.clone(),
        target: Target::Sandbox,
        from: args
            .restore
            .from
            .as_deref()
            .map_or(Ok(From::Latest), |text| from_arg(app, text))?,
        tier,
        accept_older: args.restore.accept_older,
        strict: args.restore.strict,
        ..RecoverRequest::default()
    };
    ReadWriteWorkspace::with(&app.application, async |workspace| {
        let run = recover::prepare(workspace, &request).await?.run;
        let checked = recover::check_set(workspace, &request, run.spec).await;
        let CheckedSet { ready, .. } = checked.map_err(advised)?;
        let run = RunRequest {
            spec: ready.spec,
            ..run
        };
        drive::begin(app, workspace, run, "rekindle verify --level restore", false).await
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
