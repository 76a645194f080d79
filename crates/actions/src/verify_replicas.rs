//! `verify-replicas`: reads back the replicas of runs' journals that a tier keeps.
//!
//! Only a process that has the journal can compare a replica with it. So the action knows no journal itself and asks a
//! [`ReplicaReader`].

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext, Unit};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::RunId;
use rekindle_model::next_action::{NextAction, StoredAdvice};
use rekindle_plan::Problem;
use rekindle_vault::{CancellationToken, SegmentError, Tier, TierMode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failures;
use crate::findings;
use crate::measure;
use crate::params::{self, Field, Kind};
use crate::site::Site;
use crate::views;

/// The action's name.
pub const VERIFY_REPLICAS: &str = "verify-replicas";
/// Its earlier name. Runs of the built-in workflow that were begun under it still resume.
pub const VERIFY_REPLICAS_ALIAS: &str = "verify-slots";

/// Reads the replicas of a tier, and compares them with the journal.
#[async_trait]
pub trait ReplicaReader: Send + Sync {
    /// Reads every run's replica in every location of the tier, one segment in memory at a time. A replica that is found
    /// damaged is noted, so that it is written anew if this workspace has the run. `progress` gets the number of segments
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

/// What was read of a tier's replicas, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicasReport {
    /// Chains that were read: runs, in as many locations as have them.
    pub chains: u64,
    /// Segments that opened.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// What is wrong.
    pub faults: Vec<ReplicaFault>,
}

/// One thing that is wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFault {
    /// The tier.
    pub tier: String,
    /// The location.
    pub location: String,
    /// The run.
    pub run: RunId,
    /// The segment; the first of several in a row.
    pub segment: u64,
    /// What is wrong, as a fragment that follows the segment's name: "is missing".
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

/// See the module's documentation.
pub(crate) struct VerifyReplicas(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[Field::optional("tier", Kind::Text)];

#[derive(Deserialize)]
struct Params {
    tier: Option<String>,
}

#[async_trait]
impl Action for VerifyReplicas {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(findings::verify_again())
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params { tier } = params::read(&cx.with)?;
        let name = views::looped(cx, "tier", tier)?;
        let tier = self.0.tier(&name, TierMode::Existing).await?;
        if let Some((url, why)) = tier.down().first() {
            return Err(Failure::transient(
                code::TIER_UNAVAILABLE,
                format!("tier {name}: {url} does not answer: {why}"),
            )
            .with_hint("mount it, or see that it can be reached, then verify again"));
        }
        let Some(reader) = self.0.replicas() else {
            return Err(Failure::permanent(
                code::INTERNAL,
                "there is no journal to compare the replicas with",
            ));
        };
        let progress = |segments| cx.progress(segments, None, Unit::Items);
        let report = reader.read(&tier, &cx.stop, &progress).await;
        if cx.stop.is_cancelled() {
            return Err(failures::interrupted());
        }
        let report = report.map_err(|error| {
            Failure::transient(code::TIER_UNAVAILABLE, format!("tier {name}: {error}"))
                .with_hint("see that the tier can be read, then verify again")
        })?;
        let failure = (!report.faults.is_empty()).then(|| damaged(&name, &report.faults));
        findings::end(cx, output(&name, &report), failure).await
    }
}

fn damaged(tier: &str, faults: &[ReplicaFault]) -> Failure {
    let kept = findings::kept(faults).iter();
    let next = kept.flat_map(|fault| fault.next.clone());
    let mut next: Vec<StoredAdvice> = next.map(StoredAdvice::from).collect();
    next.dedup();
    let failure = Failure::permanent(
        code::DATA_LOST,
        format!(
            "replicas of runs' journals in tier {tier} are damaged: {}",
            findings::sentence(faults)
        ),
    );
    Failure { next, ..failure }
}

fn output(tier: &str, report: &ReplicasReport) -> Output {
    let value = json!({
        "tier": tier,
        "verified": report.faults.is_empty(),
        "chains": report.chains,
        "segments": report.segments,
        "records": report.records,
        "segment_faults": findings::kept(&report.faults),
        "faults_total": report.faults.len(),
    });
    Output {
        value,
        measures: measure::counts([("segments", report.segments), ("records", report.records)]),
    }
}
