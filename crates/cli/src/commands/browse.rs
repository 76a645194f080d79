//! `rekindle ls`, `find` and `cat`: a look into snapshots.

use rekindle_model::entry::{Entry, EntryKind};
use rekindle_model::{shown, time};
use rekindle_report::text;
use rekindle_workspace::Error;
use rekindle_workspace::operations::browse::{self, FindRequest, Found, ListRequest};
use rekindle_workspace::tiers::Tiers;
use serde_json::{Value, json};

use crate::App;
use crate::exit::Exit;
use crate::time_args;

/// List the files of a snapshot
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// The snapshot: COMPONENT for its newest, COMPONENT@TIME for the newest before then, or a unique beginning or end of its id
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// The folder, relative to the snapshot's root
    #[arg(value_name = "PATH", default_value = "")]
    path: String,
    /// Also list the files of all folders below
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Look for a path in all snapshots, the oldest first
#[derive(Debug, clap::Args)]
pub struct Find {
    /// A name, a path or a glob
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Only in this snapshot: COMPONENT, COMPONENT@TIME, or a unique beginning or end of its id
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Only in this component's snapshots, by name or alias
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Write one file of a snapshot to stdout
#[derive(Debug, clap::Args)]
pub struct Cat {
    /// The snapshot: COMPONENT for its newest, COMPONENT@TIME for the newest before then, or a unique beginning or end of its id
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// The file, relative to the snapshot's root
    #[arg(value_name = "PATH")]
    path: String,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// Lists a folder.
pub(crate) async fn ls(app: &App, args: &Ls) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let request = ListRequest {
        snapshot: time_args::snapshot(app, &tiers, &args.snapshot)?,
        path: args.path.clone(),
        recursive: args.recursive,
    };
    browse::list(&tiers, &request, |_, record| {
        let body = about(&record.entry);
        app.printer.line(&body, || line(&record.entry))
    })
    .await?;
    Ok(Exit::of_tiers(&tiers))
}

/// Looks for a path.
pub(crate) async fn find(app: &App, args: &Find) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let snapshot = args.snapshot.as_deref();
    let request = FindRequest {
        pattern: args.pattern.clone(),
        snapshot: snapshot
            .map(|word| time_args::snapshot(app, &tiers, word))
            .transpose()?,
        component: args.component.clone(),
    };
    let found = browse::find(&tiers, &request, |snapshot, record| {
        let entry = &record.entry;
        let point = snapshot.consistency_point.utc;
        let mut body = about(entry);
        body["snapshot"] = json!(snapshot.id);
        body["component"] = json!(snapshot.component);
        body["consistency_point"] = json!(point);
        app.printer.line(&body, || {
            format!(
                "{}  {:<16} {}  {}",
                snapshot.id,
                snapshot.component,
                time::show(point),
                line(entry)
            )
        })
    })
    .await?;
    let Found { paths, unread } = found;
    if paths == 0 {
        let which = match (tiers.all_answered(), unread) {
            (true, 0) => "no snapshot",
            _ => "no snapshot that can be read",
        };
        app.printer.say(format!("{which} has {:?}", args.pattern));
    }
    Ok(match (unread, Exit::of_tiers(&tiers), paths) {
        (1.., ..) => Exit::DataLost,
        (0, Exit::Done, 0) => Exit::Failed,
        (0, exit, _) => exit,
    })
}

/// Writes a file to stdout.
pub(crate) async fn cat(app: &App, args: &Cat) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let wanted = time_args::snapshot(app, &tiers, &args.snapshot)?;
    browse::content(&tiers, &wanted, &args.path, |bytes| app.printer.bytes(bytes)).await?;
    Ok(Exit::Done)
}

fn about(entry: &Entry) -> Value {
    let (kind, size) = kind(entry);
    let target = match &entry.kind {
        EntryKind::Symlink { target } => json!(String::from_utf8_lossy(target)),
        _ => Value::Null,
    };
    json!({
        "path": entry.path.display(), "kind": kind, "bytes": size, "mode": format!("{:04o}", entry.mode),
        "uid": entry.uid, "gid": entry.gid, "modified": modified(entry), "target": target,
    })
}

fn kind(entry: &Entry) -> (&'static str, Option<u64>) {
    match &entry.kind {
        EntryKind::File { size } => ("file", Some(*size)),
        EntryKind::Dir => ("folder", None),
        EntryKind::Symlink { .. } => ("link", None),
        _ => ("special", None),
    }
}

fn modified(entry: &Entry) -> Option<chrono::DateTime<chrono::Utc>> {
    chrono::DateTime::from_timestamp(entry.mtime_s, entry.mtime_ns)
}

fn line(entry: &Entry) -> String {
    let (kind, size) = kind(entry);
    let sign = match kind {
        "folder" => "/",
        "link" => "@",
        "special" => "|",
        _ => "",
    };
    let size = size.map(text::bytes).unwrap_or_default();
    let modified = modified(entry).map_or_else(|| "no time".to_owned(), time::show);
    format!(
        "{:04o} {size:>9}  {modified}  {}{sign}",
        entry.mode,
        shown::line(&entry.path.display())
    )
}
