//! `rekindle tier`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekindle_actions::SlotsReport;
use rekindle_journal::LogView;
use rekindle_report::text;
use rekindle_vault::{CancellationToken, Remembered, SlotError, SlotPlace, Tier, TierMode};
use serde_json::json;

use crate::App;
use crate::commands::backup;
use crate::error::CliError;
use crate::exit::Exit;
use crate::slots::check::{self, Add};
use crate::tiers::Tiers;
use crate::workspace::Workspace;
use crate::{keys, pinned};

/// The subcommands of `rekindle tier`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tiers: where they are, how often a set is due there and how long it is kept, what they hold
    List(Args),
    /// Try each location out: write, read back, list, remove, and how long it takes; and read every slot in it
    ///
    /// Slots are the copies of runs' journals. Those that are damaged, missing, or say something else than the journal
    /// here are named, and the exit code is 5; `rekindle verify` also has them begun anew.
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
        Remembered::of(&workspace.state)
            .note(tier.name(), &tier.urls(), repository)
            .await?;
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
    let mut slots = Slots::begin(&tiers.workspace.state).await?;
    for (name, tier) in tiers.reachable() {
        let places = tier.slot_places();
        for (probed, place) in tier.probe(&*app.clock).await.into_iter().zip(places) {
            if probed.fault.is_some() {
                exit = failed(exit);
            }
            let read = slots.read(&place, app.signals.stop()).await;
            let (report, unread) = match read {
                Ok(report) => (report, None),
                Err(error) => {
                    exit = failed(exit);
                    (SlotsReport::default(), Some(error.to_string()))
                }
            };
            if !report.faults.is_empty() {
                exit = Exit::DataLost;
            }
            let body = json!({
                "tier": name, "url": probed.url, "fault": probed.fault, "bytes": probed.bytes,
                "ok": probed.fault.is_none() && unread.is_none() && report.faults.is_empty(),
                "write_seconds": probed.write.as_secs_f64(), "read_seconds": probed.read.as_secs_f64(),
                "slots": report.slots, "chains": report.chains, "slot_faults": report.faults, "slots_unread": unread,
            });
            app.printer.line(&body, || {
                let mut said = match &probed.fault {
                    None => format!(
                        "{name:<8} ok      writes {}/s, reads {}/s, {} slots of {} runs  {}",
                        rate(probed.bytes, probed.write),
                        rate(probed.bytes, probed.read),
                        report.slots,
                        report.chains,
                        probed.url
                    ),
                    Some(fault) => format!("{name:<8} FAULTY  {fault}  {}", probed.url),
                };
                for fault in &report.faults {
                    said.push_str(&format!("\n{name:<8} DAMAGED {fault}\n         → {}", fault.next));
                }
                if let Some(why) = &unread {
                    said.push_str(&format!("\n{name:<8} FAULTY  its slots cannot be read: {why}"));
                }
                said
            })?;
        }
        for (url, why) in tier.down() {
            exit = failed(exit);
            let body = json!({ "tier": name, "url": url, "ok": false, "fault": why });
            app.printer
                .line(&body, || format!("{name:<8} DOWN    {why}  {url}"))?;
        }
    }
    Ok(exit)
}

/// Returns the exit code once a location does not do what it should; damage outweighs that.
fn failed(exit: Exit) -> Exit {
    match exit {
        Exit::DataLost => exit,
        _ => Exit::Failed,
    }
}

/// The slots of locations, compared with the journal's log as it stands.
struct Slots {
    state: PathBuf,
    view: LogView,
}

impl Slots {
    async fn begin(state: &Path) -> Result<Self, CliError> {
        Ok(Self {
            state: state.to_owned(),
            view: LogView::open(state).await?.0,
        })
    }

    async fn read(&mut self, place: &SlotPlace, stop: &CancellationToken) -> Result<SlotsReport, CliError> {
        let mut report = SlotsReport::default();
        let failed = |error: SlotError| CliError::new(Exit::Failed, "tier_unavailable", error.to_string());
        for run in place.runs().await.map_err(failed)? {
            if stop.is_cancelled() {
                return Err(CliError::new(
                    Exit::Interrupted,
                    "interrupted",
                    "a stop was asked for",
                ));
            }
            let mut checked = check::check(place, run, &self.view, &self.state)
                .await
                .map_err(failed)?;
            if !checked.faults.is_empty() {
                // Whoever works here may have gone on with the run since the log was read.
                self.view = LogView::open(&self.state).await?.0;
                checked = check::check(place, run, &self.view, &self.state)
                    .await
                    .map_err(failed)?;
            }
            report.add(checked);
        }
        Ok(report)
    }
}

fn rate(bytes: u64, took: Duration) -> String {
    // A u64 in a float is exact enough for a rate.
    text::bytes((bytes as f64 / took.as_secs_f64().max(1e-9)) as u64)
}
