//! The interface for reading the replicas in a tier, for [`verify-replicas`](crate::VERIFY_REPLICAS). A process that
//! has the journal implements it.

use async_trait::async_trait;
use rekindle_model::id::RunId;
use rekindle_model::next_action::NextAction;
use rekindle_vault::{CancellationToken, SegmentError, Tier};
use serde::{Deserialize, Serialize};

/// Reads the replicas of a tier, and compares them with the journal.
#[async_trait]
pub trait ReplicaReader: Send + Sync {
    /// Reads every run's replica in every location of the tier, one segment in memory at a time. A replica that is found
    /// damaged is noted, so that its chain restarts if this workspace has the run. `progress` gets the number of segments
    /// so far.
    ///
    /// # Errors
    /// A location that could not be read; damage is a fault in the report.
    async fn read(
        &self,
        tier: &Tier,
        stop: &CancellationToken,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ReplicasReport, SegmentError>;
}

/// The result of reading a tier's replicas, with their faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicasReport {
    /// How many chains were read: one for each run in each location that has it.
    pub chains: u64,
    /// Segments that opened.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// What is wrong.
    pub faults: Vec<ReplicaFault>,
}

/// A fault of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFault {
    /// The tier.
    pub tier: String,
    /// The location.
    pub location: String,
    /// The run.
    pub run: RunId,
    /// The segment; if several in a row have the fault, the first.
    pub segment: u64,
    /// The fault, as a fragment that follows the segment's name: "is missing".
    pub what: String,
    /// What a person can do about it.
    pub next: Vec<NextAction>,
}

impl std::fmt::Display for ReplicaFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            location,
            run,
            segment,
            what,
            ..
        } = self;
        write!(f, "segment {segment} of run {run} in {location} {what}")
    }
}
