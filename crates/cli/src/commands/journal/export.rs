//! `rekindle journal export`

use std::path::PathBuf;

use rekindle_journal::archive::Format;
use rekindle_workspace::Error;
use rekindle_workspace::operations::journal::{self, ExportRequest, ExportResult};
use serde_json::json;

use crate::App;
use crate::exit::Exit;

/// Write runs to a new file: their records, and every blob that they refer to
///
/// The file has each run whole, or is not made. This works beside the owner of the workspace.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The runs: unique beginnings of their ids, or latest
    #[arg(value_name = "RUN", required_unless_present = "all")]
    runs: Vec<String>,
    /// Every run of this workspace
    #[arg(long, conflicts_with = "runs")]
    all: bool,
    /// JSON lines for people and programs, or an archive: the records byte for byte
    #[arg(long, value_enum, default_value = "archive")]
    format: Form,
    /// The new file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    Jsonl,
    Archive,
}

/// Exports runs.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = ExportRequest {
        runs: (!args.all).then(|| args.runs.clone()),
        format: match args.format {
            Form::Jsonl => Format::Jsonl,
            Form::Archive => Format::Archive,
        },
        file: args.output.clone(),
    };
    let ExportResult { counts, bytes, hash } = journal::export(&app.application, request).await?;
    let body = json!({ "file": args.output, "runs": counts.runs, "records": counts.records,
        "blobs": counts.blobs, "bytes": bytes, "hash": hash });
    app.printer.data(&body, || {
        format!(
            "wrote {} runs, {} records and {} blobs to {}; it ends with {hash}",
            counts.runs,
            counts.records,
            counts.blobs,
            args.output.display()
        )
    })?;
    Ok(Exit::Done)
}
