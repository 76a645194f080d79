//! The journal's interface.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::origin::{Origin, Parent, RunKind, Trigger};
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::error::JournalError;

/// How many records a subscriber may lag behind before it misses some.
pub const SUBSCRIBER_BACKLOG: usize = 4096;

/// Events to append to one run: all of them or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// The run.
    pub run: RunId,
    /// The number of the run's newest record as the caller knows it; 0 for a new run.
    pub expected_seq: u64,
    /// The caller's epoch: 1 for a new run, the new epoch if the first event is `RunAdopted`, else the run's
    /// current one.
    pub epoch: u64,
    /// The events, in order; at least one.
    pub events: Vec<Event>,
    /// The time of the events.
    pub now: Stamp,
}

/// A durable, ordered record of runs.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends events to a run and returns their records. They are durable when it returns.
    ///
    /// Dropping the future does not cancel an append.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] if the run has newer records; [`JournalError::Illegal`] if the events do
    /// not fit its history; [`JournalError::TooLarge`] if one does not fit into a record. In these cases
    /// nothing was written. After [`JournalError::Poisoned`], `DiskFull` or `Io` it is unknown whether this
    /// append is durable: open the journal again and read the run.
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError>;

    /// Returns a run's whole history, oldest first, without a gap, each record checked. Readers may share it: a copy of
    /// ten thousand records takes megabytes.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], or [`JournalError::Quarantined`] when no intact copy of a record exists.
    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError>;

    /// Returns the values of a run's records after number `after`, byte for byte as stored. Each is checked,
    /// the first one also against the record before it.
    ///
    /// # Errors
    /// As [`Journal::read`].
    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError>;

    /// Returns the runs that pass the filter, newest first.
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError>;

    /// Returns a receiver of every record that becomes durable from now on, in the order of commits. A
    /// receiver that lags learns how many records it has missed.
    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>>;

    /// Stores bytes by their BLAKE3 hash. They are durable when it returns.
    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError>;

    /// Returns a blob's bytes, checked against its hash.
    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError>;
}

/// A filter for lists of runs. The default accepts all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs of this workflow.
    pub workflow: Option<String>,
    /// Only runs of this kind.
    pub kind: Option<RunKind>,
    /// Only runs that are over (`true`), or only unfinished runs that can continue (`false`).
    pub finished: Option<bool>,
    /// Only runs with this outcome.
    pub outcome: Option<Outcome>,
    /// Only runs created at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl RunFilter {
    /// Returns whether a run passes. The caller applies the limit.
    pub fn accepts(&self, run: &RunSummary) -> bool {
        self.workflow
            .as_ref()
            .is_none_or(|workflow| *workflow == run.workflow)
            && self.kind.is_none_or(|kind| kind == run.kind)
            && self.finished.is_none_or(|finished| {
                finished == run.outcome.is_some() && (finished || run.quarantined.is_none())
            })
            && self.outcome.is_none_or(|outcome| run.outcome == Some(outcome))
            && self.since.is_none_or(|since| run.created.utc >= since)
    }
}

/// A run in a list. It is stored beside the records, which can rebuild it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredSummary")]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// The workflow's name.
    pub workflow: String,
    /// Its purpose.
    pub kind: RunKind,
    /// The person or process that started it.
    pub trigger: Trigger,
    /// When it was created.
    pub created: Stamp,
    /// When its newest record was appended.
    pub updated: Stamp,
    /// The number of its newest record.
    pub seq: u64,
    /// The epoch that may append to it.
    pub epoch: u64,
    /// Its outcome; none while it is unfinished.
    pub outcome: Option<Outcome>,
    /// Why the run must not continue: one of its records is lost. The other fields describe the part before
    /// that record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}

/// A stored summary, also of a version that knew no kinds.
#[derive(Deserialize)]
struct StoredSummary {
    run: RunId,
    workflow: String,
    kind: Option<RunKind>,
    trigger: Trigger,
    parent: Option<Parent>,
    created: Stamp,
    updated: Stamp,
    seq: u64,
    epoch: u64,
    outcome: Option<Outcome>,
    quarantined: Option<String>,
}

impl From<StoredSummary> for RunSummary {
    fn from(stored: StoredSummary) -> Self {
        let Origin { kind, trigger } = Origin::of_stored(
            &stored.workflow,
            stored.kind,
            &stored.trigger,
            stored.parent.as_ref(),
        );
        Self {
            run: stored.run,
            workflow: stored.workflow,
            kind,
            trigger,
            created: stored.created,
            updated: stored.updated,
            seq: stored.seq,
            epoch: stored.epoch,
            outcome: stored.outcome,
            quarantined: stored.quarantined,
        }
    }
}

impl RunSummary {
    /// Returns the step that started the run; none for a run of its own. The parent's run continues both.
    pub fn parent(&self) -> Option<&Parent> {
        self.trigger.parent()
    }

    /// Returns the summary of a run from its whole part, marked as quarantined if a reason is given.
    pub fn listed(run: RunId, whole: Option<&Self>, quarantined: Option<&String>) -> Self {
        let mut summary = whole.cloned().unwrap_or_else(|| Self::nameless(run));
        summary.quarantined = quarantined.cloned();
        summary
    }

    /// Returns the summary of a run whose first record is lost. Its id still gives its creation time.
    fn nameless(run: RunId) -> Self {
        let utc = run.0.get_timestamp().and_then(|time| {
            let (seconds, nanos) = time.to_unix();
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        });
        let created = Stamp {
            utc: utc.unwrap_or_default(),
            boot_ns: 0,
            boot_id: Uuid::nil(),
        };
        Self {
            run,
            workflow: "?".to_owned(),
            kind: RunKind::Custom,
            trigger: Trigger::command("?"),
            created,
            updated: created,
            seq: 0,
            epoch: 0,
            outcome: None,
            quarantined: None,
        }
    }
}
