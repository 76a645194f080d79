//! `rekindle diff`

use rekindle_model::shown;
use rekindle_report::text;
use rekindle_workspace::Error;
use rekindle_workspace::operations::diff::{self, Change, DiffRequest, DiffResult};
use rekindle_workspace::tiers::Tiers;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use crate::time_args;

/// Show the differences between two snapshots
///
/// Each entry is one line: + only in the second, - only in the first, M other content, m only mode, owner or time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first snapshot: COMPONENT, COMPONENT@TIME, or a unique beginning or end of its id
    #[arg(value_name = "A")]
    first: String,
    /// The second one
    #[arg(value_name = "B")]
    second: String,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Compares.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let request = DiffRequest {
        first: time_args::snapshot(app, &tiers, &args.first)?,
        second: time_args::snapshot(app, &tiers, &args.second)?,
    };
    let result = diff::diff(&tiers, &request, |found| {
        let path = found.path.display();
        let body = json!({
            "change": found.change, "path": path, "size_before": found.size_before, "size_after": found.size_after,
        });
        app.printer.line(&body, || format!("{} {}", sign(found.change), shown::line(&path)))
    })
    .await?;
    if let Some((first, second)) = &result.components {
        app.printer
            .warn(format!("these are of two components: {first} and {second}"));
    }
    app.printer.line(&result, || summary(&result))?;
    Ok(Exit::of_tiers(&tiers))
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Content => 'M',
        Change::Metadata => 'm',
    }
}

fn summary(result: &DiffResult) -> String {
    let DiffResult {
        added,
        removed,
        content,
        metadata,
        same,
        ..
    } = result;
    format!(
        "{added} added, {removed} removed, {content} with other content, {metadata} with other metadata, {same} the \
         same; {} more, {} less",
        text::bytes(result.bytes_added),
        text::bytes(result.bytes_removed)
    )
}
