//! Compares a root with a snapshot.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use rekindle_model::entry::{Entry, EntryKind, TreePath};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::reader::SnapshotReader;
use crate::snapshot::EntryRecord;
use crate::tier::Tier;

use super::blocking::blocking;
use super::build::{holds, open_if_file};
use super::difference::{Aspect, Difference};
use super::error::RestoreError;
use super::include::{Include, Outline};
use super::request::{RestoreCheckpoint, RestoreRequest};
use super::store::ContentStore;
use super::target::{Target, is_kind};
use super::unheld::{Part, Unheld, without_owner};
use super::xattrs::{Bearer, is_privileged};

/// How many differences are kept; more are only counted.
const KEPT: usize = 1000;

/// The result of comparing a root with a snapshot. Additional files in the root are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Entries compared.
    pub entries: u64,
    /// Bytes of content read and found right.
    pub bytes: u64,
    /// The differences, at most the first 1000.
    pub differences: Vec<Difference>,
    /// The number of differences.
    pub differing: u64,
    /// What the target cannot hold, as far as it is no difference: owners and attributes that only root sets,
    /// without root.
    pub unheld: Unheld,
    /// The first difference that contradicts the request's checkpoint.
    pub refuted: Option<Difference>,
}

impl Inspection {
    /// Returns whether every entry is there as it was captured.
    pub fn is_whole(&self) -> bool {
        self.differing == 0
    }
}

/// How files of the right size are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every file is read.
    Content,
    /// Only files are read whose modification time differs. A restore sets the time, and every write to the
    /// file changes it.
    Touched,
}

/// Compares the root of a request with what the request restores; see [`inspect_from`].
pub async fn inspect(
    tiers: &[Arc<Tier>],
    request: &RestoreRequest,
    stop: &CancellationToken,
) -> Result<Inspection, RestoreError> {
    inspect_from(&open(tiers, request).await?, request, stop).await
}

/// Compares every entry of the store's snapshot, every byte of it, with the request's root. Changes nothing.
/// If the request has a checkpoint, [`Inspection::refuted`] says whether its content is there.
pub async fn inspect_from(
    store: &dyn ContentStore,
    request: &RestoreRequest,
    stop: &CancellationToken,
) -> Result<Inspection, RestoreError> {
    let mut found = Inspection::default();
    let covered = request.checkpoint.as_ref().map(Covered::by);
    each(store, request, Depth::Content, stop, |begins, entry, compared| {
        found.entries += 1;
        found.unheld.add(&entry.path, &compared.unheld);
        match (compared.aspect, &entry.kind) {
            (None, EntryKind::File { size }) if !compared.is_name => found.bytes += size,
            (None, _) => {}
            (Some(aspect), _) => {
                let path = entry.path.clone();
                let difference = Difference { path, aspect };
                if found.refuted.is_none()
                    && covered
                        .as_ref()
                        .is_some_and(|covered| covered.has(begins, entry, aspect))
                {
                    found.refuted = Some(difference.clone());
                }
                found.differing += 1;
                if found.differences.len() < KEPT {
                    found.differences.push(difference);
                }
            }
        }
        true
    })
    .await?;
    Ok(found)
}

/// Returns the first difference that `counts`; see [`first_difference_from`].
pub async fn first_difference(
    tiers: &[Arc<Tier>],
    request: &RestoreRequest,
    depth: Depth,
    counts: impl Fn(&Entry, Aspect) -> bool + Send + Sync,
    stop: &CancellationToken,
) -> Result<Option<Difference>, RestoreError> {
    first_difference_from(&open(tiers, request).await?, request, depth, counts, stop).await
}

