//! `rekindle tier`

use std::sync::Arc;
use std::time::Duration;

use rekindle_report::text;
use rekindle_vault::{Remembered, Tier, TierMode};
use serde_json::json;

use crate::App;
use crate::commands::backup;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tiers::Tiers;
use crate::workspace::Workspace;
use crate::{keys, pinned};

/// The subcommands of `rekindle tier`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tiers: where they are, how often a set is due there and how long it is kept, what they hold
    List(Args),
    /// Try each location out: write, read back, list, remove, and how long it takes
    Check(Args),
    /// Make a tier that is gone for good anew, empty, where system.yaml says; the next backup stores there again
    ///
    /// A backup makes a new tier by itself. Where it has stored before, it never does: a missing or empty folder is
    /// most likely a disk that is not mounted.
    Create(Create),
}

/// Which tier is made anew.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The tier
    #[arg(value_name = "TIER")]
    tier: String,
}

/// Which tiers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these
    #[arg(value_name = "TIER")]
    tiers: Vec<String>,
}

/// Lists or checks tiers.
pub(crate) async fn run(app: &App, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(app, &Tiers::open(app, &args.tiers).await?).await,
        Command::Check(args) => check(app, &Tiers::open(app, &args.tiers).await?).await,
        Command::Create(args) => create(app, &args.tier).await,
    }
}

/// Makes what is missing of a tier; a vault that is there is kept.
async fn create(app: &App, named: &str) -> Result<Exit, CliError> {
    let workspace = Workspace::find_here(&app.global)?;
    let (system, _) = pinned::system(app, &workspace)?;
    let key = keys::open(&workspace)?;
    for name in backup::tiers(&system, &[named.to_owned()])? {
        let urls: Vec<String> = system
            .tiers
            .get(&name)
            .map(|spec| spec.locations().into_iter().map(str::to_owned).collect())
            .unwrap_or_default();
        let repository = key.keyring.repository();
        let keyring = Arc::clone(&key.keyring);
        let dir = workspace.system_dir();
        let tier = Tier::open(&name, &urls, &dir, keyring, &key.wrapped, TierMode::Create).await?;
        Remembered::of(&workspace.state).note(&tier, repository).await?;
        let body = json!({ "tier": name, "urls": tier.urls(), "down": tier.down() });
        app.printer.line(&body, || {
            format!(
                "tier {name} is ready at {}; `rekindle backup` stores there",
                tier.urls().join(", ")
            )
        })?;
        if let Some((url, why)) = tier.down().first() {
            app.printer
                .warn(format!("tier {name}: {url} does not answer: {why}"));
            return Ok(Exit::Partial);
        }
    }
    Ok(Exit::Done)
}

async fn list(app: &App, tiers: &Tiers) -> Result<Exit, CliError> {
    let mut exit = tiers.exit();
    for (name, tier) in tiers.reachable() {
        let (snapshots, sets) = match (tier.snapshots().await, tier.sets().await) {
            (Ok(snapshots), Ok(sets)) => (snapshots.len(), sets.len()),
            (Err(error), _) | (_, Err(error)) => {
                app.printer.warn(error.to_string());
                exit = Exit::Partial;
                continue;
            }
        };
        for (url, why) in tier.down() {
            app.printer
                .warn(format!("tier {name}: {url} does not answer: {why}"));
            exit = Exit::Partial;
        }
        let Some(spec) = tiers.spec(name) else { continue };
        let body = json!({
            "tier": name, "urls": tier.urls(), "down": tier.down(), "every": spec.every, "retain": spec.retain,
            "storage_class": spec.storage_class, "location": spec.location, "snapshots": snapshots, "sets": sets,
        });
        let period = |period: Option<rekindle_model::system::Period>| {
            period.map_or_else(
                || "-".to_owned(),
                |period| humantime::format_duration(period.0).to_string(),
            )
        };
        app.printer.line(&body, || {
            format!(
                "{name:<8} every {:<6} kept {:<14} {snapshots:>4} snapshots {sets:>3} sets  {}",
                period(spec.every),
                period(spec.retain),
                tier.urls().join(", ")
            )
        })?;
    }
    Ok(exit)
}

async fn check(app: &App, tiers: &Tiers) -> Result<Exit, CliError> {
    let mut exit = tiers.exit();
    for (name, tier) in tiers.reachable() {
        for probed in tier.probe(&*app.clock).await {
            if probed.fault.is_some() {
                exit = Exit::Failed;
            }
            let body = json!({
                "tier": name, "url": probed.url, "ok": probed.fault.is_none(), "fault": probed.fault,
                "bytes": probed.bytes, "write_seconds": probed.write.as_secs_f64(),
                "read_seconds": probed.read.as_secs_f64(),
            });
            app.printer.line(&body, || match &probed.fault {
                None => format!(
                    "{name:<8} ok      writes {}/s, reads {}/s  {}",
                    rate(probed.bytes, probed.write),
                    rate(probed.bytes, probed.read),
                    probed.url
                ),
                Some(fault) => format!("{name:<8} FAULTY  {fault}  {}", probed.url),
            })?;
        }
        for (url, why) in tier.down() {
            exit = Exit::Failed;
            let body = json!({ "tier": name, "url": url, "ok": false, "fault": why });
            app.printer
                .line(&body, || format!("{name:<8} DOWN    {why}  {url}"))?;
        }
    }
    Ok(exit)
}

fn rate(bytes: u64, took: Duration) -> String {
    // A u64 in a float is exact enough for a rate.
    text::bytes((bytes as f64 / took.as_secs_f64().max(1e-9)) as u64)
}
