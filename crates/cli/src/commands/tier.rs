//! `rekindle tier`

use std::time::Duration;

use rekindle_model::next_action::Action;
use rekindle_model::system::Period;
use rekindle_report::text::{self, Column, Listing, Mark};
use rekindle_workspace::Error;
use rekindle_workspace::ReadWriteWorkspace;
use rekindle_workspace::operations::tiers::{self, LocationCheck, TierRepair};
use rekindle_workspace::tiers::Tiers;
use serde_json::{Value, json};

use crate::App;
use crate::exit::Exit;

/// The subcommands of `rekindle tier`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tiers: what they hold, how often a set is due, how long they keep copies of journals, their URLs. Backups
    /// are never removed
    List(Args),
    /// Test each location: write, read back, list, remove, and measure the time; then read all that it must hold
    ///
    /// Opens every recovery set and snapshot document that the location must hold, and every journal replica.
    /// A replica is the copy of a run's journal, in segments. This names segments that are damaged, missing, or
    /// different from the journal here, and then exits with 5. `rekindle verify` also writes them again.
    Check(Args),
    /// Bring back what a tier should hold and does not: from its own packs, and from the other tiers
    ///
    /// Writes a damaged marker or key file anew, if what is there opens with this workspace's key. Gives a location that
    /// was copied from another one an id of its own. Writes damaged or missing indexes anew, copies missing recovery sets,
    /// snapshots and packs from the other tiers, and removes what killed writes left. What no tier has any more stays
    /// named; then this exits with 5.
    Repair(Repair),
    /// Make an empty tier in place of one that is gone for good, where system.yaml says; the next backup stores there
    /// again
    ///
    /// A backup makes a new tier by itself, but never where it has stored before. There, a missing or empty folder is
    /// most likely a disk that is not mounted.
    Create(Create),
}

/// Which tiers are repaired.
#[derive(Debug, clap::Args)]
pub struct Repair {
    /// Only these
    #[arg(value_name = "TIER")]
    tiers: Vec<String>,
    /// Give up the recovery sets that no tier can give any more: they are no longer named as lost
    #[arg(long)]
    accept_lost: bool,
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
pub(crate) async fn run(app: &App, command: &Command) -> Result<Exit, Error> {
    match command {
        Command::List(args) => list(app, &Tiers::open(&app.application, &args.tiers).await?).await,
        Command::Check(args) => check(app, &Tiers::open(&app.application, &args.tiers).await?).await,
        Command::Repair(args) => repair(app, args).await,
        Command::Create(args) => create(app, &args.tier).await,
    }
}

async fn create(app: &App, named: &str) -> Result<Exit, Error> {
    let tier = tiers::create(&app.application, named).await?;
    let body = json!({ "tier": tier.name(), "urls": tier.urls(), "down": silent(tier.down()) });
    app.printer.data(&body, || {
        format!(
            "tier {} is ready at {}; `{}` stores there",
            tier.name(),
            tier.urls().join(", "),
            app.printer.command(&Action::Backup)
        )
    })?;
    Ok(match tier.down().first() {
        None => Exit::Done,
        Some((url, why)) => {
            app.printer
                .warn(format!("tier {}: {url} does not answer: {why}", tier.name()));
            Exit::Partial
        }
    })
}

async fn repair(app: &App, args: &Repair) -> Result<Exit, Error> {
    let repaired = ReadWriteWorkspace::with(&app.application, async |workspace| {
        tiers::repair(workspace, &args.tiers, args.accept_lost, &app.application.stop).await
    })
    .await?;
    let mut exit = Exit::Done;
    for TierRepair { tier, mended, report } in repaired {
        if !report.faults.is_empty() {
            exit = Exit::DataLost;
        }
        let body =
            json!({ "tier": tier, "mended": mended, "report": report, "faults": sentences(&report.faults) });
        app.printer.line(&body, || {
            let mut said = format!(
                "{tier:<8} {} objects of snapshots copied ({}), {} copied, {} of indexes written, {} of killed writes removed",
                report.objects_copied,
                text::bytes(report.bytes_copied),
                text::count(report.sets_copied, "recovery set"),
                text::bytes(report.index_bytes),
                text::count(report.temporaries, "file"),
            );
            for one in &mended {
                let id = if one.new_id { ", under a new id" } else { "" };
                said.push_str(&format!("\n{tier:<8} mended: {} is marked anew{id}: {}", one.url, one.why));
            }
            for lost in &report.given_up {
                said.push_str(&format!("\n{tier:<8} given up: {lost}"));
            }
            for fault in &report.faults {
                said.push_str(&format!("\n{tier:<8} LOST    {fault}"));
            }
            said
        })?;
    }
    if exit == Exit::DataLost && !args.accept_lost {
        app.printer.warn(
            "no tier has what is still named; mount a tier that may have it, or give it up with --accept-lost",
        );
    }
    Ok(exit)
}

/// Returns the locations that do not answer.
fn silent(down: &[(String, String)]) -> Vec<Value> {
    down.iter()
        .map(|(url, why)| json!({ "url": url, "why": why }))
        .collect()
}

fn seconds(period: Option<Period>) -> Option<f64> {
    period.map(|period| period.0.as_secs_f64())
}

fn sentences<T: ToString>(faults: &[T]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

async fn list(app: &App, tiers: &Tiers) -> Result<Exit, Error> {
    let mut exit = Exit::of_tiers(tiers);
    let mut listing = Listing::new(&[
        Column::Text("tier"),
        Column::Figure("sets"),
        Column::Figure("snapshots"),
        Column::Figure("due every"),
        // Nothing removes sets and snapshots.
        Column::Figure("journals kept"),
    ]);
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
            "tier": name, "urls": tier.urls(), "down": silent(tier.down()),
            "every_seconds": seconds(spec.every), "retain_seconds": seconds(spec.retain),
            "storage_class": spec.storage_class, "location": spec.location, "snapshots": snapshots, "sets": sets,
        });
        app.printer.entry(&body)?;
        let period =
            |period: Option<Period>| period.map_or("-".to_owned(), |period| text::duration(period.0));
        listing.push(
            if tier.down().is_empty() {
                Mark::Good
            } else {
                Mark::Unsure
            },
            vec![
                name.to_owned(),
                sets.to_string(),
                snapshots.to_string(),
                period(spec.every),
                period(spec.retain),
            ],
            tier.urls().into_iter().map(str::to_owned).collect(),
        );
    }
    app.printer.list(listing)?;
    Ok(exit)
}

