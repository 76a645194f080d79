//! `verify-replicas`: reads back the replicas of runs' journals that a tier keeps.
//!
//! Only a process that has the journal can compare a replica with it. So the action knows no journal itself and asks a
//! [`ReplicaReader`](crate::ReplicaReader).

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Output, StepContext, Unit};
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::StoredAdvice;
use rekindle_vault::TierMode;
use serde_json::json;

use crate::failures;
use crate::findings::{self, Verification};
use crate::measure;
use crate::params::Field;
use crate::replica_reader::{ReplicaFault, ReplicasReport};
use crate::site::Site;

/// The action's name.
pub const VERIFY_REPLICAS: &str = "verify-replicas";
/// Its earlier name. Runs of the built-in workflow that began under that name can still resume.
pub const VERIFY_REPLICAS_ALIAS: &str = "verify-slots";

/// See the module's documentation.
pub(crate) struct VerifyReplicas(pub(crate) Arc<Site>);

#[async_trait]
impl Verification for VerifyReplicas {
    const FIELDS: &'static [Field] = findings::OF_A_TIER;

    async fn verify(&self, cx: &StepContext) -> Result<(Output, Option<Failure>), Failure> {
        let name = findings::tier_of(cx)?;
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
        Ok((output(&name, &report), failure))
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
