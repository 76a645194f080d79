//! Compacting removes old runs, and the log segments and blobs that only they needed.
//!
//! A log segment lives as long as one of its runs is kept. [`Upkeep::plan`] decides what to remove, [`Upkeep::compact`]
//! carries the plan out. A crash in any step is harmless:
//!
//! 1. One frame names the forgotten runs, their archive and the segments that are cut off. Once it is durable the runs
//!    are removed, and the next compact does all that follows again.
//! 2. The runs are removed from sled. After a crash, the next open removes them as the frame says.
//! 3. The segments are deleted.
//! 4. Blobs that no run refers to any more are deleted.
//!
//! The log remembers for good that a run existed, how it ended and where it was archived: the marks of a segment are
//! written again before the segment is deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_journal::JournalError;
use rekindle_journal::RunSummary;
use rekindle_journal::blobs_of;
use rekindle_journal::codec;
use rekindle_model::event::JournalHead;
use rekindle_model::id::{Hash32, RunId};
use serde::Serialize;

use crate::durable::sync_dir;
use crate::error::OpenError;
use crate::log::{self, Scanned};
use crate::mark::{ArchiveRef, Cut, Forgotten, Mark};
use crate::store::RunEntry;
use crate::upkeep::Upkeep;

/// The work of a compact, planned in advance.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The runs to be removed, oldest first.
    pub runs: Vec<RunSummary>,
    /// How many runs are kept.
    pub kept: usize,
    /// The log segments to be deleted.
    pub segments: Vec<PathBuf>,
    /// The blobs to be deleted.
    pub blobs: Vec<Hash32>,
    /// The reason why no blob is deleted; none if blobs may be.
    pub blobs_stay: Option<String>,
    #[serde(skip)]
    newest: Vec<Hash32>,
    /// Marks of the segments to be deleted; they are written again first.
    #[serde(skip)]
    marks: Vec<Mark>,
    #[serde(skip)]
    cuts: Vec<Cut>,
}

impl Plan {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.segments.is_empty() && self.blobs.is_empty()
    }
}

/// The step that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The frame is durable.
    Marked,
    /// The runs are removed from sled.
    Indexed,
    /// One of the segments is deleted.
    Segment,
    /// One of the blobs is deleted.
    Blob,
}

/// A log segment, as far as compacting needs it.
struct Segment {
    path: PathBuf,
    from: JournalHead,
    to: JournalHead,
    runs: HashSet<RunId>,
    marks: Vec<Mark>,
    /// Whether a part of it is damaged.
    damaged: bool,
}

