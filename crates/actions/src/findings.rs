//! The frame of all verifications, and the damage that one found, as the step's outcome keeps it.

use std::fmt::Display;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::params::{self, Field, Kind};
use crate::views;

/// How many findings the journal keeps. The first few name the trouble; the count includes them all.
const KEPT: usize = 20;

/// Returns the findings that the journal keeps.
pub(crate) fn kept<T>(found: &[T]) -> &[T] {
    &found[..found.len().min(KEPT)]
}

/// Returns the findings that the journal keeps, each as a sentence.
pub(crate) fn sentences<T: Display>(found: &[T]) -> Vec<String> {
    kept(found).iter().map(ToString::to_string).collect()
}

/// Returns the findings as one sentence.
pub(crate) fn sentence<T: Display>(found: &[T]) -> String {
    let more = match found.len().saturating_sub(KEPT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", sentences(found).join("; "))
}

/// Reads something back, changes nothing, and says what is wrong with it.
#[async_trait]
pub(crate) trait Verification: Send + Sync {
    /// The parameters that it takes.
    const FIELDS: &'static [Field];

    /// Returns the output, which lists the findings, and the failure if there are any.
    async fn verify(&self, cx: &StepContext) -> Result<(Output, Option<Failure>), Failure>;
}

/// The action of a verification.
pub(crate) struct Verifying<V>(pub(crate) V);

#[async_trait]
impl<V: Verification> Action for Verifying<V> {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, V::FIELDS)
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("a verification that was cut off proves nothing"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let (output, failure) = self.0.verify(cx).await?;
        let Some(failure) = failure else {
            return Ok(output);
        };
        // A failure carries only a sentence. So the output is kept as the step's checkpoint first.
        cx.checkpoint(output.value).await?;
        Err(failure)
    }
}

/// The parameters of a verification of one tier.
pub(crate) const OF_A_TIER: &[Field] = &[Field::optional("tier", Kind::Text)];

/// Returns the name of the tier that a step verifies: its parameter, or the one that its loop is at.
pub(crate) fn tier_of(cx: &StepContext) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Params {
        tier: Option<String>,
    }
    let Params { tier } = params::read(&cx.with)?;
    views::looped(cx, "tier", tier)
}
