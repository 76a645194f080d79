//! `verify`: reads back what a tier has stored. It verifies the stored copies, never bytes in memory.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Output, StepContext};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SnapshotId;
use rekindle_model::next_action::Action as NextStep;
use rekindle_vault::{ProgressSink, TierMode, VaultError, VerifyLevel, VerifyReport};
use serde::Deserialize;
use serde_json::json;

use crate::copy::{self, Copy};
use crate::failures;
use crate::findings::{self, Verification};
use crate::measure;
use crate::params::{self, Field, Kind, Share};
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct Verify(pub(crate) Arc<Site>);

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    level: Level,
    /// The share of the content that `read` reads; by default all of it.
    sample: Option<Share>,
}

#[derive(Clone, Copy, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Every object exists and has the right length.
    Exists,
    /// The content is decrypted, decompressed and hashed again.
    #[default]
    Read,
}

#[async_trait]
impl Verification for Verify {
    const FIELDS: &'static [Field] = &[
        Field::optional("component", Kind::Text),
        Field::optional("tier", Kind::Text),
        Field::optional("snapshot", Kind::Text),
        Field::optional("level", Kind::Word(&["exists", "read"])),
        Field::optional("sample", Kind::Share),
    ];

    async fn verify(&self, cx: &StepContext) -> Result<(Output, Option<Failure>), Failure> {
        let Params { level, sample } = params::read(&cx.with)?;
        let copy = Copy::read(&self.0, cx).await?;
        let Some(snapshot) = copy.snapshot else {
            return Ok((output(&copy, level, sample, &VerifyReport::default()), None));
        };
        let tier = self.0.tier(&copy.tier, TierMode::Existing).await?;
        let depth = match level {
            Level::Exists => VerifyLevel::Exists,
            Level::Read => VerifyLevel::Read {
                share: sample.map_or(1.0, |share| share.0),
            },
        };
        let report = rekindle_vault::verify(&tier, snapshot, depth, &copy::progress(cx), &cx.stop)
            .await
            .map_err(failures::vault)?;
        let output = output(&copy, level, sample, &report);
        let failure = match report.faults.is_empty() {
            true => None,
            false => {
                let others = self.whole_elsewhere(cx, &copy, snapshot).await?;
                Some(damaged(&copy, &report, &others))
            }
        };
        Ok((output, failure))
    }
}

impl Verify {
    /// Returns the other tiers that hold all objects of the snapshot, as far as a check without reading shows.
    async fn whole_elsewhere(
        &self,
        cx: &StepContext,
        copy: &Copy,
        snapshot: SnapshotId,
    ) -> Result<Vec<String>, Failure> {
        let mut names = self.0.tiers_hot_first();
        names.retain(|name| *name != copy.tier);
        let mut whole = Vec::new();
        for tier in self.0.tiers_that_answer(&names).await {
            let (sink, level) = (ProgressSink::none(), VerifyLevel::Exists);
            match rekindle_vault::verify(&tier, snapshot, level, &sink, &cx.stop).await {
                Ok(report) if report.faults.is_empty() => whole.push(tier.name().to_owned()),
                Ok(_) => {}
                Err(VaultError::Interrupted) => return Err(failures::interrupted()),
                Err(error) => tracing::info!(tier = tier.name(), %error, "a tier is not asked"),
            }
        }
        Ok(whole)
    }
}

fn damaged(copy: &Copy, report: &VerifyReport, others: &[String]) -> Failure {
    Failure::permanent(
        code::DATA_LOST,
        format!(
            "the copy of {} in tier {} is damaged: {}; {}",
            copy.component,
            copy.tier,
            findings::sentence(&report.faults),
            match others {
                [] => "no other tier that answers holds all of it".to_owned(),
                [one] => format!("tier {one} holds all of it"),
                several => format!("tiers {} hold all of it", several.join(", ")),
            }
        ),
    )
    .with_next(
        NextStep::Backup,
        "stores again what is damaged, from another tier or from the living system; until then other tiers serve",
    )
}

fn unlisted(tier: &str, packs: u64) -> Vec<String> {
    let packs = match packs {
        0 => return Vec::new(),
        1 => "1 pack of tier".to_owned(),
        packs => format!("{packs} packs of tier"),
    };
    vec![format!(
        "no index lists {packs} {tier}; the data was found; repair the tier to write its indexes anew"
    )]
}

fn output(copy: &Copy, level: Level, sample: Option<Share>, report: &VerifyReport) -> Output {
    let value = json!({
        "component": copy.component,
        "snapshot": copy.snapshot,
        "tier": copy.tier,
        "level": level,
        "sample": sample.map(|share| share.0),
        // For a component without data nothing was read, so nothing was verified either.
        "verified": copy.snapshot.is_some() && report.faults.is_empty(),
        "objects": report.objects,
        "chunks": report.chunks,
        "bytes": report.bytes,
        // Packs that were found although no index lists them: a repair of the tier writes the indexes anew.
        "unlisted": report.unlisted,
        "warnings": unlisted(&copy.tier, report.unlisted),
        "faults": findings::sentences(&report.faults),
        "faults_total": report.faults.len(),
        // This damage does not affect the snapshot any more: the data that it needs was stored again.
        "healed": findings::sentences(&report.healed),
        "healed_total": report.healed.len(),
    });
    Output {
        value,
        measures: measure::counts([("bytes_read", report.bytes), ("chunks", report.chunks)]),
    }
}
