//! `rekindle journal verify`

use std::fmt::Write;

use rekindle_workspace::Error;
use rekindle_workspace::operations::journal::{self, Cost, Finding, Verification};

use crate::App;
use crate::exit::Exit;

/// Read the whole journal, compare everything in it, and change nothing
///
/// This checks the log's checksums and chain, the head that is kept apart from the log, each run's numbers, chain and
/// history, the index, and every blob that a record refers to. It exits with 5 if a record or a blob is lost, with 3
/// if it cannot find that out here, and with 0 if nothing is lost. It also names what a later command repairs by
/// itself.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Verifies the journal.
pub(crate) async fn run(app: &App, _args: &Args) -> Result<Exit, Error> {
    let verified = journal::verify(&app.application).await?;
    app.printer.data(&verified, || text(&verified))?;
    Ok(match verified.worst() {
        Some(Cost::Lost) => Exit::DataLost,
        Some(Cost::Unproven) => Exit::Partial,
        Some(Cost::Repairable) | None => Exit::Done,
    })
}

fn text(verified: &Verification) -> String {
    let mut said = format!(
        "{} runs, {} records in {} commits and {} segments, {} heads, {} blobs",
        verified.runs, verified.records, verified.commits, verified.segments, verified.heads, verified.blobs
    );
    if !verified.removed.is_empty() {
        let _ = write!(said, "; {} runs were removed by compact", verified.removed.len());
    }
    said.push('\n');
    if let Some(why) = &verified.without_sled {
        let _ = writeln!(said, "the index was left alone: {why}");
    }
    for finding in &verified.findings {
        said.push_str(&line(finding));
    }
    said.push_str(match verified.worst() {
        None => "everything read checks, and is as it was written\n",
        Some(Cost::Repairable) => "no record is lost\n",
        Some(Cost::Unproven) => "part of it could not be checked\n",
        Some(Cost::Lost) => "DATA IS LOST\n",
    });
    said
}

fn line(finding: &Finding) -> String {
    let cost = match finding.cost {
        Cost::Repairable => "repairable",
        Cost::Unproven => "UNPROVEN  ",
        Cost::Lost => "LOST      ",
    };
    let mut said = format!("{cost}  {}", finding.file.display());
    if let Some(offset) = finding.offset {
        let _ = write!(said, " at byte {offset}");
    }
    if let Some(run) = finding.run {
        let _ = write!(said, ", run {run}");
    }
    if let Some(seq) = finding.seq {
        let _ = write!(said, ", record {seq}");
    }
    format!("{said}: {}\n            → {}\n", finding.what, finding.next)
}