impl Upkeep {
    /// Plans to remove every finished run whose newest record is older than `before`. Runs that are quarantined, or part
    /// of a run that is kept, are kept.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn plan(&self, before: DateTime<Utc>) -> Result<Plan, OpenError> {
        let mut all: BTreeMap<RunId, RunEntry> = BTreeMap::new();
        for run in self.shared.store.runs() {
            let (run, entry) = run?;
            all.insert(run, entry);
        }
        let going = going(&all, before);
        let log = Surveyed::read(&self.shared.log_dir, &going)?;
        let (runs, newest) = going
            .iter()
            .filter_map(|run| all.get(run)?.head())
            .map(|head| (head.summary.clone(), head.hash))
            .unzip();
        let mut plan = Plan {
            runs,
            newest,
            kept: all.len() - going.len(),
            segments: Vec::new(),
            blobs: Vec::new(),
            blobs_stay: None,
            marks: Vec::new(),
            cuts: Vec::new(),
        };
        log.plan_segments(&going, &mut plan);
        let broken = all.values().any(|entry| matches!(entry, RunEntry::Broken { .. }));
        plan.blobs_stay = match () {
            () if broken => Some("a quarantined run may refer to any of them".to_owned()),
            () if !log.scanned.damage.is_empty() => Some("the log is damaged".to_owned()),
            () => log.unreadable.clone(),
        };
        if plan.blobs_stay.is_none() {
            let blobs = self.shared.blobs.list()?;
            plan.blobs = blobs
                .into_iter()
                .filter(|hash| !log.referred.contains(hash))
                .collect();
        }
        Ok(plan)
    }

    /// Carries out a plan that was just made. `after` gets each step, and may end the compact there, as a kill would.
    ///
    /// # Errors
    /// A write that failed. The next compact finishes what is left.
    pub fn compact(
        &mut self,
        plan: &Plan,
        archive: Option<&ArchiveRef>,
        now: DateTime<Utc>,
        mut after: impl FnMut(Step) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let forgotten: Vec<Forgotten> = plan
            .runs
            .iter()
            .zip(&plan.newest)
            .map(|(summary, newest)| Forgotten {
                summary: summary.clone(),
                newest: *newest,
                archive: archive.cloned(),
                at: now,
            })
            .collect();
        let mut marks: Vec<Mark> = forgotten
            .iter()
            .map(|one| Mark::Forgotten(Box::new(one.clone())))
            .collect();
        marks.extend(plan.marks.iter().cloned());
        marks.extend(plan.cuts.iter().copied().map(Mark::Cut));
        if !marks.is_empty() {
            let entries: Result<Vec<_>, _> = marks.iter().map(Mark::entry).collect();
            // It needs a segment of its own: the open one may be among those to delete.
            self.log.begin_segment();
            let head = self.append_marked(&entries?)?;
            if after(Step::Marked).is_break() {
                return Ok(());
            }
            self.shared.store.forget(Some(head), &forgotten)?;
            if after(Step::Indexed).is_break() {
                return Ok(());
            }
        }
        for path in &plan.segments {
            remove(path)?;
            if after(Step::Segment).is_break() {
                return Ok(());
            }
        }
        sync_dir(&self.shared.log_dir)?;
        for hash in &plan.blobs {
            remove(&self.shared.blobs.path(*hash))?;
            if after(Step::Blob).is_break() {
                return Ok(());
            }
        }
        self.shared.blobs.sync()
    }
}

/// Returns the runs that ended long enough ago and are not part of a kept run.
fn going(all: &BTreeMap<RunId, RunEntry>, before: DateTime<Utc>) -> BTreeSet<RunId> {
    let whole = |run: &RunId| match all.get(run) {
        Some(RunEntry::Whole(head)) => Some(&head.summary),
        Some(RunEntry::Broken { .. }) | None => None,
    };
    let over = |summary: &RunSummary| summary.outcome.is_some() && summary.updated.utc < before;
    let mut going: BTreeSet<RunId> = all
        .keys()
        .filter(|run| whole(run).is_some_and(over))
        .copied()
        .collect();
    loop {
        let parent = |run: &RunId| whole(run).and_then(|summary| summary.parent());
        let stays = |run: &RunId| {
            parent(run).is_some_and(|parent| all.contains_key(&parent.run) && !going.contains(&parent.run))
        };
        let Some(kept) = going.iter().copied().find(stays) else {
            return going;
        };
        going.remove(&kept);
    }
}

/// The log, by segments.
struct Surveyed {
    scanned: Scanned,
    segments: BTreeMap<u64, Segment>,
    /// Every blob that a kept run refers to.
    referred: HashSet<Hash32>,
    /// The reason why some record's blobs are unknown.
    unreadable: Option<String>,
}

