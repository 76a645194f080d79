//! `rekindle targets`

use rekindle_model::time;
use rekindle_report::{targets as report, text};
use rekindle_workspace::operations::targets::{self, Judgement};
use rekindle_workspace::{Error, ReadOnlyWorkspace};
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Judge every target of system.yaml over a period: met, missed or no data
///
/// Recoveries and drills of the period are summed up for `recovery`, drills for `testing`, backups for `availability`. Every
/// other number is that of the newest run that measured it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How far back
    #[arg(long, value_name = "PERIOD", value_parser = humantime::parse_duration, default_value = "30d")]
    window: std::time::Duration,
    /// Exit with 3 if a target is missed
    #[arg(long)]
    strict: bool,
}

/// Judges.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let judged = targets::over(&workspace, args.window).await;
    workspace.close().await;
    let Judgement { from, to, targets } = judged?;
    let missed = report::missed(&targets);
    let body = json!({ "from": from, "to": to, "targets": targets, "missed": missed });
    app.printer.data(&body, || {
        let period = format!("from {} to {}\n\n", time::show(from), time::show(to));
        match targets.is_empty() {
            true => format!("{period}the system states no target\n"),
            false => period + &text::targets(&targets) + &text::targets_in_short(&targets),
        }
    })?;
    Ok(match args.strict && !missed.is_empty() {
        true => Exit::Partial,
        false => Exit::Done,
    })
}