/// Returns the first difference that `counts` between the request's snapshot and its root. It compares the
/// entries that the checkpoint covers, or all entries if there is no checkpoint.
pub async fn first_difference_from(
    store: &dyn ContentStore,
    request: &RestoreRequest,
    depth: Depth,
    counts: impl Fn(&Entry, Aspect) -> bool + Send + Sync,
    stop: &CancellationToken,
) -> Result<Option<Difference>, RestoreError> {
    let mut first = None;
    let covered = request.checkpoint.as_ref().map(Covered::by);
    each(store, request, depth, stop, |begins, entry, compared| {
        if covered.as_ref().is_some_and(|covered| begins >= covered.until) {
            return false;
        }
        let aspect = compared.aspect.filter(|aspect| counts(entry, *aspect));
        let aspect = aspect.filter(|aspect| {
            covered
                .as_ref()
                .is_none_or(|covered| covered.has(begins, entry, *aspect))
        });
        first = aspect.map(|aspect| Difference {
            path: entry.path.clone(),
            aspect,
        });
        first.is_none()
    })
    .await?;
    Ok(first)
}

async fn open(tiers: &[Arc<Tier>], request: &RestoreRequest) -> Result<SnapshotReader, RestoreError> {
    SnapshotReader::open(tiers, request.snapshot)
        .await
        .map_err(|error| RestoreError::Vault(Box::new(error)))
}

/// The entries that a checkpoint declares restored.
struct Covered<'a> {
    /// The position in the stream at which it ends.
    until: u64,
    lost: HashSet<&'a TreePath>,
    unheld: &'a Unheld,
}

impl<'a> Covered<'a> {
    fn by(checkpoint: &'a RestoreCheckpoint) -> Self {
        Self {
            until: checkpoint.position.stream,
            lost: checkpoint.lost.iter().map(|lost| &lost.path).collect(),
            unheld: &checkpoint.unheld,
        }
    }

