//! Checks the replicas in a tier against the journal here. Each fault says what to do.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_actions::{ReplicaFault, ReplicaReader, ReplicasReport};
use rekindle_journal::Journal;
use rekindle_model::next_action::{Action, NextAction};
use rekindle_replica::check::{self, CheckReport, Remedy, SegmentFault};
use rekindle_vault::{CancellationToken, SegmentError, Tier};

use crate::error::adopt;

/// Reads replicas for the action that verifies them.
pub struct Checker {
    /// The journal here.
    pub journal: Arc<dyn Journal>,
    /// The workspace's own folder.
    pub state: PathBuf,
}

#[async_trait]
impl ReplicaReader for Checker {
    async fn read(
        &self,
        tier: &Tier,
        stop: &CancellationToken,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ReplicasReport, SegmentError> {
        let report = check::check_tier(tier, &*self.journal, &self.state, stop, progress).await?;
        Ok(with_advice(report))
    }
}

/// Returns a report whose faults say what to do.
pub fn with_advice(report: CheckReport) -> ReplicasReport {
    ReplicasReport {
        chains: report.chains,
        segments: report.segments,
        records: report.records,
        faults: report.faults.into_iter().map(advised).collect(),
    }
}

fn advised(fault: SegmentFault) -> ReplicaFault {
    let SegmentFault {
        tier,
        location,
        run,
        segment,
        what,
        remedy,
    } = fault;
    let next = match remedy {
        Remedy::Restart => NextAction::new(
            Action::Verify,
            "writes the segments there again when it ends, because this workspace has the run",
        ),
        Remedy::Ask(last) => NextAction::new(
            adopt(Some(location.clone()), run),
            format!("asks whether segment {last} is another workspace's, and then writes the segments again"),
        ),
        Remedy::Elsewhere => {
            NextAction::advice("another workspace has the run, and writes its segments there again")
        }
        Remedy::Adopt => NextAction::new(
            adopt(None, run),
            "adopts the run from a location that has it whole, and then writes the segments again",
        ),
    };
    ReplicaFault {
        tier,
        location,
        run,
        segment,
        what,
        next: vec![next],
    }
}
