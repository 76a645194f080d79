//! The messages on the control socket, as JSON.

use chrono::{DateTime, Utc};
use rekindle_engine::{Progress, Unit};
use rekindle_model::event::{Outcome, Record};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::problem::Problem;
use rekindle_plan::Inputs;
use serde::{Deserialize, Serialize};

/// A run to be created and driven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The workflow's name.
    pub workflow: String,
    /// The purpose of the run.
    pub kind: RunKind,
    /// The workflow's YAML, which the run is pinned to.
    pub definition: String,
    /// The system's YAML, which the run is pinned to.
    pub system: String,
    /// The inputs that expand the definition into the plan.
    pub inputs: Inputs,
    /// The person or process that asks for the run.
    pub trigger: Trigger,
    /// When the disaster struck. If the submitter does not say, the owner takes the moment at which it creates the
    /// run.
    pub disaster_at: Option<DateTime<Utc>>,
}

/// The process that drives a workspace's runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Its process id.
    pub pid: u32,
    /// The version of Rekindle.
    pub version: String,
    /// When it became the owner.
    pub since: DateTime<Utc>,
    /// Whether it stays when nothing is left to drive.
    pub stays: bool,
    /// The runs that it drives now.
    pub runs: Vec<RunId>,
}

/// An update on a run, for each client that follows the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunUpdate {
    /// A transition, durable in the journal.
    Record(#[serde(with = "nested")] Box<Record>),
    /// A question to a person or a pause, of a run that a step of this run waits for.
    Below {
        /// The way to that run: the names of the steps, with `/` between them.
        path: String,
        /// The transition.
        #[serde(with = "nested")]
        record: Box<Record>,
    },
    /// How far a running step is; not journaled.
    Progress {
        /// The step.
        step: StepId,
        /// How much is done.
        done: u64,
        /// The total amount of work, if known.
        total: Option<u64>,
        /// Whether bytes are counted, or items.
        bytes: bool,
    },
    /// The last update.
    Ended(End),
}

/// A record with its event below it. In the flat form of `rekindle history --json`, the epoch of an adoption and the
/// epoch of its record would have the same name.
mod nested {
    use rekindle_model::event::{Event, JournalHead, Record};
    use rekindle_model::id::{Hash32, RunId};
    use rekindle_model::time::Stamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Record")]
    struct Nested {
        run: RunId,
        seq: u64,
        epoch: u64,
        time: Stamp,
        prev: Hash32,
        head: Option<JournalHead>,
        event: Event,
    }

    pub(super) fn serialize<S: Serializer>(record: &Record, serializer: S) -> Result<S::Ok, S::Error> {
        Nested::serialize(record, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Record>, D::Error> {
        Nested::deserialize(deserializer).map(Box::new)
    }
}

impl From<Progress> for RunUpdate {
    fn from(told: Progress) -> Self {
        Self::Progress {
            step: told.step,
            done: told.done,
            total: told.total,
            bytes: told.unit == Unit::Bytes,
        }
    }
}

/// Why a run's updates end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The run is over.
    Finished(Outcome),
    /// No process drives the run any more; it can be resumed.
    Interrupted,
    /// The owner could not continue to drive the run.
    Broken(Problem),
}

/// The code of a [`Problem`]: the owner accepts no more runs, and nothing was started.
pub const STOPPING: &str = "stopping";
/// The code of a [`Problem`]: there is no owner, so no request was sent.
pub const NOBODY: &str = "nobody";
/// The code of a [`Problem`]: the owner has ended, or it ended during the request.
pub const OWNER_GONE: &str = "owner_gone";

/// Returns whether nothing was started, only because the owner is leaving or has left. The next owner accepts the same
/// request.
pub fn is_of_leaving(problem: &Problem) -> bool {
    [STOPPING, NOBODY].contains(&&*problem.code)
}

/// Returns whether the owner that was there has left or ended.
pub fn is_of_end(problem: &Problem) -> bool {
    [NOBODY, OWNER_GONE].contains(&&*problem.code)
}
