//! A look into snapshots: their entries, where a path is in them, and the bytes of one file.

use std::sync::Arc;

use rekindle_model::entry::{EntryKind, TreePath};
use rekindle_model::globs::Globs;
use rekindle_model::next_action::Action;
use rekindle_model::problem::ProblemKind;
use rekindle_vault::{EntryRecord, Snapshot, SnapshotReader, Tier};

use crate::error::Error;
use crate::tiers::{Tiers, Wanted};

/// Which entries of a snapshot to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// The snapshot.
    pub snapshot: Wanted,
    /// The folder whose entries are listed, relative to the root of the snapshot; empty for the root.
    pub path: String,
    /// Whether the entries of all folders below are listed too.
    pub recursive: bool,
}

/// Lists the entries of a folder, or a file, in the order of the snapshot.
///
/// # Errors
/// The snapshot is unknown or cannot be read, it has no such path, or `each` fails.
pub async fn list(
    tiers: &Tiers,
    request: &ListRequest,
    mut each: impl FnMut(&Snapshot, &EntryRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    let reader = open(tiers, &request.snapshot).await?;
    let folder = path(&request.path)?;
    let mut found = folder.is_root();
    let mut entries = reader.entries();
    while let Some(record) = entries.next().await? {
        let own = &record.entry.path;
        if *own == folder {
            found = true;
            if record.entry.kind != EntryKind::Dir {
                each(reader.snapshot(), &record)?;
            }
        } else if let Some(below) = below(own, &folder)
            && (request.recursive || !below.contains(&b'/'))
        {
            each(reader.snapshot(), &record)?;
        }
    }
    match found {
        true => Ok(()),
        false => Err(no_path(&request.path, reader.snapshot())),
    }
}

/// Which paths to look for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindRequest {
    /// A path or a glob.
    pub pattern: String,
    /// Only in this snapshot; in all if there is none.
    pub snapshot: Option<Wanted>,
    /// Only in the snapshots of this component.
    pub component: Option<String>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Paths.
    pub paths: u64,
    /// Snapshots that no tier has whole; a warning names each.
    pub unread: u64,
}

/// Looks for paths in snapshots, the oldest first.
///
/// # Errors
/// The snapshot is unknown, or `each` fails.
pub async fn find(
    tiers: &Tiers,
    request: &FindRequest,
    mut each: impl FnMut(&Snapshot, &EntryRecord) -> Result<(), Error>,
) -> Result<Found, Error> {
    let name = Globs::literal(&request.pattern);
    // A name may be no glob that can be read.
    let globs = globs(&[request.pattern.clone(), name.clone()]).or_else(|_| globs(&[name]))?;
    let component = request
        .component
        .as_ref()
        .map(|name| tiers.component(name))
        .transpose()?;
    let ids = match &request.snapshot {
        Some(wanted) => vec![tiers.snapshot(wanted).await?],
        None => tiers.snapshots().await?.into_keys().collect(),
    };
    let mut found = Found::default();
    for id in ids {
        let Some(snapshot) = tiers.document(id).await else {
            found.unread += 1;
            continue;
        };
        if component
            .as_ref()
            .is_some_and(|component| *component != snapshot.component)
        {
            continue;
        }
        let reader = SnapshotReader::open(&sources(tiers), id).await?;
        let mut entries = reader.entries();
        loop {
            let record = match entries.next().await {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(snapshot = %id, %error, "a snapshot is searched in part only");
                    found.unread += 1;
                    break;
                }
            };
            let own = &record.entry.path;
            if !own.is_root() && globs.matches(own.as_path()) {
                found.paths += 1;
                each(reader.snapshot(), &record)?;
            }
        }
    }
    Ok(found)
}

/// Gives the bytes of one file, in order and in pieces, until `each` returns false.
///
/// # Errors
/// The snapshot has no such file, its content is lost, or `each` fails.
pub async fn content(
    tiers: &Tiers,
    wanted: &Wanted,
    named: &str,
    mut each: impl FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    let reader = open(tiers, wanted).await?;
    let mut file = path(named)?;
    let mut entries = reader.entries();
    while let Some(record) = entries.next().await? {
        if record.entry.path != file {
            continue;
        }
        if let Some(first) = record.entry.first_name {
            // A further name of a file has the content of the first one, which came before it.
            file = first;
            entries = reader.entries();
            continue;
        }
        let EntryKind::File { .. } = record.entry.kind else {
            return Err(Error::usage(format!("{named} is not a file"))
                .with_next(files_of(reader.snapshot(), Some(named)), "lists a folder")
                .with_next(restore(reader.snapshot()), "brings back links and devices"));
        };
        for chunk in &record.chunks {
            if !each(&reader.chunk(chunk).await?)? {
                break;
            }
        }
        return Ok(());
    }
    Err(no_path(named, reader.snapshot()))
}