impl Surveyed {
    fn read(dir: &Path, going: &BTreeSet<RunId>) -> Result<Self, OpenError> {
        let mut segments: BTreeMap<PathBuf, Segment> = BTreeMap::new();
        let mut referred: BTreeMap<RunId, HashSet<Hash32>> = BTreeMap::new();
        let mut unreadable = None;
        let scanned = log::scan(dir, |commit| {
            let segment = segments
                .entry(commit.segment.to_owned())
                .or_insert_with(|| Segment {
                    path: commit.segment.to_owned(),
                    from: commit.base,
                    to: commit.base,
                    runs: HashSet::new(),
                    marks: Vec::new(),
                    damaged: false,
                });
            segment.damaged |= commit.head.is_none() || !commit.hurt.is_empty();
            segment.to = commit.head.unwrap_or(segment.to);
            for run in commit.marks.iter().filter_map(Mark::forgets) {
                referred.remove(&run);
            }
            for (key, value) in &commit.entries {
                let run = codec::parse_key(key).0;
                segment.runs.insert(run);
                if going.contains(&run) {
                    continue;
                }
                match codec::decode(key, value) {
                    Ok(record) => referred.entry(run).or_default().extend(blobs_of(&record.event)),
                    Err(error) => unreadable = Some(error.to_string()),
                }
            }
            segment.marks.extend(commit.marks);
            Ok(())
        })?;
        for damage in &scanned.damage {
            if let Some(segment) = segments.get_mut(&damage.segment) {
                segment.damaged = true;
            }
        }
        let mut numbered = BTreeMap::new();
        for (number, path) in log::segments(dir)? {
            // A segment without a commit is left out.
            numbered.extend(segments.remove(&path).map(|segment| (number, segment)));
        }
        Ok(Self {
            scanned,
            segments: numbered,
            referred: referred.into_values().flatten().collect(),
            unreadable,
        })
    }

    fn plan_segments(&self, going: &BTreeSet<RunId>, plan: &mut Plan) {
        let last = self.segments.last_key_value().map_or(0, |(number, _)| *number);
        let gone = |run: &RunId| going.contains(run) || self.scanned.forgotten.contains_key(run);
        let mut loses_cuts = false;
        let mut forgotten = BTreeSet::new();
        for (number, segment) in &self.segments {
            // The newest segment stays if it holds only marks, so that they are not rewritten each time.
            let only_marks = *number == last && segment.runs.is_empty();
            if segment.damaged || only_marks || !segment.runs.iter().all(gone) {
                continue;
            }
            let cut = Cut {
                first: *number,
                last: *number,
                from: segment.from,
                to: segment.to,
            };
            if !self.scanned.cuts.contains(&cut) {
                plan.cuts.push(cut);
            }
            plan.segments.push(segment.path.clone());
            loses_cuts |= segment.marks.iter().any(|mark| matches!(mark, Mark::Cut(_)));
            forgotten.extend(segment.marks.iter().filter_map(Mark::forgets));
        }
        let stays = |run: &RunId| self.scanned.forgotten.get(run);
        let forgotten = forgotten.iter().filter_map(stays);
        plan.marks
            .extend(forgotten.map(|one| Mark::Forgotten(Box::new(one.clone()))));
        if loses_cuts {
            let present = |cut: &Cut| self.segments.range(cut.first..=cut.last).next().is_some();
            plan.marks
                .extend(merged(&self.scanned.cuts, present).into_iter().map(Mark::Cut));
        }
    }
}

/// Joins consecutive cuts. A cut whose segment still exists stays separate, since it may be the only one
/// deleted.
fn merged(cuts: &[Cut], present: impl Fn(&Cut) -> bool) -> Vec<Cut> {
    let mut sorted = cuts.to_vec();
    sorted.sort_by_key(|cut| (cut.first, cut.last));
    sorted.dedup();
    let mut merged: Vec<Cut> = Vec::new();
    for cut in sorted {
        match merged.last_mut() {
            Some(before)
                if before.last + 1 == cut.first
                    && before.to == cut.from
                    && !present(before)
                    && !present(&cut) =>
            {
                (before.last, before.to) = (cut.last, cut.to);
            }
            // A longer cut covers it.
            Some(before) if before.first <= cut.first && cut.last <= before.last => {}
            _ => merged.push(cut),
        }
    }
    merged
}

/// Removes a file, unless an earlier compact has removed it.
fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(JournalError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
