//! `rekindle restore`

use std::path::PathBuf;

use rekindle_model::id::SnapshotId;
use rekindle_report::text;
use rekindle_vault::ProgressSink;
use rekindle_vault::restore::{RestoreRequest, Window, restore};
use serde_json::json;

use crate::App;
use crate::commands::run::absolute;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tiers::Tiers;

/// Write one snapshot into a folder; the same command goes on after an interruption
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The snapshot: a unique beginning of its id
    snapshot: String,
    /// The folder; what stands there and differs is replaced, what does not differ is kept
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only paths that match, relative to the snapshot's root
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Restores.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let tiers = Tiers::open(app, &args.tiers).await?;
    let snapshot = find(&tiers, &args.snapshot).await?;
    let root = PathBuf::from(absolute(&args.to.to_string_lossy())?);
    let sources: Vec<_> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let request = RestoreRequest {
        snapshot,
        root: root.as_path().into(),
        include: args.include.clone(),
        checkpoint: None,
        window: Window::default(),
    };
    // Without a run there is no checkpoint to keep: a second call finds what is right by looking at it.
    let recorded = |_| std::future::ready(Ok(()));
    let report = restore(
        &sources,
        request,
        &ProgressSink::none(),
        recorded,
        app.signals.stop(),
    )
    .await
    .map_err(|error| CliError::from(rekindle_model::failure::Failure::from(error)))?;
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|file| json!({ "path": file.path, "size": file.size, "why": file.why }))
        .collect();
    let body = json!({
        "snapshot": snapshot, "root": root, "files": report.files, "dirs": report.dirs, "symlinks": report.symlinks,
        "bytes_total": report.bytes_total, "bytes_written": report.bytes_written, "bytes_kept": report.bytes_kept,
        "lost": lost,
    });
    app.printer.data(&body, || {
        let mut said = format!(
            "{} files, {} folders, {} links in {}: {} written, {} were right already\n",
            report.files,
            report.dirs,
            report.symlinks,
            root.display(),
            text::bytes(report.bytes_written),
            text::bytes(report.bytes_kept),
        );
        for file in &report.lost {
            said.push_str(&format!(
                "LOST {} ({}): {}\n",
                file.path.display(),
                text::bytes(file.size),
                file.why
            ));
        }
        said
    })?;
    Ok(if report.lost.is_empty() {
        tiers.exit()
    } else {
        Exit::DataLost
    })
}

/// Returns the snapshot whose id begins with `word` in any tier.
async fn find(tiers: &Tiers, word: &str) -> Result<SnapshotId, CliError> {
    let plain = |text: &str| text.replace('-', "").to_lowercase();
    let prefix = plain(word);
    let mut found: Vec<SnapshotId> = Vec::new();
    for (_, tier) in tiers.reachable() {
        let ids = tier.snapshots().await?;
        found.extend(
            ids.into_iter()
                .filter(|id| !prefix.is_empty() && plain(&id.to_string()).starts_with(&prefix)),
        );
    }
    found.sort_unstable();
    found.dedup();
    let hint = "`rekindle snapshots` lists what there is";
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(
            CliError::usage(format!("there is no snapshot {word:?} in the tiers that answer"))
                .with_hint(hint),
        ),
        several => {
            Err(CliError::usage(format!("{word:?} begins {} snapshots", several.len())).with_hint(hint))
        }
    }
}
