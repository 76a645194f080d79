//! `verify-catalog`: reads every document that a tier must hold: its recovery sets and their snapshots.
//!
//! A tier that lost its newest set looks like one that never had it. The tier's own heads, the workspace and the other
//! tiers say what must be there.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Output, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::Action as NextStep;
use rekindle_vault::{CatalogCheck, Lacking, TierMode, catalogs, lacking};
use serde_json::json;

use crate::failures;
use crate::findings::{self, Verification};
use crate::params::Field;
use crate::site::Site;

/// The action's name.
pub const VERIFY_CATALOG: &str = "verify-catalog";

/// See the module's documentation.
pub(crate) struct VerifyCatalog(pub(crate) Arc<Site>);

#[async_trait]
impl Verification for VerifyCatalog {
    const FIELDS: &'static [Field] = findings::OF_A_TIER;

    async fn verify(&self, cx: &StepContext) -> Result<(Output, Option<Failure>), Failure> {
        let name = findings::tier_of(cx)?;
        let tier = self.0.tier(&name, TierMode::Existing).await?;
        // The other tiers remember what this one held.
        let tiers = self.0.tiers_that_answer(&self.0.tiers_hot_first()).await;
        let mut found = catalogs(&tiers).await;
        if let Some(error) = found.unread.remove(&name) {
            return Err(failures::vault(error));
        }
        let faults = lacking(&[tier], &found, CatalogCheck::Documents).await;
        self.0.note_heads(&found, &tiers).await;
        let catalogs = found.by_tier.remove(&name).unwrap_or_default();
        let sets: usize = catalogs.iter().map(|catalog| catalog.sets.len()).sum();
        let value = json!({
            "tier": name,
            "verified": faults.is_empty(),
            "sets": sets,
            "heads": catalogs.iter().map(|catalog| catalog.newest.as_ref().map(|head| head.n)).collect::<Vec<_>>(),
            "faults": findings::sentences(&faults),
            "faults_total": faults.len(),
        });
        let output = Output {
            value,
            measures: Measures::new(),
        };
        let failure = (!faults.is_empty()).then(|| damaged(&name, &faults));
        Ok((output, failure))
    }
}

fn damaged(tier: &str, faults: &[Lacking]) -> Failure {
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
