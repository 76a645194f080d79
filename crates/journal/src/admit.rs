//! The one rule that decides whether an append fits a run. It is pure, and every backend applies it.

use std::sync::Arc;

use rekindle_model::event::{Event, JournalHead, Outcome, Record};
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::Origin;
use rekindle_model::planted::{self, Fault};
use rekindle_model::run::{AwaitedLock, Deadlock, HistoryFault, IllegalHistory, Paused, RunState};
use rekindle_model::step::StepRecord;
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{Append, RunSummary};
use crate::codec::{self, Key};
use crate::error::JournalError;

/// The end of one run's chain. Backends persist it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// The run's entry in a list.
    pub summary: RunSummary,
    /// The hash of its newest record.
    pub hash: Hash32,
}

impl RunHead {
    /// Returns the head after a run's next record; none if the run does not begin with `RunCreated`.
    pub fn after(before: Option<&Self>, record: &Record, hash: Hash32) -> Option<Self> {
        let mut summary = match (before, &record.event, record.event.origin()) {
            (Some(before), _, _) => before.summary.clone(),
            (None, Event::RunCreated { workflow, .. }, Some(Origin { kind, trigger })) => RunSummary {
                run: record.run,
                workflow: workflow.clone(),
                kind,
                trigger,
                created: record.time,
                updated: record.time,
                seq: 0,
                epoch: record.epoch,
                outcome: None,
                quarantined: None,
            },
            (None, _, _) => return None,
        };
        summary.seq = record.seq;
        summary.epoch = record.epoch;
        summary.updated = record.time;
        match record.event {
            Event::RunFinished { outcome, .. } => summary.outcome = Some(outcome),
            Event::RunReopened { .. } => summary.outcome = None,
            _ => {}
        }
        Some(Self { summary, hash })
    }
}

/// An append that fits: the records to write, and the end of the run with them.
pub struct Admitted {
    /// The new records.
    pub records: Vec<Arc<Record>>,
    /// Their keys and values, in the same order.
    pub entries: Vec<(Key, Vec<u8>)>,
    /// The end of the run with them.
    pub head: RunHead,
}

/// Checks an append against the run's head and folds it into the run's state.
///
/// `state` must be the fold of the run up to `head`; none for a new run. On an error it is unchanged.
pub fn admit(
    head: Option<&RunHead>,
    state: &mut Option<RunState>,
    append: Append,
    journal: JournalHead,
) -> Result<Admitted, JournalError> {
    let run = append.run;
    check_position(head, &append)?;
    let mut before = head.cloned();
    let mut records = Vec::with_capacity(append.events.len());
    let mut entries = Vec::with_capacity(append.events.len());
    for (seq, event) in (append.expected_seq + 1..).zip(append.events) {
        let anchors = matches!(event, Event::RunCreated { .. } | Event::RunFinished { .. });
        let prev = before.as_ref().map_or(Hash32::ZERO, |head| head.hash);
        let record = Record {
            run,
            seq,
            epoch: append.epoch,
            time: append.now,
            prev,
            head: anchors.then_some(journal),
            event,
        };
        let value = codec::encode(&record)?;
        let Some(after) = RunHead::after(before.as_ref(), &record, codec::hash(&value)) else {
            let fault = HistoryFault::Creation(record.event.name());
            return Err(IllegalHistory { run, seq, fault }.into());
        };
        before = Some(after);
        entries.push((codec::key(run, seq), value));
        records.push(Arc::new(record));
    }
    let head = before.ok_or(JournalError::Empty(run))?;
    let undo = Undo::of(state.as_ref(), &records);
    if let Err(illegal) = records.iter().try_for_each(|record| fold(state, record)) {
        undo.apply(state);
        return Err(illegal.into());
    }
    Ok(Admitted {
        records,
        entries,
        head,
    })
}

/// Checks an append's (seq, epoch) against the run's head. If the run is over, the append must reopen it
/// first.
pub fn check_position(head: Option<&RunHead>, append: &Append) -> Result<(), JournalError> {
    let run = append.run;
    let Some(first) = append.events.first() else {
        return Err(JournalError::Empty(run));
    };
    let (found_seq, found_epoch) = head.map_or((0, 0), |head| (head.summary.seq, head.summary.epoch));
    if head.is_none() && append.expected_seq != 0 {
        return Err(JournalError::UnknownRun(run));
    }
    let begins_epoch = head.is_none() || matches!(first, Event::RunAdopted { .. });
    let epoch = found_epoch + u64::from(begins_epoch);
    let fenced = append.epoch != epoch && !planted::is(Fault::EpochUnchecked);
    if append.expected_seq != found_seq || fenced {
        return Err(JournalError::Conflict {
            run,
            found_seq,
            found_epoch,
        });
    }
    let reopens = matches!(first, Event::RunReopened { .. });
    if !reopens && head.is_some_and(|head| head.summary.outcome.is_some()) {
        let fault = HistoryFault::AfterEnd(first.name());
        return Err(IllegalHistory {
            run,
            seq: found_seq + 1,
            fault,
        }
        .into());
    }
    Ok(())
}

