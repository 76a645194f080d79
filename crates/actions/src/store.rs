//! `store`: copies to one tier the parts of a snapshot that it lacks, from the spool or from another tier.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use rekindle_vault::{ProgressSink, TierMode, VerifyLevel};
use serde_json::{Value, json};

use crate::copy::{self, Copy};
use crate::failures;
use crate::params;
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct Store(pub(crate) Arc<Site>);

#[async_trait]
impl Action for Store {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, copy::FIELDS)
    }

    async fn reconcile(&self, cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let copy = Copy::read(&self.0, cx).await?;
        let Some(snapshot) = copy.snapshot else {
            return Ok(adopt_nothing(&copy));
        };
        let tier = self.0.tier(&copy.tier, TierMode::Create).await?;
        let evidence = json!({ "snapshot": snapshot, "tier": copy.tier });
        if !copy::holds(&tier, snapshot).await? {
            // The next attempt finds by name what was copied before the cut, and copies the rest.
            return Ok(Reconciled::Continue { evidence });
        }
        // A snapshot is visible only once all of it is stored. How much of it this run copied is unknown now, so all
        // of it is reported as present.
        let present = rekindle_vault::verify(
            &tier,
            snapshot,
            VerifyLevel::Exists,
            &ProgressSink::none(),
            &cx.stop,
        )
        .await
        .map_err(failures::vault)?;
        match present.faults.is_empty() {
            true => Ok(Reconciled::Complete {
                output: output(&copy, 0, 0, present.bytes),
                evidence: json!({ "snapshot": snapshot, "tier": copy.tier, "objects": present.objects }),
            }),
            false => Ok(Reconciled::Continue { evidence }),
        }
    }

    async fn recheck(&self, _cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        Ok(copy::gone(&self.0, output).await)
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let copy = Copy::read(&self.0, cx).await?;
        let Some(snapshot) = copy.snapshot else {
            return Ok(output(&copy, 0, 0, 0));
        };
        let spool = self.0.spool().await?;
        let tier = self.0.tier(&copy.tier, TierMode::Create).await?;
        let others: Vec<String> = self
            .0
            .tiers_hot_first()
            .into_iter()
            .filter(|other| *other != copy.tier)
            .collect();
        let others = self.0.tiers_that_answer(&others).await;
        let report = rekindle_vault::store(&spool, &tier, snapshot, &others, &copy::progress(cx), &cx.stop)
            .await
            .map_err(failures::vault)?;
        Ok(output(
            &copy,
            report.bytes_copied,
            report.objects_copied,
            report.bytes_present,
        ))
    }
}

fn adopt_nothing(copy: &Copy) -> Reconciled {
    Reconciled::Complete {
        output: output(copy, 0, 0, 0),
        evidence: json!({ "why": "the component has no data" }),
    }
}

fn output(copy: &Copy, bytes_stored: u64, objects_stored: u64, bytes_present: u64) -> Output {
    let value = json!({
        "component": copy.component,
        "snapshot": copy.snapshot,
        "tier": copy.tier,
        "bytes_stored": bytes_stored,
        "objects_stored": objects_stored,
        "bytes_present": bytes_present,
    });
    Output {
        value,
        measures: Measures::from([("bytes_written".to_owned(), crate::measure::number(bytes_stored))]),
    }
}
