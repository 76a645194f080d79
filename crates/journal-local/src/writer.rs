//! A commit: the writer admits queued appends, writes them as one frame with one sync, and then acknowledges them.
//! The queue decides which thread commits, and the index thread applies the commit to sled.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rekindle_journal::admit::{self, Admitted, RunHead};
use rekindle_journal::codec::Key;
use rekindle_journal::{Append, JournalError};
use rekindle_model::event::Record;
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use tokio::sync::oneshot;

use crate::index::Indexer;
use crate::log::Log;
use crate::progress::Commit;
use crate::shared::Shared;
use crate::store::RunEntry;

/// One commit takes at most this many appends, so that a frame stays at a few MiB.
const MAX_GROUP: usize = 1024;
/// A commit that has this many bytes takes no further append.
const MAX_FRAME_BYTES: usize = 4 << 20;

/// An append, and the channel of its reply.
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) reply: oneshot::Sender<Result<Vec<Record>, JournalError>>,
}

/// The writer's own view of the runs that it has touched.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: Log,
    indexer: Indexer,
    runs: HashMap<RunId, Run>,
    /// The ended runs with the commits of their ends, until sled has these commits.
    ended: VecDeque<(u64, RunId)>,
}

struct Run {
    head: RunHead,
    /// The fold up to `head`; none until the first append of this process, and once the run's end is durable.
    state: Option<RunState>,
}

struct Pending {
    reply: oneshot::Sender<Result<Vec<Record>, JournalError>>,
    records: Vec<Arc<Record>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, log: Log, indexer: Indexer) -> Self {
        Self {
            shared,
            log,
            indexer,
            runs: HashMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// Commits the appends that `next` gives, as far as they fit into one frame.
    pub(crate) fn commit(&mut self, mut next: impl FnMut() -> Option<Request>) {
        let mut pending = Vec::new();
        let mut entries: Vec<(Key, Vec<u8>)> = Vec::new();
        let mut touched = HashMap::new();
        let mut bytes = 0;
        let mut full = false;
        while !full && let Some(request) = next() {
            let run = request.append.run;
            match self.admit(request.append) {
                Ok(admitted) => {
                    bytes += admitted
                        .entries
                        .iter()
                        .map(|(_, value)| value.len())
                        .sum::<usize>();
                    entries.extend(admitted.entries);
                    touched.insert(run, RunEntry::Whole(admitted.head));
                    pending.push(Pending {
                        reply: request.reply,
                        records: admitted.records,
                    });
                }
                Err(error) => tell(request.reply, Err(error)),
            }
            full = pending.len() >= MAX_GROUP || bytes >= MAX_FRAME_BYTES;
        }
        if pending.is_empty() {
            return;
        }
        let records = entries.len();
        let over: Vec<RunId> = touched
            .iter()
            .filter(|(_, entry)| entry.head().is_some_and(|head| head.summary.outcome.is_some()))
            .map(|(run, _)| *run)
            .collect();
        match self.write(entries, touched) {
            Ok(()) => {
                self.forget(&over);
                self.acknowledge(pending, records);
                self.log.sync_late();
            }
            Err(error) => {
                // The admitted records may or may not be durable: nothing may build on them.
                self.shared.poison(&error);
                pending
                    .into_iter()
                    .for_each(|pending| tell(pending.reply, Err(error.clone())));
            }
        }
    }

    /// Decides on one append, on top of what this commit has admitted already.
    fn admit(&mut self, append: Append) -> Result<Admitted, JournalError> {
        self.shared.check_poison()?;
        let id = append.run;
        if !self.runs.contains_key(&id) {
            match self.shared.store.run(id)? {
                None => {}
                Some(RunEntry::Whole(head)) => drop(self.runs.insert(id, Run { head, state: None })),
                Some(RunEntry::Broken { why, .. }) => return Err(JournalError::Quarantined { run: id, why }),
            }
        }
        let Some(run) = self.runs.get_mut(&id) else {
            let mut state = None;
            let admitted = admit::admit(None, &mut state, append, self.log.head())?;
            self.runs.insert(
                id,
                Run {
                    head: admitted.head.clone(),
                    state,
                },
            );
            return Ok(admitted);
        };
        admit::check_position(Some(&run.head), &append)?;
        if run.state.is_none() {
            // Every record of the run is durable, since the writer drops a fold only after the run's end is.
            // So sled has them all, or will have them in a moment.
            run.state = Some(RunState::from_records(&self.shared.read(id)?)?);
        }
        let admitted = admit::admit(Some(&run.head), &mut run.state, append, self.log.head())?;
        run.head = admitted.head.clone();
        Ok(admitted)
    }

    /// Drops the folds of ended runs, and all state of those whose end sled has. Otherwise a process that
    /// drives runs for years would keep each of them. A run that is reopened is read from sled again.
    fn forget(&mut self, over: &[RunId]) {
        let commit = self.log.head().commit;
        for id in over {
            if let Some(run) = self.runs.get_mut(id) {
                run.state = None;
                self.ended.push_back((commit, *id));
            }
        }
        let applied = self.shared.applied.applied();
        while let Some((_, id)) = self
            .ended
            .front()
            .copied()
            .filter(|(commit, _)| *commit <= applied)
        {
            self.ended.pop_front();
            // Without a fold, nothing was appended to the run since its newest end.
            let newest = |ended: &VecDeque<(u64, RunId)>| !ended.iter().any(|(_, later)| *later == id);
            if self.runs.get(&id).is_some_and(|run| run.state.is_none()) && newest(&self.ended) {
                self.runs.remove(&id);
            }
        }
    }

    fn write(
        &mut self,
        entries: Vec<(Key, Vec<u8>)>,
        runs: HashMap<RunId, RunEntry>,
    ) -> Result<(), JournalError> {
        let head = self.log.append(&entries)?;
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        match self.indexer.apply(Commit { head, entries, runs }) {
            true => Ok(()),
            false => Err(self.shared.poison(&JournalError::Backend(
                "the indexer has ended unexpectedly".into(),
            ))),
        }
    }

    fn acknowledge(&self, pending: Vec<Pending>, records: usize) {
        let counters = &self.shared.counters;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters
            .appends
            .fetch_add(pending.len() as u64, Ordering::Relaxed);
        counters.records.fetch_add(records as u64, Ordering::Relaxed);
        counters
            .largest_group
            .fetch_max(pending.len() as u64, Ordering::Relaxed);
        for Pending { reply, records } in pending {
            for record in &records {
                // There may be no subscriber.
                let _ = self.shared.records.send(Arc::clone(record));
            }
            tell(
                reply,
                Ok(records.iter().map(|record| Record::clone(record)).collect()),
            );
        }
    }
}

/// The caller may have stopped waiting; durable records stay durable.
fn tell(
    reply: oneshot::Sender<Result<Vec<Record>, JournalError>>,
    result: Result<Vec<Record>, JournalError>,
) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests;
