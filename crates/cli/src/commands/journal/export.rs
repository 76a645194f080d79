//! `rekindle journal export`

use std::path::PathBuf;

use rekindle_journal::archive::{Bundle, Format};
use rekindle_journal_local::LogView;
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::files::{blocking, write_new};
use rekindle_workspace::open::ReadOnlyWorkspace;

/// Write runs to a new file: their records, and every blob that they refer to
///
/// Each run is whole in it or the file is not made. Works beside whoever owns the workspace.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The runs: unique beginnings of their ids, or latest
    #[arg(value_name = "RUN", required_unless_present = "all")]
    runs: Vec<String>,
    /// Every run of this workspace
    #[arg(long, conflicts_with = "runs")]
    all: bool,
    /// JSON lines for people and programs, or the records byte for byte
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
    // Opened once, so that what the log lacks and the index has is logged again.
    let look = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let mut runs = Vec::new();
    for word in &args.runs {
        runs.push(look.context.run(word).await?);
    }
    let context = look.let_go().await;
    let (view, _) = LogView::open(&context.layout.state).await?;
    let format = match args.format {
        Form::Jsonl => Format::Jsonl,
        Form::Archive => Format::Archive,
    };
    if args.all {
        runs = view.run_ids().collect();
    }
    let bundle = Bundle::of(&view, runs).await?;
    let output = args.output.clone();
    let (counts, bytes, hash) = blocking(move || {
        let (bytes, hash) = bundle.encode(format)?;
        write_new(&output, &bytes)?;
        Ok::<_, Error>((bundle.counts(), bytes.len(), hash))
    })
    .await??;
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
