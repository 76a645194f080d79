//! `verify-catalog`: reads every document that a tier must hold: its recovery sets and their snapshots.
//!
//! A tier that lost its newest set looks like one that never had it. The tier's own heads, the workspace and the other
//! tiers say what must be there.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::Action as NextStep;
use rekindle_plan::Problem;
use rekindle_vault::{CatalogCheck, Fault, TierMode, catalogs};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failures;
use crate::findings;
use crate::params::{self, Field, Kind};
use crate::site::Site;
use crate::views;

/// The action's name.
pub const VERIFY_CATALOG: &str = "verify-catalog";

/// See the module's documentation.
pub(crate) struct VerifyCatalog(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[Field::optional("tier", Kind::Text)];

#[derive(Deserialize)]
struct Params {
    tier: Option<String>,
}

#[async_trait]
impl Action for VerifyCatalog {
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
        // The other tiers remember what this one held.
        let tiers = self.0.tiers_that_answer(&self.0.tiers_hot_first()).await;
        let mut found = catalogs(&tiers).await;
        if let Some(error) = found.unread.remove(&name) {
            return Err(failures::vault(error));
        }
        let catalogs = found.by_tier.remove(&name).unwrap_or_default();
        let faults = tier.missing(&catalogs, CatalogCheck::Documents).await;
        let faults = faults.map_err(failures::vault)?;
        let sets: usize = catalogs.iter().map(|catalog| catalog.sets.len()).sum();
        let value = json!({
            "tier": name,
            "verified": faults.is_empty() && found.forgotten.is_none(),
            "sets": sets,
            "heads": catalogs.iter().map(|catalog| catalog.newest.as_ref().map(|head| head.n)).collect::<Vec<_>>(),
            "faults": findings::sentences(&faults),
            "faults_total": faults.len(),
        });
        let output = Output {
            value,
            measures: Measures::new(),
        };
        let failure = match (faults.is_empty(), found.forgotten) {
            (true, None) => None,
            (true, Some(error)) => Some(Failure::permanent(code::DATA_LOST, error.to_string())),
            (false, _) => Some(damaged(&name, &faults)),
        };
        findings::end(cx, output, failure).await
    }
}

fn damaged(tier: &str, faults: &[Fault]) -> Failure {
    Failure::permanent(
        code::DATA_LOST,
        format!(
            "tier {tier} does not hold all that it must hold: {}",
            findings::sentence(faults)
        ),
    )
    .with_next(
        NextStep::RepairTier {
            tier: tier.to_owned(),
        },
        "copies the missing objects from the other tiers",
    )
}
