//! `rekindle snapshots`

use rekindle_model::time;
use rekindle_report::text::{self, Column, Listing, Mark};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::tiers::Tiers;

/// List what each tier holds: one component's content at one instant
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Only this component, by name or alias
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
}

/// Lists the snapshots.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let component = args
        .component
        .as_deref()
        .map(|name| tiers.component(name))
        .transpose()?;
    let mut exit = Exit::of_tiers(&tiers);
    let mut listing = Listing::new(&[
        Column::Text("tier"),
        Column::Id("snapshot"),
        Column::Text("as it was (UTC)"),
        Column::Text("component"),
        Column::Figure("files"),
        Column::Figure("bytes"),
    ]);
    for (name, tier) in tiers.reachable() {
        let found = match tier.snapshots().await {
            Ok(found) => found,
            Err(error) => {
                app.printer.warn(format!("tier {name}: {error}"));
                exit = Exit::Partial;
                continue;
            }
        };
        for id in found {
            let snapshot = match tier.snapshot(id).await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    app.printer.warn(format!("tier {name}: snapshot {id}: {error}"));
                    exit = Exit::DataLost;
                    continue;
                }
            };
            if component.as_ref().is_some_and(|own| *own != snapshot.component) {
                continue;
            }
            let body = json!({
                "tier": name, "snapshot": snapshot.id, "component": snapshot.component,
                "consistency_point": snapshot.consistency_point.utc, "files": snapshot.files, "bytes": snapshot.bytes,
                "content_digest": snapshot.content_digest, "unreadable": snapshot.unreadable.count,
            });
            app.printer.entry(&body)?;
            let (mark, notes) = match snapshot.unreadable.count {
                0 => (Mark::None, Vec::new()),
                n => (
                    Mark::Unsure,
                    vec![format!("INCOMPLETE: {n} paths could not be read")],
                ),
            };
            listing.push(
                mark,
                vec![
                    name.to_owned(),
                    snapshot.id.to_string(),
                    time::in_utc(snapshot.consistency_point.utc),
                    snapshot.component.clone(),
                    snapshot.files.to_string(),
                    text::bytes(snapshot.bytes),
                ],
                notes,
            );
        }
    }
    app.printer.list(listing)?;
    Ok(exit)
}