/// A copy of the part of a run's state that an append may change: only the steps that it names.
struct Undo {
    /// None if there was no state.
    run: Option<Fields>,
    steps: Vec<(StepId, Option<StepRecord>)>,
}

struct Fields {
    updated: Stamp,
    seq: u64,
    epoch: u64,
    adoptions: usize,
    cancel: Option<String>,
    expired: Option<Stamp>,
    reopened: Option<Stamp>,
    begun: Option<Stamp>,
    paused: Option<Paused>,
    deadlock: Option<Deadlock>,
    awaits_lock: Option<AwaitedLock>,
    outcome: Option<Outcome>,
    summary: Value,
}

impl Undo {
    fn of(state: Option<&RunState>, records: &[Arc<Record>]) -> Self {
        let steps = records
            .iter()
            .filter_map(|record| record.event.step())
            .map(|step| {
                let before = state.and_then(|state| state.steps.get(step)).cloned();
                (step.clone(), before)
            });
        let steps = steps.collect();
        let run = state.map(|state| Fields {
            updated: state.updated,
            seq: state.seq,
            epoch: state.epoch,
            adoptions: state.adoptions.len(),
            cancel: state.cancel.clone(),
            expired: state.expired,
            reopened: state.reopened,
            begun: state.begun,
            paused: state.paused.clone(),
            deadlock: state.deadlock.clone(),
            awaits_lock: state.awaits_lock.clone(),
            outcome: state.outcome,
            summary: state.summary.clone(),
        });
        Self { run, steps }
    }

    fn apply(self, state: &mut Option<RunState>) {
        let (Some(before), Some(state)) = (self.run, state.as_mut()) else {
            *state = None;
            return;
        };
        state.updated = before.updated;
        state.seq = before.seq;
        state.epoch = before.epoch;
        state.adoptions.truncate(before.adoptions);
        state.cancel = before.cancel;
        state.expired = before.expired;
        state.reopened = before.reopened;
        state.begun = before.begun;
        state.paused = before.paused;
        state.deadlock = before.deadlock;
        state.awaits_lock = before.awaits_lock;
        state.outcome = before.outcome;
        state.summary = before.summary;
        for (step, record) in self.steps {
            match record {
                Some(record) => state.steps.insert(step, record),
                None => state.steps.remove(&step),
            };
        }
    }
}

fn fold(state: &mut Option<RunState>, record: &Record) -> Result<(), IllegalHistory> {
    match state {
        Some(state) => state.fold(record),
        None => {
            *state = Some(RunState::created(record)?);
            Ok(())
        }
    }
}

/// Checks that records follow each other and decodes them.
///
/// # Errors
/// The first record that is damaged, missing, or not linked to the one before it.
pub fn check_chain<V: AsRef<[u8]>>(run: RunId, values: &[V]) -> Result<Vec<Record>, JournalError> {
    check_chain_after(run, 0, Hash32::ZERO, values)
}

/// Checks the records of a run that follow its record `seq`, whose hash is `prev`.
pub fn check_chain_after<V: AsRef<[u8]>>(
    run: RunId,
    seq: u64,
    mut prev: Hash32,
    values: &[V],
) -> Result<Vec<Record>, JournalError> {
    (seq + 1..)
        .zip(values)
        .map(|(seq, value)| {
            let value = value.as_ref();
            let record = codec::decode(&codec::key(run, seq), value)?;
            if record.prev != prev {
                return Err(JournalError::Corrupt {
                    run,
                    seq,
                    why: "it does not follow the record before it".into(),
                });
            }
            prev = codec::hash(value);
            Ok(record)
        })
        .collect()
}

/// Returns the journal's head after a commit.
pub fn advance<'a>(head: JournalHead, values: impl Iterator<Item = &'a [u8]>) -> JournalHead {
    let commit = head.commit + 1;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head.hash.0).update(&commit.to_be_bytes());
    for value in values {
        hasher.update(&codec::hash(value).0);
    }
    JournalHead {
        commit,
        hash: Hash32(*hasher.finalize().as_bytes()),
    }
}

/// The head of a journal without commits.
pub const EMPTY: JournalHead = JournalHead {
    commit: 0,
    hash: Hash32::ZERO,
};
