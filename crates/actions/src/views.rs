//! The outputs of the run's earlier steps. They are found by their shape and not by a step's name, since a workflow
//! may choose its steps' names.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_engine::{EndedSteps, StepContext, StepView};
use rekindle_model::event::SkipReason;
use rekindle_model::failure::Failure;
use rekindle_model::id::{SetId, SnapshotId};
use rekindle_model::step::StepState;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::params::BAD_PARAMETER;

/// The finished steps of the run.
pub(crate) type Views = EndedSteps;

/// The code of a step that lacks the output of an earlier step.
pub(crate) const NOTHING_TO_WORK_ON: &str = "nothing_to_work_on";

/// The output of `snapshot` for one component.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Captured {
    pub(crate) component: String,
    /// None for a component without data.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Only the output of `snapshot` has this field; it distinguishes that output from those about copies.
    #[expect(dead_code, reason = "its presence is what matters")]
    captured_by: String,
}

/// The output of `verify` for one copy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verified {
    pub(crate) component: String,
    pub(crate) tier: String,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) verified: bool,
}

/// The output of `store` for one copy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) component: String,
    pub(crate) tier: String,
    pub(crate) snapshot: Option<SnapshotId>,
    /// Only the output of `store` has this field; it distinguishes that output from that of `verify`.
    #[expect(dead_code, reason = "its presence is what matters")]
    objects_stored: u64,
}

/// The output of `locate-set`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Located {
    pub(crate) set: SetId,
    pub(crate) tier_order: Vec<String>,
    pub(crate) components: BTreeMap<String, LocatedMember>,
    pub(crate) skew_ms: u64,
}

/// One component of the located set.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LocatedMember {
    pub(crate) snapshot: SnapshotId,
}

/// Returns every output of the requested shape.
fn outputs<T: DeserializeOwned>(views: &Views) -> Vec<T> {
    views
        .iter()
        .map(|(_, view)| view)
        .filter(|view| succeeded(view))
        .filter_map(|view| T::deserialize(&view.output).ok())
        .collect()
}

/// Returns whether a program of the system's own has run and ended in this run, other than right before the step. It
/// may have changed any restored data.
pub(crate) fn ran_a_command(cx: &StepContext) -> bool {
    cx.steps.iter().any(|(id, view)| {
        let ran = !matches!(view.state.state, StepState::Skipped { .. });
        ran && view.uses == crate::COMMAND && !cx.step.needs.contains(id)
    })
}

/// Returns the output of the run's snapshot of `component`.
pub(crate) fn captured(views: &Views, component: &str) -> Option<Captured> {
    outputs::<Captured>(views)
        .into_iter()
        .find(|captured| captured.component == component)
}

/// Returns each component that the run has captured, with its snapshot and the tiers whose copy was read back and
/// found whole; at least one.
pub(crate) fn verified_copies(views: &Views) -> BTreeMap<String, (SnapshotId, Vec<String>)> {
    let verified: Vec<Verified> = outputs(views);
    let mut copies = BTreeMap::new();
    for captured in outputs::<Captured>(views) {
        let Some(snapshot) = captured.snapshot else {
            continue;
        };
        let whole = |copy: &&Verified| {
            copy.verified && copy.component == captured.component && copy.snapshot == Some(snapshot)
        };
        let tiers: Vec<String> = verified
            .iter()
            .filter(whole)
            .map(|copy| copy.tier.clone())
            .collect();
        if !tiers.is_empty() {
            copies.insert(captured.component, (snapshot, tiers));
        }
    }
    copies
}

/// Returns whether each copy that the run has stored was read back and found whole.
pub(crate) fn all_stored_are_verified(views: &Views) -> bool {
    let verified: Vec<Verified> = outputs(views);
    outputs::<Stored>(views)
        .iter()
        .filter(|stored| stored.snapshot.is_some())
        .all(|stored| {
            verified.iter().any(|copy| {
                copy.verified
                    && (&copy.component, &copy.tier, copy.snapshot)
                        == (&stored.component, &stored.tier, stored.snapshot)
            })
        })
}

/// Returns the output of the run's `locate-set`.
pub(crate) fn located(views: &Views) -> Option<Located> {
    outputs(views).into_iter().next()
}

/// Returns the loop value under `key`, unless a parameter gives another.
pub(crate) fn looped(cx: &StepContext, key: &str, given: Option<String>) -> Result<String, Failure> {
    given.or_else(|| cx.step.each.get(key).cloned()).ok_or_else(|| {
        Failure::permanent(
            BAD_PARAMETER,
            format!("the step does not say which {key} it is about"),
        )
        .with_hint(format!("add `for_each: {key}` or the parameter {key:?}"))
    })
}

/// The result of one component in the run so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fared {
    /// All its steps succeeded, and its probes, if it has any, found it valid.
    Well,
    /// A step of it failed, or was skipped because another had failed.
    Badly,
    /// Its steps succeeded, but a number that would prove it valid was not measured.
    NoData,
}

/// Returns the result of each of `components`, by the steps that name it and have ended.
pub(crate) fn fared<'a>(
    views: &Views,
    components: impl Iterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> BTreeMap<String, Fared> {
    let mut all = BTreeMap::new();
    for component in components.map(AsRef::as_ref) {
        let own: Vec<&StepView> = views
            .iter()
            .filter(|(id, _)| id.keys().contains(&component))
            .map(|(_, view)| view)
            .collect();
        if own.is_empty() {
            continue;
        }
        let unproven = own
            .iter()
            .any(|view| view.output.get("valid").is_some_and(Value::is_null));
        let fared = match () {
            () if own.iter().any(|view| fell_through(view)) => Fared::Badly,
            () if unproven => Fared::NoData,
            () => Fared::Well,
        };
        all.insert(component.to_owned(), fared);
    }
    all
}

/// Returns the share of good results among the components that are decided; none if none is decided.
#[expect(
    clippy::cast_precision_loss,
    reason = "a system has far fewer than 2^52 components"
)]
pub(crate) fn success_rate(fared: &BTreeMap<String, Fared>) -> Option<f64> {
    let count = |wanted| fared.values().filter(|fared| **fared == wanted).count();
    let (well, badly) = (count(Fared::Well), count(Fared::Badly));
    (well + badly > 0).then(|| well as f64 / (well + badly) as f64)
}

/// Returns the names of the components with that result.
pub(crate) fn those(fared: &BTreeMap<String, Fared>, wanted: Fared) -> BTreeSet<&str> {
    fared
        .iter()
        .filter(|(_, fared)| **fared == wanted)
        .map(|(name, _)| name.as_str())
        .collect()
}

fn succeeded(view: &StepView) -> bool {
    matches!(view.state.state, StepState::Succeeded { .. })
}

fn fell_through(view: &StepView) -> bool {
    matches!(
        view.state.state,
        StepState::Failed { .. }
            | StepState::Skipped {
                why: SkipReason::Needs { .. } | SkipReason::Cancelled
            }
    )
}
