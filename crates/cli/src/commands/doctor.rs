//! `rekindle doctor`

use rekindle_report::text;
use rekindle_workspace::operations::doctor::{self, Finding, Verdict};
use rekindle_workspace::{Error, ReadWriteWorkspace};
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Check that everything is in place to back up and to recover, and say what to do if it is not
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First mend what can be mended without a loss: close the identity file to other users, and remove what killed processes
    /// left, which are plain copies of databases, and temporary files in the spool and the tiers
    #[arg(long)]
    fix: bool,
}

/// Examines the workspace.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    if args.fix {
        ReadWriteWorkspace::with(&app.application, doctor::fix).await?;
    }
    show(app, &doctor::examine(&app.application).await?)
}

fn show(app: &App, findings: &[Finding]) -> Result<Exit, Error> {
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    let (warnings, faults) = (count(Verdict::Warning), count(Verdict::Fault));
    let body = json!({ "findings": findings, "warnings": warnings, "faults": faults });
    app.printer.data(&body, || {
        let width = findings
            .iter()
            .map(|one| one.check.chars().count())
            .max()
            .unwrap_or(0);
        let mut said = String::new();
        for one in findings {
            let verdict = match one.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "WARNING",
                Verdict::Fault => "FAULT  ",
            };
            said.push_str(&format!("{verdict}  {:<width$}  {}\n", one.check, one.found));
            for next in &one.next {
                let advice = app.printer.advice(std::slice::from_ref(next));
                said.push_str(&format!("         {:<width$}  → {advice}\n", ""));
            }
        }
        said.push_str(&match (warnings, faults) {
            (0, 0) => "everything is in place\n".to_owned(),
            _ => format!(
                "{}, {}\n",
                text::count(faults, "fault"),
                text::count(warnings, "warning")
            ),
        });
        said
    })?;
    Ok(if faults > 0 { Exit::Failed } else { Exit::Done })
}
