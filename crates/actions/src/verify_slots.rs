//! `verify-slots`: reads back the copies of runs' journals that a tier keeps.
//!
//! What a copy has to say beside its seals and hashes is known to whoever has the journal. This action asks them, as the
//! engine asks a `Replica`, and knows no journal itself.

use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext, Unit};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::RunId;
use rekindle_model::next_action::NextAction;
use rekindle_plan::Problem;
use rekindle_vault::{CancellationToken, SegmentError, Tier, TierMode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::copy::number;
use crate::failures;
use crate::params::{self, Field, Kind};
use crate::site::Site;
use crate::views;

/// Reads the slots of a tier, and compares them with the journal.
#[async_trait]
pub trait SlotReader: Send + Sync {
    /// Reads every run's slots in every location of the tier, one slot in memory at a time. What is found damaged is
    /// noted, so that it is written anew where this workspace has the run. `told` gets the number of slots so far.
    ///
    /// # Errors
    /// A location that could not be read; damage is a fault in the report.
    async fn read(
        &self,
        tier: &Tier,
        stop: &CancellationToken,
        told: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<SlotsReport, SegmentError>;
}

/// What was read of a tier's slots, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsReport {
    /// Chains that were read: runs, in as many locations as have them.
    pub chains: u64,
    /// Slots that opened.
    pub slots: u64,
    /// Records in them.
    pub records: u64,
    /// What is wrong.
    pub faults: Vec<SlotFault>,
}

/// One thing that is wrong with the copy of a run's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFault {
    /// The tier.
    pub tier: String,
    /// The location.
    pub location: String,
    /// The run.
    pub run: RunId,
    /// The slot; the first of several in a row.
    pub slot: u64,
    /// What is wrong, as a fragment that follows the slot's name: "is missing".
    pub what: String,
    /// What a person can do about it.
    pub next: Vec<NextAction>,
}

impl std::fmt::Display for SlotFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            location,
            run,
            slot,
            what,
            ..
        } = self;
        write!(f, "slot {slot} of run {run} in {location} {what}")
    }
}

/// See the module's documentation.
pub(crate) struct VerifySlots(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[Field::optional("tier", Kind::Text)];

/// How many faults are kept in the journal; the first few name the trouble, and the count has them all.
const FAULTS_KEPT: usize = 20;

#[derive(Deserialize)]
struct Params {
    tier: Option<String>,
}

#[async_trait]
impl Action for VerifySlots {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::Redo {
            evidence: json!({ "why": "a verification that was cut off proves nothing" }),
        })
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
        let Some(reader) = self.0.slots() else {
            return Err(Failure::permanent(
                code::INTERNAL,
                "nobody here has a journal to compare the slots with",
            ));
        };
        let told = |slots| cx.progress(slots, None, Unit::Items);
        let report = reader.read(&tier, &cx.stop, &told).await;
        if cx.stop.is_cancelled() {
            return Err(failures::interrupted());
        }
        let report = report.map_err(|error| {
            Failure::transient(code::TIER_UNAVAILABLE, format!("tier {name}: {error}"))
                .with_hint("see that the tier can be read, then verify again")
        })?;
        let output = output(&name, &report);
        if report.faults.is_empty() {
            return Ok(output);
        }
        // A failure carries a sentence only: what was found is kept in the journal first.
        cx.checkpoint(output.value).await?;
        Err(damaged(&name, &report.faults))
    }
}

fn damaged(tier: &str, faults: &[SlotFault]) -> Failure {
    let kept = faults.iter().take(FAULTS_KEPT);
    let named: Vec<String> = kept.clone().map(ToString::to_string).collect();
    let more = match faults.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut next: Vec<NextAction> = kept.flat_map(|fault| fault.next.clone()).collect();
    next.dedup();
    let failure = Failure::permanent(
        code::DATA_LOST,
        format!(
            "copies of runs' journals in tier {tier} are damaged: {}{more}",
            named.join("; ")
        ),
    );
    Failure { next, ..failure }
}

fn output(tier: &str, report: &SlotsReport) -> Output {
    let kept: Vec<&SlotFault> = report.faults.iter().take(FAULTS_KEPT).collect();
    let value = json!({
        "tier": tier,
        "verified": report.faults.is_empty(),
        "chains": report.chains,
        "slots": report.slots,
        "records": report.records,
        "slot_faults": kept,
        "faults_total": report.faults.len(),
    });
    let measures =
        [("slots", report.slots), ("records", report.records)].map(|(name, n)| (name.to_owned(), number(n)));
    Output {
        value,
        measures: Measures::from(measures),
    }
}
