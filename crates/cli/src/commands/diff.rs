//! `rekindle diff`

use std::cmp::Ordering;
use std::sync::Arc;

use rekindle_model::entry::EntryKind;
use rekindle_report::text;
use rekindle_vault::{EntryRecord, SnapshotReader, Tier};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::tiers::Tiers;

/// Tell what differs between two snapshots
///
/// A line an entry: + only in the second, - only in the first, M other content, m only mode, owner or time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first snapshot: a unique beginning of its id
    #[arg(value_name = "A")]
    first: String,
    /// The second one
    #[arg(value_name = "B")]
    second: String,
    /// Only from this tier
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Content,
    Metadata,
}

impl Change {
    fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Content => 'M',
            Self::Metadata => 'm',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Content => "content",
            Self::Metadata => "metadata",
        }
    }
}

/// What differs, counted.
#[derive(Debug, Default)]
struct Counted {
    added: u64,
    removed: u64,
    content: u64,
    metadata: u64,
    same: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

/// Compares.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let tiers = Tiers::open(&app.application, &args.tiers).await?;
    let sources: Vec<Arc<Tier>> = tiers.reachable().map(|(_, tier)| tier.clone()).collect();
    let first = SnapshotReader::open(&sources, tiers.snapshot(&args.first).await?).await?;
    let second = SnapshotReader::open(&sources, tiers.snapshot(&args.second).await?).await?;
    let (a, b) = (first.snapshot(), second.snapshot());
    if a.component != b.component {
        app.printer.warn(format!(
            "these are of two components: {} and {}",
            a.component, b.component
        ));
    }
    let mut counted = Counted::default();
    if a.content_digest != b.content_digest || a.tree != b.tree {
        compare(app, &first, &second, &mut counted).await?;
    } else {
        counted.same = a.files + a.dirs + a.symlinks;
    }
    let Counted {
        added,
        removed,
        content,
        metadata,
        same,
        bytes_added,
        bytes_removed,
    } = counted;
    let body = json!({
        "first": a.id, "second": b.id, "added": added, "removed": removed, "content": content, "metadata": metadata,
        "same": same, "bytes_added": bytes_added, "bytes_removed": bytes_removed,
    });
    app.printer.line(&body, || {
        format!(
            "{added} added, {removed} removed, {content} with other content, {metadata} with other metadata, {same} \
             the same; {} more, {} less",
            text::bytes(bytes_added),
            text::bytes(bytes_removed)
        )
    })?;
    Ok(Exit::of_tiers(&tiers))
}

/// Goes through both in the order of their paths, a record of each in memory at a time.
async fn compare(
    app: &App,
    first: &SnapshotReader,
    second: &SnapshotReader,
    counted: &mut Counted,
) -> Result<(), Error> {
    let (mut before, mut after) = (first.entries(), second.entries());
    let (mut old, mut new) = (before.next().await?, after.next().await?);
    loop {
        let order = match (&old, &new) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.entry.path.cmp(&new.entry.path),
        };
        let change = match (order, &old, &new) {
            (Ordering::Less, ..) => Some(Change::Removed),
            (Ordering::Greater, ..) => Some(Change::Added),
            (Ordering::Equal, Some(old), Some(new)) => difference(old, new),
            (Ordering::Equal, ..) => None,
        };
        tell(app, change, old.as_ref(), new.as_ref(), counted)?;
        if order.is_le() {
            old = before.next().await?;
        }
        if order.is_ge() {
            new = after.next().await?;
        }
    }
}

fn difference(old: &EntryRecord, new: &EntryRecord) -> Option<Change> {
    if old.entry.kind != new.entry.kind || old.content != new.content {
        Some(Change::Content)
    } else if old.entry.mode != new.entry.mode
        || old.entry.uid != new.entry.uid
        || old.entry.gid != new.entry.gid
        || (old.entry.mtime_s, old.entry.mtime_ns) != (new.entry.mtime_s, new.entry.mtime_ns)
    {
        Some(Change::Metadata)
    } else {
        None
    }
}

fn tell(
    app: &App,
    change: Option<Change>,
    old: Option<&EntryRecord>,
    new: Option<&EntryRecord>,
    counted: &mut Counted,
) -> Result<(), Error> {
    let size = |record: Option<&EntryRecord>| match record.map(|record| &record.entry.kind) {
        Some(EntryKind::File { size }) => *size,
        _ => 0,
    };
    let Some(change) = change else {
        counted.same += 1;
        return Ok(());
    };
    let (old, new) = match change {
        Change::Added => (None, new),
        Change::Removed => (old, None),
        Change::Content | Change::Metadata => (old, new),
    };
    match change {
        Change::Added => counted.added += 1,
        Change::Removed => counted.removed += 1,
        Change::Content => counted.content += 1,
        Change::Metadata => counted.metadata += 1,
    }
    counted.bytes_added += size(new).saturating_sub(size(old));
    counted.bytes_removed += size(old).saturating_sub(size(new));
    let Some(record) = new.or(old) else {
        return Ok(());
    };
    let path = record.entry.path.display();
    let body =
        json!({ "change": change.name(), "path": path, "size_before": size(old), "size_after": size(new) });
    app.printer.line(&body, || format!("{} {path}", change.sign()))
}