/// Returns the globs of a selection. If the snapshot has a name or a path that is written like a glob, that one is meant.
///
/// # Errors
/// A glob cannot be read, or nothing in the snapshot matches one of them.
pub(crate) async fn selected(reader: &SnapshotReader, patterns: &[String]) -> Result<Vec<String>, Error> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let mut all: Vec<Selected<'_>> = patterns
        .iter()
        .map(|one| Selected::new(one))
        .collect::<Result<_, _>>()?;
    let mut entries = reader.entries();
    while let Some(record) = entries.next().await? {
        let own = record.entry.path.as_path();
        for one in all.iter_mut().filter(|_| !record.entry.path.is_root()) {
            one.is_name |= one.name.matches(own);
            one.is_glob |= one.glob.matches(own);
        }
    }
    match all.iter().find(|one| !one.is_name && !one.is_glob) {
        None => Ok(all.iter().map(Selected::meant).collect()),
        Some(nothing) => Err(Error::new(
            ProblemKind::Failed,
            "nothing_matched",
            format!(
                "nothing in {} matches {:?}",
                of(reader.snapshot()),
                nothing.pattern
            ),
        )
        .with_next(files_of(reader.snapshot(), None), "lists what is in it")),
    }
}

/// One pattern of a selection, and how the snapshot has it.
struct Selected<'p> {
    pattern: &'p str,
    name: Globs,
    glob: Globs,
    is_name: bool,
    is_glob: bool,
}

impl<'p> Selected<'p> {
    fn new(pattern: &'p str) -> Result<Self, Error> {
        Ok(Self {
            pattern,
            name: globs(&[Globs::literal(pattern)])?,
            glob: globs(&[pattern.to_owned()]).or_else(|_| globs(&[Globs::literal(pattern)]))?,
            is_name: false,
            is_glob: false,
        })
    }

    fn meant(&self) -> String {
        match self.is_name {
            true => Globs::literal(self.pattern),
            false => self.pattern.to_owned(),
        }
    }
}

async fn open(tiers: &Tiers, wanted: &Wanted) -> Result<SnapshotReader, Error> {
    let id = tiers.snapshot(wanted).await?;
    Ok(SnapshotReader::open(&sources(tiers), id).await?)
}

fn sources(tiers: &Tiers) -> Vec<Arc<Tier>> {
    tiers.reachable().map(|(_, tier)| Arc::clone(tier)).collect()
}

fn globs(patterns: &[String]) -> Result<Globs, Error> {
    Globs::new(patterns).map_err(|bad| Error::usage(bad.to_string()).with_advice("write the path as it is"))
}

fn path(named: &str) -> Result<TreePath, Error> {
    let trimmed = named.trim_matches('/');
    match trimmed {
        "" | "." => Ok(TreePath::ROOT),
        _ => TreePath::new(trimmed.as_bytes()).map_err(|bad| Error::usage(bad.to_string())),
    }
}

/// Returns the rest of a path below a folder.
fn below<'p>(path: &'p TreePath, folder: &TreePath) -> Option<&'p [u8]> {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes())?;
    match folder.is_root() {
        true => (!rest.is_empty()).then_some(rest),
        false => rest.strip_prefix(b"/"),
    }
}

fn no_path(named: &str, snapshot: &Snapshot) -> Error {
    let message = format!("{} has no {named:?}", of(snapshot));
    Error::new(ProblemKind::Failed, "no_such_path", message).with_next(
        Action::FindFile {
            pattern: named.to_owned(),
        },
        "looks for it in all snapshots",
    )
}

fn files_of(snapshot: &Snapshot, folder: Option<&str>) -> Action {
    Action::ListFiles {
        snapshot: snapshot.id.to_string(),
        folder: folder.map(str::to_owned),
    }
}

fn restore(snapshot: &Snapshot) -> Action {
    Action::Restore {
        snapshot: Some(snapshot.id.to_string()),
    }
}

fn of(snapshot: &Snapshot) -> String {
    format!("snapshot {} of {}", snapshot.id, snapshot.component)
}