    /// Returns whether a difference of the entry that begins there contradicts the checkpoint.
    fn has(&self, begins: u64, entry: &Entry, aspect: Aspect) -> bool {
        let done = match (&entry.kind, aspect) {
            // The second pass, which always runs, sets a folder's metadata.
            (EntryKind::Dir, aspect) => matches!(aspect, Aspect::Missing | Aspect::Type),
            (_, Aspect::Owner) => self.unheld.count(Part::Owner) == 0,
            (_, Aspect::Attributes) => self.unheld.count(Part::Attributes) == 0,
            (_, Aspect::HardLink) => self.unheld.count(Part::HardLink) == 0,
            (EntryKind::Fifo | EntryKind::CharDevice(_) | EntryKind::BlockDevice(_), _) => {
                self.unheld.count(Part::Node) == 0
            }
            _ => true,
        };
        begins < self.until && done && !self.lost.contains(&entry.path)
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
struct Compared {
    /// The first aspect that differs.
    aspect: Option<Aspect>,
    /// What the target cannot hold.
    unheld: Vec<Part>,
    /// Whether it is a further name of a file that is there under its first name.
    is_name: bool,
}

impl Compared {
    fn differs(aspect: Aspect) -> Self {
        Self {
            aspect: Some(aspect),
            ..Self::default()
        }
    }
}

/// Compares entry by entry while `seen` returns true. It passes the record's position in the stream, the
/// entry, and the result.
async fn each(
    store: &dyn ContentStore,
    request: &RestoreRequest,
    depth: Depth,
    stop: &CancellationToken,
    mut seen: impl FnMut(u64, &Entry, Compared) -> bool + Send,
) -> Result<(), RestoreError> {
    let include = Include::new(&request.include)?;
    let all = include.all();
    let stop = stop.child_token();
    let _dropped = stop.clone().drop_guard();
    let (root, snapshot) = (request.root.clone(), request.snapshot);
    let owners = request.owners;
    let target = blocking(move || Target::open_existing(&root, snapshot))
        .await?
        .map(|target| Arc::new(target.with_owners(owners)));
    let mut outline = Outline::at(include, &TreePath::ROOT);
    let mut cursor = store.cursor(0);
    loop {
        let begins = cursor.position();
        let Some(record) = cursor.next().await? else {
            return Ok(());
        };
        if !outline.admit(&record)? || (record.entry.path.is_root() && !all) {
            continue;
        }
        let first = outline.first_name(&record).cloned();
        let record = Arc::new(record);
        let compared = match &target {
            None => Compared::differs(Aspect::Missing),
            Some(target) => {
                let (target, record, stop) = (Arc::clone(target), Arc::clone(&record), stop.clone());
                blocking(move || target.compare(&record, first.as_ref(), depth, &stop)).await?
            }
        };
        if !seen(begins, &record.entry, compared) {
            return Ok(());
        }
    }
}

impl Target {
    /// Compares an entry with the disk. `first` is the file's first name if this is a further one.
    fn compare(
        &self,
        record: &EntryRecord,
        first: Option<&TreePath>,
        depth: Depth,
        stop: &CancellationToken,
    ) -> Result<Compared, RestoreError> {
        if stop.is_cancelled() {
            return Err(RestoreError::Interrupted { checkpoint: None });
        }
        let entry = &record.entry;
        let spot = match self.spot(&entry.path) {
            Ok(spot) => spot,
            Err(RestoreError::Obstructed { .. }) => return Ok(Compared::differs(Aspect::Missing)),
            // The folder is closed even to its owner: a restore opens it and closes it again.
            Err(RestoreError::Io { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
            {
                return Ok(Compared::differs(Aspect::Missing));
            }
            Err(error) => return Err(error),
        };
        let root = rustix::process::geteuid().is_root();
        let Some(stat) = spot.stat()? else {
            // Only root makes devices.
            if !root && matches!(entry.kind, EntryKind::CharDevice(_) | EntryKind::BlockDevice(_)) {
                let unheld = vec![Part::Node];
                return Ok(Compared {
                    unheld,
                    ..Compared::default()
                });
            }
            return Ok(Compared::differs(Aspect::Missing));
        };
        if !is_kind(&stat, &entry.kind) {
            return Ok(Compared::differs(Aspect::Type));
        }
        match &entry.kind {
            EntryKind::File { size } if u64::try_from(stat.st_size).unwrap_or(0) != *size => {
                return Ok(Compared::differs(Aspect::Size));
            }
            EntryKind::Symlink { target } => {
                let found = rustix::fs::readlinkat(&spot.folder, &spot.name, Vec::new());
                if !found.is_ok_and(|found| found.as_bytes() == target) {
                    return Ok(Compared::differs(Aspect::Target));
                }
            }
            _ => {}
        }
        let is_name = match first {
            Some(first) => self.is_same_file(&stat, first)?,
            None => false,
        };
        let right = || match &entry.kind {
            // The bytes are compared under the first name.
            EntryKind::File { .. } if !is_name => match open_if_file(&spot, &spot.name)? {
                Some(file) => holds(&file, record, &spot, stop),
                None => Ok(false),
            },
            _ => Ok(true),
        };
        let touched = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
            != (entry.mtime_s, entry.mtime_ns);
        if touched && depth == Depth::Touched && !right()? {
            return Ok(Compared::differs(Aspect::Content));
        }
        if first.is_some() && !is_name {
            return Ok(Compared::differs(Aspect::HardLink));
        }
        let owned = self.owners && (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
        let bits = if owned { 0o7777 } else { 0o1777 };
        if !matches!(entry.kind, EntryKind::Symlink { .. }) && (stat.st_mode ^ entry.mode) & bits != 0 {
            return Ok(Compared::differs(Aspect::Mode));
        }
        if !owned && root && self.owners {
            return Ok(Compared::differs(Aspect::Owner));
        }
        let bearer = Bearer::name(&spot.folder, &spot.name);
        let agrees = bearer
            .agrees(entry)
            .map_err(|why| RestoreError::io("read the attributes of", &spot.shown, why))?;
        if !agrees {
            return Ok(Compared::differs(Aspect::Attributes));
        }
        if touched {
            return Ok(Compared::differs(Aspect::Time));
        }
        if depth == Depth::Content && !right()? {
            return Ok(Compared::differs(Aspect::Content));
        }
        let mut unheld = match (owned || !self.owners || is_name, &entry.kind) {
            (true, _) => Vec::new(),
            (false, EntryKind::Dir | EntryKind::Symlink { .. }) => vec![Part::Owner],
            (false, _) => without_owner(entry),
        };
        if !root && !is_name && entry.xattrs.iter().any(|xattr| is_privileged(&xattr.name)) {
            unheld.push(Part::Attributes);
        }
        Ok(Compared {
            aspect: None,
            unheld,
            is_name,
        })
    }
}