async fn check(app: &App, tiers: &Tiers) -> Result<Exit, Error> {
    let mut exit = Exit::of_tiers(tiers);
    tiers::check(&app.application, tiers, |found| {
        if found.fault.is_some() || found.unread.is_some() {
            exit = failed(exit);
        }
        if !found.replicas.faults.is_empty() || !found.lost.is_empty() {
            exit = Exit::DataLost;
        }
        let report = &found.replicas;
        let body = json!({
            "tier": found.tier, "url": found.url, "fault": found.fault, "bytes": found.bytes,
            "ok": found.fault.is_none() && found.unread.is_none() && report.faults.is_empty() && found.lost.is_empty(),
            "lost": sentences(&found.lost),
            "write_seconds": found.write.as_secs_f64(), "read_seconds": found.read.as_secs_f64(),
            "segments": report.segments, "chains": report.chains, "segment_faults": report.faults, "segments_unread": found.unread,
        });
        app.printer.line(&body, || line(app, &found))
    })
    .await?;
    for (name, tier) in tiers.reachable() {
        for (url, why) in tier.down() {
            exit = match tier.damaged().iter().any(|(damaged, _)| damaged == url) {
                true => Exit::DataLost,
                false => failed(exit),
            };
            let body = json!({ "tier": name, "url": url, "ok": false, "fault": why });
            app.printer
                .line(&body, || format!("{name:<8} DOWN    {why}  {url}"))?;
        }
    }
    Ok(exit)
}

fn line(app: &App, found: &LocationCheck) -> String {
    let LocationCheck {
        tier, url, replicas, ..
    } = found;
    let mut said = match &found.fault {
        None if url.is_empty() => format!("{tier:<8} FAULTY  it does not open"),
        None => format!(
            "{tier:<8} ok      writes {}/s, reads {}/s, {} segments of {} runs  {url}",
            rate(found.bytes, found.write),
            rate(found.bytes, found.read),
            replicas.segments,
            replicas.chains,
        ),
        Some(fault) => format!("{tier:<8} FAULTY  {fault}  {url}"),
    };
    for fault in &found.lost {
        let repair = Action::RepairTier { tier: tier.clone() };
        said.push_str(&format!(
            "\n{tier:<8} LOST    {fault}\n         → `{}`",
            app.printer.command(&repair)
        ));
    }
    for fault in &replicas.faults {
        said.push_str(&format!(
            "\n{tier:<8} DAMAGED {fault}\n         → {}",
            app.printer.advice(&fault.next)
        ));
    }
    if let Some(why) = &found.unread {
        said.push_str(&format!("\n{tier:<8} FAULTY  its segments cannot be read: {why}"));
    }
    said
}

/// Returns the exit code if a location does not work as it should; damage outweighs that.
fn failed(exit: Exit) -> Exit {
    match exit {
        Exit::DataLost => exit,
        _ => Exit::Failed,
    }
}

fn rate(bytes: u64, took: Duration) -> String {
    // A u64 in a float is exact enough for a rate.
    text::bytes((bytes as f64 / took.as_secs_f64().max(1e-9)) as u64)
}
