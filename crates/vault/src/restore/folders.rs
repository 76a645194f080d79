//! The second pass sets the mode, owner and time of folders, once all their content is written.
//!
//! A folder comes after its content, since its own mode may close it. The pass holds only the folders on the
//! current path. It is short and always covers the whole tree, so a resume needs no state of it.

use std::sync::Arc;

use rekindle_model::entry::{Entry, EntryKind};
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::error::RestoreError;
use super::include::{Include, Outline, is_within};
use super::store::ContentStore;
use super::target::Target;
use super::unheld::Unheld;

/// How many folders one blocking task handles.
const BATCH: usize = 1024;

enum Step {
    /// Make sure that the owner can enter it.
    Open(Entry),
    /// Give it the metadata of its entry.
    Finish(Entry),
}

struct Level {
    entry: Entry,
    /// Whether it, or an entry within it, is included.
    wanted: bool,
}

/// Returns how many folders are finished, and which parts of them the target does not hold.
pub(super) async fn finish(
    store: &dyn ContentStore,
    target: &Arc<Target>,
    include: Include,
    stop: &CancellationToken,
) -> Result<(u64, Unheld), RestoreError> {
    let all = include.all();
    let mut outline = Outline::at(include, &rekindle_model::entry::TreePath::ROOT);
    let mut cursor = store.cursor(0);
    let mut levels: Vec<Level> = Vec::new();
    let mut steps = Vec::new();
    let (mut dirs, mut unheld) = (0, Unheld::default());
    loop {
        let record = cursor.next().await?;
        let path = record.as_ref().map(|record| record.entry.path.clone());
        let left = |level: &Level| {
            !path
                .as_ref()
                .is_some_and(|path| is_within(path.as_bytes(), level.entry.path.as_bytes()))
        };
        while levels.last().is_some_and(left) {
            // A request for a part of the tree does not change the root's own metadata.
            let level = levels
                .pop()
                .filter(|level| level.wanted && (all || !level.entry.path.is_root()));
            steps.extend(level.map(|level| Step::Finish(level.entry)));
        }
        let ended = record.is_none();
        if let Some(record) = record {
            let taken = outline.admit(&record)?;
            if record.entry.kind == EntryKind::Dir {
                levels.push(Level {
                    entry: record.entry,
                    wanted: false,
                });
            }
            if taken {
                for level in levels.iter_mut().filter(|level| !level.wanted) {
                    level.wanted = true;
                    steps.push(Step::Open(level.entry.clone()));
                }
            }
        }
        if steps.len() >= BATCH || ended {
            if stop.is_cancelled() {
                return Err(RestoreError::Interrupted { checkpoint: None });
            }
            let (target, batch) = (Arc::clone(target), std::mem::take(&mut steps));
            let (finished, refused) = blocking(move || apply(&target, batch)).await?;
            dirs += finished;
            unheld.append(refused);
        }
        if ended {
            let target = Arc::clone(target);
            blocking(move || target.sync()).await?;
            return Ok((dirs, unheld));
        }
    }
}

fn apply(target: &Target, batch: Vec<Step>) -> Result<(u64, Unheld), RestoreError> {
    let (mut dirs, mut unheld) = (0, Unheld::default());
    for step in batch {
        match step {
            Step::Open(entry) if entry.path.is_root() => {}
            Step::Open(entry) => target.make_folder(&entry.path)?,
            Step::Finish(entry) => {
                dirs += 1;
                unheld.add(&entry.path, &target.finish_folder(&entry)?);
            }
        }
    }
    Ok((dirs, unheld))
}
