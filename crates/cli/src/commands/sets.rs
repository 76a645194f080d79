//! `rekindle sets`

use std::time::Duration;

use rekindle_model::next_action::Action;
use rekindle_model::time;
use rekindle_report::text::{self, Column, Listing, Mark};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::notice::Notice;
use rekindle_workspace::tiers::{CatalogCheck, Lacking, Tiers};

/// List recovery sets, newest first: each is something that `recover` can restore
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Lists the sets.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let mut exit = Exit::of_tiers(&tiers);
    let mut listing = Listing::new(&[
        Column::Text("tier"),
        Column::Id("set"),
        Column::Text("created (UTC)"),
        Column::Figure("components"),
        Column::Figure("inherited"),
        Column::Figure("skew"),
    ]);
    for (name, tier) in tiers.reachable() {
        let found = match tier.sets().await {
            Ok(found) => found,
            Err(error) => {
                app.printer.warn(format!("tier {name}: {error}"));
                exit = Exit::Partial;
                continue;
            }
        };
        for id in found {
            let set = match tier.set(id).await {
                Ok(set) => set,
                Err(error) => {
                    app.printer.warn(format!("tier {name}: set {id}: {error}"));
                    exit = Exit::DataLost;
                    continue;
                }
            };
            let invalid: Vec<&String> = set
                .proofs
                .keys()
                .filter(|name| set.invalid(name).is_some())
                .collect();
            let inherited = set.members.values().filter(|member| member.inherited).count();
            let body = json!({
                "tier": name, "set": set.id, "created": set.created.utc, "system": set.system,
                "recovery_ready": set.recovery_ready, "recoverable": set.recoverable, "components": set.members, "inherited": inherited,
                "missing": set.missing, "invalid": invalid, "skew_ms": set.skew_ms,
            });
            app.printer.entry(&body)?;
            let mut notes = Vec::new();
            match (set.recovery_ready, set.recoverable) {
                (true, _) => {}
                (false, true) => notes.push("recoverable, though not recovery-ready".to_owned()),
                (false, false) => notes.push("NOT recoverable as a whole".to_owned()),
            }
            if !invalid.is_empty() {
                let names: Vec<&str> = invalid.iter().map(|name| name.as_str()).collect();
                notes.push(format!("invalid: {}", names.join(", ")));
            }
            if !set.missing.is_empty() {
                notes.push(format!("lacks {}", set.missing.join(", ")));
            }
            listing.push(
                match (set.recovery_ready, set.recoverable) {
                    (true, _) => Mark::Good,
                    (false, true) => Mark::Unsure,
                    (false, false) => Mark::Bad,
                },
                vec![
                    name.to_owned(),
                    set.id.to_string(),
                    time::in_utc(set.created.utc),
                    set.members.len().to_string(),
                    inherited.to_string(),
                    text::duration(Duration::from_millis(set.skew_ms)),
                ],
                notes,
            );
        }
    }
    app.printer.list(listing)?;
    for Lacking { tier, text, .. } in tiers.lacking(CatalogCheck::Newest).await {
        exit = Exit::DataLost;
        let notice = Notice::warning(format!("tier {tier}: {text}"));
        let repair = Action::RepairTier { tier };
        app.printer
            .notice(&notice.with_next(repair, "copies the missing objects from the other tiers"));
    }
    Ok(exit)
}
